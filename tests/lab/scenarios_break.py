"""When things are wrong: bondd says what, ends with the right status, and leaves nothing."""
import os
import pathlib
import subprocess
import time

import office
from bondd_site import SIDES, build, snapshot
from office import udp_socket
from scenarios import scenario
from scenarios_clean import compare

OPENVPN = "/usr/sbin/openvpn"


def refuses(report, site, what, side, words, code=1, before=None, command=None, within=40):
    """`bondd up -d` of one side fails with `code`, its message holding one of `words`, and nothing is left."""
    began = time.monotonic()
    command = command or site.command(side, "up", "-d", "--timeout", "8s", str(site.files[side]))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within)
    except subprocess.TimeoutExpired as e:
        report.check(f"{what}: ends", False, f"still running after {within} s: {e.stdout} {e.stderr}")
        site.kill_all()
        return
    said = done.stdout + done.stderr
    good = done.returncode == code and any(w in said.lower() for w in words)
    report.check(f"{what}: exit {code}, says {' or '.join(words)}", good, f"exit {done.returncode} after {time.monotonic() - began:.0f} s: {said}")
    if good:
        telling = [line for line in said.splitlines() if any(w in line.lower() for w in words)]
        report.say("      " + telling[-1].strip())
    if before:
        compare(report, "  and nothing is left", before)


@scenario("mistakes", limit=150)
def mistakes(report):
    """a port in use, openvpn missing, no privileges, no such name, no such device, a bad file"""
    lab, site = build(report)
    before = snapshot()
    taken = udp_socket("srv", (office.SERVER, 1194))
    refuses(report, site, "port in use", "vps", ["1194"], before=before)
    taken.close()

    good = {s: f.read_text() for s, f in site.files.items()}
    site.edit("office", 'address = "203.0.113.10"', 'address = "vps.example.invalid"')
    refuses(report, site, "a name that does not resolve", "office", ["vps.example.invalid"], before=before)
    site.files["office"].write_text(good["office"].replace('"eth0"', '"eth7"'))
    refuses(report, site, "no such device", "office", ["eth7"], before=before)
    site.files["office"].write_text(good["office"].replace("arp_interval", "arp_intervall"))
    refuses(report, site, "a misspelt key", "office", ["arp_interval"], before=before)
    site.files["office"].write_text(good["office"])

    office.sh(f"mount --bind /dev/null {OPENVPN}")
    refuses(report, site, "openvpn missing", "office", ["openvpn"], before=before)
    office.sh(f"umount {OPENVPN}")

    everyone = pathlib.Path("/run/lab/everyone")
    everyone.mkdir()
    program = office.sh(f"cp {site.bondd} {everyone}/bondd && chmod 755 {everyone} {everyone}/bondd && echo {everyone}/bondd").strip()
    for name in ("bond.key", "bond.password"):
        os.chown(site.files["office"].parent / name, 65534, 65534)
    refuses(report, site, "no privileges", "office", ["root", "privilege", "cap_net_admin", "not permitted"],
            command=f"ip netns exec cli setpriv --reuid=65534 --regid=65534 --clear-groups {program} up -d {site.files['office']}".split())
    wrong = subprocess.run(site.command("office", "upp"), capture_output=True, text=True)
    report.check("wrong use: exit 2", wrong.returncode == 2, f"exit {wrong.returncode}: {wrong.stderr}")


SECRETS = ("key", "password", "authentic", "secret")


def says_why(said):
    return any(word in said.lower() for word in SECRETS)


@scenario("wrong-key", limit=200)
def wrong_key(report):
    """the two ends have different keys: both say so within seconds, neither comes up, nothing is left"""
    lab, site = build(report)
    office.sh(f"openvpn --genkey secret {site.files['office'].parent}/bond.key")
    site.write("office", "bond.password", "another password\n")
    before = snapshot()
    running = {side: site.start(side, "up", str(site.files[side])) for side in ("vps", "office")}
    logs = {side: pathlib.Path(f"/run/bondd/{side}/log") for side in SIDES}
    text = lambda side: logs[side].read_text() if logs[side].exists() else ""
    wait(60, lambda: all(word in text(side) for side, word in (("office", "is set up"), ("vps", "listens"))))
    set_up = time.monotonic()
    named = wait(30, lambda: all(says_why(text(side)) for side in SIDES))
    report.figure("set up until both say why", named and time.monotonic() - set_up, "s", most=8.0)
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.wait(30)
    site.up("--timeout", "20s", expect=1)
    for side in SIDES:
        report.check(f"{side} says why", says_why(site.said[side]), site.said[side])
        report.say("      " + (site.said[side].strip().splitlines() or ["(nothing)"])[-1][:150])
    compare(report, "nothing is left", before)


def wait(seconds, good):
    """Whether good() came true within `seconds`."""
    end = time.monotonic() + seconds
    while not good():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@scenario("server-away", limit=90)
def server_away(report):
    """the VPS does not answer: up -d gives up in its time, says so, and leaves nothing"""
    lab, site = build(report)
    before = snapshot()
    refuses(report, site, "no VPS", "office", ["203.0.113.10", "answer", "no traffic", "within", "not come up"], before=before)


@scenario("no-bonding", limit=60)
def no_bonding(report):
    """a kernel without the bonding module: said before anything is touched"""
    if not os.path.exists("/.machine"):
        raise RuntimeError("only in a kernel of its own (--no-direct): this one's bonding module is the machine's")
    lab, site = build(report)
    office.sh("rmmod bonding; rm /lib/modules/$(uname -r)")
    before = snapshot()
    refuses(report, site, "no bonding", "office", ["bonding"], before=before)
