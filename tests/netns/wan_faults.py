#!/usr/bin/python3
"""Faults of the world, and what the office's and the server's bondd say of them, with real packets.

   office ---- dsl1 10.99.1.0/24 ---- router 1 ---- 10.98.1.0/24 ---- vps (203.0.113.10)
          ---- dsl2 10.99.2.0/24 ---- router 2 ---- 10.98.2.0/24 ----

A wrong gateway, a closed port, a dead line, a cut of all lines, a server without [nat] and a server that
is up before the office: each has its own words. Needs root.
Usage: wan_faults.py BONDD. Exit status 0 when all holds, 77 without root.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import FAILED, check  # noqa: E402

BONDD = sys.argv[1]
NAMES = {site: f"bonddw{os.getpid()}{site[0]}{site[-1]}" for site in ("office", "vps", "r1", "r2")}
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="bondd-faults-"))
PORTS = {"dsl": 21194, "lte": 21196}

FILE = """role = "{role}"
backend = "mlvpn"
[server]
address = "203.0.113.10"
[bond]
interface = "bond0"
address = "{address}"
peer = "{peer}"
mode = "balance-rr"
arp_interval = "300ms"
[mlvpn]
password_file = "{site}.password"
{more}
[routes]
through_bond = ["{through}"]
"""
SITES = {"office": dict(role="client", address="172.16.16.2/30", peer="172.16.16.1", through="0.0.0.0/0"),
         "vps": dict(role="server", address="172.16.16.1/30", peer="172.16.16.2", through="192.168.77.0/24")}


def sh(text, ns, may_fail=False):
    done = subprocess.run(["ip", "netns", "exec", NAMES[ns], "sh", "-ec", text], capture_output=True, text=True, timeout=60)
    if done.returncode != 0 and not may_fail:
        raise RuntimeError(f"{text}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def write(gateways=None, ports=None, more="", nat='[nat]\nmasquerade = ["eth0"]\n', lan="192.168.77.0/24", password="a password of the test",
          vps=None):
    """Both files. `password` is the office's, `vps` are other values of the VPS's file."""
    gateways = gateways or {}
    for site, values in SITES.items():
        values = dict(values, through=values["through"] if site == "office" else lan)
        values.update(vps if vps and site == "vps" else {})
        text = FILE.format(site=site, more=more if site == "office" else "", **values)
        for n, (name, port) in enumerate(PORTS.items(), 1):
            port = (ports or {}).get(name, port) if site == "office" else port
            text += f'[[wan]]\nname = "{name}"\nport = {port}\n'
            if site == "office":
                text += f'device = "dsl{n}"\ngateway = "{gateways.get(name, f"10.99.{n}.1")}"\n'
        if site == "vps":
            text += nat
        (FOLDER / f"{site}.toml").write_text(text)
        secret = FOLDER / f"{site}.password"
        secret.write_text((password if site == "office" else "a password of the test") + "\n")
        secret.chmod(0o600)


def bondd(site, *words):
    return subprocess.run(["ip", "netns", "exec", NAMES[site], BONDD, "--run-dir", str(FOLDER / "run"), *words],
                          capture_output=True, text=True, timeout=90)


def file(site):
    return str(FOLDER / f"{site}.toml")


def status(site="office"):
    done = bondd(site, "status", "--json", file(site))
    return json.loads(done.stdout)


def codes(site="office"):
    return {(p["wan"], p["code"]) for p in status(site)["problems"]}


def wait_for(what, condition, site="office", seconds=25):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return check(what, True)
        time.sleep(0.2)
    check(what, False, json.dumps(status(site), indent=1))


def watch_waiting(found):
    """Until both WANs are up at the server: what it says of one that is up as if it were not."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        now = status("vps")
        up = {wan["name"] for wan in now["wans"] if wan["state"] == "up"}
        found += [p for p in now["problems"] if p["wan"] in up and p["code"].startswith("office-")]
        if len(up) == 2:
            return


def both(*words):
    for site in ("vps", "office"):
        done = bondd(site, *words, file(site))
        if done.returncode != 0:
            raise RuntimeError(f"{site} {words}: {done.returncode}\n{done.stderr}")


def build():
    for name in NAMES.values():
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    for n in (1, 2):
        for site, device, other, peer in (("office", f"dsl{n}", f"r{n}", "lan"), (f"r{n}", "wan", "vps", f"up{n}")):
            sh(f"ip link add {device} type veth peer name {peer} netns {NAMES[other]}", ns=site)
            sh(f"ip link set {device} up", ns=site)
            sh(f"ip link set {peer} up", ns=other)
        sh(f"ip addr add 10.99.{n}.2/24 dev dsl{n}", ns="office")
        sh(f"ip addr add 10.99.{n}.1/24 dev lan; ip addr add 10.98.{n}.2/24 dev wan; sysctl -qw net.ipv4.ip_forward=1; "
           f"ip route add default via 10.98.{n}.1", ns=f"r{n}")
        sh(f"ip addr add 10.98.{n}.1/24 dev up{n}; ip route add 10.99.{n}.0/24 via 10.98.{n}.2", ns="vps")
    sh("ip addr add 203.0.113.10/32 dev lo; ip link add eth0 type veth peer name eth0-far; ip link set eth0-far up; ip link set eth0 up; "
       "ip addr add 198.51.100.2/24 dev eth0; ip route add default via 198.51.100.1", ns="vps")
    sh("ip link add lan type veth peer name lan-far; ip link set lan-far up; ip link set lan up; ip addr add 192.168.77.1/24 dev lan", ns="office")


def play():
    write()
    time.sleep(2)  # for the carrier
    began = time.monotonic()
    done = bondd("vps", "up", "-d", file("vps"))
    check("a server's up -d returns 0 once it listens, and waits for the office",
          done.returncode == 0 and "waiting for the office" in done.stderr, done.stderr)
    check("soon", time.monotonic() - began < 20, time.monotonic() - began)
    waits_in_vain = []
    watcher = threading.Thread(target=watch_waiting, args=(waits_in_vain,))
    watcher.start()
    check("up -d of the office", bondd("office", "up", "-d", file("office")).returncode == 0)
    up = lambda: [wan["state"] for wan in status()["wans"]] == ["up", "up"]
    wait_for("both WANs up", up)
    watcher.join()
    check("the server waits for no WAN that is up", not waits_in_vain, waits_in_vain)
    check("status of a site that is up: exit 0", bondd("office", "status", file("office")).returncode == 0)
    check("no problems, no escape codes", not status()["problems"] and "\033" not in bondd("office", "status", file("office")).stdout, status())
    wan = status()["wans"][0]
    check("what is not measured is null", wan["capacity_mbit"] is None and wan["share_percent"] is None, wan)
    full = subprocess.run(["ip", "netns", "exec", NAMES["office"], "sh", "-c", f"{BONDD} --run-dir {FOLDER}/run status {file('office')} >/dev/full"],
                          capture_output=True, text=True)
    check("a status that cannot be written fails", full.returncode == 1 and "could not be written" in full.stderr, full)

    # The server's packets still arrive by lte, and dsl carries.
    write(gateways={"lte": "10.99.2.99"})
    both("reload")
    wait_for("a gateway that nobody has is named", lambda: ("lte", "gateway-silent") in codes())
    wait_for("the server says that nothing arrives by it", lambda: ("lte", "office-port-silent") in codes("vps"), "vps")
    check("with its address", "10.99.2.99" in json.dumps(status()["problems"]), status()["problems"])
    check("status of a degraded site: exit 1", bondd("office", "status", file("office")).returncode == 1)
    write()
    both("reload")
    wait_for("right again", up)

    sh("nft 'add table inet cut; add chain inet cut out { type filter hook postrouting priority 0; };"
       "add rule inet cut out oifname wan udp dport 21196 drop'", ns="r2")
    wait_for("a WAN that works in one direction only is named", lambda: ("lte", "one-way") in codes())
    check("and is not called up", status()["wans"][1]["state"] != "up", status()["wans"])
    sh("nft delete table inet cut", ns="r2")
    wait_for("right again", up)

    sh(f"iptables -w -I INPUT 1 -p udp --dport {PORTS['lte']} -j DROP", ns="vps")
    wait_for("a closed port is named at the office", lambda: ("lte", "port-silent") in codes(), seconds=40)
    wait_for("and on the server", lambda: ("lte", "wan-stopped") in codes("vps"), "vps")
    sh(f"iptables -w -D INPUT -p udp --dport {PORTS['lte']} -j DROP", ns="vps")
    wait_for("right again", up)

    sh(f"nft 'add table inet own; add chain inet own i {{ type filter hook input priority -10; }}; add rule inet own i udp dport {PORTS['lte']} "
       "reject with icmp type admin-prohibited'", ns="vps")
    wait_for("a port that the server's firewall rejects is named as that", lambda: ("lte", "port-rejected") in codes(), seconds=40)
    wait_for("and the server names the rule alone", lambda: {code for wan, code in codes("vps") if wan == "lte"} == {"wan-stopped"}, "vps")
    sh("nft delete table inet own", ns="vps")
    wait_for("right again", up, seconds=40)

    sh("ip link set wan down", ns="r2")
    wait_for("a line without Internet is named", lambda: ("lte", "line-dead") in codes())
    sh("ip link set wan up; ip route replace default via 10.98.2.1", ns="r2")
    wait_for("right again", up, seconds=40)

    sh("ip link set wan down", ns="r1")
    sh("ip link set wan down", ns="r2")
    cut = time.monotonic()
    wait_for("all lines cut: the site is down", lambda: status()["state"] == "down")
    check("within 6 s", time.monotonic() - cut < 8, time.monotonic() - cut)
    check("status of a site that is down: exit 3", bondd("office", "status", file("office")).returncode == 3)
    check("no WAN is called up", all(wan["state"] != "up" for wan in status()["wans"]), status())
    for n in (1, 2):
        sh(f"ip link set wan up; ip route replace default via 10.98.{n}.1", ns=f"r{n}")
    wait_for("right again", up, seconds=40)
    check("bondd wait returns", bondd("office", "wait", file("office")).returncode == 0)

    write(ports={"lte": 21199}, nat='[nat]\nmasquerade = ["up1"]\n')
    both("reload")
    wait_for("a port that the server's file lacks is named at the office", lambda: {("lte", "wan-missing-there"), ("lte", "port-refused")} <= codes(), seconds=40)
    wait_for("and on the server", lambda: ("", "wan-missing-here") in codes("vps"), "vps")
    wait_for("NAT on another interface than the server's way out, too", lambda: ("", "nat-device") in codes())
    write(vps=dict(address="172.16.16.1/29", peer="172.16.16.3"))
    both("reload")
    wait_for("a peer that is not the other end's address is named on both ends", lambda: ("", "peer-differs") in codes() & codes("vps"), seconds=40)
    write()
    both("reload")
    wait_for("right again", lambda: up() and not status()["problems"], seconds=40)

    bondd("office", "down", file("office"))
    write(password="another password")  # a running site takes both for a minute
    running = subprocess.Popen(["ip", "netns", "exec", NAMES["office"], BONDD, "--run-dir", str(FOLDER / "run"), "up", file("office")],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("another password is named on the server", lambda: {("dsl", "secret-differs"), ("lte", "secret-differs")} <= codes("vps"), "vps", 40)
    wait_for("the office says that it may be the key or a firewall", lambda: {("dsl", "port-or-secret"), ("lte", "port-or-secret")} <= codes(), seconds=40)
    running.terminate()
    running.wait(timeout=30)
    write()
    check("with the right one it comes up", bondd("office", "up", "-d", file("office")).returncode == 0)
    wait_for("right again", up, seconds=40)

    write(nat="", lan="192.168.78.0/24", more="cleartext_data = true")
    both("reload")
    wait_for("no [nat] on the server is told at the office", lambda: ("", "nat-missing") in codes(), seconds=40)
    check("a network where nobody was met is not called a LAN", ("", "lan-missing") not in codes(), status()["problems"])
    sh("ip neigh add 192.168.77.20 lladdr 02:00:00:00:00:20 dev lan nud stale", ns="office")  # as after a packet of it
    wait_for("a LAN that the server's file lacks, too", lambda: ("", "lan-missing") in codes())
    sh("ip route add 192.168.79.0/24 via 192.168.77.20", ns="office")
    wait_for("and one behind a router of it", lambda: "192.168.79.0/24" in json.dumps(status()["problems"]))
    wait_for("and cleartext_data of one end", lambda: ("", "setting-differs") in codes())
    both("down")
    check("status of a site that does not run: exit 3", bondd("office", "status", file("office")).returncode == 3)
    done = bondd("office", "status", "--check", "live", file("office"))
    check("--check live of it says so, and no socket", done.returncode == 1 and done.stderr == "office is not up; `bondd up office` starts it\n", done)
    for command in ("down", "reload", "wait", "status"):
        done = bondd("office", command, str(FOLDER / "ofice.toml"))
        check(f"{command}: a name that is nearly right", done.returncode == 1 and "did you mean office?" in done.stderr, done)
    (FOLDER / "office.toml").write_text("role = \n")
    done = bondd("office", "status", file("office"))
    check("status names a file with errors", done.returncode == 3 and "has errors; `bondd check " in done.stdout.replace("\n      ", " "), done)


def main():
    if os.geteuid() != 0:
        print("needs root")
        return 77
    try:
        build()
        play()
    except Exception as error:  # whatever happens, the namespaces go
        logs = "".join(p.read_text()[-3000:] for p in FOLDER.rglob("log"))
        check("no exception", False, f"{type(error).__name__}: {error}\n{logs}")
    finally:
        for site in ("office", "vps"):
            try:
                bondd(site, "down", file(site))
            except subprocess.TimeoutExpired as late:
                check("bondd down ends", False, late)
        for name in NAMES.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
