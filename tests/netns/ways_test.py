#!/usr/bin/env python3
"""By which way packets go, with real packets on this machine's kernel: policies, answers, forwards.

  tests/netns/ways_test.py --bondd PATH [unittest arguments]

Needs root; exit status 77 without.
"""
import argparse
import json
import os
import pathlib
import re
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from office_net import GATEWAYS, LINES, OFFICE, PC, SERVER, WEB, OfficeNet  # noqa: E402

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


def main():
    global BONDD
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--bondd", type=pathlib.Path, required=True)
    args, rest = parser.parse_known_args()
    BONDD = str(args.bondd.resolve())
    if os.geteuid() != 0:
        print("skipped: namespaces need root")
        return 77
    return 0 if unittest.main(argv=[sys.argv[0], *rest], verbosity=2, exit=False).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
