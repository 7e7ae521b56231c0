#!/usr/bin/env python3
"""`bondd doctor` names what is wrong with a set-up that somebody broke, on this machine's kernel.

  tests/netns/doctor_test.py --bondd PATH [unittest arguments]

Needs root; exit status 77 without.
"""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import OfficeNet  # noqa: E402

BONDD = None


class Doctor(unittest.TestCase):
    def setUp(self):
        self.net = OfficeNet(BONDD, "devices").__enter__()
        self.addCleanup(self.net.__exit__)
        self.net.write()

    def findings(self, site="office", *words):
        return json.loads(self.net.run_bondd(site, "doctor", "--json", *words, check=False)[0])

    def wrong(self, site="office"):
        """(code, WAN) of what is worse than a note."""
        return {(one["code"], one["wan"]) for one in self.findings(site) if one["severity"] in ("warning", "error")}

    def edit(self, site, before, after):
        file = self.net.folder / f"{site}.toml"
        self.assertIn(before, file.read_text())
        file.write_text(file.read_text().replace(before, after, 1))

    def wait_for(self, wanted, site="office"):
        self.net.wait(f"{wanted}, not {self.wrong(site)}", lambda: wanted in self.wrong(site), 25)

    def up(self):
        self.net.up()
        self.net.wait("both WANs up", lambda: not self.wrong(), 20)

    def test_a_site_that_rests(self):
        self.assertEqual(self.wrong(), {("not-running", "")})
        self.assertEqual({one["wan"] for one in self.findings() if one["code"] == "line"}, {"box1", "box2"})
        self.net.sh("box1", "ip link set wan down")
        self.net.sh("box2", "ip link set eth0 down")
        wrong = self.wrong()
        self.assertIn(("line-dead", "box1"), wrong)
        self.assertTrue(wrong & {("gateway-silent", "box2"), ("line-unknown", "box2")}, wrong)
        self.assertEqual({one["wan"] for one in self.findings("office", "--line", "box1")}, {"box1"})

    def test_a_file_with_a_mistake(self):
        self.edit("office", "gateway", "gatewey")
        self.assertIn(("file-error", ""), self.wrong())

    def test_a_site_that_is_well_gives_0(self):
        self.up()
        for site in ("office", "vps"):
            out, _ = self.net.run_bondd(site, "doctor")
            self.assertTrue(out.endswith("nothing is wrong\n"), out)
        self.assertEqual({one["wan"] for one in self.findings() if one["code"] == "wan-up"}, {"box1", "box2"})

    def test_another_password(self):
        self.up()
        (self.net.folder / "office.password").write_text("another password, long enough\n")
        self.net.run_bondd("office", "down")
        with self.assertRaises(RuntimeError):
            self.net.run_bondd("office", "up", "-d", "--timeout", "5s")
        alone = self.net.up_alone()
        try:
            self.wait_for(("secret-differs", "box1"), "vps")
        finally:
            alone.terminate()
            alone.wait(timeout=30)

    def test_one_line_without_internet_and_one_port_that_is_closed(self):
        self.up()
        self.net.sh("isp", "for way in dport sport; do iptables -I FORWARD -p udp --$way 1196 -j DROP; done")
        self.net.sh("box1", "ip link set wan down")
        self.wait_for(("line-dead", "box1"))
        self.net.sh("box1", "ip link set wan up; ip route add default via 198.51.101.1")
        self.wait_for(("port-silent", "box2"))

    def test_what_somebody_sets_while_the_site_is_up(self):
        self.up()
        self.net.sh("office", "ip rule add pref 100 iif lan lookup 300; ip route add default via 192.168.11.1 table 300")
        self.wait_for(("foreign-rules", ""))
        self.net.sh("office", "nft add table inet mine; nft add chain inet mine f '{ type filter hook forward priority 0; policy drop; }'")
        self.net.wait("the dropping chain is named", lambda: any("inet mine" in one["text"] for one in self.findings()), 20)


def take(args):
    global BONDD
    BONDD = str(args.bondd.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["bondd"]))
