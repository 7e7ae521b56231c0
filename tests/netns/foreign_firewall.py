#!/usr/bin/python3
"""An admin's own firewall beside bondd: what happens when it is loaded anew, and what bondd says of its drops.

The office and the VPS of mlvpn_site.py, which see. Needs root and nft.
Usage: foreign_firewall.py BONDD. Exit status 0 when all holds, 77 without root.
"""
import json
import re
import shutil
import statistics
import subprocess
import sys
import time

import mlvpn_site as site
from mlvpn_site import both, carries, check, sh, wait_for

WITHIN = 1.0  # seconds, from a flush to all of bondd's chains in place
TIMES = 7     # the machine is busy: the median counts


def chains(tool):
    return sh(f"{tool}-save | sed '/^#/d;s,\\[.*,,' | grep BONDD | sort", ns="office", check=False)


def flush_times(tool):
    """The admin loads a firewall of his own: policy DROP, all else flushed."""
    whole = chains(tool)
    taken = []
    for _ in range(TIMES):
        time.sleep(1.5)
        sh(f"{tool} -w -P INPUT DROP; {tool} -w -P FORWARD DROP; {tool} -w -F; {tool} -w -t mangle -F", ns="office")
        began = time.monotonic()
        while chains(tool) != whole and time.monotonic() - began < 15:
            time.sleep(0.02)
        taken.append(time.monotonic() - began)
    return taken


def flushed(tool):
    site.write(site.WANS)
    sh(f"{tool} -A INPUT -p icmp -j ACCEPT", ns="office")
    both("up", "-d")
    wait_for(f"{tool}: both WANs up", lambda: site.states() == {"ovh": "up", "orange": "up"})
    taken = flush_times(tool)
    median = statistics.median(taken)
    check(f"{tool}: a flushed firewall is put right within {median:.2f} s (median of {TIMES})", median <= WITHIN, taken)
    check(f"{tool}: the bond carries", carries())
    both("down")
    check(f"{tool}: down leaves nothing", "BONDD" not in chains(tool), chains(tool))
    sh(f"{tool} -F; {tool} -P INPUT ACCEPT; {tool} -P FORWARD ACCEPT", ns="office")


def warnings(where):
    """What `status` says of another's firewall, and the commands that it names."""
    text = json.loads(site.run(where, "status", "--json", str(site.FOLDER / f"{where}.toml")))["warnings"]
    found = [line for line in text if line.startswith("the firewall drops")]
    return found, [re.search("`(.*)`", line).group(1) for line in found]


def blocked_input():
    """The VPS's admin lets in what he knows: the tunnels' ports are not among it."""
    sh("nft 'add table inet admin; add chain inet admin in { type filter hook input priority 0; policy drop; };"
       "add rule inet admin in ct state vmap { established : accept, related : accept, invalid : drop };"
       "add rule inet admin in tcp dport { 22, 443 } accept'", ns="vps")
    running = subprocess.Popen(site.bondd("vps", "up", str(site.FOLDER / "vps.toml")), stderr=subprocess.PIPE, text=True)
    wait_for_text("vps: status names table and chain", "table inet admin, chain in", lambda: warnings("vps")[0])
    running.terminate()
    said = running.communicate(timeout=30)[1]
    check("vps: up says it, too", "the firewall drops the office's packets for ovh, UDP port 21194" in said, said)
    for command in warnings_of(said):
        sh(command, ns="vps")
    both("up", "-d")
    wait_for("vps: with these lines the site comes up", lambda: site.states() == {"ovh": "up", "orange": "up"})
    check("vps: and nothing is said any more", not warnings("vps")[0], warnings("vps"))
    sh("nft delete table inet admin", ns="vps")  # it lets no ping in


def warnings_of(text):
    return [re.search("`(.*)`", line).group(1) for line in text.splitlines() if "the firewall drops" in line]


def wait_for_text(what, wanted, lines):
    end = time.monotonic() + 15
    said = []
    while time.monotonic() < end:
        try:
            said = lines()
        except RuntimeError as error:  # it is only coming up
            said = [str(error)]
        if any(wanted in line for line in said):
            return check(what, True)
        time.sleep(0.2)
    check(what, False, said)


def blocked_forward():
    """The office's admin forwards nothing: the bond is up, the LAN gets nothing."""
    pc = site.NAMES["pc"] = f"{site.NAMES['office']}pc"
    sh(f"ip netns add {pc}; ip link add lan0 netns {pc} type veth peer name lan0 netns {site.NAMES['office']}")
    sh("ip addr add 192.168.77.10/24 dev lan0; ip link set lan0 up; ip route add default via 192.168.77.1", ns="pc")
    sh("ip addr add 192.168.77.1/24 dev lan0; ip link set lan0 up", ns="office")
    ping = f"ping -nqc2 -i0.2 -W1 {site.PEER} > /dev/null && echo passes || true"
    time.sleep(1)
    check("a ping from the LAN passes the bond", "passes" in sh(ping, ns="pc"))
    sh("nft 'add table inet admin; add chain inet admin forwarded { type filter hook forward priority 10; policy drop; }'", ns="office")
    check("the admin's table drops it", "passes" not in sh(ping, ns="pc"))
    wait_for_text("office: status names table and chain", "what the LAN (lan0) sends into bond0: table inet admin, chain forwarded",
                  lambda: warnings("office")[0])
    for command in warnings("office")[1]:
        sh(command, ns="office")
    check("with these lines it passes", "passes" in sh(ping, ns="pc"))
    both("down")
    del site.NAMES["pc"]
    sh(f"ip netns del {pc}; ip netns exec {site.NAMES['office']} nft delete table inet admin")


def forwarding_of_others():
    """down leaves forwarding on for a program that came meanwhile, and says so."""
    for later, stays in (("true", "0"), ("iptables -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE", "1")):
        sh("sysctl -qw net.ipv4.ip_forward=0", ns="office")
        both("up", "-d")
        sh(later, ns="office")
        done = subprocess.run(site.bondd("office", "down", str(site.FOLDER / "office.toml")), capture_output=True, text=True, timeout=60)
        value = sh("sysctl -n net.ipv4.ip_forward", ns="office").strip()
        said = "net.ipv4.ip_forward stays 1" in done.stdout + done.stderr
        check(f"ip_forward is {stays} after down ({later.split()[0]})", value == stays and done.returncode == 0, done.stderr)
        check("and down says so", said == (stays == "1"), done.stdout + done.stderr)
        check("and blames nobody for what the kernel changes with it", "another program set it" not in done.stdout + done.stderr, done.stderr)
        site.run("vps", "down", str(site.FOLDER / "vps.toml"))
    sh("iptables -t nat -F; sysctl -qw net.ipv4.ip_forward=0", ns="office")


def read_only_settings():
    """A container's /proc/sys is read-only: settings that are right already are no obstacle, to up nor to down."""
    read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && ! echo 1 2>/dev/null >/proc/sys/net/ipv4/ip_forward && exec \"$@\""
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.all.send_redirects=0 "
       "net.ipv4.conf.all.rp_filter=0; for d in dsl1 dsl2; do sysctl -qw net.ipv4.conf.$d.accept_redirects=0 "
       "net.ipv4.conf.$d.send_redirects=0 net.ipv4.conf.$d.rp_filter=0; done", ns="office")

    def confined(*words):
        command = site.bondd("office", *words, str(site.FOLDER / "office.toml"))
        command[4:4] = ["sh", "-c", read_only, "sh"]  # behind "ip netns exec NAME"
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    site.run("vps", "up", "-d", str(site.FOLDER / "vps.toml"))
    up = confined("up", "-d")
    check("read-only /proc/sys: up -d returns 0", up.returncode == 0, up.stderr)
    check("read-only /proc/sys: the bond carries", carries())
    down = confined("down")
    check("read-only /proc/sys: down returns 0", down.returncode == 0, down.stderr)
    check("read-only /proc/sys: nothing is left", "bond0" not in sh("ip -o link; iptables-save", ns="office") and
          "BONDD" not in sh("iptables-save", ns="office"))
    site.run("vps", "down", str(site.FOLDER / "vps.toml"))
    sh("sysctl -qw net.ipv4.ip_forward=0", ns="office")


def play_all():
    time.sleep(2)  # for the carrier
    for tool in ("iptables-nft", "iptables-legacy"):
        there = subprocess.run(["ip", "netns", "exec", site.NAMES["office"], tool, "-S"], capture_output=True)
        if there.returncode == 0:
            flushed(tool)
    forwarding_of_others()
    read_only_settings()
    if shutil.which("nft"):
        blocked_input()
        blocked_forward()


if __name__ == "__main__":
    sys.exit(site.exit_status_of(play_all))
