"""Nothing is left behind, and what is the admin's stays."""
import json
import re
import signal
import time

import flow
import office
from scenarios import scenario
from bondd_site import PEER, SIDES, Site, build, difference, snapshot

ADMIN_BEFORE = {
    "cli": ["{ipt} -N ADMIN", "{ipt} -A FORWARD -j ADMIN", "{ipt} -A ADMIN -s 10.9.9.9 -j DROP", "{ipt} -A INPUT -p tcp --dport 9 -j ACCEPT",
            "{ipt} -t mangle -A PREROUTING -p udp --dport 53 -j MARK --set-mark 0x1",
            "ip rule add pref 1000 fwmark 0x1 lookup 77", "ip route add default via 192.168.1.240 table 77",
            "ip route add 10.8.0.0/16 via 192.168.1.240", "ip rule add pref 32000 from 10.1.1.1 lookup 77"],
    "srv": ["{ipt} -t nat -A POSTROUTING -s 10.7.0.0/16 -o eth0 -j MASQUERADE", "{ipt} -t nat -A PREROUTING -p tcp --dport 2222 -j DNAT --to 10.7.0.2:22",
            "{ipt} -A FORWARD -s 10.4.4.4 -j DROP", "ip route add 10.7.0.0/16 via 203.0.113.1"]}
ADMIN_DURING = {
    "cli": ["{ipt} -N ADMIN2", "{ipt} -A ADMIN2 -j RETURN", "{ipt} -I INPUT -j ADMIN2", "ip rule add pref 999 fwmark 0x100 lookup 78",
            "ip route add default via 192.168.1.254 table 78", "ip route add 10.6.0.0/16 via 192.168.1.254"],
    "srv": ["{ipt} -I FORWARD -s 10.5.5.5 -j DROP", "ip rule add pref 5000 from 10.5.0.0/16 lookup 79"]}
UNDO_DURING = {
    "cli": ["{ipt} -D INPUT -j ADMIN2", "{ipt} -F ADMIN2", "{ipt} -X ADMIN2", "ip rule del pref 999", "ip route flush table 78",
            "ip route del 10.6.0.0/16"],
    "srv": ["{ipt} -D FORWARD -s 10.5.5.5 -j DROP", "ip rule del pref 5000"]}


def admin(lab, commands):
    for ns, lines in commands.items():
        office.sh(" && ".join(lines).format(ipt=lab.iptables), ns=ns)


def compare(report, what, before):
    """The machine settles for a moment (addresses, dying processes), then must be as before."""
    for _ in range(10):
        changed = difference(before, snapshot())
        if not changed:
            break
        time.sleep(0.5)
    report.check(what, not changed, changed)


@scenario("clean", limit=150)
def clean(report):
    """before up against after down, and after kill -9 of everything and down: identical"""
    lab, site = build(report)
    before = snapshot()
    report.figure("up -d on both ends until traffic flows", site.up(), "s", most=6.0)
    report.check("the two sites' processes run", site.processes())
    site.down()
    compare(report, "after down: as before up", before)
    site.down()
    report.check("down once more: exit 0", True)
    site.up()
    report.say("    killed: " + " ".join(site.kill_all()))
    site.down()
    compare(report, "after kill -9 of everything, and down: as before up", before)
    site.up()
    report.say("    killed: " + " ".join(site.kill_all()))
    report.figure("up -d over the remains of a killed site", site.up(), "s", most=8.0)
    site.down()
    compare(report, "after that up, and down: as before up", before)


@scenario("admin", limit=120)
def admins_own(report):
    """the admin's own chains, rules and routes, made before and meanwhile: untouched"""
    lab = office.Office()
    admin(lab, ADMIN_BEFORE)
    site = Site(lab, report)
    before = snapshot()
    site.up()
    lost = "\n".join(x for x in difference(before, snapshot()).splitlines() if ": - " in x and ("ADMIN" in x or "10." in x or "0x1" in x))
    report.check("while up: all of the admin's is there", not lost, lost)
    admin(lab, ADMIN_DURING)
    time.sleep(2)
    report.check("the bond still carries", lab.pings("cli", PEER, tries=3))
    site.down()
    admin(lab, UNDO_DURING)  # fails when a line of it is gone
    compare(report, "after down: as before up", before)


@scenario("names", limit=300)
def names(report):
    """names as long as may be, one like what is generated of the other: all tunnels carry, nothing outlives a killed bondd"""
    lab, site = build(report)
    before = snapshot()
    first = "l" * 30
    second = first + "-2"  # 32 characters; the second tunnel of `first` was once called so
    for side in SIDES:
        text = re.sub(r'name *= "ovh"', f'name = "{first}"\nweight = 2', site.files[side].read_text())
        text = re.sub(r'name *= "orange"', f'name = "{second}"\nweight = 1', text).replace('wan   = "orange"', f'wan = "{second}"')
        site.files[side] = site.files[side].with_name(side + "x" * (64 - len(side)) + ".toml")
        site.files[side].write_text(text)
    site.up("--timeout", "50s")  # a lab on a slow core
    state = lambda: json.loads(site.said_by("office", "status", "--json", str(site.files["office"])))
    for _ in range(100):
        if state()["state"] == "up":
            break
        time.sleep(0.1)
    report.check("both WANs up", state()["state"] == "up", state())
    report.figure("taps in the office's bond", office.sh("ip -o link", ns="cli").count("master bond0"), least=3, most=3)
    running = site.processes("openvpn")
    report.figure("openvpn processes on both ends", len(running), least=6, most=6)
    office.sh("kill -9 " + " ".join(map(str, site.processes("bondd"))))
    time.sleep(3)
    report.check("no openvpn outlives a killed bondd", not site.processes("openvpn"), site.processes())
    site.down()
    compare(report, "after down as before up", before)


@scenario("twice", limit=120)
def twice(report):
    """up twice, status, Ctrl-C, SIGTERM: each ends in a known state"""
    lab, site = build(report)
    before = snapshot()
    site.up()
    again = site.run("office", "up", "-d", str(site.files["office"]))
    report.check("up -d once more: 0 or 1, and says so", again.returncode in (0, 1) and (again.stderr + again.stdout).strip(),
                 f"exit {again.returncode}: {again.stderr}")
    report.check("the bond still carries", lab.pings("cli", PEER, tries=3))
    status = site.status()
    report.check("status --json: up, two WANs up", status["state"] == "up" and [w["state"] for w in status["wans"]] == ["up", "up"], status)
    site.down()
    compare(report, "after down: as before up", before)
    for name, number in (("Ctrl-C", signal.SIGINT), ("SIGTERM", signal.SIGTERM)):
        running = {s: site.start(s, "up", str(site.files[s])) for s in ("vps", "office")}
        report.check("up in the foreground carries traffic", lab.pings("cli", PEER, tries=12))
        for process in running.values():
            process.send_signal(number)
        try:
            codes = [p.wait(15) for p in running.values()]
        except Exception as e:
            codes = [str(e)]
        report.check(f"{name}: both end with 0", codes == [0, 0], codes)
        compare(report, f"after {name}: as before up", before)


@scenario("openvpn-killed", limit=90)
def openvpn_killed(report):
    """an openvpn is killed in the middle of a download: it comes back by itself"""
    lab, site = build(report, measured=True)
    site.up()
    running = flow.Flow("srv", "cli", PEER)
    time.sleep(4)
    victims = site.processes("openvpn", "bondd-engine")
    office.sh(f"kill -9 {min(victims)}")
    killed = time.monotonic()
    time.sleep(9)
    end = time.monotonic()
    running.stop()
    report.figure("longest time without a byte", running.longest_silence(killed, end), "s", most=5.0)
    report.figure("rate in the last 3 s", running.mbit(end - 3, end), "Mbit/s", least=3.0)
    report.check("status: up again", site.status()["state"] == "up", site.status())
    site.down()
