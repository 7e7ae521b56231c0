"""The lab's own test: what the other scenarios lean on."""
import re
import time

import flow
import office
from bondd_site import difference, snapshot
from scenarios import scenario
from scenarios_clean import ADMIN_BEFORE, ADMIN_DURING, UNDO_DURING, admin
from scenarios_steer import Sniffer, ask, echo


@scenario("rig", limit=100, needs_bondd=False)
def rig(report):
    """the lab itself: delays, rates, cuts, sniffers and snapshots tell the truth"""
    lab = office.Office([office.Line("2000kbit", "25ms"), office.Line("4000kbit", "10ms", mtu=1492)],
                        report.option("boxes", "one-lan"))
    rtt = re.search(r"= ([\d.]+)/", office.sh(f"ping -qc5 -i0.2 {office.WEB}", ns="cli")).group(1)
    report.say(f"    {'netem' if lab.netem else 'no netem, so no delays: tbf'}, {lab.iptables}")
    if lab.netem:
        report.figure("least round trip through box 1 (25 ms each way)", float(rtt), "ms", least=50, most=55)
    before = snapshot()
    report.check("two snapshots are the same", not difference(before, snapshot()), difference(before, snapshot()))
    admin(lab, ADMIN_BEFORE)
    seen = difference(before, snapshot())
    report.check("a snapshot sees an admin's rules, routes and chains", all(w in seen for w in ("ADMIN", "lookup 77", "10.8.0.0/16", "2222")), seen)
    before = snapshot()
    admin(lab, ADMIN_DURING)
    admin(lab, UNDO_DURING)
    report.check("undone, it is as before", not difference(before, snapshot()), difference(before, snapshot()))

    for proto in ("tcp", "udp"):
        echo("web", proto, 6112)
        watch = Sniffer("box1", "wan")
        seen = ask("cli", proto, office.WEB, 6112)
        report.check(f"{proto}: box 1 masquerades cli", seen == "198.51.101.2", seen)
        time.sleep(0.2)
        report.figure(f"{proto}: packets sniffed at box 1", watch.count([(proto, 6112)]), least=2)

    running = flow.Flow("web", "cli", office.WEB)
    time.sleep(3)
    cut = lab.cut(1)
    time.sleep(2)
    mended = lab.mend(1)
    time.sleep(6)
    running.stop()
    report.figure("rate through box 1 before the cut", running.mbit(cut - 2, cut), "Mbit/s", least=1.6, most=2.0)
    report.figure("silence while cut for 2 s", running.longest_silence(cut, mended + 6), "s", least=1.9)
    report.check("cut and mended: it carries again", running.first_second_at(1.6, mended, mended + 6) is not None)
