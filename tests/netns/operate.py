#!/usr/bin/python3
"""A running site as its admin's commands see it: status --check, wait, problems as objects, ping,
a WAN that is drained, monitor, and diag.

The office and the VPS of mlvpn_site.py, which see. Needs root.
Usage: operate.py BONDD. Exit status 0 when all holds, 77 without root.
"""
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

import mlvpn_site as site
from mlvpn_site import both, check, sh, wait_for

UP = {"ovh": "up", "orange": "up"}
OFFICE = str(site.FOLDER / "office.toml")


def says(*words, where="office"):
    """Exit status, standard output and standard error."""
    done = subprocess.run(site.bondd(where, *words), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def checks():
    """{what: exit status} of status --check, which prints nothing on standard output."""
    out = {}
    for what in ("live", "ready", "degraded"):
        code, shown, _ = says("status", "--check", what, OFFICE)
        out[what] = code if not shown else shown
    return out


def problems(where="office"):
    return json.loads(site.run(where, "status", "--json", str(site.FOLDER / f"{where}.toml")))["problems"]


def exit_statuses():
    site.write(site.WANS)
    code, _, said = says("wait", "--timeout", "1s", OFFICE)
    check("wait for a site that is not up: 1, and what to do", code == 1 and "bondd up" in said, (code, said))
    check("--check of a site that is not up: all 1", checks() == {"live": 1, "ready": 1, "degraded": 1}, checks())
    both("up", "-d")
    check("wait: 0 while it carries", says("wait", OFFICE)[0] == 0)
    wait_for("both WANs up", lambda: site.states() == UP)
    check("--check of a site that is up", checks() == {"live": 0, "ready": 0, "degraded": 1}, checks())
    sh("ip link set dsl2 down", ns="office")
    wait_for("--check of a site with one WAN left", lambda: checks() == {"live": 0, "ready": 0, "degraded": 0}, 20)
    sh("ip link set dsl1 down", ns="office")
    wait_for("--check of a site without any", lambda: checks() == {"live": 0, "ready": 1, "degraded": 1}, 20)
    code, _, said = says("wait", "--timeout", "1s", OFFICE)
    check("wait: 1 after its time, with the status", code == 1 and "carries no traffic after 1s" in said and "dsl1" in said, (code, said))
    waiting = subprocess.Popen(site.bondd("office", "wait", "--timeout", "40s", OFFICE))
    for device, gateway in (("dsl1", "10.99.1.1"), ("dsl2", "10.99.2.1")):
        sh(f"ip link set {device} up; ip route replace default via {gateway} metric {gateway[6]}", ns="office")
    check("wait returns once the bond carries again", waiting.wait(60) == 0)
    wait_for("both WANs up", lambda: site.states() == UP, 20)


def remarks_are_problems():
    """What others' rules do is a problem with a code, a severity and a time, and still a text of `warnings`."""
    sh("ip rule add priority 100 lookup 300; ip route add default via 10.99.1.1 table 300", ns="office")
    found = lambda: [one for one in problems() if one["code"] == "foreign-rules"]
    wait_for("another's rule is a problem", found, 20)
    one = found()[0]
    status = json.loads(site.run("office", "status", "--json", OFFICE))
    check("with its severity and time, and in warnings", one["severity"] == "warning" and one["since"] and one["text"] in status["warnings"], one)
    text = says("status", OFFICE)[1]
    check("status shows each once", text.count("rule 100 (lookup 300)") == len(found()) and "office: orange:" not in text, text)
    sh("ip rule del priority 100; ip route flush table 300", ns="office")
    wait_for("it goes with the rule", lambda: not found(), 20)


def wan_state(where, wan):
    status = json.loads(site.run(where, "status", "--json", str(site.FOLDER / f"{where}.toml")))
    return next(one["state"] for one in status["wans"] if one["name"] == wan)


def line_bytes(device):
    counters = sh(f"cat /sys/class/net/{device}/statistics/rx_bytes /sys/class/net/{device}/statistics/tx_bytes", ns="office")
    return sum(map(int, counters.split()))


def flood_bytes(seconds=3):
    """Bytes on dsl1 and dsl2 while pings of 1000 bytes go to and fro, a hundred a second."""
    before = [line_bytes(device) for device in ("dsl1", "dsl2")]
    subprocess.run(["ip", "netns", "exec", site.NAMES["office"], "ping", "-nqi0.01", "-s1000", f"-w{seconds}", site.PEER], capture_output=True)
    return [line_bytes(device) - then for device, then in zip(("dsl1", "dsl2"), before)]


def drain():
    """A WAN out of use, from either end, and back: all see it, no packet is lost."""
    for where in ("office", "vps"):
        file = str(site.FOLDER / f"{where}.toml")
        with site.Pings() as pings:
            check(f"{where}: drain says so", says("wan", file, "orange", "drain", where=where)[0] == 0)
        check(f"{where}: drain: {pings.lost} of {pings.sent} pings lost", pings.lost == 0)
        wait_for(f"{where}: both ends show it", lambda: wan_state("office", "orange") == wan_state("vps", "orange") == "drained")
        time.sleep(1)  # for what was in flight, and the answers to it
        carried = flood_bytes()
        check(f"{where}: the line carries next to nothing", carried[1] * 10 < carried[0], carried)
        site.run(where, "reload", file)
        check(f"{where}: a reload keeps it drained", wan_state(where, "orange") == "drained")
        code, _, said = says("status", "--check", "degraded", file, where=where)
        check(f"{where}: the site is degraded", code == 0, said)
        with site.Pings() as pings:
            says("wan", file, "orange", "restore", where=where)
        check(f"{where}: restore: {pings.lost} of {pings.sent} pings lost", pings.lost == 0)
        wait_for(f"{where}: both ends use it", lambda: wan_state("office", "orange") == wan_state("vps", "orange") == "up")

    says("wan", OFFICE, "orange", "drain")
    code, _, said = says("wan", OFFICE, "ovh", "drain")
    check("the last line is not drained", code == 1 and "no other WAN carries traffic" in said, said)
    code, _, said = says("wan", OFFICE, "orang", "drain")
    check("nor one that is not there", code == 1 and "there is no WAN orang" in said, said)
    code, _, said = says("wan", OFFICE, "orange", "frobnicate")
    check("nor with another word", code == 2, (code, said))
    wait_for("the VPS knows", lambda: wan_state("vps", "orange") == "drained")
    code, _, said = says("wan", str(site.FOLDER / "vps.toml"), "orange", "restore", where="vps")
    check("it is restored where it was drained", code == 1 and "at the other end" in said, said)
    sh("ip link set dsl1 down", ns="vps")
    wait_for("when no other line carries, a drained one does", site.carries, 20)
    sh("ip link set dsl1 up", ns="vps")
    wait_for("and is drained again", lambda: site.states() == {"ovh": "up", "orange": "drained"}, 20)
    both("down")
    both("up", "-d")
    wait_for("a restart forgets it", lambda: site.states() == UP)


def ping():
    """Each line and the bond as a column, from either end."""
    for where in ("office", "vps"):
        file = str(site.FOLDER / f"{where}.toml")
        code, shown, said = says("ping", "--count", "2", file, where=where)
        rows = shown.splitlines()
        check(f"{where}: ping: 0, a head, two rows, a summary", code == 0 and len(rows) == 7, (code, shown, said))
        check(f"{where}: a column for each line and the bond", rows[0].split() == ["TIME", "ovh", "orange", "bond"], shown)
        check(f"{where}: all of them measured", all(row.count(" ms") == 3 for row in rows[1:3]), shown)
        check(f"{where}: nothing lost", rows[-1] == "bond: 2 of 2 echo requests answered, 0.0 % lost", shown)
    code, _, said = says("ping", "--count", "0", OFFICE)
    check("ping of no rows is wrong use", code == 2, (code, said))
    code, _, said = says("ping", str(site.FOLDER / "offise.toml"))
    check("ping of another name: 1, with the likely one", code == 1 and "did you mean office?" in said, (code, said))


def metrics():
    """Figures for Prometheus; promtool, where it is installed, takes them."""
    text = site.run("office", "metrics", OFFICE)
    check("metrics have both WANs", 'bondd_wan_up{site="office",wan="ovh"} 1\n' in text and 'wan="orange"' in text, text)
    check("of all sites that are up, too", 'site="vps"' in site.run("office", "metrics"))
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        check("promtool finds nothing to say", done.returncode == 0 and not done.stderr, done.stderr)
    else:
        print("--   promtool (package prometheus) is not installed: the metrics were not judged")


class Listener:
    """A `bondd monitor`, and what it prints."""

    def __init__(self, *words):
        self.process = subprocess.Popen(site.bondd("office", "monitor", *words), stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def events(self, **wanted):
        """Those that have these values."""
        events = [json.loads(line) for line in self.lines]
        return [event for event in events if all(event[key] == value for key, value in wanted.items())]


def monitor():
    """What happens, at once and with its reason; a bondd that goes and comes; a reader that leaves."""
    first, second, for_people = Listener("--json", OFFICE), Listener("--json"), Listener(OFFICE)
    wait_for("monitor begins with how it is", lambda: first.events(event="site", to="up"))
    check("of each line, too", len(first.events(event="wan", **{"from": "", "to": "up"})) == 2, first.lines)
    keys = ["time", "site", "wan", "event", "from", "to", "reason"]
    check("the contract's keys, in every line", all(list(event) == keys for event in first.events()), first.lines)
    sh("ip link set dsl2 down", ns="office")
    wait_for("a line that is lost", lambda: first.events(event="wan", wan="orange", **{"from": "up"}), 20)
    wait_for("the site, too", lambda: first.events(event="site", **{"from": "up", "to": "degraded"}))
    wait_for("the problem, too", lambda: first.events(event="problem", wan="orange", to="interface-down"), 20)
    check("with reasons", all(event["reason"] for event in first.events(event="problem")), first.lines)
    sh("ip link set dsl2 up; ip route replace default via 10.99.2.1 metric 2", ns="office")
    wait_for("a line that is back", lambda: first.events(event="wan", wan="orange", to="up"), 20)
    wait_for("the problem is over", lambda: first.events(event="problem", wan="orange", **{"from": "interface-down"}), 20)
    site.run("office", "reload", OFFICE)
    wait_for("a reload", lambda: first.events(event="reload", to="applied"))
    wait_for("a second listener has all of it", lambda: second.lines[-1:] == first.lines[-1:])
    wait_for("and one for people", lambda: any("wan orange: up -> " in line for line in for_people.lines))
    both("down")
    wait_for("bondd goes away", lambda: first.events(event="bondd", **{"from": "running", "to": "stopped"}))
    both("up", "-d")
    wait_for("and is back", lambda: first.events(event="bondd", **{"from": "stopped", "to": "running"}))
    check("monitor goes on meanwhile", first.process.poll() is None)
    for listener in (second, for_people):
        listener.process.terminate()
        listener.process.wait(10)

    short = subprocess.run(["sh", "-c", f"{' '.join(site.bondd('office', 'monitor', '--json', OFFICE))} | head -n1"],
                           capture_output=True, text=True, timeout=20)
    check("ends when nobody reads any more, without a word", json.loads(short.stdout)["event"] == "bondd" and not short.stderr, short)
    reader, writer = site.os.pipe()
    listener = subprocess.Popen(site.bondd("office", "monitor", "--json", OFFICE), stdout=writer, stderr=subprocess.PIPE, text=True)
    site.os.close(writer)
    site.os.read(reader, 10)
    site.os.close(reader)
    check("also when nothing happens, with 0", listener.wait(10) == 0 and not listener.stderr.read())
    first.process.terminate()
    code, _, said = says("monitor", str(site.FOLDER / "offise.toml"))
    check("monitor of another name: 1, with the likely one", code == 1 and "did you mean office?" in said, (code, said))


def diag():
    """One archive, without the secrets that were planted, with what a reader needs."""
    file = site.FOLDER / "office.toml"
    planted = {"the password": "a password of the test", "a key beside it": "0123456789abcdef0123456789abcdef",
               "a token": "bondd1-PLANTEDTOKEN", "a line of the file": "planted-in-a-line"}
    (site.FOLDER / "office.key").write_text(f"-----BEGIN PRIVATE KEY-----\n{planted['a key beside it']}\n-----END PRIVATE KEY-----\n")
    before = file.read_text()
    file.write_text(f"# {planted['a token']}\n# password = \"{planted['a line of the file']}\"\n{before}")
    (site.FOLDER / "run/office/log").open("a").write(f"planted: {planted['the password']}, {planted['a key beside it']}\n")
    for words, addresses in (((), True), (("--anonymise", "--for", "2s"), False)):
        archive = site.FOLDER / f"diag{len(words)}.tar.gz"
        code, shown, said = says("diag", *words, "-o", str(archive), OFFICE)
        check(f"diag {' '.join(words)}: 0, and the archive's name", code == 0 and shown.strip() == str(archive), (code, shown, said))
        check("for root alone", archive.stat().st_mode & 0o777 == 0o600)
        with tarfile.open(archive) as tar:
            texts = {member.name.split("/")[-1]: tar.extractfile(member).read().decode(errors="replace") for member in tar if member.isfile()}
        whole = "\n".join(texts.values())
        for what, secret in planted.items():
            check(f"{what} is not in it", secret not in whole, [name for name, text in texts.items() if secret in text])
        for name, part in (("office.toml", 'name = "orange"'), ("status.txt", '"state": "up"'), ("doctor.txt", '"code"'), ("log.txt", "carries traffic"),
                           ("effective.txt", 'bond.interface = "bond0"'), ("routes.txt", "proto 98"), ("firewall.txt", "BONDD-"), ("machine.txt", "bondd ")):
            check(f"{name} is", part in texts.get(name, ""), texts.get(name, sorted(texts))[:500])
        check("public addresses are in it" if addresses else "and none is", (site.SERVER in whole) == addresses)
        if not addresses:
            check("with --for a status a second", len(texts["status-each-second.jsonl"].splitlines()) >= 2)
    file.write_text(before)
    code, _, said = says("diag", "-o", "/proc/absent/x.tar.gz", OFFICE)
    check("a place where nothing can be written: 1, with the cause", code == 1 and "cannot be written" in said, (code, said))
    check("no time that is none", says("diag", "--for", "soon", OFFICE)[0] == 2)


def hooks():
    """[hooks]: run at each change with MLVPN's words, tried by `hooks test`, and nothing waits for it."""
    file, script, told = site.FOLDER / "office.toml", site.FOLDER / "hook", site.FOLDER / "told"
    code, _, said = says("hooks", "test", OFFICE)
    check("hooks test without [hooks]: 1, and what to write", code == 1 and "run = " in said, (code, said))
    plain = file.read_text()
    file.write_text(f'{plain}\n[hooks]\nrun = "hook"\ntimeout = "20s"\n')
    script.write_text(f'#!/bin/sh\necho "$1 $2 $3 $IP4_GATEWAY $BONDD_TO" >>{told}\necho "said by $2"\n[ "$2" != test ] || exit 4\n')
    script.chmod(0o777)
    code, _, said = says("check", OFFICE)
    check("a hook that others can change is refused, with the cure", code == 1 and f"chmod 755 {script}" in said, said)
    script.chmod(0o644)
    check("so is one that cannot be run", "not executable" in says("check", OFFICE)[2])
    script.chmod(0o755)
    site.run("office", "reload", OFFICE)
    code, shown, said = says("hooks", "test", OFFICE)
    check("hooks test shows the output and the exit status", code == 1 and said.startswith("said by test\nexit status 4 after") and not shown, (code, said))
    lines = lambda: [line.split() for line in told.read_text().splitlines()] if told.exists() else []
    up = ["bond0", "rtun_up", "orange", "172.16.16.1", "up"]
    wait_for("it is told of what is up already, and of the test", lambda: up in lines() and ["bond0", "test", "172.16.16.1"] in lines())
    sh("ip link set dsl2 down", ns="office")
    wait_for("a line that falls silent: rtun_down", lambda: any(line[:3] == ["bond0", "rtun_down", "orange"] for line in lines()), 20)
    told.unlink()
    sh("ip link set dsl2 up; ip route replace default via 10.99.2.1 metric 2", ns="office")
    wait_for("a line that is back: rtun_up", lambda: up in lines(), 20)
    wait_for("both WANs up", lambda: site.states() == UP, 20)
    script.write_text("#!/bin/sh\nsleep 1000\n")
    trial = subprocess.Popen(site.bondd("office", "hooks", "test", OFFICE), stderr=subprocess.DEVNULL)
    time.sleep(1)
    began = time.monotonic()
    check("a hook that hangs holds nothing up", site.states() == UP and time.monotonic() - began < 2)
    trial.terminate()
    trial.wait()
    file.write_text(plain)
    site.run("office", "reload", OFFICE)
    told.unlink(missing_ok=True)


def without_rights():
    """Somebody who is not root is told so, and changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        site.os.chmod(folder, 0o755)
        program = shutil.copy(site.BONDD, folder)
        for words in [("wan", OFFICE, "orange", "drain"), ("ping", OFFICE), ("confirm", OFFICE), ("monitor", "--json", OFFICE),
                      ("reload", "--confirm", "1m", OFFICE)]:
            done = subprocess.run(["ip", "netns", "exec", site.NAMES["office"], "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                   program, "--run-dir", str(site.FOLDER / "run"), *words], capture_output=True, text=True, timeout=20)
            check(f"{words[0]} without rights: 1, and what to do", done.returncode == 1 and "only root" in done.stderr and "sudo" in done.stderr, done)
    check("nothing was changed", site.states() == UP, site.states())


def not_up():
    """Commands for a running site when none runs."""
    for words in [("wan", OFFICE, "orange", "drain"), ("ping", OFFICE), ("confirm", OFFICE)]:
        code, shown, said = says(*words)
        check(f"{words[0]} of a site that is not up: 1, and what to do", code == 1 and not shown and "`bondd up office`" in said, (code, shown, said))
    listener = Listener("--json", OFFICE)
    wait_for("monitor of one says so, and waits", lambda: listener.events(event="bondd", to="stopped"))
    check("with what to do", "`bondd up office`" in listener.events(event="bondd")[0]["reason"], listener.lines)
    check("it goes on", listener.process.poll() is None)
    listener.process.terminate()


def play_all():
    time.sleep(2)  # for the carrier
    exit_statuses()
    remarks_are_problems()
    ping()
    metrics()
    drain()
    monitor()
    wait_for("both WANs up", lambda: site.states() == UP)
    hooks()
    without_rights()
    diag()
    site.down()
    not_up()


if __name__ == "__main__":
    sys.exit(site.exit_status_of(play_all))
