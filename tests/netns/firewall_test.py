#!/usr/bin/env python3
"""Firewalls of others: what they drop is named with a cure, and what is named is dropped, with real packets.

Each way that bondd promises: LAN to bond, bond to LAN, bond to Internet, Internet to a forward, the tunnels.

  tests/netns/firewall_test.py --bondd PATH [unittest arguments]

Needs root and nft; exit status 77 without.
"""
import json
import pathlib
import re
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import PC, SERVER, WEB, OfficeNet  # noqa: E402
from firewalls_of_others import firewalld, ufw  # noqa: E402

BONDD = None
OPEN = {"ports": (1194, 1196), "trusted": ("bond0", "lan")}  # what the commands that status names do
FORWARD = '[[forward]]\nproto = "tcp"\nport = "8080"\nto = "192.168.1.10:8080"\n'


class Case(unittest.TestCase):
    def setUp(self):
        self.net = OfficeNet(BONDD, "devices").__enter__()
        self.addCleanup(self.net.__exit__)
        self.net.write(vps=FORWARD)
        self.net.serve("web", "tcp", 7)
        self.net.serve("pc", "tcp", 8080)

    def lan_to_internet(self):
        return self.net.ask("pc", "tcp", WEB, 7, tries=1) == SERVER

    def internet_to_forward(self):
        return self.net.ask("web", "tcp", SERVER, 8080, tries=1) == WEB

    def warnings(self, site):
        status = json.loads(self.net.run_bondd(site, "status", "--json")[0])
        return [line for line in status["warnings"] if line.startswith("the firewall drops")]

    def wait_for_warning(self, site, place):
        self.net.wait(f"{site}: status names {place}", lambda: any(place in line for line in self.warnings(site)), 15)

    def load(self, site, rules, command="nft -f"):
        file = self.net.folder / "rules"
        file.write_text(rules)
        self.net.sh(site, f"{command} {file}")

    def expect_cured(self, site, passes, place):
        """Nothing passes and status names the place; after the commands that it names all passes."""
        self.assertFalse(passes(), "the rules drop it")
        self.wait_for_warning(site, place)
        for line in self.warnings(site):
            self.net.sh(site, re.search("`(nft .*)`", line).group(1))
        self.assertTrue(passes(), "with the lines that were named it passes")
        self.net.wait("status is quiet again", lambda: not self.warnings(site), 15)


class Drops(Case):
    """Rules of an admin, while the site is up."""

    def judge(self, site, rules, passes, place):
        self.net.up()
        self.assertTrue(passes())
        self.assertEqual(self.warnings(site), [])
        self.net.sh(site, f"nft '{rules}'")
        self.expect_cured(site, passes, place)

    def test_a_forward_policy_of_the_office_stops_the_lan(self):
        self.judge("office", "add table inet admin; add chain inet admin f { type filter hook forward priority 10; policy drop; }",
                   self.lan_to_internet, "what the LAN (lan) sends into bond0: table inet admin, chain f (its policy)")

    def test_a_reject_of_the_office_stops_the_answers_to_the_lan(self):
        self.judge("office", "add table ip own; add chain ip own f { type filter hook forward priority 5; }; add rule ip own f iifname bond0 counter reject",
                   self.lan_to_internet, "the answers from bond0 to the LAN (lan): table ip own, chain f")

    def test_a_forward_policy_of_the_vps_stops_the_internet(self):
        self.judge("vps", "add table inet admin; add chain inet admin f { type filter hook forward priority 10; policy drop; }",
                   self.lan_to_internet, "what the office sends from bond0 to the Internet (eth0): table inet admin, chain f (its policy)")

    def test_a_reject_of_the_vps_stops_a_forward(self):
        self.judge("vps", "add table inet admin; add chain inet admin f { type filter hook forward priority 10; };"
                   "add rule inet admin f ct state established,related accept; add rule inet admin f oifname bond0 reject with tcp reset",
                   self.internet_to_forward, "the service at TCP port 8080 for the Internet: table inet admin, chain f")

    def test_a_drop_before_routing_stops_the_lan(self):
        self.judge("office", "add table inet raw; add chain inet raw p { type filter hook prerouting priority -300; }; add rule inet raw p iifname lan drop",
                   self.lan_to_internet, "what the LAN (lan) sends into bond0: table inet raw, chain p")

    def test_a_drop_after_routing_stops_the_internet(self):
        self.judge("vps", "add table inet post; add chain inet post p { type filter hook postrouting priority 0; };"
                   "add rule inet post p oifname eth0 ip protocol tcp drop; add rule inet post p oifname eth0 drop",
                   self.lan_to_internet, "what the office sends from bond0 to the Internet (eth0): table inet post, chain p")

    def test_what_passes_is_not_called_dropped(self):
        self.net.up()
        self.net.sh("vps", "nft 'add table inet admin; add chain inet admin f { type filter hook forward priority 10; policy drop; };"
                    "add rule inet admin f ct state vmap { established : accept, related : accept };"
                    "add rule inet admin f iifname \"bond*\" accept; add rule inet admin f ct status dnat accept'")
        time.sleep(2)  # a look
        self.assertTrue(self.lan_to_internet() and self.internet_to_forward())
        self.assertEqual(self.warnings("vps"), [])


class Tunnels(Case):
    """A VPS whose firewall stands before the site comes up."""

    def test_an_input_policy_of_the_vps_stops_the_tunnels(self):
        self.net.sh("vps", "nft 'add table inet admin; add chain inet admin in { type filter hook input priority 0; policy drop; };"
                    "add rule inet admin in ct state established,related accept; add rule inet admin in iifname bond0 accept'")
        said = self.net.up("vps")
        self.wait_for_warning("vps", "UDP port 1194: table inet admin, chain in (its policy)")
        self.wait_for_warning("vps", "UDP port 1196: table inet admin, chain in (its policy)")
        self.assertIn("`nft insert rule inet admin in udp dport 1194 accept`", said + "".join(self.warnings("vps")))
        for line in self.warnings("vps"):
            self.net.sh("vps", re.search("`(nft .*)`", line).group(1))
        self.net.up("office")
        self.assertTrue(self.lan_to_internet())
        self.net.wait("status is quiet again", lambda: not self.warnings("vps"), 15)


class Firewalld(Case):
    """Rules as firewalld makes them."""

    def test_on_the_vps_its_ports_are_named_and_the_commands_named_open_them(self):
        self.load("vps", firewalld())
        self.net.up("vps")
        self.wait_for_warning("vps", "UDP port 1194: table inet firewalld, chain filter_INPUT")
        text = "\n".join(self.warnings("vps"))
        self.assertIn("`firewall-cmd --permanent --add-port=1194/udp && firewall-cmd --reload`", text)
        self.assertIn("`firewall-cmd --permanent --zone=trusted --add-interface=bond0 && firewall-cmd --reload`", text)
        self.net.run_bondd("vps", "down")
        self.load("vps", "flush ruleset\n" + firewalld(**OPEN))
        self.net.up()
        self.assertTrue(self.lan_to_internet() and self.internet_to_forward())
        self.assertEqual(self.warnings("vps"), [])

    def test_at_the_office_the_lan_is_named_and_the_command_named_opens_it(self):
        self.net.up()
        self.load("office", firewalld())
        self.assertFalse(self.lan_to_internet())
        self.wait_for_warning("office", "what the LAN (lan) sends into bond0: table inet firewalld, chain filter_FORWARD")
        self.assertIn("`firewall-cmd --permanent --zone=trusted --add-interface=bond0 --add-interface=lan && firewall-cmd --reload`",
                      "\n".join(self.warnings("office")))
        self.load("office", "delete table inet firewalld\n" + firewalld(**OPEN))
        self.assertTrue(self.lan_to_internet())
        self.net.wait("status is quiet again", lambda: not self.warnings("office"), 15)


class Ufw(Case):
    """Rules as ufw makes them: bondd's accepts stand in front of them, so nothing has to be opened."""

    def test_the_site_works_with_ufw_at_both_ends_also_after_it_loads_its_rules_anew(self):
        for site in ("office", "vps"):
            self.load(site, ufw(), "iptables-restore")
        self.net.up()
        self.assertTrue(self.lan_to_internet() and self.internet_to_forward())
        for site in ("office", "vps"):
            self.assertEqual(self.warnings(site), [])
            self.load(site, ufw(), "iptables-restore")
            self.net.wait("bondd's chains are back", lambda: "BONDD-FWD" in self.net.sh(site, "iptables-save"))
        self.net.wait("all passes again", lambda: self.lan_to_internet() and self.internet_to_forward(), 15)
        for site in ("office", "vps"):
            self.assertEqual(self.warnings(site), [])


def take(args):
    global BONDD
    BONDD = str(args.bondd.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["bondd"], programs=["nft"]))
