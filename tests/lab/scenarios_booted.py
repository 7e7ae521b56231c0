"""The package on booted machines: an office and its VPS from nothing to traffic, then all that happens to a running site.

tests/booted makes the tree and the packages, and starts this. Options: tree=DIR, deb=FILE (in the tree), newer=FILE, backend=mlvpn,
patience=N (times may take that often as long: the lab's kernel starts a program in 50 ms).
"""
import contextlib
import re
import subprocess
import time

import flow
import machines
import office
from bondd_site import PEER, build_office, difference, snapshot
from scenarios import scenario

SERVER = "203.0.113.10"
FIRST_BOND_LIMIT_S = 20   # machine time from installed packages to traffic through both lines
RELOAD_LIMIT_S = 1        # the longest silence during a reload
CLEAN_LIMIT_S = 5         # after kill -9, until nothing of bondd is left
AWAY_LIMIT_S = 3          # the longest silence during a restart or an upgrade
BACK_LIMIT_S = 30         # after kill -9 or a reboot, until it carries by itself
MEMORY_LIMIT_MB = 40      # all processes of an idle site
EXPOSURE_LIMIT = 2.5      # systemd-analyze security


def patience(report):
    return report.option("patience", 1)


class Stopwatch:
    """Times what a person types, and says it."""

    def __init__(self, report):
        self.report, self.total = report, 0.0

    def __call__(self, machine, command, **more):
        began = time.monotonic()
        done = machine.run(command, **more)
        took = time.monotonic() - began
        self.total += took
        self.report.say(f"    {machine.name:6} {command:50} {took:6.1f} s")
        return done


class Pings:
    """Ten pings a second from the LAN to the Internet, to learn how long nothing passed."""

    def __init__(self):
        self.process = subprocess.Popen(["ip", "netns", "exec", "pc", "ping", "-nDi0.1", "-W5", office.WEB], stdout=subprocess.PIPE, text=True)

    def longest_silence(self):
        """Ends the pings; the longest time without an answer, in seconds."""
        self.process.terminate()
        lines = self.process.communicate()[0]
        times = [float(t) for t in re.findall(r"^\[([\d.]+)\] \d+ bytes", lines, re.MULTILINE)]
        return max((b - a for a, b in zip(times, times[1:])), default=None)


@contextlib.contextmanager
def silence(report, what, most):
    pings = Pings()
    time.sleep(1)
    yield
    time.sleep(2)
    report.figure(what, pings.longest_silence(), "s", most=most)


def seconds_until(good, limit):
    """Seconds until good() is true; None when it is not within the limit."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        if good():
            return time.monotonic() - began
        time.sleep(0.1)
    return None


def unit_of(machine):
    return f"bondd@{machine.name}"


def carries(lab):
    """Whether the PC reaches the Internet by the VPS."""
    return lab.pings("pc", office.WEB) and lab.pings("cli", PEER)


def lesser_share(report, lab):
    before = lab.line_bytes()
    rate = flow.measure(8, "web", "pc", office.WEB)
    report.say(f"    one TCP download from the Internet to the LAN: {rate:.2f} Mbit/s")
    carried = [now - then for now, then in zip(lab.line_bytes(), before)]
    return min(carried) / sum(carried)


def exposure(machine, unit):
    said = machine.says(f"systemd-analyze security --no-pager {unit}")
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said).group(1))


def memory_mb(machine):
    """What the machine's bondd and its children have of the memory, shared pages counted by share."""
    said = machine.says("cat $(sed 's#.*#/proc/&/smaps_rollup#' /sys/fs/cgroup/system.slice/system-bondd.slice/*/cgroup.procs) | grep ^Pss:")
    return sum(int(line.split()[1]) for line in said.splitlines()) / 1024


def complaints(machine):
    """What the machine's systemd and bondd have to say against the unit, its settings and its network."""
    said = machine.says("journalctl --boot --no-pager --priority=warning --unit='bondd@*'; "
                        "journalctl --boot --no-pager --grep='bondd.*(Unknown|Failed|ignoring|unsafe)' --quiet", check=False)
    return "\n".join(line for line in said.splitlines() if "No entries" not in line)


def from_nothing(report, lab, here, vps):
    """Two bare machines to a bond that carries: what a newcomer types, with a stopwatch."""
    deb, backend = report.option("deb", "bondd.deb"), report.option("backend", "mlvpn")
    watch = Stopwatch(report)
    for machine in (here, vps):
        watch(machine, f"apt-get install -qq -y ./{deb}", timeout=300)
    report.say(f"    apt, both machines: {watch.total:.1f} s")
    watch = Stopwatch(report)
    init = "bondd init --server 203.0.113.10 --yes" + ("" if backend == "mlvpn" else f" --backend {backend}")
    token = watch(here, init).stdout
    watch(vps, "bondd join - --up", input=token)
    watch(here, "systemctl enable --now bondd@office")
    first = seconds_until(lambda: carries(lab), patience(report) * BACK_LIMIT_S)
    report.say(f"    until a PC of the office reaches the Internet by the VPS: {'never' if first is None else f'{first:.1f} s'}")
    report.figure("machine time after apt", watch.total + first if first is not None else None, "s", most=patience(report) * FIRST_BOND_LIMIT_S)
    report.check("both units are active", [m.unit(unit_of(m), "ActiveState") for m in (here, vps)] == ["active"] * 2,
                 vps.says("systemctl --no-pager list-units 'bondd@*' --all"))


def daily_life(report, lab, here):
    """Reload, restart, kill -9."""
    unit = unit_of(here)
    pid = here.unit(unit, "MainPID")
    with silence(report, "longest silence during a reload", patience(report) * RELOAD_LIMIT_S):
        here.run(f"systemctl reload {unit}")
    report.check("the same process goes on after a reload", here.unit(unit, "MainPID") == pid)
    with silence(report, "longest silence during a restart", patience(report) * AWAY_LIMIT_S):
        here.run(f"systemctl restart {unit}")
    pid = here.unit(unit, "MainPID")
    here.run(f"kill -9 {pid}")
    cleaned = seconds_until(lambda: "proto 98" not in here.says("ip rule; ip route show table all") and "BONDD" not in here.says("iptables-save"), patience(report) * CLEAN_LIMIT_S)
    report.figure("kill -9: the machine is as before after", cleaned, "s", most=patience(report) * CLEAN_LIMIT_S)
    report.figure("kill -9: it carries again, by itself, after", seconds_until(lambda: carries(lab), patience(report) * BACK_LIMIT_S), "s", most=patience(report) * BACK_LIMIT_S)


def upgrade(report, machine):
    """The newer package while the site runs."""
    unit = unit_of(machine)
    before = machine.unit(unit, "MainPID")
    with silence(report, f"{machine.name}: longest silence during an upgrade", patience(report) * AWAY_LIMIT_S):
        machine.run(f"apt-get install -qq -y ./{report.option('newer', 'newer.deb')}", timeout=300)
    now = machine.unit(unit, "MainPID")
    report.check(f"{machine.name}: the new program runs after it", now not in (before, "0") and
                 machine.run(f"test /proc/{now}/exe -ef /usr/sbin/bondd", check=False).returncode == 0, f"{before} -> {now}")


def gone(report, machine, before):
    """Remove and purge: the network as before, the administrator's files still there."""
    machine.run("apt-get remove -qq -y bondd", timeout=300)
    now = snapshot([machine.ns])
    report.check(f"{machine.name}: removed, the network is as before", not difference(before, now), difference(before, now))
    machine.run("dpkg --purge bondd")
    report.check(f"{machine.name}: purged, the site's file is still there", f"{machine.name}.toml" in machine.says("ls /etc/bondd"))


@scenario("booted", limit=1800, needs_bondd=False)
def booted(report):
    """the package on two booted machines: from nothing to a bond, then reload, kill -9, upgrade, reboot, removal"""
    machines.have_cgroups()
    lab = build_office(report)
    tree = report.option("tree", "/")
    here, vps = machines.Machine("office", "cli", tree), machines.Machine("vps", "srv", tree)
    before = {machine: snapshot([machine.ns]) for machine in (here, vps)}
    try:
        for machine in (here, vps):
            report.say(f"    {machine.name} boots: {machine.boot():.1f} s")
        from_nothing(report, lab, here, vps)
        report.figure("the lesser line's part of a download", lesser_share(report, lab), least=0.2)
        report.figure("systemd-analyze security", exposure(here, unit_of(here)), most=EXPOSURE_LIMIT)
        report.figure("memory of all processes of the office", memory_mb(here), "MB", most=MEMORY_LIMIT_MB)
        daily_life(report, lab, here)
        upgrade(report, here)
        upgrade(report, vps)
        report.say(f"    office boots again: {here.reboot():.1f} s")
        report.figure("it carries again, by itself, after", seconds_until(lambda: carries(lab), patience(report) * BACK_LIMIT_S), "s", most=patience(report) * BACK_LIMIT_S)
        for machine in (here, vps):
            report.check(f"{machine.name}: no complaint in the journal", not complaints(machine), complaints(machine))
            gone(report, machine, before[machine])
    except Exception:
        for machine in (here, vps):
            if machine.first_process():
                report.say(machine.says("journalctl --boot --no-pager --unit='bondd@*' | tail -n 40; bondd status", check=False))
        raise
    finally:
        for machine in (here, vps):
            machine.power_off()
