#!/usr/bin/python3
"""`bondd speedtest` of the office and the VPS of mlvpn_site.py, on two lines of known rates. Needs root.

Usage: speedtest.py BONDD. Exit status 0 when all holds, 77 without root.
"""
import json
import os
import signal
import subprocess
import sys
import time

import mlvpn_site as site
from mlvpn_site import both, check, sh, wait_for

UP = {"ovh": "up", "orange": "up"}
OFFICE = str(site.FOLDER / "office.toml")
# Mbit/s down and up of each line. A tunnel's headers take 5 %, TCP's some more.
LINES = {"ovh": ("dsl1", 30, 8), "orange": ("dsl2", 12, 4)}
QUEUE_MS = 100            # in front of each line, when it is full
LEAST, MOST = 0.5, 1.02   # of a line's rate: the other line's, and the other direction's, are out of it; no measure of speed
LEAST_BOND = 0.65         # of the rates' sum


def shape():
    for device, down, up in LINES.values():
        for where, rate in (("office", up), ("vps", down)):
            sh(f"tc qdisc add dev {device} root tbf rate {rate}mbit burst 10kb latency {QUEUE_MS}ms", ns=where)


def start(*words, where="office"):
    return subprocess.Popen(site.bondd(where, "speedtest", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def listeners():
    """TCP sockets that listen on the VPS."""
    return [line for line in sh("ss -Htln", ns="vps").splitlines() if line]


def rule():
    return "--dport" in sh("iptables-save | grep -- '-s 172.16.16.2/32 -d 172.16.16.1/32 -i bond0 -p tcp' || true", ns="vps")


def alone():
    """Of the running test: WANs that it has taken out of use."""
    return [wan["name"] for wan in site.status()["wans"] if "speedtest" in wan["reason"]]


def within(figure, rate, least=LEAST):
    return figure is not None and least * rate <= figure <= MOST * rate


def figures():
    """Each line alone, and the bond, are what the lines carry; it ends as it began."""
    check("nothing listens before", listeners() == [] and not rule(), listeners())
    process = start("--json", OFFICE)
    seen, listening = set(), set()
    while process.poll() is None:
        seen.update(alone())
        listening.update(line.split()[3].rsplit(":", 1)[0] for line in listeners())
        time.sleep(0.3)
    shown, said = process.communicate()
    check("speedtest: 0", process.returncode == 0, (shown, said))
    report = json.loads(shown)
    check("complete, of this site", report["complete"] and report["name"] == "office" and report["time"].endswith("Z"), report)
    for wan in report["wans"]:
        _, down, up = LINES[wan["name"]]
        check(f"{wan['name']} down: {wan['down']['mbit']:.1f} of {down} Mbit/s", within(wan["down"]["mbit"], down), wan)
        check(f"{wan['name']} up: {wan['up']['mbit']:.1f} of {up} Mbit/s", within(wan["up"]["mbit"], up), wan)
        loaded = min(wan["down"]["rtt_ms"], wan["up"]["rtt_ms"])
        check(f"{wan['name']} idle: {wan['idle_rtt_ms']:.1f} ms, at least {loaded:.1f} ms when full", 0 < wan["idle_rtt_ms"] <= loaded, wan)
    bond = report["bond"]
    for way, index in (("down", 1), ("up", 2)):
        both_lines = sum(line[index] for line in LINES.values())
        check(f"the bond {way}: {bond[way]['mbit']:.1f} of {both_lines} Mbit/s", within(bond[way]["mbit"], both_lines, LEAST_BOND), bond)
    check("each line was alone", seen == set(UP), seen)
    check("what listened did so inside the bond only", listening == {"172.16.16.1%bond0"}, listening)
    as_before("after the end")


def as_before(when):
    wait_for(f"{when}: all lines are in use", lambda: not alone() and site.states() == UP)
    wait_for(f"{when}: nothing listens", lambda: listeners() == [] and not rule())
    wait_for(f"{when}: no process is left", lambda: "speedtest-responder" not in sh(
        f"for p in $(ip netns pids {site.NAMES['vps']}); do tr '\\0' ' ' < /proc/$p/cmdline; echo; done", check=False))


def interrupted():
    """Ctrl-C, and a kill of the command, of bondd's own responder: all is as before."""
    for number in (signal.SIGINT, signal.SIGKILL):
        process = start("--line", "orange", OFFICE)
        wait_for("a line is alone", alone)
        wait_for("the responder listens", listeners)
        second = subprocess.run(site.bondd("office", "speedtest", OFFICE), capture_output=True, text=True, timeout=20)
        check("a second one is refused", second.returncode == 1 and "another `bondd speedtest` runs" in second.stderr, second)
        other = subprocess.run(site.bondd("vps", "speedtest", str(site.FOLDER / "vps.toml")), capture_output=True, text=True, timeout=20)
        check("and one at the other end", other.returncode == 1 and "at the other end" in other.stderr, other)
        stranger()
        os.kill(process.pid, number)
        process.wait(10)
        as_before(signal.Signals(number).name)


def stranger():
    """Whoever does not know the token gets nothing, from the other end of the bond; and nobody else gets in."""
    port = int(listeners()[0].split()[3].rsplit(":", 1)[1])
    ask = lambda options: sh(f"(echo {'0' * 32} send 1000 0; sleep 1) | timeout 3 nc -w2 {options} 172.16.16.1 {port} | wc -c", ns="office").strip()
    check("without the token: nothing", ask("") == "0")
    sh("ip addr add 192.168.77.1/32 dev lo", ns="office")
    check("from another address of the office: nothing", ask("-s 192.168.77.1") == "0")
    sh("ip addr del 192.168.77.1/32 dev lo", ns="office")
    check("by a line, outside of the bond: nothing", sh(f"nc -z -w1 203.0.113.10 {port} && echo open || true", ns="office").strip() == "")


def text():
    """For people, from the VPS: 79 columns, one line alone."""
    done = subprocess.run(site.bondd("vps", "speedtest", "--line", "ovh", str(site.FOLDER / "vps.toml")), capture_output=True, text=True, timeout=60)
    check("one line, from the other end: 0", done.returncode == 0 and "ovh" in done.stdout and "bond" not in done.stdout, done)
    check("79 columns", max(map(len, (done.stdout + done.stderr).splitlines())) <= 79, done.stdout + done.stderr)
    check("says what it will do", "all traffic takes it" in done.stderr, done.stderr)
    down = float(done.stdout.splitlines()[-1].split()[1])
    # The two directions' rates are far apart: this tells them from each other, also on a busy machine.
    check(f"down there is up here: {down}", within(down, LINES["ovh"][2], 0.4), done.stdout)
    no_line = subprocess.run(site.bondd("office", "speedtest", "--line", "ohv", OFFICE), capture_output=True, text=True, timeout=20)
    check("no line of that name: 1", no_line.returncode == 1 and "no WAN ohv" in no_line.stderr, no_line)


def metered():
    """A WAN with fallback_only may cost money: the command says so first, and limits the volume."""
    site.write(site.WANS, extra={"orange": "fallback_only = true\n"})
    both("reload")
    wait_for("both WANs up", lambda: site.states() == UP)
    wait_for("the other end's test has ended here, too", lambda: not any("speedtest" in wan["reason"] for wan in site.status()["wans"]))
    before = site.status()["wans"][1]
    done = subprocess.run(site.bondd("office", "speedtest", "--line", "orange", "--json", OFFICE), capture_output=True, text=True, timeout=60)
    after = site.status()["wans"][1]
    check("it begins", done.stdout, done)
    wan = json.loads(done.stdout)["wans"][0]
    check("said before", "orange may cost money (fallback_only in the file)" in done.stderr and "40 MB" in done.stderr, done)
    check("measured as the others", done.returncode == 0 and wan["metered"] and within(wan["down"]["mbit"], LINES["orange"][1]), (done, wan))
    used = sum(after[key] - before[key] for key in ("rx_bytes", "tx_bytes"))
    check(f"{used / 1e6:.1f} MB were used", used < 44e6, (before, after))
    as_before("after a metered line")


def silent_line():
    sh("ip link set dsl2 down", ns="vps")
    wait_for("a line is gone", lambda: site.states()["orange"] != "up", 20)
    done = subprocess.run(site.bondd("office", "speedtest", "--line", "orange", "--json", OFFICE), capture_output=True, text=True, timeout=60)
    wan = json.loads(done.stdout)["wans"][0]
    check("a line that is not up: 1, with the reason, no figures", done.returncode == 1 and wan["reason"] and wan["down"]["mbit"] is None, done)


def play():
    site.write(site.WANS)
    time.sleep(2)  # for the carrier
    not_up = subprocess.run(site.bondd("office", "speedtest", OFFICE), capture_output=True, text=True, timeout=20)
    check("of a site that is not up: 1, and what to do", not_up.returncode == 1 and "`bondd up office`" in not_up.stderr, not_up)
    shape()
    both("up", "-d")
    wait_for("both WANs up", lambda: site.states() == UP)
    figures()
    interrupted()
    text()
    metered()
    silent_line()
    site.down()


if __name__ == "__main__":
    sys.exit(site.exit_status_of(play))
