#!/usr/bin/python3
"""`bondd import` of two mlvpn.conf, one with its script, then `bondd up` with what it wrote: traffic; and `bondd config --effective` of it.

The office and the VPS of mlvpn_site.py, which see. Needs root.
Usage: import_mlvpn.py BONDD. Exit status 0 when all holds, 77 without root.
"""
import stat
import subprocess
import sys
import time

import mlvpn_site as site
from mlvpn_site import both, check, sh, wait_for

PASSWORD = "a password of the old program"
GENERAL = """[general]
mode = "{mode}"
interface_name = "mlvpn0"
statuscommand = "/etc/mlvpn/updown.sh"
password = "{password}"
timeout = 30
ip4 = "{own}/30"
ip4_gateway = "{peer}"
ip4_routes = "{routes}"
"""
OFFICE = GENERAL.format(mode="client", password=PASSWORD, own="172.16.16.2", peer=site.PEER, routes="0.0.0.0/0") + """
[filters]
dsl2 = "udp port 5060"
[dsl1]
bindhost = "10.99.1.2"
remotehost = "203.0.113.10"
remoteport = 21194
[dsl2]
bindhost = "10.99.2.2"
remotehost = "203.0.113.10"
remoteport = 21196
bandwidth_upload = 125000
"""
# As of MLVPN's documentation: address and routes stand in the script.
VPS = f"""[general]
mode = "server"
interface_name = "mlvpn0"
statuscommand = "/etc/mlvpn/updown.sh"
password = "{PASSWORD}"
timeout = 30
[dsl1]
bindport = 21194
[dsl2]
bindport = 21196
"""
UPDOWN = """#!/bin/bash
tuntap_intf="$1"
newstatus="$2"
if [ "$newstatus" = "tuntap_up" ]; then
    /sbin/ip link set dev $tuntap_intf mtu 1400 up
    /sbin/ip addr add 172.16.16.1/30 dev $tuntap_intf
    /sbin/iptables -t nat -A POSTROUTING -o dsl1 -s 192.168.77.0/24 -j MASQUERADE
    /sbin/ip route add 192.168.77.0/24 via 172.16.16.2
    curl --user a:secret https://example.org/up
elif [ "$newstatus" = "tuntap_down" ]; then
    /sbin/ip route del 192.168.77.0/24 via 172.16.16.2
fi
"""


def imported(where, text, *script):
    conf = site.FOLDER / f"{where}.conf"
    conf.write_text(text)
    done = subprocess.run(site.bondd(where, "import", str(conf), *script, "--out", str(site.FOLDER)), capture_output=True, text=True, timeout=60)
    check(f"{where}: import writes a whole file", done.returncode == 0 and done.stdout.strip() == str(site.FOLDER / f"{where}.toml"),
          done.stdout + done.stderr)
    check(f"{where}: the password is for root alone", stat.S_IMODE((site.FOLDER / f"{where}.password").stat().st_mode) == 0o600)
    check(f"{where}: and not said", PASSWORD not in done.stdout + done.stderr)
    return done.stderr


def play():
    time.sleep(2)  # for the carrier
    sh("ip route add default via 10.99.2.1 dev dsl2 metric 200", ns="office")
    said = imported("office", OFFICE)
    check("what is not done is named with its line", "office.conf:4: statuscommand" in said and "office.conf:12: filter" in said, said)
    updown = site.FOLDER / "updown.sh"
    updown.write_text(UPDOWN)
    said = imported("vps", VPS, str(updown))
    check("of the script, too, without what may be a secret", f"{updown}:9: curl: not supported" in said and "secret" not in said, said)
    vps = (site.FOLDER / "vps.toml").read_text()
    check("what the script did is in the file", all(text in vps for text in ('"172.16.16.1/30"', '["192.168.77.0/24"]', 'masquerade = ["dsl1"]')), vps)
    for words in (("import", str(site.FOLDER / "absent.conf")), ("import", str(site.FOLDER / "office.conf"), str(site.FOLDER / "absent.sh")),
                  ("import", str(site.FOLDER / "office.conf"), "--name", "a/b", "--out", str(site.FOLDER))):
        done = subprocess.run(site.bondd("office", *words), capture_output=True, text=True, timeout=60)
        check(f"{words[1:]}: 1, with the cause", done.returncode == 1 and done.stderr.startswith("bondd: ") and not done.stdout, done)
    done = subprocess.run(site.bondd("office", "import", str(site.FOLDER / "office.conf"), "--out", str(site.FOLDER)), capture_output=True, text=True)
    check("a second time nothing is replaced", done.returncode == 1 and "--force" in done.stderr, done.stderr)
    effective = site.run("office", "config", "--effective", str(site.FOLDER / "office.toml"))
    for line in ('bond.interface = "mlvpn0"', 'wan[2].upload = "1000kbit"', 'mlvpn.tuntap = "tun"'):
        check(f"config --effective has {line}", f"\n{line} " in effective, effective)
    check("and where each is from", all("# default" in line or "# office.toml:" in line for line in effective.splitlines()), effective)
    both("up", "-d")
    wait_for("both lines of mlvpn.conf are up", lambda: site.states() == {"dsl1": "up", "dsl2": "up"}, 30)
    check("and carry", site.carries())
    site.down()


if __name__ == "__main__":
    sys.exit(site.exit_status_of(play))
