#!/usr/bin/env python3
"""By which way packets go, with real packets on this machine's kernel: policies, answers, forwards.

  tests/netns/ways_test.py --bondd PATH [unittest arguments]

Needs root; exit status 77 without.
"""
import argparse
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from office_net import LINES, OFFICE, PC, SERVER, WEB, OfficeNet  # noqa: E402

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
