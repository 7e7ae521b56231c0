"""What lines do in real life: PPPoE, a new address after the night, dead at start; and a VPS that restarts."""
import dataclasses
import os
import pathlib
import time

import flow
import office
from bondd_site import PEER, build
from scenarios import scenario


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
    lab, site = build(report)
    site.up()
    office.ip_batch(["addr del 198.51.102.2/24 dev wan", "addr add 198.51.102.77/24 dev wan", "route replace default via 198.51.102.1"], "box2")
    changed = time.monotonic()
    time.sleep(1)
    took = until(20, lambda: all_up(site))
    report.figure("status: both WANs up again after", took and time.monotonic() - changed, "s", most=15.0)
    one, two = both_carry(lab)
    report.figure("comes down line 2", two, "Mbit/s", least=1.5)
    site.down()


@scenario("dead-at-start", limit=120)
def dead_at_start(report):
    """the first line is dead when the site comes up: the other one carries, and the first joins later"""
    lab, site = build(report)
    lab.cut(1)
    report.figure("up -d until traffic flows on line 2 alone", site.up(), "s", most=15.0)
    report.check("status: degraded", site.status()["state"] == "degraded", site.status())
    mended = lab.mend(1)
    took = until(15, lambda: all_up(site))
    report.figure("line 1 mended: status says up after", took and time.monotonic() - mended, "s", most=8.0)
    rates = both_carry(lab)
    report.figure("comes down line 1", rates[0], "Mbit/s", least=1.5)
    site.down()


@scenario("vps-restart", limit=120)
def vps_restart(report):
    """the VPS's bondd stops and starts again: the office comes back by itself"""
    lab, site = build(report)
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
    site.up()
    site.run("office", "down", str(site.files["office"]))
    office.sh("date -s @$(( $(date +%s) - 1800 ))")
    began = time.monotonic()
    done = site.run("office", "up", "-d", "--timeout", "60s", str(site.files["office"]))
    report.check("office: up again with the older clock", done.returncode == 0, done.stderr)
    carries = until(30, lambda: lab.pings("cli", PEER))
    report.figure("a ping passes after", carries is not None and time.monotonic() - began or None, "s", most=30.0)
    log = pathlib.Path("/run/bondd/vps/log").read_text()
    report.check("the VPS says why", "its clock went back" in log, log[-1500:])
    site.down()
