#!/usr/bin/python3
"""An office and its VPS with backend = "mlvpn", in two namespaces of this kernel, from up to down.

   office ---- dsl1 10.99.1.0/24 ---- vps (203.0.113.10)
          ---- dsl2 10.99.2.0/24 ----

Shows that `bondd reload` of a WAN, a weight or the password loses no packet on the
other WANs, that a killed engine comes back, and that down leaves nothing; and that a server
known by name is found at any of its addresses, and again when it has moved. Needs root.
Usage: mlvpn_site.py BONDD. Exit status 0 when all holds, 77 without root.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import FAILED, check  # noqa: E402

BONDD = sys.argv[1]
NAMES = {"office": f"bonddt{os.getpid()}o", "vps": f"bonddt{os.getpid()}v"}
PEER = "172.16.16.1"
SERVER, MOVED, NOBODY, NAME_SERVER = "203.0.113.10", "203.0.113.20", "203.0.113.99", "198.51.100.53"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="bondd-netns-"))

COMMON = """role = "{role}"
backend = "mlvpn"
[server]
address = "{server}"
[bond]
interface = "bond0"
address = "{address}"
peer = "{peer}"
mode = "balance-rr"
arp_interval = "300ms"
[mlvpn]
password_file = "{site}.password"
[routes]
through_bond = ["{through}"]
"""
SITES = {"office": dict(role="client", address="172.16.16.2/30", peer=PEER, through="0.0.0.0/0"),
         "vps": dict(role="server", address="172.16.16.1/30", peer="172.16.16.2", through="192.168.77.0/24")}
WANS = {"ovh": ("dsl1", "10.99.1.1", 21194), "orange": ("dsl2", "10.99.2.1", 21196)}


def sh(text, ns=None, check=True):
    words = ["ip", "netns", "exec", NAMES[ns]] if ns else []
    done = subprocess.run([*words, "sh", "-ec", text], capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        raise RuntimeError(f"{text}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def write(wans, password="a password of the test", extra=None, servers=None):
    """Both sites' files. `extra`: lines to add to a WAN, by its name; `servers`: server.address, by site."""
    for site, values in SITES.items():
        text = COMMON.format(site=site, server=(servers or {}).get(site, SERVER), **values)
        for name in wans:
            device, gateway, port = WANS[name]
            text += f'[[wan]]\nname = "{name}"\nport = {port}\n'
            if site == "office":
                text += f'device = "{device}"\ngateway = "{gateway}"\n'
            text += (extra or {}).get(name, "")
        (FOLDER / f"{site}.toml").write_text(text)
        secret = FOLDER / f"{site}.password"
        secret.write_text(password + "\n")
        secret.chmod(0o600)


def bondd(site, *words):
    return ["ip", "netns", "exec", NAMES[site], BONDD, "--run-dir", str(FOLDER / "run"), *words]


def run(site, *words):
    done = subprocess.run(bondd(site, *words), capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"bondd {' '.join(words)} ({site}): exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def findings():
    """What sanitizers said in a build that has them: bondd's own reports, and the engine's in bondd's log."""
    logs = [p for name in ("log", "sanitizer.*") for p in FOLDER.rglob(name)]
    return [line for log in logs for line in log.read_text(errors="replace").splitlines()
            if re.search(r"Sanitizer|runtime error:", line)]


def both(*words):
    running = [subprocess.Popen([*bondd(site, *words), str(FOLDER / f"{site}.toml")], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True) for site in ("vps", "office")]
    said = [(p.communicate(timeout=60)[0], p.returncode) for p in running]
    if any(code != 0 for _, code in said):
        raise RuntimeError(f"bondd {' '.join(words)}: {said}")


def down():
    found = findings()
    both("down")
    found += findings()
    check("no sanitizer found anything", not found, found)


def status():
    return json.loads(run("office", "status", "--json", str(FOLDER / "office.toml")))


def wait_for(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return check(what, True)
        time.sleep(0.1)
    check(what, False, status())


def states():
    return {wan["name"]: wan["state"] for wan in status()["wans"]}


class Pings:
    """400 echo requests through the bond, 100 a second, counted; each may take 2 s."""

    def __enter__(self):
        self.process = subprocess.Popen(["ip", "netns", "exec", NAMES["office"], "ping", "-nqi0.01", "-c400", "-W2", PEER],
                                        stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        said = self.process.communicate(timeout=30)[0]
        self.sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said).groups())
        self.lost = self.sent - received


def engines(site):
    """Pids of the site's engine."""
    inside = sh(f"ip netns pids {NAMES[site]}").split()
    return [pid for pid in inside if sh(f"cat /proc/{pid}/comm", check=False).strip() == "bondd-engine"]


def snapshot():
    return {site: sh("ip -o link | sed 's/ state [A-Z]*//; s/NO-CARRIER,//; s/,LOWER_UP//'; ip -o addr | sed 's/valid_lft.*//'; ip rule; ip route show table all | "
                     "sed 's/ expires .*//'; iptables-save | sed '/^#/d;s,\[.*,,'; sysctl -a 2>/dev/null | grep -E 'conf.*(rp_filter|"
                     "redirects|forward)|ip_forward'", ns=site) for site in NAMES}


def build():
    for name in NAMES.values():
        sh(f"ip netns add {name}; ip -n {name} link set lo up")
        sh(f"ip netns exec {name} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
    for n, device in ((1, "dsl1"), (2, "dsl2")):
        sh(f"ip link add {device} netns {NAMES['office']} type veth peer name {device} netns {NAMES['vps']}")
        sh(f"ip addr add 10.99.{n}.2/24 dev {device}; ip link set {device} up", ns="office")
        sh(f"ip addr add 10.99.{n}.1/24 dev {device}; ip link set {device} up", ns="vps")
    sh("ip addr add 203.0.113.10/32 dev lo", ns="vps")
    sh("ip route add default via 10.99.1.1", ns="office")


def carries():
    return subprocess.run(["ip", "netns", "exec", NAMES["office"], "ping", "-nqc3", "-i0.2", "-W2", PEER],
                          capture_output=True).returncode == 0


def repairs():
    """What others take away comes back: rules and routes in a moment, chains within 10 s, a whole device too."""
    def all_rules():
        return sh("ip rule; ip route show table all proto 98; iptables-save | sed '/^#/d;s,\\[.*,,'", ns="office")

    whole = all_rules()
    sh("ip rule del pref 5290; ip rule del pref 5202; ip route flush table all proto 98", ns="office")
    sh("iptables -w -F BONDD-FWD-office; iptables -w -D INPUT -j BONDD-IN-office", ns="office")
    wait_for("rules, routes and chains are put back", lambda: all_rules() == whole, 20)
    for time_of in range(1, 7):  # each is mended as fast as the first: nobody waits for an engine that did not fail
        sh("ip link del bond0", ns="office")
        wait_for(f"a deleted bond0 is made anew and carries ({time_of})",
                 lambda: set(states().values()) == {"up"} and carries(), 5)
    wait_for("with all that led through it", lambda: all_rules() == whole, 20)
    sh("ip addr del 10.99.2.2/24 dev dsl2; ip addr add 10.99.2.7/24 dev dsl2", ns="office")
    wait_for("a WAN with a new address leaves by it", lambda: "src 10.99.2.7" in all_rules(), 10)
    wait_for("both WANs up", lambda: states() == {"ovh": "up", "orange": "up"}, 20)
    sh("ip addr del 10.99.2.7/24 dev dsl2; ip addr add 10.99.2.2/24 dev dsl2", ns="office")


def play():
    write(WANS)
    time.sleep(2)  # for the carrier
    before = snapshot()
    began = time.monotonic()
    both("up", "-d")
    check(f"up -d on both ends in {time.monotonic() - began:.1f} s", True)
    wait_for("both WANs up", lambda: states() == {"ovh": "up", "orange": "up"})
    again = subprocess.run(bondd("office", "plan", str(FOLDER / "office.toml")), capture_output=True, text=True, timeout=60)
    check("plan while up: nothing to change", again.stdout == "" and again.returncode == 0, again.stdout + again.stderr)

    with Pings() as pings:
        write(WANS, extra={"orange": "weight = 1\n", "ovh": "weight = 3\n"})
        both("reload")
    check(f"reload of weights: {pings.lost} of {pings.sent} pings lost", pings.lost == 0)
    with Pings() as pings:
        write(["ovh"])
        both("reload")
    check(f"reload without orange: {pings.lost} of {pings.sent} pings lost", pings.lost <= 2)
    check("one WAN left", states() == {"ovh": "up"}, states())
    with Pings() as pings:
        write(WANS)
        both("reload")
    check(f"reload with orange again: {pings.lost} of {pings.sent} pings lost", pings.lost == 0)
    wait_for("both WANs up", lambda: states() == {"ovh": "up", "orange": "up"})
    with Pings() as pings:
        write(WANS, password="another password")
        both("reload")
    check(f"reload of the password: {pings.lost} of {pings.sent} pings lost", pings.lost <= 20)
    wait_for("both WANs up", lambda: states() == {"ovh": "up", "orange": "up"})

    (FOLDER / "office.toml").write_text((FOLDER / "office.toml").read_text().replace("mode", "moode"))
    bad = subprocess.run(bondd("office", "reload", str(FOLDER / "office.toml")), capture_output=True, text=True, timeout=60)
    check("reload of a file with a mistake: exit 1, said, nothing changed",
          bad.returncode == 1 and "moode" in bad.stderr and states() == {"ovh": "up", "orange": "up"}, bad.stderr)
    write(WANS, password="another password")

    repairs()
    ours = engines("office")
    for pid in ours:
        os.kill(int(pid), signal.SIGKILL)
    check("the engine was killed", len(ours) == 1, ours)
    wait_for("the engine comes back, both WANs up", lambda: states() == {"ovh": "up", "orange": "up"})
    check("a ping passes", carries())
    down()
    after = snapshot()
    for site in NAMES:
        gone = [x for x in before[site].splitlines() if x not in after[site].splitlines()]
        new = [x for x in after[site].splitlines() if x not in before[site].splitlines()]
        check(f"{site}: after down as before up", not gone and not new, f"gone {gone}\nnew {new}")
    check("the run directory is gone", not (FOLDER / "run").exists())


def waiting():
    """One WAN's interface is missing, then has an address of its own making: that WAN waits, the other carries."""
    write(WANS)
    sh("ip link set dsl2 down; ip link set dsl2 name away", ns="office")
    running = [subprocess.Popen(bondd(site, "up", "-d", str(FOLDER / f"{site}.toml")), stderr=subprocess.PIPE, text=True)
               for site in ("vps", "office")]
    said = {site: (p.communicate(timeout=60)[1], p.returncode) for site, p in zip(("vps", "office"), running)}
    text, code = said["office"]
    check("up -d returns 0 though a WAN's interface is missing", code == 0, said)
    check("and says which WAN waits and why", "orange is not used yet: interface dsl2 does not exist" in text, text)
    wait_for("its state is waiting, with the reason", lambda: ("waiting", "interface dsl2 does not exist") in [
        (wan["state"], wan["reason"]) for wan in status()["wans"]])
    check("the other carries", states()["ovh"] == "up" and carries(), states())

    sh("ip link set away name dsl2; ip addr flush dev dsl2; ip addr add 169.254.7.9/16 dev dsl2; ip link set dsl2 up", ns="office")
    wait_for("an address of its own making is a reason to wait", lambda: "outside the network of dsl2" in str(status()["wans"]))
    both("reload")
    check("reload goes on with the other WAN", states()["ovh"] == "up" and carries(), states())
    sh("ip addr flush dev dsl2; ip addr add 10.99.2.2/24 dev dsl2", ns="office")
    wait_for("with its address the WAN is used", lambda: states() == {"ovh": "up", "orange": "up"}, 30)
    down()


# A name server: every question is answered with the addresses in a file, in its order.
ANSWER = r"""
import pathlib, socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    question, asker = server.recvfrom(512)
    end = question.index(0, 12) + 5
    wanted = pathlib.Path(sys.argv[2]).read_text().split() if question[end - 4:end - 2] == bytes([0, 1]) else []
    records = [bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]) + socket.inet_aton(a) for a in wanted]
    head = question[:2] + bytes([0x81, 0x80, 0, 1, 0, len(records), 0, 0, 0, 0])
    server.sendto(head + question[12:end] + b"".join(records), asker)
"""


def names(stub=False):
    """The server by its name: one of its addresses is nobody's; then it moves, and only its name tells where.
    With `stub` resolv.conf names a stub on this machine, as with systemd-resolved, and the gateways answer."""
    asked = "0.0.0.0" if stub else NAME_SERVER
    addresses = FOLDER / "addresses"
    addresses.write_text(f"{NOBODY} {SERVER}")
    sh(f"ip addr replace {SERVER}/32 dev lo; ip addr replace {NAME_SERVER}/32 dev lo; ip addr del {MOVED}/32 dev lo 2>/dev/null || true; "
       f"ip route replace unreachable {NOBODY}", ns="vps")
    settings = pathlib.Path("/etc/netns", NAMES["office"])  # ip-netns(8) puts these files in their place
    settings.mkdir(parents=True)
    (settings / "resolv.conf").write_text(f"nameserver {'127.0.0.53' if stub else NAME_SERVER}\n")
    server = subprocess.Popen(["ip", "netns", "exec", NAMES["vps"], sys.executable, "-c", ANSWER, asked, str(addresses)])
    try:
        write(WANS, servers={"office": "vps.example"})
        both("up", "-d")
        check("up -d though the name's first address is nobody's", True)
        wait_for("both WANs up", lambda: states() == {"ovh": "up", "orange": "up"}, 30)

        run("vps", "down", str(FOLDER / "vps.toml"))
        addresses.write_text(MOVED)
        sh(f"ip addr del {SERVER}/32 dev lo; ip addr add {MOVED}/32 dev lo", ns="vps")
        write(WANS, servers={"office": "vps.example", "vps": MOVED})
        # Everything of the office goes into the bond, which carries nothing: so would its questions for the name.
        run("vps", "up", "-d", "--timeout", "50s", str(FOLDER / "vps.toml"))
        check("the server has moved, and is found by its name", True)
        wait_for("both WANs up", lambda: states() == {"ovh": "up", "orange": "up"}, 30)
        down()
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(settings)


def clean_up():
    for site, name in NAMES.items():
        try:
            subprocess.run([*bondd(site, "down", str(FOLDER / f"{site}.toml"))], capture_output=True, timeout=60)
        except subprocess.TimeoutExpired as late:
            check("bondd down ends", False, late)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    shutil.rmtree(FOLDER, ignore_errors=True)


def exit_status_of(play):
    """Plays on an office and a VPS that are made for it and go with it: 77 without root, 1 when a check failed."""
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
        clean_up()
    return 1 if FAILED else 0


def play_all():
    play()
    waiting()
    names()
    names(stub=True)


def main():
    for options in ("ASAN_OPTIONS", "TSAN_OPTIONS"):
        os.environ.setdefault(options, f"log_path={FOLDER}/sanitizer")
    return exit_status_of(play_all)


if __name__ == "__main__":
    sys.exit(main())
