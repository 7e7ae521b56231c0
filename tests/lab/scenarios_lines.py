"""What lines do in real life: PPPoE, a new address after the night, dead at start; and a VPS that restarts."""
import dataclasses
import os
import pathlib
import re
import time

import flow
import office
from bondd_site import PEER, SIDES, build
from scenarios import scenario
from scenarios_steer import Sniffer

SECOND_ADDRESS = "203.0.113.11"  # of the VPS


def until(seconds, good):
    """Seconds until good() is true, tried ten times a second; None when it stays false."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if good():
            return time.monotonic() - began
        time.sleep(0.1)
    return None


def all_up(site):
    return [w["state"] for w in site.status()["wans"]] == ["up", "up"]


def both_carry(lab, seconds=3):
    """Mbit/s that come down each line while one TCP download runs for some seconds."""
    running = flow.Flow("srv", "cli", PEER, port=5300)
    time.sleep(1)
    before = lab.line_bytes()
    time.sleep(seconds)
    rates = [(b - a) * 8 / 1e6 / seconds for a, b in zip(before, lab.line_bytes())]
    running.stop()
    return rates


@scenario("pppoe", limit=120)
def pppoe(report):
    """lines with an MTU of 1492: no outer fragment, and full-sized packets pass"""
    lab, site = build(report, [dataclasses.replace(line, mtu=1492) for line in office.EQUAL])
    site.up()
    before = lab.fragments()
    rate = flow.measure(8, "web", "pc", office.WEB)
    report.figure("one TCP download from the Internet to the LAN", rate, "Mbit/s", least=3.3)
    report.figure("outer fragments sent meanwhile", lab.fragments() - before, most=0)
    report.check("a full-sized ping passes", office.full_sized_ping())
    site.down()


@scenario("new-address", limit=120)
def new_address(report):
    """box 2 gets a new address from its provider: the line carries again by itself"""
    lab, site = build(report, measured=True)
    site.up()
    office.ip_batch(["addr del 198.51.102.2/24 dev wan", "addr add 198.51.102.77/24 dev wan", "route replace default via 198.51.102.1"], "box2")
    changed = time.monotonic()
    time.sleep(1)
    took = until(20, lambda: all_up(site))
    report.figure("status: both WANs up again after", took and time.monotonic() - changed, "s", most=15.0)
    one, two = both_carry(lab)
    report.figure("comes down line 2", two, "Mbit/s", least=1.5)
    site.down()


@scenario("second-address", limit=120)
def second_address(report):
    """the VPS has two addresses and its file names none; the office uses the second: it answers from there"""
    lab, site = build(report)
    office.ip_batch([f"addr add {SECOND_ADDRESS}/24 dev eth0"], "srv")
    site.edit("vps", f'address = "{office.SERVER}"', "")
    site.edit("office", f'address = "{office.SERVER}"', f'address = "{SECOND_ADDRESS}"')
    report.figure("up -d until traffic flows", site.up(), "s", most=15.0)
    report.check("status: both WANs up", until(10, lambda: all_up(site)) is not None, site.status())
    site.down()


@scenario("dead-at-start", limit=120)
def dead_at_start(report):
    """the first line is dead when the site comes up: the other one carries, and the first joins later"""
    lab, site = build(report, measured=True)
    lab.cut(1)
    report.figure("up -d until traffic flows on line 2 alone", site.up(), "s", most=15.0)
    report.check("status: degraded", site.status()["state"] == "degraded", site.status())
    mended = lab.mend(1)
    took = until(15, lambda: all_up(site))
    report.figure("line 1 mended: status says up after", took and time.monotonic() - mended, "s", most=8.0)
    rates = both_carry(lab)
    report.figure("comes down line 1", rates[0], "Mbit/s", least=1.5)
    site.down()


@scenario("all-cut", limit=150)
def all_cut(report):
    """both lines are cut for 11 s: state, exit status, share and loss tell what was heard lately"""
    lab, site = build(report)
    site.up("--timeout", "50s")  # a lab on a slow core
    running = flow.Flow("web", "pc", office.WEB)
    time.sleep(3)
    for number in (1, 2):
        lab.cut(number)
    cut = time.monotonic()
    took = until(10, lambda: site.run("office", "status", "office").returncode == 3)
    report.figure("office: status says down after", took and time.monotonic() - cut, "s", most=6.0)
    time.sleep(max(0.0, cut + 11 - time.monotonic()))
    running.stop()
    for side in SIDES:
        status, shown = site.status(side), site.run(side, "status", side)
        report.check(f"{side}: down after 11 s", status["state"] == "down", status)
        report.check(f"{side}: no WAN is up", all(w["state"] not in ("up", "lossy", "slow") for w in status["wans"]), status["wans"])
        report.check(f"{side}: exit status 3", shown.returncode == 3, f"exit {shown.returncode}: {shown.stdout}")
        for figure in ("share_percent", "rx_share_percent", "loss_percent"):
            report.check(f"{side}: no {figure} of what was not heard", all(w[figure] is None for w in status["wans"]), status["wans"])
    site.down()


@scenario("files-differ", limit=150)
def files_differ(report):
    """weights, order of WANs, MTU and LAN that differ: each is named, and no tunnel leads from one WAN to another"""
    lab, site = build(report)
    weights = {"office": (2, 1), "vps": (1, 2)}
    for side, (first, second) in weights.items():
        text = site.files[side].read_text()
        text = text.replace('name    = "ovh"', f'name = "ovh"\nweight = {first}').replace('name    = "orange"', f'name = "orange"\nweight = {second}')
        text = text.replace('name = "ovh"\nport', f'name = "ovh"\nweight = {first}\nport').replace('name = "orange"\nport', f'name = "orange"\nweight = {second}\nport')
        site.files[side].write_text(text)
        report.check(f"{side}: weights are written", text.count("weight = ") == 2, text)
    site.edit("vps", 'through_bond = ["192.168.1.0/24"]', 'through_bond = ["192.168.7.0/24"]')
    site.edit("office", "[bond]", "[bond]\nmtu = 1300")
    ports = {1: 1194, 2: 1196}  # box: port of its WAN
    watch = {number: Sniffer(f"box{number}", "wan") for number in ports}
    site.up("--timeout", "50s")  # a lab on a slow core
    wanted = {"tunnels-differ", "setting-differs", "lan-missing"}
    named = lambda side: {p["code"]: p["text"] for p in site.status(side)["problems"]}
    for side in SIDES:
        until(20, lambda: wanted <= set(named(side)))
        said = named(side)
        report.check(f"{side} names weights, MTU and LAN", wanted <= set(said), said)
        report.say(f"      {said.get('tunnels-differ')}; {said.get('setting-differs')}; {said.get('lan-missing')}")
    # Both ends' own words: which port is whose. What one end calls ovh the other never calls orange.
    owners = {}
    crossed = []
    for side in SIDES:
        for line in office.sh("ps ax -o args | grep [o]penvpn", ns=SIDES[side]).splitlines():
            path = next((w for w in line.split() if w.endswith(".conf") and f"/{side}/" in w), None)
            if not path:
                continue
            text = pathlib.Path(path).read_text()
            port = re.search(r"^lport (\d+)" if side == "vps" else r"^remote \S+ (\d+)", text, re.M).group(1)
            wan = re.search(r"openvpn-([a-z]+)", pathlib.Path(path).name).group(1)
            if owners.setdefault(port, wan) != wan:
                crossed.append((port, owners[port], wan))
    report.check("no port belongs to another WAN on the other end", len(owners) >= 3 and not crossed, f"{owners} {crossed}")
    time.sleep(2)
    report.check("each WAN's tunnel leaves by its own gateway", all(watch[n].count([("udp", p)]) > 0 for n, p in ports.items()) and
                 watch[1].count([("udp", 1196)]) == 0 and watch[2].count([("udp", 1194)]) == 0, {n: w.seen for n, w in watch.items()})
    site.down()


@scenario("vps-restart", limit=120)
def vps_restart(report):
    """the VPS's bondd stops and starts again: the office comes back by itself"""
    lab, site = build(report, measured=True)
    site.up()
    site.run("vps", "down", str(site.files["vps"]))
    gone = until(10, lambda: site.status()["state"] == "down")
    report.figure("office: status says down after", gone, "s", most=8.0)
    began = time.monotonic()
    done = site.run("vps", "up", "-d", str(site.files["vps"]))
    report.check("vps: up again", done.returncode == 0, done.stderr)
    carries = until(10, lambda: lab.pings("cli", PEER))
    report.figure("a ping passes after", carries and time.monotonic() - began, "s", most=8.0)
    report.figure("both WANs up after", until(10, lambda: all_up(site)) is not None and time.monotonic() - began or None, "s", most=12.0)
    site.down()


@scenario("clock-back", limit=150)
def clock_back(report):
    """the office's machine, without a clock chip, starts half an hour behind: the VPS takes its packets all the same"""
    if not os.path.exists("/.machine"):
        raise RuntimeError("only in a kernel of its own (--no-direct): this one's clock is the machine's")
    lab, site = build(report)
    site.up("--timeout", "50s")  # a lab on a slow core
    site.run("office", "down", str(site.files["office"]))
    office.sh("date -s @$(( $(date +%s) - 1800 ))")
    began = time.monotonic()
    done = site.run("office", "up", "-d", "--timeout", "60s", str(site.files["office"]), timeout=120)
    report.check("office: up again with the older clock", done.returncode == 0, done.stderr + site.logs())
    carries = until(30, lambda: lab.pings("cli", PEER))
    report.figure("a ping passes after", carries is not None and time.monotonic() - began or None, "s", most=30.0)
    log = pathlib.Path("/run/bondd/vps/log").read_text()
    report.check("the VPS says why", "its clock went back" in log, log[-1500:])
    site.down()
