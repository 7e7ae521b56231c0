"""From nothing to a bond, with `bondd init` and `bondd join`, where the kernel has bonding."""
import flow
import office
from bondd_site import build
from scenarios import scenario


@scenario("first-bond", limit=300)
def first_bond(report):
    """init in the office, its token into join on the VPS: both lines carry one download; nothing edited by hand"""
    lab, site = build(report)
    files = {name: path.parent for name, path in site.files.items()}
    init = ["init", "--server", "203.0.113.10", "--backend", report.option("backend", "openvpn-bond"), "--out", str(files["office"]), "--force", "--yes"]
    made = site.run("office", *init)
    report.check("init ends with 0, and prints one line", made.returncode == 0 and made.stdout.count("\n") == 1, made.stderr)
    report.check("it found both gateways", all(f"gateway {address}: reaches" in made.stderr for address in ("192.168.1.240", "192.168.1.254")),
                 made.stderr)
    joined = site.run("vps", "join", "--out", str(files["vps"]), "--state-dir", "/run/lab/state", "--force", input=made.stdout)
    report.check("join ends with 0", joined.returncode == 0, joined.stderr)
    report.say(f"    up -d on both ends until traffic flows: {site.up('--timeout', '120s'):.1f} s")
    before = lab.line_bytes()
    rate = flow.measure(8, "web", "pc", office.WEB)
    report.say(f"    one TCP download from the Internet to the LAN: {rate:.2f} Mbit/s")
    carried = [now - then for now, then in zip(lab.line_bytes(), before)]
    report.figure("the lesser line's part of it", min(carried) / sum(carried), least=0.2)
    site.down()
