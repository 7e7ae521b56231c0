"""How fast, and how fast it recovers: the recipe by hand, and bondd against it."""
import subprocess
import time

import flow
import office
from bondd_site import PEER, Site, build, build_office
from byhand import ByHand
from scenarios import scenario


def alone(lab, number, seconds=6):
    """What one TCP flow gets on one line alone, with no tunnel: web to cli, through that box."""
    box = {1: "192.168.1.240", 2: "192.168.1.254"}[number]
    office.sh(f"ip route replace {office.WEB} via {box}", ns="cli")
    try:
        return flow.measure(seconds, "web", "cli", office.WEB)
    finally:
        office.sh(f"ip route del {office.WEB}", ns="cli")


def silent_cut(report, lab, by_hand=False, direction="both"):
    """Cuts line 2 in the middle of a download, mends it, and says what the receiver saw."""
    running = flow.Flow("srv", "cli", PEER)
    time.sleep(6)
    cut = lab.cut(2, direction)
    time.sleep(8)
    mended = lab.mend(2)
    time.sleep(8)
    end = time.monotonic()
    running.stop()
    other = lab.lines[0].mbit
    report.figure("line cut silently: longest time without a byte", running.longest_silence(cut, mended), "s",
                  **({} if by_hand else {"most": report.option("silence", 0.6)}))
    report.figure("from the cut to the first second at 60 % of the other line", running.first_second_at(0.6 * other, cut, mended),
                  "s", speed=True, **({} if by_hand else {"most": 1.0}))
    report.figure("rate from 3 s after the cut", running.mbit(cut + 3, mended), "Mbit/s")
    back = running.first_second_at(1.3 * other, mended, end)
    report.figure("line back: carries again (1.3 of the other line) after", back, "s", speed=True,
                  **({} if by_hand else {"most": 5.0}))


def bar(report, full, quick):
    """The bar of the full measurement (runs=3 seconds=15); a short one on a shared machine gets a lower one."""
    return full if report.option("runs", 1) >= 3 else quick


def one_download(report):
    seconds = report.option("seconds", 10)
    return report.median(lambda: flow.measure(seconds, "srv", "cli", PEER), report.option("runs", 1))


ROOM = 3        # times what the lines carry: what the machine itself must carry, or its processor is measured
SLOWEST = 0.4   # of the lines' rates: below it a packet takes so long that TCP is still starting when it is measured
TRIES = 4       # a machine that others use is busy for seconds at a time


def percent_of_lines(report, lab, what, take, **bar_and_more):
    """A rate as percent of what both lines carry, on lines that this machine has room for at that moment.

    `take` measures once, in Mbit/s. What the machine carries over faster lines is measured before and after: where
    it did not have the room, the figure says nothing and is taken again on slower lines. Without room to the end it is a
    bar of speed, which a busy machine does not judge.
    """
    wanted, room = lab.lines.copy(), 0.0
    before = carried(lab, wanted)
    for _ in range(TRIES):
        factor = min(1.0, before / ROOM / sum(line.mbit for line in wanted))
        set_lines(lab, [line.times(max(factor, SLOWEST)) for line in wanted])
        both = sum(line.mbit for line in lab.lines)
        rate, before = take(), carried(lab, wanted)
        room = before / both
        report.say(f"    {rate:.2f} Mbit/s on lines of {both:.2f}; the machine itself carries {room:.1f} times that")
        if room >= 0.8 * ROOM:
            break
    set_lines(lab, wanted)
    return report.figure(what, 100 * rate / both, "%", speed=room < 0.8 * ROOM, **bar_and_more)


def carried(lab, lines, seconds=3):
    """Mbit/s of one download through the bond over lines with room to spare."""
    set_lines(lab, [line.times(1.5 * ROOM) for line in lines])
    return flow.measure(seconds, "srv", "cli", PEER, settle=1)


def set_lines(lab, lines):
    for number, line in enumerate(lines, 1):
        lab.set_line(number, line)


@scenario("by-hand", limit=150, needs_bondd=False)
def by_hand(report):
    """the recipe typed by an admin, on two equal lines: the figures to beat"""
    lab = build_office(report, office.EQUAL)
    for number in (1, 2):
        report.figure(f"line {number} alone, no tunnel", alone(lab, number), "Mbit/s", least=1.8)
    ByHand(lab)
    before = lab.fragments()
    rate = report.median(lambda: flow.measure(report.option("seconds", 10), "srv", "cli", PEER), report.option("runs", 2))
    report.figure("one TCP download, both lines", rate, "Mbit/s", least=3.0)
    report.figure("outer fragments sent meanwhile", lab.fragments() - before)
    for _ in range(report.option("cuts", 1)):
        silent_cut(report, lab, by_hand=True)


@scenario("by-hand-unlike", limit=100, needs_bondd=False)
def by_hand_unlike(report):
    """the recipe typed by an admin, on unlike lines: equal shares hurt"""
    lab = build_office(report, office.UNLIKE)
    for number in (1, 2):
        report.figure(f"line {number} alone, no tunnel", alone(lab, number), "Mbit/s")
    ByHand(lab)
    rate = report.median(lambda: flow.measure(report.option("seconds", 10), "srv", "cli", PEER), report.option("runs", 2))
    report.figure("one TCP download, both lines", rate, "Mbit/s")


@scenario("rr-download", limit=180)
def rr_download(report):
    """two equal lines, balance-rr: one TCP download, up and through NAT as well"""
    lab, site = build(report, office.EQUAL, measured=True)
    report.figure("up -d on both ends until traffic flows", site.up(), "s", most=6.0)
    before = lab.fragments()
    percent_of_lines(report, lab, "one TCP download, of both lines", lambda: one_download(report), least=report.option("least", bar(report, 89, 80)),
                     by_hand="85 to 88")
    percent_of_lines(report, lab, "one TCP upload", lambda: flow.measure(6, "cli", "srv", PEER, connects="sender"), least=report.option("least", 75))
    percent_of_lines(report, lab, "from the Internet to the LAN (NAT at the VPS)", lambda: flow.measure(6, "web", "pc", office.WEB),
                     least=report.option("least", 75))
    report.figure("outer fragments sent meanwhile", lab.fragments() - before, most=1)
    report.check("a full-sized ping passes", office.full_sized_ping())
    site.down()


def link_failures():
    """How often the office's bond has lost a slave so far."""
    text = office.sh("cat /proc/net/bonding/bond0", ns="cli")
    return sum(int(x.split(":")[1]) for x in text.splitlines() if x.startswith("Link Failure Count"))


@scenario("xor-8flows", limit=180)
def xor_8flows(report):
    """balance-xor layer3+4: eight flows use both lines, and no WAN flaps in 60 s"""
    report.options["mode"] = "balance-xor"
    lab, site = build(report, office.EQUAL, measured=True)
    site.up()
    rate = report.median(lambda: flow.measure(report.option("seconds", 10), "srv", "cli", PEER, flows=8, settle=2), report.option("runs", 1))
    report.figure("eight TCP downloads", rate, "Mbit/s", least=bar(report, 3.4, 3.2))
    flaps, failures = 0, link_failures()
    end = time.monotonic() + report.option("watch", 60)
    slaves = {w: "up" for w in ("ovh", "orange")}
    while time.monotonic() < end:
        for wan in site.status()["wans"]:
            flaps += wan["state"] != slaves[wan["name"]] and wan["state"] != "up"
            slaves[wan["name"]] = wan["state"]
        time.sleep(1)
    report.figure("WAN flaps seen in status", flaps, most=0)
    report.figure("link failures counted by the bond meanwhile", link_failures() - failures, most=0)
    site.down()


@scenario("unlike-weights", limit=180)
def unlike_weights(report):
    """4000 kbit/s 10 ms + 1600 kbit/s 40 ms, weights from the rates in the files"""
    lab, site = build(report, office.UNLIKE, measured=True)
    for side in ("office", "vps"):
        for name, rate in (("ovh", "4000kbit"), ("orange", "1600kbit")):
            site.edit(side, f'name = "{name}"', f'name = "{name}"\nupload = "{rate}"\ndownload = "{rate}"')
    said = site.run("office", "check", str(site.files["office"]))
    report.check("check warns of unlike lines and names mlvpn", said.returncode == 0 and "mlvpn" in said.stdout + said.stderr,
                 f"exit {said.returncode}: {said.stdout}{said.stderr}")
    site.up()
    report.figure("one TCP download, both lines", one_download(report), "Mbit/s", least=bar(report, 3.3, 3.0), by_hand="2.46")
    site.down()


@scenario("silent-cut", limit=150)
def cut(report):
    """a line cut silently in the middle of a download, in both directions, and back"""
    lab, site = build(report, office.EQUAL, measured=True)
    site.up()
    for _ in range(report.option("cuts", 1)):
        silent_cut(report, lab)
    report.check("status: both WANs up again", all(site.wait_for_state("office", wan, "up") for wan in ("ovh", "orange")), site.status())
    site.down()


@scenario("one-way-cut", limit=150)
def one_way(report):
    """a line that loses one direction only: first what comes down, then what goes up"""
    lab, site = build(report, office.EQUAL, measured=True)
    site.up()
    for direction in ("down", "up"):
        report.say(f"  only {direction}:")
        silent_cut(report, lab, direction=direction)
        site.lab.pings("cli", PEER, tries=5)
        time.sleep(3)
    site.down()


@scenario("headroom", limit=90)
def headroom(report):
    """the same tunnels over lines with no shaping: what the lab's kernel itself carries"""
    lab, site = build(report, office.EQUAL, measured=True)
    site.up()
    lab.unshape()
    report.figure("one TCP download over unshaped lines", one_download(report), "Mbit/s", least=5.0)
    site.down()


@scenario("command", limit=600, needs_bondd=False)
def command(report):
    """for developers: -o run='shell command' in a lab; -o up=by-hand or up=bondd brings the bond up first"""
    lab = build_office(report, office.UNLIKE if report.option("lines", "") == "unlike" else office.EQUAL)
    if report.option("up", "") == "by-hand":
        ByHand(lab)
    elif report.option("up", ""):
        site = Site(lab, report)
        report.figure("up -d on both ends until traffic flows", site.up(), "s")
        for side, said in site.said.items():
            report.say(f"  {side}:\n    " + said.strip().replace("\n", "\n    "))
    done = subprocess.run(["sh", "-c", report.option("run", "ip -br -a addr")], stderr=subprocess.STDOUT)
    report.check("exit 0", done.returncode == 0, f"exit {done.returncode}")
