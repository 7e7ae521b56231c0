#!/usr/bin/env python3
"""By which way packets go, with real packets on this machine's kernel: policies, answers, forwards.

  tests/netns/ways_test.py --bondd PATH [unittest arguments]

Needs root; exit status 77 without.
"""
import json
import pathlib
import re
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import GATEWAYS, INSIDE, LINES, PC, PEER, SERVER, WEB, Inside, OfficeNet  # noqa: E402

BONDD = None


class Case(unittest.TestCase):
    boxes = "devices"

    def setUp(self):
        self.net = OfficeNet(BONDD, self.boxes).__enter__()
        self.addCleanup(self.net.__exit__)


class Policies(Case):
    """The tunnels come before every policy, and so do answers to what came in by another way."""

    def test_policies_that_fit_the_tunnels_leave_them_alone(self):
        for match in ('{ proto = "udp" }', '{ proto = "udp", dport = "1024-65535" }', '{ proto = "udp", source = "192.168.0.0/16" }'):
            with self.subTest(match):
                self.net.write(office=f'[[policy]]\nname = "all"\nwan = "box2"\nmatch = [{match}]\n')
                self.net.apply()
                self.assertEqual(self.net.pings("office", "172.16.16.1", 10), 10)
                seen = self.net.tunnel_packets()
                for box in ("box1", "box2"):
                    self.assertGreater(seen[box, "own"], 0, f"packets of {box}'s tunnel through {box}: {seen}")
                    self.assertEqual(seen[box, "others"], 0, f"packets of the other tunnel through {box}: {seen}")
                self.net.serve("web", "udp", 5000)
                self.assertEqual(self.net.ask("pc", "udp", WEB, 5000), LINES["box2"])

    def test_a_policy_leaves_answers_of_a_forward_alone(self):
        self.net.write(office='[[policy]]\nname = "all"\nwan = "box2"\nmatch = [{ proto = "tcp" }, { proto = "udp" }]\n',
                       vps='[[forward]]\nproto = "tcp"\nport = "80"\nto = "192.168.1.10:80"\n'
                           '[[forward]]\nproto = "udp"\nport = "53"\nto = "172.16.16.2:53"\n')
        self.net.serve("pc", "tcp", 80)
        self.net.serve("office", "udp", 53)
        self.net.up()
        self.assertEqual(self.net.ask("web", "tcp", SERVER, 80), WEB)
        self.assertEqual(self.net.ask("web", "udp", SERVER, 53), WEB)


class PoliciesOnOneLan(Policies):
    boxes = "one-lan"


class Answers(Case):
    """What comes in by a gateway is answered by it: the gateways forward TCP 2222 and UDP 51820 to the office."""

    def serve(self):
        self.net.serve("office", "tcp", 2222)
        for own in {own for _, _, own in GATEWAYS[self.boxes].values()}:
            self.net.serve("office", "udp", 51820, own)

    def expect_answers(self):
        for box, line in LINES.items():
            for proto, port in (("tcp", 2222), ("udp", 51820)):
                with self.subTest(f"{proto} {port} by {box}"):
                    self.assertEqual(self.net.ask("web", proto, line, port), WEB)

    def test_what_a_gateway_forwards_is_answered_by_it(self):
        self.net.write(vps='[[forward]]\nproto = "tcp"\nport = "80"\nto = "172.16.16.2:80"\n')
        self.serve()
        self.net.serve("office", "tcp", 80)
        self.net.serve("web", "tcp", 7)
        self.net.up()
        self.expect_answers()
        self.assertEqual(self.net.ask("web", "tcp", SERVER, 80), WEB)
        for who in ("pc", "office"):
            self.assertEqual(self.net.ask(who, "tcp", WEB, 7), SERVER, f"{who} goes out through the bond")

    def test_it_is_answered_while_no_tunnel_is_up(self):
        self.net.write()
        self.serve()
        alone = self.net.up_alone()
        try:
            self.net.wait("answers", lambda: self.net.ask("web", "tcp", LINES["box2"], 2222, tries=1) == WEB, 20)
            self.expect_answers()
        finally:
            alone.terminate()
            alone.wait(timeout=30)

    def test_it_is_answered_when_the_office_forwards_it_to_a_host_of_the_lan(self):
        self.net.write(office='[[policy]]\nname = "all"\nwan = "box1"\nmatch = [{ proto = "tcp", sport = "1-1024" }]\n')
        for device in {device for device, _, _ in GATEWAYS[self.boxes].values()}:
            self.net.sh("office", f"iptables -t nat -A PREROUTING -i {device} -p tcp --dport 2222 -j DNAT --to-destination {PC}:22;"
                        f"iptables -t nat -A PREROUTING -i {device} -p udp --dport 51820 -j DNAT --to-destination {PC}:51820")
        self.net.serve("pc", "tcp", 22)
        self.net.serve("pc", "udp", 51820)
        self.net.up()
        self.expect_answers()

    def test_a_connection_that_is_older_than_up_goes_on(self):
        listener = self.net.socket("office", socket.SOCK_STREAM, ("", 2222))
        listener.listen(5)
        pairs = []
        for line in LINES.values() if self.boxes == "devices" else [LINES["box1"]]:  # box2: dead before up, too
            try:
                client = self.net.socket("web", socket.SOCK_STREAM)
                client.settimeout(3)
                client.connect((line, 2222))
                pairs.append((client, listener.accept()[0]))
            except OSError:
                pass  # no answer by that line before up
        self.assertGreater(len(pairs), 0)
        self.net.write()
        self.net.up()
        for client, served in pairs:
            served.settimeout(5)
            client.settimeout(5)
            client.sendall(b"still there?")
            self.assertEqual(served.recv(100), b"still there?")
            served.sendall(b"yes")
            self.assertEqual(client.recv(100), b"yes")


class AnswersOnOneLan(Answers):
    boxes = "one-lan"


class LockedOut(Case):
    """A file that would cut its own machine off is refused before anything is changed."""

    def test_a_vps_whose_default_route_would_lead_into_the_bond_goes_on_answering(self):
        self.net.write()
        file = self.net.folder / "vps.toml"
        before = self.net.sh("vps", "ip rule; ip route show table all; iptables-save | sed '/^#/d'")
        for networks in ('"0.0.0.0/0"', '"0.0.0.0/1", "128.0.0.0/1"'):
            with self.subTest(networks):
                file.write_text(re.sub(r"through_bond = .*", f"through_bond = [{networks}]", file.read_text()))
                with self.assertRaisesRegex(RuntimeError, "exit 1"):
                    self.net.run_bondd("vps", "up", "-d")
                self.net.serve("vps", "tcp", 22 if "0/0" in networks else 23)
                self.assertEqual(self.net.ask("web", "tcp", SERVER, 22 if "0/0" in networks else 23), WEB)
        self.assertEqual(self.net.sh("vps", "ip rule; ip route show table all; iptables-save | sed '/^#/d'"), before)


class OfficeInside(Case):
    """The office's Internet addresses in the VPS's through_bond: its answers to them would go into the bond."""

    def test_it_is_refused_as_soon_as_it_is_known(self):
        net = self.net
        net.write()
        file = net.folder / "vps.toml"
        right = file.read_text()
        words = '"198.51.101.0/24" in through_bond holds 198.51.101.2, the office\'s own Internet address (box1)'
        wrong = right.replace('"192.168.1.0/24"', '"198.51.101.0/24", "192.168.1.0/24"')
        net.up()
        file.write_text(wrong)
        net.wait("the office's address is known", lambda: words in net.run_bondd("vps", "check", check=False)[1])
        for command in ("check", "reload"):
            with self.subTest(command):
                done = subprocess.run(net._command("vps", command), capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 1, done)
                self.assertIn(words, done.stdout + done.stderr)
        net.run_bondd("vps", "down")
        net.up("vps")
        problems = lambda: json.loads(net.run_bondd("vps", "status", "--json", check=False)[0])["problems"]
        net.wait("a problem of the running site", lambda: [p for p in problems() if p["code"] == "office-inside" and words in p["text"]], 20)
        file.write_text(right)
        self.assertIn("0 errors", net.run_bondd("vps", "check")[1])
        net.run_bondd("vps", "reload")
        net.wait("it is gone", lambda: "office-inside" not in [p["code"] for p in problems()])


class OneGateway(Case):
    """Two WANs that come to leave by one gateway are one line."""
    boxes = "one-lan"

    def test_a_learned_gateway_that_becomes_the_written_one_is_named(self):
        self.net.write()
        file = self.net.folder / "office.toml"
        file.write_text(file.read_text().replace('gateway = "192.168.1.254"\n', ""))
        self.net.sh("office", "ip route replace default via 192.168.1.254")
        self.net.up()
        self.net.wait("both tunnels, each by its own gateway", lambda: all(
            self.net.tunnel_packets()[box, "own"] > 0 for box in LINES), 20)
        named = lambda: [line for line in json.loads(self.net.run_bondd("office", "status", "--json")[0])["warnings"]
                         if "192.168.1.240" in line and "box2" in line]
        self.assertEqual(named(), [])
        self.net.sh("office", "ip route replace default via 192.168.1.240")
        self.net.wait("status names both WANs and their gateway", named, 15)
        seen = self.net.tunnel_packets(2)
        self.assertEqual(seen["box2", "own"], 0, f"and it is so: {seen}")


    def test_two_addresses_of_one_gateway_are_named(self):
        net = self.net
        net.sh("box1", "ip addr add 192.168.1.241/24 dev eth0")
        net.write()
        file = net.folder / "office.toml"
        file.write_text(file.read_text().replace("192.168.1.254", "192.168.1.241"))
        net.up()
        words = "192.168.1.240 on lan and 192.168.1.241 on lan, which have the same hardware address"
        net.wait("status names both", lambda: words in net.run_bondd("office", "status", "--json", check=False)[0], 15)
        self.assertIn(words, net.run_bondd("office", "check")[1])


class Clock(Case):
    """While the bond carries nothing, this machine asks the time past it: the bond may wait for the right time."""

    def ntp_packets(self):
        """Of NTP, that left by the gateways since the last call."""
        seen = 0
        for box in LINES:
            lines = self.net.sh(box, "iptables -Z -nvxL FORWARD").splitlines()
            seen += sum(int(line.split()[0]) for line in lines if line.endswith("dpt:123"))
        return seen

    def test_ntp_leaves_by_a_gateway_until_the_bond_carries(self):
        self.net.write()
        for box in LINES:
            self.net.sh(box, "iptables -I FORWARD -o wan -p udp --dport 123")
        self.net.serve("web", "udp", 123)
        self.net.serve("web", "udp", 124)
        alone = self.net.up_alone()
        try:
            self.net.wait("an answer of the time server", lambda: self.net.ask("office", "udp", WEB, 123, tries=1) in LINES.values(), 25)
            self.assertGreater(self.ntp_packets(), 0)
            self.assertIsNone(self.net.ask("office", "udp", WEB, 124), "nothing but NTP goes past the bond")
            self.assertIsNone(self.net.ask("pc", "udp", WEB, 123), "nor that of others")
            self.net.up("vps")
            self.net.wait("an answer through the bond", lambda: self.net.ask("office", "udp", WEB, 123, tries=1) == SERVER, 25)
            self.ntp_packets()
            for _ in range(5):
                self.assertEqual(self.net.ask("office", "udp", WEB, 123), SERVER)
            self.assertEqual(self.ntp_packets(), 0, "once it carries, none goes past it")
        finally:
            alone.terminate()
            alone.wait(timeout=30)


class ReversePath(Case):
    """Forwards pass whatever reverse path filtering the machine has, and it is put back."""
    FORWARDS = ('[[forward]]\nproto = "tcp"\nport = "80"\nto = "192.168.1.10:80"\n'
                '[[forward]]\nproto = "tcp"\nport = "81"\nto = "172.16.16.2:81"\n')

    def expect_forwards(self, through, settings):
        self.net.sh("office", f"sysctl -qw {settings}")
        read = "sysctl -a 2>/dev/null | grep -E 'rp_filter|src_valid_mark'"
        before = self.net.sh("office", read)
        self.net.write(vps=self.FORWARDS, through=through)
        self.net.serve("pc", "tcp", 80)
        self.net.serve("office", "tcp", 81)
        self.net.serve("office", "tcp", 2222)
        self.net.up()
        self.assertEqual(self.net.ask("web", "tcp", SERVER, 80), WEB)
        self.assertEqual(self.net.ask("web", "tcp", SERVER, 81), WEB)
        for box, line in LINES.items():
            self.assertEqual(self.net.ask("web", "tcp", line, 2222), WEB, box)
        self.net.down()
        self.assertEqual(self.net.sh("office", read), before)

    def test_a_strict_lan_that_looks_at_marks(self):
        self.expect_forwards('"0.0.0.0/0"', "net.ipv4.conf.all.src_valid_mark=1 net.ipv4.conf.lan.rp_filter=1")

    def test_strict_everywhere_and_only_a_part_goes_through_the_bond(self):
        strict = " ".join(f"net.ipv4.conf.{device}.rp_filter=1" for device in ("all", "default", "lan", "dsl1", "dsl2"))
        self.expect_forwards('"10.20.0.0/16"', strict + " net.ipv4.conf.all.src_valid_mark=1")


class Firewall(Case):
    """Nobody in through the bond but answers and forwards; nobody out of the VPS but the office."""

    def setUp(self):
        super().setUp()
        net = self.net
        for where, port in (("pc", 8080), ("office", 8081), ("vps", 8082), ("web", 7), ("pc", 80)):
            net.serve(where, "tcp", port)
        net.serve("office", "udp", 5353)
        net.sh("vps", "sysctl -qw net.ipv4.ip_forward=1")
        net.sh("isp", f"ip route add 192.168.1.0/24 via {SERVER}; ip route add 172.16.16.0/30 via {SERVER}")
        self.forward = '[[forward]]\nproto = "tcp"\nport = "80"\nto = "192.168.1.10:80"\n'

    def expect_office_reaches_the_internet(self):
        for who in ("pc", "office"):
            self.assertEqual(self.net.ask(who, "tcp", WEB, 7), SERVER)
        self.assertEqual(self.net.ask("web", "tcp", SERVER, 80), WEB)
        self.assertEqual(self.net.pings("pc", "172.16.16.1"), 3)
        self.assertEqual(self.net.pings("vps", "172.16.16.2"), 3)

    def refused(self, *question, **more):
        return self.assertIsNone(self.net.ask(*question, tries=1, **more), f"{question} is answered")

    def test_only_answers_and_forwards_come_in(self):
        net = self.net
        net.write(vps=self.forward)
        net.up()
        self.expect_office_reaches_the_internet()
        self.refused("vps", "tcp", PC, 8080)
        self.refused("vps", "tcp", INSIDE, 8081)
        self.refused("pc", "tcp", PEER, 8082)
        self.refused("web", "tcp", PC, 8080)
        self.refused("web", "tcp", INSIDE, 8081)
        # To its public address the VPS's own rules apply, as to everybody.
        self.assertIsNotNone(net.ask("web", "tcp", SERVER, 8082))
        self.assertIsNotNone(net.ask("pc", "tcp", SERVER, 8082))
        self.assertEqual(net.ask("pc", "tcp", SERVER, 80), SERVER)  # the office's own service by the VPS's address
        # The admin's own rules let in more.
        net.sh("office", "iptables -A FORWARD -i bond0 -s 172.16.16.1 -p tcp --dport 8080 -j ACCEPT; iptables -D FORWARD -j BONDD-DFWD-office; "
               "iptables -A FORWARD -j BONDD-DFWD-office")
        self.assertEqual(net.ask("vps", "tcp", PC, 8080), "172.16.16.1")

    def test_with_replies_alone_no_forward_comes_in_either(self):
        self.net.write(vps=self.forward, bond={"office": 'from_bond = "replies"'})
        self.net.up()
        self.assertEqual(self.net.ask("pc", "tcp", WEB, 7), SERVER)
        self.assertEqual(self.net.pings("vps", INSIDE), 3)
        self.refused("web", "tcp", SERVER, 80)

    def test_drop_policies_do_not_matter(self):
        for site in ("office", "vps"):
            self.net.sh(site, "iptables -P INPUT DROP; iptables -P FORWARD DROP; iptables -A INPUT -i lo -j ACCEPT;"
                        "iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; iptables -A FORWARD -i lan -j ACCEPT")
        self.net.write(vps=self.forward)
        self.net.up()
        self.expect_office_reaches_the_internet()
        self.refused("vps", "tcp", PC, 8080)
        self.refused("vps", "tcp", INSIDE, 8081)
        self.refused("pc", "tcp", PEER, 8082)

    def test_all_is_one_trusted_network(self):
        self.net.write(vps=self.forward, bond={"office": 'from_bond = "all"', "vps": 'from_bond = "all"'})
        self.net.up()
        self.expect_office_reaches_the_internet()
        self.assertEqual(self.net.ask("vps", "tcp", PC, 8080), "172.16.16.1")
        self.assertEqual(self.net.ask("vps", "tcp", INSIDE, 8081), "172.16.16.1")
        self.assertEqual(self.net.ask("pc", "tcp", PEER, 8082), PC)

    def forge(self, short, source, sport, to, port):
        """One UDP datagram with that source."""
        body = b"forged"
        udp = struct.pack(">HHHH", sport, port, 8 + len(body), 0) + body
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(to))
        with Inside(self.net.names[short]):
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            raw.sendto(head + udp, (to, 0))

    def heard(self, short, port):
        s = self.net.socket(short, socket.SOCK_DGRAM, ("", port))
        s.settimeout(1.5)
        return s

    def test_forged_sources_get_nowhere(self):
        net = self.net
        net.sh("office", "iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT")
        net.write()
        net.up()
        at_office, at_web, at_pc = self.heard("office", 5354), self.heard("web", 9999), self.heard("pc", 9998)
        # The VPS's address and the tunnel's port as source, from somebody on the line, to another port.
        self.forge("box1", SERVER, 1194, "192.168.11.2", 5354)
        self.assertRaises(TimeoutError, at_office.recv, 100)
        # From the LAN with an address of somebody else's, through the VPS.
        self.forge("pc", "8.8.4.4", 1000, WEB, 9999)
        self.assertRaises(TimeoutError, at_web.recv, 100)
        self.forge("pc", PC, 1000, WEB, 9999)
        self.assertEqual(at_web.recv(100), b"forged")
        # From the VPS with an address of the LAN.
        self.forge("vps", "192.168.1.77", 1000, PC, 9998)
        self.assertRaises(TimeoutError, at_pc.recv, 100)


class Foreign(Case):
    """What of others takes our packets is said by check, up and status."""

    def test_rules_routes_and_marks_of_others_are_named(self):
        net = self.net
        net.sh("office", "ip link add other type veth peer name otherx; ip link set other up; ip link set otherx up; ip addr add 10.99.0.1/24 dev other;"
               "ip route add default via 10.99.0.2 table 300; ip rule add pref 100 iif lan lookup 300;"
               "ip rule add pref 5230 fwmark 0x80000/0xff0000 lookup 53;"
               "ip route add 0.0.0.0/1 via 10.99.0.2; iptables -t mangle -A PREROUTING -i eth9 -j MARK --set-mark 1")
        net.write()
        wanted = ("rule 100 (iif lan lookup 300)", "rule 5230", "0.0.0.0/1 via 10.99.0.2", "MARK --set-xmark 0x1/0xffffffff")
        said = {"check": net.run_bondd("office", "check")[1], "up": net.up()}
        net.wait("both lines up", lambda: '"degraded"' not in net.run_bondd("office", "status", "--json")[0])
        said["status"] = net.run_bondd("office", "status")[0]
        for command, text in ((command, " ".join(text.split())) for command, text in said.items()):
            for words in wanted:
                with self.subTest(f"{command}: {words}"):
                    self.assertIn(words, text)

    def test_a_machine_of_its_own_says_nothing(self):
        self.net.write()
        for site in ("office", "vps"):
            self.assertIn("0 errors, 0 warnings", self.net.run_bondd(site, "check")[1])

    def expect_lan_in_the_bond(self):
        self.net.serve("web", "tcp", 7)
        for who in ("pc", "office"):
            self.assertEqual(self.net.ask(who, "tcp", WEB, 7), SERVER, who)

    def test_marks_of_shorewall_do_not_lead_past_the_bond(self):
        net = self.net
        net.sh("office", "iptables -t mangle -A PREROUTING -i lan -j MARK --set-xmark 0x10000/0xf0000;"
               "ip rule add pref 10000 fwmark 0x10000/0xf0000 lookup 77")
        net.write()
        self.assertIn(" 0 warnings", net.run_bondd("office", "check")[1])
        net.up()
        self.expect_lan_in_the_bond()

    def test_tailscale_and_wg_quick_beside_the_bond(self):
        net = self.net
        net.sh("office", "ip link add ts0 type veth peer name ts0x; ip link set ts0 up; ip link set ts0x up; ip route add 100.64.0.9 dev ts0 table 52;"
               "ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main; ip rule add pref 5230 fwmark 0x80000/0xff0000 lookup default;"
               "ip rule add pref 5250 fwmark 0x80000/0xff0000 unreachable; ip rule add pref 5270 lookup 52;"
               "iptables -t filter -A FORWARD -i ts0 -j MARK --set-xmark 0x40000/0xff0000;"
               "ip rule add pref 32764 lookup main suppress_prefixlength 0; ip rule add pref 32765 not fwmark 0xca6c lookup 51820")
        net.write()
        said = net.run_bondd("office", "check")[1]
        self.assertIn("rule 5210 (fwmark 0x80000/0xff0000 lookup main), ", said)
        self.assertIn("rule 5270 (lookup 52) of another program stand among bondd's", said)
        self.assertIn(" 1 warning\n", said)
        net.up()
        self.expect_lan_in_the_bond()
        self.assertIn("dev ts0 table 52", net.sh("office", f"ip route get 100.64.0.9 from {PC} iif lan"))

    def test_what_mwan3_marks_is_named(self):
        net = self.net
        net.sh("office", "ip route add default via 192.168.12.1 table 2; ip rule add pref 1001 iif dsl1 lookup 1; ip rule add pref 1002 iif dsl2 lookup 2;"
               "ip rule add pref 2002 fwmark 0x200/0x3f00 lookup 2; ip rule add pref 2061 fwmark 0x3d00/0x3f00 blackhole;"
               "iptables -t mangle -A PREROUTING -i lan -j MARK --set-xmark 0x200/0x3f00")
        net.write()
        said = net.run_bondd("office", "check")[1]
        self.assertIn("rule 2002 (fwmark 0x200/0x3f00 lookup 2)", said)
        self.assertIn("takes past the bond what `iptables -t mangle -A PREROUTING -i lan", said)
        self.assertIn(" 1 warning\n", said)

    def test_marks_in_nfts_own_syntax_are_named(self):
        net = self.net
        net.sh("office", "nft add table inet fw; nft add chain inet fw pre '{ type filter hook prerouting priority mangle; }';"
               "nft add rule inet fw pre iifname lan counter meta mark set meta mark and 0xffffff00 or 0x1")
        net.write()
        self.assertIn(" 0 warnings", net.run_bondd("office", "check")[1])
        net.sh("office", "nft add rule inet fw pre iifname lan meta mark set 0x1")
        said = net.run_bondd("office", "check")[1]
        self.assertRegex(said, r"`nft -a list chain inet fw pre \(handle \d+\)` of another program writes all bits of a mark")

    def test_a_vpn_that_comes_later_is_said_by_status(self):
        net = self.net
        net.write()
        net.up()
        warnings = lambda: " ".join(json.loads(net.run_bondd("office", "status", "--json")[0])["warnings"])
        self.assertNotIn("0.0.0.0/1", warnings())
        net.sh("office", "ip link add tun9 type veth peer name tun9x; ip link set tun9 up; ip link set tun9x up; ip route add 0.0.0.0/1 dev tun9; ip route add 128.0.0.0/1 dev tun9")
        net.wait("the status says it", lambda: "0.0.0.0/1 dev tun9 and 128.0.0.0/1 dev tun9 in the main table go before the bond" in warnings())
        net.sh("office", "ip link del tun9")
        net.wait("the status forgets it", lambda: "tun9" not in warnings())

    def test_another_mask_is_used_and_taken_down(self):
        net = self.net
        net.write(office="[marks]\nmask = 0xff0000\n")
        net.up()
        self.assertIn("/0xff0000 lookup", net.sh("office", "ip rule"))
        self.assertIn("0/0xff0000", net.sh("office", "iptables-save -t mangle"))
        net.write(office="[marks]\nmask = \"0x7e000000\"\n")
        net.apply()
        net.wait("nothing has the old mask", lambda: "0xff0000" not in net.sh("office", "ip rule; iptables-save"), 10)
        self.assertEqual(net.pings("office", PEER, 10), 10)
        net.write()
        net.down()
        self.assertNotIn("proto 98", net.sh("office", "ip rule"))
        self.assertNotIn("BONDD", net.sh("office", "iptables-save"))


class OwnCause(Case):
    """What on this machine stops a WAN's packets is named, and no guess of what is beyond it."""
    FIB = ("nft 'add table inet adm; add chain inet adm c {{ type filter hook prerouting priority -300; }};"
           "add rule inet adm c fib saddr . {}iif oif missing drop'")
    CAUSES = {
        "rpfilter": ("iptables -t raw -A PREROUTING -m rpfilter --invert -j DROP", "iptables -t raw -F", "the firewall drops the server's packets for box2"),
        "fib": (FIB.format(""), "nft delete table inet adm", "the firewall drops the server's packets for box2"),
        "fib with marks": (FIB.format("mark . "), "nft delete table inet adm", "the firewall drops the server's packets for box2"),
        "drop": ("nft 'add table inet adm; add chain inet adm c { type filter hook input priority 0; }; add rule inet adm c iifname { dsl1, dsl2 } drop'",
                 "nft delete table inet adm", "the firewall drops the server's packets for box2"),
        "output": ("iptables -t mangle -I OUTPUT -p udp -j DROP", "iptables -t mangle -F OUTPUT", "the firewall drops the tunnel's packets of box2"),
        "rule": ("ip rule add pref 100 unreachable", "ip rule del pref 100", "rule 100 (unreachable) goes before bondd's rules and refuses the tunnel's packets of box2"),
        "route": ("ip route add default via 192.168.1.77 table 300; ip rule add pref 100 lookup 300", "ip rule del pref 100; ip route flush table 300",
                  "rule 100 (lookup 300) goes before bondd's rules and leads the tunnel of box2 elsewhere"),
    }

    def problems(self, site="office"):
        return json.loads(self.net.run_bondd(site, "status", "--json", check=False)[0])["problems"]

    def test_the_machines_own_cause_is_named_alone(self):
        net = self.net
        net.write()
        net.up("vps")
        for name, (command, undo, text) in self.CAUSES.items():
            with self.subTest(name):
                net.sh("office", command)
                done = subprocess.run(net._command("office", "up", "-d", "--timeout", "6s"), capture_output=True, text=True, timeout=60)
                net.sh("office", undo)
                self.assertEqual(done.returncode, 1, done)
                why = done.stderr.partition("carries no traffic")[2]
                self.assertIn(f"box2: {text}", why)
                for guess in ("no Internet here", "server runs", "not on UDP port", "no reply"):
                    self.assertNotIn(guess, why)

    def test_it_comes_and_goes_while_the_site_is_up(self):
        net = self.net
        net.write()
        net.up()
        net.wait("both lines up", lambda: not self.problems(), 20)
        net.sh("office", "nft 'add table inet adm; add chain inet adm c { type filter hook input priority -300; }; add rule inet adm c iifname dsl2 drop'")
        net.wait("the line is stopped", lambda: ("wan-stopped", "box2") in [(p["code"], p["wan"]) for p in self.problems()], 20)
        time.sleep(6)  # the probes have found the line dead by now
        own = [p for p in self.problems() if p["wan"] == "box2"]
        self.assertEqual({p["code"] for p in own}, {"wan-stopped"}, own)
        net.sh("office", "nft delete table inet adm")
        net.wait("all well again", lambda: not self.problems(), 30)


def take(args):
    global BONDD
    BONDD = str(args.bondd.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["bondd"]))
