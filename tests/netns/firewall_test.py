#!/usr/bin/env python3
"""Firewalls of others: what they drop is named with a cure, and what is named is dropped, with real packets.

Each way that bondd promises: LAN to bond, bond to LAN, bond to Internet, Internet to a forward, the tunnels.

  tests/netns/firewall_test.py --bondd PATH [unittest arguments]

Needs root and nft; exit status 77 without.
"""
import json
import pathlib
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import PC, SERVER, WEB, OfficeNet  # noqa: E402
from firewalls_of_others import firewalld, ufw  # noqa: E402

BONDD = None
OPEN = {"ports": (1194, 1196), "trusted": ("bond0", "lan")}  # what the commands that status names do
FORWARD = """[[forward]]
proto = "tcp"
port = "8080"
to = "192.168.1.10:8080"
[[forward]]
proto = "udp"
port = "5060"
to = "192.168.1.10:5061"
"""


class Case(unittest.TestCase):
    def setUp(self):
        self.net = OfficeNet(BONDD, "devices").__enter__()
        self.addCleanup(self.net.__exit__)
        self.net.write(vps=FORWARD)
        self.net.serve("web", "tcp", 7)
        self.net.serve("web", "udp", 53)
        self.net.serve("pc", "tcp", 8080)
        self.net.serve("pc", "udp", 5061)

    def lan_to_internet(self):
        return self.net.ask("pc", "tcp", WEB, 7, tries=1) == SERVER

    def office_to_internet(self):
        return self.net.ask("office", "tcp", WEB, 7, tries=1) == SERVER

    def internet_to_forward(self):
        return self.net.ask("web", "tcp", SERVER, 8080, tries=1) == WEB

    def internet_to_udp_forward(self):
        return self.net.ask("web", "udp", SERVER, 5060, tries=1) == WEB

    def lan_to_name_server(self):
        return self.net.ask("pc", "udp", WEB, 53, tries=1) == SERVER

    def second_line_is_up(self):
        wans = json.loads(self.net.run_bondd("office", "status", "--json", check=False)[0])["wans"]
        return {wan["name"]: wan["state"] for wan in wans}["box2"] == "up"

    def warnings(self, site):
        status = json.loads(self.net.run_bondd(site, "status", "--json", check=False)[0])
        return [line for line in status["warnings"] if line.startswith(("the firewall ", "NAT "))]

    def checked(self, site):
        return "".join(self.net.run_bondd(site, "check", check=False))

    def has_legacy(self):
        return subprocess.run(["ip", "netns", "exec", self.net.names["vps"], "iptables-legacy", "-t", "raw", "-S"], capture_output=True).returncode == 0

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
        self.assertIn(place, self.checked(site), "check names it, too")
        for line in self.warnings(site):
            self.net.sh(site, re.search("`((nft|iptables).*)`", line).group(1))
        self.assertTrue(passes(), "with the lines that were named it passes")
        self.net.wait("status is quiet again", lambda: not self.warnings(site), 15)


    def judge_nft(self, site, rules, passes, place):
        """All passes, and nothing is said; then these rules come."""
        self.judge_commands(site, [f"nft '{rules}'"], passes, place)

    def judge_commands(self, site, commands, passes, place):
        self.net.up()
        self.assertTrue(passes())
        self.assertEqual(self.warnings(site), [])
        for command in commands:
            self.net.sh(site, command)
        self.expect_cured(site, passes, place)


class Drops(Case):
    """Rules of an admin, while the site is up."""

    judge = Case.judge_nft

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

    def test_an_input_drop_of_the_office_stops_its_own_answers(self):
        self.judge("office", "add table inet own; add chain inet own i { type filter hook input priority 5; }; add rule inet own i iifname bond0 drop",
                   self.office_to_internet, "the answers from bond0 to this machine: table inet own, chain i")

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


class Nat(Case):
    """NAT of others that spoils a way."""
    judge = Case.judge_commands

    def test_the_office_gives_the_lan_another_address(self):
        self.net.sh("office", "iptables -t nat -A POSTROUTING -s 192.168.1.0/24 -j SNAT --to-source 192.168.11.2")
        self.net.up()
        self.expect_cured("office", self.lan_to_internet, "sends into bond0 the address 192.168.11.2, to which no answer comes back: "
                          "table ip nat, chain POSTROUTING, rule 1 (SNAT);")

    def test_the_office_redirects_the_lan(self):
        self.judge("office", ["iptables -t nat -A PREROUTING -i lan -p tcp -j REDIRECT --to-ports 3128"], self.lan_to_internet,
                   "what the LAN (lan) sends into bond0 elsewhere: table ip nat, chain PREROUTING, rule 1 (REDIRECT);")

    def spoiled(self, command, undo, passes, place):
        self.net.up()
        self.assertTrue(passes())
        self.net.sh("vps", command)
        self.assertFalse(passes())
        self.wait_for_warning("vps", place)
        self.assertIn(place, self.checked("vps"))
        self.net.sh("vps", undo)
        self.assertTrue(passes())
        self.net.wait("status is quiet again", lambda: not self.warnings("vps"), 15)

    def test_the_vps_gives_the_office_an_address_that_is_not_its_own(self):
        rule = "POSTROUTING -o eth0 -j SNAT --to-source 203.0.113.77"
        self.spoiled(f"iptables -t nat -I {rule}", f"iptables -t nat -D {rule}", self.lan_to_internet,
                     "the address 203.0.113.77, to which no answer comes back: table ip nat, chain POSTROUTING, rule 1 (SNAT); delete it")

    def test_the_vps_leads_a_service_elsewhere(self):
        rule = "PREROUTING -i eth0 -p tcp --dport 8080 -j DNAT --to-destination 203.0.113.10:9"
        self.spoiled(f"iptables -t nat -I {rule}", f"iptables -t nat -D {rule}", self.internet_to_forward,
                     "NAT leads the service at TCP port 8080 for the Internet elsewhere: table ip nat, chain PREROUTING, rule 1 (DNAT); delete it")

    def test_the_office_drops_only_what_the_server_forwards(self):
        """The office knows of it from the VPS, so a check of the file alone does not."""
        self.net.up()
        self.assertTrue(self.internet_to_forward())
        self.net.sh("office", "nft 'add table inet admin; add chain inet admin f { type filter hook forward priority 10; policy drop; };"
                    "add rule inet admin f ct state established,related accept; add rule inet admin f iifname lan accept'")
        self.assertFalse(self.internet_to_forward())
        self.wait_for_warning("office", "what the server forwards to 192.168.1.10, TCP port 8080: table inet admin, chain f (its policy);")
        for line in self.warnings("office"):
            self.net.sh("office", re.search("`(nft .*)`", line).group(1))
        self.assertTrue(self.internet_to_forward() and self.internet_to_udp_forward())
        self.net.wait("status is quiet again", lambda: not self.warnings("office"), 15)


def at_device(device, rule, family="netdev", hook="ingress"):
    """For nft: a chain at the device itself, before all others or behind them."""
    return (f"add table {family} adm; add chain {family} adm c {{ type filter hook {hook} device \"{device}\" priority 0; }};"
            f"add rule {family} adm c {rule}")


class Devices(Case):
    """Rules at a device, before all other hooks or behind them."""
    judge = Case.judge_nft

    def test_ingress_of_the_lan(self):
        self.judge("office", at_device("lan", "meta protocol ip drop"), self.lan_to_internet,
                   "the firewall drops what the LAN (lan) sends into bond0: table netdev adm, chain c;")

    def test_ingress_of_the_vps_drops_a_forward(self):
        self.judge("vps", at_device("eth0", "tcp dport 8080 drop", "inet"), self.internet_to_forward,
                   "the firewall drops the service at TCP port 8080 for the Internet: table inet adm, chain c;")

    def test_egress_of_the_bond(self):
        self.judge("office", at_device("bond0", "meta protocol ip drop", hook="egress"), self.lan_to_internet,
                   "the firewall drops what the LAN (lan) sends into bond0: table netdev adm, chain c;")

    def test_egress_of_the_vps(self):
        self.judge("vps", at_device("eth0", "ip protocol tcp drop", hook="egress"), self.lan_to_internet,
                   "the firewall drops what the office sends from bond0 to the Internet (eth0): table netdev adm, chain c;")

    def test_a_chain_for_nat_that_drops(self):
        self.judge("vps", "add table inet adm; add chain inet adm c { type nat hook postrouting priority 90; policy drop; }", self.lan_to_internet,
                   "the firewall drops what the office sends from bond0 to the Internet (eth0): table inet adm, chain c (its policy);")


class Legacy(Case):
    """Rules of iptables-legacy, which no netlink shows."""

    def judge(self, site, rules, passes, place):
        if not self.has_legacy():
            self.skipTest("no iptables-legacy here")
        self.judge_commands(site, [f"iptables-legacy {rule}" for rule in rules], passes, place)

    def test_forward(self):
        self.judge("office", ["-P FORWARD DROP"], self.lan_to_internet,
                   "the firewall drops what the LAN (lan) sends into bond0: table filter of iptables-legacy, chain FORWARD (its policy);")

    def test_mangle_before_routing(self):
        self.judge("office", ["-t mangle -A PREROUTING -i lan -p tcp -j DROP"], self.lan_to_internet,
                   "the firewall drops what the LAN (lan) sends into bond0: table mangle of iptables-legacy, chain PREROUTING;")

    def test_mangle_forward_in_a_chain_of_its_own(self):
        self.judge("vps", ["-t mangle -N own", "-t mangle -A own -m conntrack --ctstate NEW -j DROP", "-t mangle -A FORWARD -i bond0 -o eth0 -g own"],
                   self.lan_to_internet,
                   "the firewall drops what the office sends from bond0 to the Internet (eth0): table mangle of iptables-legacy, chain FORWARD (in own);")

    def test_mangle_after_routing(self):
        self.judge("office", ["-t mangle -A POSTROUTING -o bond0 -p udp -m multiport --dports 7,9 -j ACCEPT",
                              "-t mangle -A POSTROUTING -o bond0 -s 192.168.1.0/24 -p tcp -j DROP"], self.lan_to_internet,
                   "the firewall drops what the LAN (lan) sends into bond0: table mangle of iptables-legacy, chain POSTROUTING;")

    def test_reject(self):
        self.judge("office", ["-A FORWARD -i lan -j REJECT"], self.lan_to_internet,
                   "the firewall drops what the LAN (lan) sends into bond0: table filter of iptables-legacy, chain FORWARD;")

    def test_in_front_of_bondds_own_accept(self):
        """The machine's rules are in these tables, so bondd's are, too."""
        self.net.sh("vps", "iptables-legacy -A INPUT -p icmp -j ACCEPT")
        self.judge("vps", ["-I FORWARD -i bond0 -j DROP"], self.lan_to_internet,
                   "the firewall drops what the office sends from bond0 to the Internet (eth0): table filter of iptables-legacy, chain FORWARD;")


class Untracked(Case):
    """NOTRACK: there is no NAT without a connection."""
    TEXT = "(NOTRACK), so it gets no NAT or no answers: "
    NFT = "nft 'add table inet adm; add chain inet adm c { type filter hook prerouting priority raw; }; add rule inet adm c %s notrack'"

    def judge(self, site, command, passes, place):
        self.judge_commands(site, [command], passes, place)

    def test_a_forward_in_nft(self):
        self.judge("vps", self.NFT % "udp dport 5060", self.internet_to_udp_forward,
                   f"the firewall does not track the service at UDP port 5060 for the Internet {self.TEXT}table inet adm, chain c;")

    def test_a_forward_in_iptables(self):
        self.judge("vps", "iptables-nft -t raw -A PREROUTING -p udp --dport 5060 -j NOTRACK", self.internet_to_udp_forward,
                   f"{self.TEXT}table ip raw, chain PREROUTING;")

    def test_a_forward_in_iptables_legacy(self):
        if not self.has_legacy():
            self.skipTest("no iptables-legacy here")
        self.judge("vps", "iptables-legacy -t raw -A PREROUTING -p udp -m multiport --dports 5060,5062 -j CT --notrack", self.internet_to_udp_forward,
                   f"{self.TEXT}table raw of iptables-legacy, chain PREROUTING;")

    def test_the_lan_of_an_office_that_takes_only_answers(self):
        self.net.write(vps=FORWARD, bond={"office": 'from_bond = "replies"'})
        self.judge("office", self.NFT % "iifname lan", self.lan_to_name_server,
                   f"the firewall does not track what the LAN (lan) sends into bond0 {self.TEXT}table inet adm, chain c;")

    def test_answers_of_name_servers_at_the_vps(self):
        self.judge("vps", self.NFT % "udp sport 53", self.lan_to_name_server,
                   f"the Internet's answers (eth0) for the office, UDP port 53 {self.TEXT}table inet adm, chain c;")


class Perhaps(Case):
    """What depends on something that is not known is told, and told as that."""

    def test_a_list_of_addresses_before_a_policy(self):
        self.net.sh("vps", "nft 'add table inet admin; add chain inet admin in { type filter hook input priority 0; policy drop; };"
                    "add rule inet admin in ct state established,related accept; add rule inet admin in iifname bond0 accept;"
                    "add rule inet admin in ip saddr 198.51.100.0/24 accept'")
        self.net.up("vps")
        self.wait_for_warning("vps", "the firewall may drop the office's packets for box1, UDP port 1194: table inet admin, chain in (its policy);")
        self.assertIn("may drop the office's packets for box1", self.checked("vps"))
        self.net.sh("vps", "nft add rule inet admin in ip saddr '{ 198.51.101.0/24, 198.51.102.0/24 }' accept")
        self.net.up("office")
        self.assertTrue(self.lan_to_internet())
        self.net.wait("what is heard is not said to be dropped", lambda: not self.warnings("vps"), 15)
        self.assertNotIn("may drop", self.checked("vps"))

    def test_one_host_of_the_lan_before_a_policy(self):
        self.net.up()
        self.net.sh("office", "nft 'add table inet admin; add chain inet admin f { type filter hook forward priority 10; policy drop; };"
                    "add rule inet admin f ct state established,related accept; add rule inet admin f ip saddr 192.168.1.77 accept'")
        self.expect_cured("office", self.lan_to_internet, "the firewall may drop what the LAN (lan) sends into bond0: table inet admin, chain f (its policy);")


class Lines(Case):
    """The tunnels' packets of one of two lines."""

    def judge(self, site, rules, place):
        self.net.up()
        self.net.wait("both lines are up", self.second_line_is_up)
        self.assertEqual(self.warnings(site), [])
        self.net.sh(site, rules)
        self.wait_for_warning(site, place)
        self.net.wait("the rules drop it", lambda: not self.second_line_is_up(), 15)
        self.assertIn(place, self.checked(site), "check names it, too")
        for line in self.warnings(site):
            self.net.sh(site, re.search("`((nft|iptables).*)`", line).group(1))
        self.net.wait("the line is back", self.second_line_is_up, 30)
        self.net.wait("status is quiet again", lambda: not self.warnings(site), 15)

    def test_ingress_of_the_vps(self):
        self.judge("vps", f"nft '{at_device('eth0', 'udp dport 1196 drop')}'",
                   "the firewall drops the office's packets for box2, UDP port 1196: table netdev adm, chain c;")

    def test_ingress_of_the_vps_in_a_table_of_family_inet(self):
        self.judge("vps", f"nft '{at_device('eth0', 'udp dport 1196 counter drop', 'inet')}'",
                   "the firewall drops the office's packets for box2, UDP port 1196: table inet adm, chain c;")

    def test_egress_of_a_line(self):
        self.judge("office", f"nft '{at_device('dsl2', 'meta l4proto udp drop', hook='egress')}'",
                   "the firewall drops the tunnel's packets of box2 to the server: table netdev adm, chain c;")

    def test_iptables_legacy_at_the_vps(self):
        if not self.has_legacy():
            self.skipTest("no iptables-legacy here")
        self.judge("vps", "iptables-legacy -A INPUT -p udp --dport 1196 -j DROP",
                   "the firewall drops the office's packets for box2, UDP port 1196: table filter of iptables-legacy, chain INPUT;")


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
