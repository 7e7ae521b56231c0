"""How fast, and how fast it recovers: the recipe by hand, and bondd against it."""
import time

import flow
import office
from byhand import ByHand
from scenarios import scenario

PEER = "172.16.16.1"


def alone(lab, number, seconds=6):
    """What one TCP flow gets on one line alone, with no tunnel: web to cli, through that box."""
    box = {1: "192.168.1.240", 2: "192.168.1.254"}[number]
    office.sh(f"ip route replace {office.WEB} via {box}", ns="cli")
    try:
        return flow.measure(seconds, "web", "cli", office.WEB)
    finally:
        office.sh(f"ip route del {office.WEB}", ns="cli")


def silent_cut(report, lab, by_hand=False):
    """Cuts line 2 in the middle of a download, mends it, and says what the receiver saw."""
    running = flow.Flow("srv", "cli", PEER)
    time.sleep(6)
    cut = lab.cut(2)
    time.sleep(8)
    mended = lab.mend(2)
    time.sleep(8)
    end = time.monotonic()
    running.stop()
    other = lab.lines[0].mbit
    bar = {} if by_hand else {"most": 0.6}
    report.figure("line cut silently: longest time without a byte", running.longest_silence(cut, mended), "s", **bar)
    report.figure("from the cut to the first second at 60 % of the other line", running.first_second_at(0.6 * other, cut, mended),
                  "s", **({} if by_hand else {"most": 1.0}))
    report.figure("rate from 3 s after the cut", running.mbit(cut + 3, mended), "Mbit/s")
    back = running.first_second_at(1.3 * other, mended, end)
    report.figure("line back: carries again (1.3 of the other line) after", back, "s", **({} if by_hand else {"most": 5.0}))


@scenario("by-hand", limit=150, needs_bondd=False)
def by_hand(report):
    """the recipe typed by an admin, on two equal lines: the figures to beat"""
    lab = office.Office(office.EQUAL)
    for number in (1, 2):
        report.figure(f"line {number} alone, no tunnel", alone(lab, number), "Mbit/s", least=1.8)
    ByHand(lab)
    before = lab.fragments()
    rate = report.median(lambda: flow.measure(report.option("seconds", 10), "srv", "cli", PEER), report.option("runs", 2))
    report.figure("one TCP download, both lines", rate, "Mbit/s", least=3.2)
    report.figure("outer fragments sent meanwhile", lab.fragments() - before)
    silent_cut(report, lab, by_hand=True)


@scenario("by-hand-unlike", limit=100, needs_bondd=False)
def by_hand_unlike(report):
    """the recipe typed by an admin, on unlike lines: equal shares hurt"""
    lab = office.Office(office.UNLIKE)
    for number in (1, 2):
        report.figure(f"line {number} alone, no tunnel", alone(lab, number), "Mbit/s")
    ByHand(lab)
    rate = report.median(lambda: flow.measure(report.option("seconds", 10), "srv", "cli", PEER), report.option("runs", 2))
    report.figure("one TCP download, both lines", rate, "Mbit/s")


@scenario("command", limit=600, needs_bondd=False)
def command(report):
    """for developers: -o run='shell command' in a lab; -o up=by-hand brings the bond up first"""
    lab = office.Office(office.UNLIKE if report.option("lines", "") == "unlike" else office.EQUAL, report.option("boxes", "one-lan"))
    if report.option("up", "") == "by-hand":
        ByHand(lab)
    report.say(office.sh(report.option("run", "ip -br -a addr") + " 2>&1", check=False, timeout=500))
