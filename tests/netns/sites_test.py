#!/usr/bin/env python3
"""Several sites on one machine: tables, marks, ports and chains do not collide, in whatever order they come and go.

  tests/netns/sites_test.py --bondd PATH [unittest arguments]

Beside `office` and `vps` run `branch`, on the office's machine with the same gateways, and `hub`, on the VPS: another bond, for
10.77.0.0/16 behind the VPS and for the office's second network 192.168.9.0/24. Needs root; exit status 77 without.
"""
import os
import pathlib
import re
import signal
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import GATEWAYS, SERVER, SITE, WEB, OfficeNet  # noqa: E402

BONDD = None
MACHINE = {"office": "office", "branch": "office", "vps": "vps", "hub": "vps"}
SECOND, BEHIND = "192.168.9.10", "10.77.0.1"  # a LAN address of the branch, a server behind the hub


class TwoSites(OfficeNet):
    def _build(self):
        super()._build()
        self.sh("pc", f"ip addr add {SECOND}/24 dev eth0")
        self.sh("office", "ip addr add 192.168.9.1/24 dev lan")
        self.sh("vps", f"ip link add behind type veth peer name behindx; ip link set behind up; ip link set behindx up; ip addr add {BEHIND}/16 dev behind")
        self.names.update(branch=self.names["office"], hub=self.names["vps"])

    def __exit__(self, *_):
        for site in ("branch", "hub"):
            if (self.folder / f"{site}.toml").exists():
                self.run_bondd(site, "down", check=False)
        super().__exit__()

    def write(self, interface="bond1", ports=(1294, 1296), **more):
        super().write(**more)
        text = {"branch": SITE.format(role="client", site="branch", own="172.16.17.2", peer="172.16.17.1", through='"10.77.0.0/16"', bond="", mlvpn=""),
                "hub": SITE.format(role="server", site="hub", own="172.16.17.1", peer="172.16.17.2", through='"192.168.9.0/24"',
                                   bond='from_bond = "all"', mlvpn="")}
        for port, (box, (device, gateway, _)) in zip(ports, GATEWAYS[self.boxes].items()):
            for site in text:
                text[site] += f'[[wan]]\nname = "{box}"\nport = {port}\n'
            text["branch"] += f'device = "{device}"\ngateway = "{gateway}"\n'
        for site in text:
            (self.folder / f"{site}.toml").write_text(text[site].replace("bond0", interface))
            secret = self.folder / f"{site}.password"
            secret.write_text("another password of the test\n")
            secret.chmod(0o600)

    def kill(self, site):
        """kill -9 of a site's bondd; its engine ends with it, or not."""
        os.kill(int((self.folder / "run" / site / "lock").read_text().split()[0]), signal.SIGKILL)

    def traces(self):
        """What of any site could be left on both machines."""
        out = {}
        for machine in ("office", "vps"):
            out[machine] = self.sh(machine, "ip -br link | cut -d' ' -f1; ip -br addr | awk '{$2 = \"\"; print}'; ip rule; ip route show table all | sort;"
                                   "iptables-save | grep -v '^#' | sed 's/\\[.*//' | grep -v '^[*:]\\|COMMIT' || true;"
                                   "sysctl -a 2>/dev/null | grep -E 'ip_forward|rp_filter|redirects|forwarding'")
        return out


class Sites(unittest.TestCase):
    def setUp(self):
        self.net = TwoSites(BONDD).__enter__()
        self.addCleanup(self.net.__exit__)
        self.net.serve("web", "tcp", 7)
        self.net.serve("vps", "tcp", 8077, BEHIND)

    def expect(self, *pairs):
        """Exactly these bonds carry: "first" the Internet's traffic, "second" that for the hub's network."""
        net = self.net
        if "first" in pairs:
            self.assertEqual(net.ask("pc", "tcp", WEB, 7), SERVER, f"the first site, with {pairs}")
        else:
            self.assertNotEqual(net.ask("pc", "tcp", WEB, 7, tries=1), SERVER)
        second = net.ask("pc", "tcp", BEHIND, 8077, tries=2 if "second" in pairs else 1, source=(SECOND, 0))
        self.assertEqual(second, SECOND if "second" in pairs else None, f"the second site, with {pairs}")

    SITES = {"first": ("vps", "office"), "second": ("hub", "branch")}

    def up(self, *pairs):
        for pair in pairs:
            self.net.up(*self.SITES[pair])

    def down(self, *pairs):
        for pair in pairs:
            for site in reversed(self.SITES[pair]):
                self.net.run_bondd(site, "down")

    def test_they_come_and_go_in_any_order(self):
        self.net.write()
        before = self.net.traces()
        for up in (("first", "second"), ("second", "first")):
            for down in (("first", "second"), ("second", "first")):
                with self.subTest(f"up {up}, down {down}"):
                    self.up(*up)
                    self.expect("first", "second")
                    self.down(down[0])
                    self.expect(down[1])
                    self.down(down[1])
                    self.assertEqual(self.net.traces(), before)

    def test_a_killed_one_harms_no_other_and_comes_back(self):
        net = self.net
        net.write()
        before = net.traces()
        for killed, other in (("first", "second"), ("second", "first")):
            with self.subTest(f"killed: {killed}"):
                self.up("first", "second")
                for site in self.SITES[killed]:
                    net.kill(site)
                self.down(killed)
                self.expect(other)
                self.up(killed)
                self.expect("first", "second")
                for pair in (killed, other):
                    for site in self.SITES[pair]:
                        net.kill(site)
                self.down(other, killed)
                self.assertEqual(net.traces(), before)

    def test_what_leads_packets_is_each_sites_own(self):
        net = self.net
        net.write()
        self.up("first", "second")
        rules = [line for line in net.sh("office", "ip rule").splitlines() if "proto 98" in line]
        marked = re.findall(r"fwmark (\S+)/0x7f000000 lookup (\d+)", "\n".join(rules))
        self.assertEqual(len({mark for mark, _ in marked}), len(marked), marked)
        self.assertEqual(len({table for _, table in marked}), 2 * 3, marked)  # a gateway each, and the answers
        for site in ("office", "branch", "vps", "hub"):
            self.assertNotIn("another site", net.run_bondd(site, "check")[1])

    def test_what_another_site_has_already_is_refused_by_name(self):
        net = self.net
        net.write(interface="bond0", ports=(1194, 1296))
        self.up("first")
        for site in ("hub", "branch"):
            with self.assertRaises(RuntimeError) as refused:
                net.up(site)
            self.assertIn(f"the interface bond0 is that of the site {'vps' if site == 'hub' else 'office'}",
                          str(refused.exception))
        self.expect("first")

    def test_a_port_that_another_site_has_already_is_refused_by_name(self):
        net = self.net
        net.write(ports=(1194, 1296))
        self.up("first")
        with self.assertRaises(RuntimeError) as refused:
            net.up("hub")
        self.assertIn("box1: UDP port 1194 is in use", str(refused.exception))
        self.expect("first")

    def test_two_masks_that_share_bits_are_said(self):
        net = self.net
        net.write(office="[marks]\nmask = 0x3f000000\n")
        self.up("first", "second")
        self.assertIn("another site of bondd has mask = 0x3f000000", net.run_bondd("branch", "check")[1])


def take(args):
    global BONDD
    BONDD = str(args.bondd.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["bondd"]))
