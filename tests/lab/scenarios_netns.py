"""tests/netns in the lab's kernel, which has the bonding that the machine's may lack."""
import pathlib
import re
import subprocess

from scenarios import scenario

# Starting programs and deleting devices are slow here; all that needs no bonding runs on the machine
# itself, and the lab's own scenarios kill and mend whole sites.
FILTER = "NetlinkNetns.*:BondNetns.*:EmptyMachine.*:*SiteNetns.IsMade*/OfficeBond"


def newest_program(source):
    built = [*source.glob("build/tests/netns/netns_test"), *source.glob("build/*/tests/netns/netns_test")]
    return str(max(built, key=lambda p: p.stat().st_mtime)) if built else "netns_test"


@scenario("netns", limit=300, needs_bondd=False)
def netns(report):
    """tests/netns on this kernel: links, bonds, routes, rules, iptables"""
    program = report.option("program", "") or newest_program(pathlib.Path(report.args["source"]))
    subprocess.run(["modprobe", "-a", "tun", "ipv6"])  # /dev/net/tun is there only then
    ran = subprocess.run([program, "--gtest_filter=" + report.option("filter", FILTER)],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    failed = re.findall(r"^\[  FAILED  \] (\S+)", ran.stdout, re.M)
    skipped = set(re.findall(r"^\[  SKIPPED \] (\S+)", ran.stdout, re.M))
    passed = set(re.findall(r"^\[       OK \] (\S+)", ran.stdout, re.M))
    report.check("all that ran passed", ran.returncode == 0 and not failed, ran.stdout[-4000:])
    report.figure("tests that passed", len(passed), least=1)
    report.check("bonds were tested", any("Bond" in name for name in passed), "skipped: " + " ".join(sorted(skipped)))
    report.say(f"    skipped, for this kernel lacks it: {len(skipped)} {' '.join(sorted(skipped))}")
