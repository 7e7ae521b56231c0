#!/usr/bin/env python3
"""`bondd reload` with files that want much of a running site, on this machine's kernel.

  tests/netns/reload_test.py --bondd PATH [unittest arguments]

Needs root; exit status 77 without.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import PEER, SERVER, OfficeNet  # noqa: E402

BONDD = None


class Case(unittest.TestCase):
    def setUp(self):
        self.net = OfficeNet(BONDD, "devices").__enter__()
        self.addCleanup(self.net.__exit__)
        self.net.write()

    def edit(self, site, *changes):
        file = self.net.folder / f"{site}.toml"
        text = file.read_text()
        for before, after in changes:
            self.assertIn(before, text)
            text = text.replace(before, after, 1)
        file.write_text(text)

    def edit_whole(self, site, table):
        """The file as write() makes it, with another [server]."""
        self.net.write()
        self.edit(site, (f'[server]\naddress = "{SERVER}"\n', table))

    def status(self, site="office"):
        return json.loads(self.net.run_bondd(site, "status", "--json", check=False)[0])

    def states(self, site="office"):
        return {wan["name"]: wan["state"] for wan in self.status(site)["wans"]}

    def expect_up(self, seconds=10):
        self.net.wait(f"both WANs up: {self.states()}", lambda: set(self.states().values()) == {"up"} and
                      self.net.pings("office", PEER, 2) == 2, seconds)

    def expect_refused(self, site, words):
        out, err = self.net.run_bondd(site, "reload", check=False)
        self.assertIn(words, err + out)
        self.assertIn(f"{site} goes on as it was", err + out)
        self.expect_up()


class Confirm(Case):
    """`reload --confirm`: the file from before is back unless `bondd confirm` follows."""

    def setUp(self):
        super().setUp()
        self.net.up()
        self.expect_up()
        self.file = self.net.folder / "office.toml"
        self.before = self.file.read_text()

    def beside(self, ending):
        return self.net.folder / f"office.toml.{ending}"

    def lead_astray(self, confirm):
        """A file with which the office finds no server."""
        self.edit("office", (f'address = "{SERVER}"', 'address = "203.0.113.99"'))
        changed = self.file.read_text()
        said = "".join(self.net.run_bondd("office", "reload", "--confirm", confirm))
        self.assertIn("bondd confirm office", said)
        self.assertEqual(self.beside("before").stat().st_mode & 0o777, 0o600)
        return changed

    def expect_before(self, changed):
        self.assertEqual(self.file.read_text(), self.before)
        self.assertEqual(self.beside("unconfirmed").read_text(), changed)
        self.assertFalse(self.beside("before").exists())

    def test_comes_back_after_its_time(self):
        mode = self.file.stat().st_mode
        changed = self.lead_astray("10s")
        self.net.wait("the problem is shown", lambda: "unconfirmed" in [one["code"] for one in self.status()["problems"]])
        self.net.wait("the bond is gone", lambda: "up" not in self.states().values())
        self.net.wait("the old file is back", lambda: self.file.read_text() == self.before, 15)
        self.expect_up(20)
        self.expect_before(changed)
        self.assertEqual(self.file.stat().st_mode, mode)
        out, err = self.net.run_bondd("office", "confirm", check=False)
        self.assertIn("not confirmed, so it is as before again", err)

    def test_stays_once_confirmed(self):
        self.edit("office", ("[routes]", "[failover]\ndirect = false\n[routes]"))
        changed = self.file.read_text()
        self.net.run_bondd("office", "reload", "--confirm", "4s")
        self.net.run_bondd("office", "confirm")
        time.sleep(5)
        self.assertEqual(self.file.read_text(), changed)
        self.assertFalse(self.beside("before").exists() or self.beside("unconfirmed").exists())
        out, err = self.net.run_bondd("office", "confirm", check=False)
        self.assertIn("nothing of office waits to be confirmed", err)

    def test_the_first_of_several_reloads_counts(self):
        self.lead_astray("60s")
        self.edit("office", ("203.0.113.99", "203.0.113.98"))
        second = self.file.read_text()
        said = "".join(self.net.run_bondd("office", "reload"))
        self.assertIn("bondd confirm office", said)  # a reload by another hand does not confirm
        self.net.run_bondd("office", "reload", "--confirm", "2s")
        self.net.wait("the first file is back", lambda: self.file.read_text() == self.before, 10)
        self.expect_before(second)
        self.expect_up(20)

    def test_comes_back_when_bondd_is_stopped(self):
        changed = self.lead_astray("60s")
        self.net.run_bondd("office", "down")
        self.expect_before(changed)

    def test_comes_back_when_bondd_is_killed(self):
        changed = self.lead_astray("60s")
        lock = (self.net.folder / "run/office/lock").read_text()
        os.kill(int(lock.split()[0]), signal.SIGKILL)
        said = self.net.up("office")
        self.assertIn("not confirmed, so it is as before again", said)
        self.expect_before(changed)
        self.expect_up(20)

    def test_what_is_refused_waits_for_nothing(self):
        self.edit("office", ("[routes]", "[rutes]"))
        self.net.run_bondd("office", "reload", "--confirm", "60s", check=False)
        self.assertFalse(self.beside("before").exists())
        for time_of in ("soon", "0s"):
            _, err = self.net.run_bondd("office", "reload", "--confirm", time_of, check=False)
            self.assertIn("`bondd help`", err)  # wrong use, and not a reload without --confirm
            self.assertNotIn("applied", err)


class Refused(Case):
    """What would break the machine or the site is refused, and the site goes on as it was."""

    def test_an_interface_of_another_program_is_left_as_it_is(self):
        self.net.up()
        for device in ("lan", "taken"):
            if device == "taken":
                self.net.sh("office", "ip link add taken type bridge; ip addr add 192.168.99.1/24 dev taken; ip link set taken up")
            before = self.net.sh("office", f"ip -o link show {device}; ip -o addr show {device}")
            self.edit("office", ('interface = "bond0"', f'interface = "{device}"'))
            self.expect_refused("office", device)
            self.assertEqual(self.net.sh("office", f"ip -o link show {device}; ip -o addr show {device}"), before)
            self.net.write()

    def test_another_role(self):
        self.net.up()
        self.edit("office", ('role = "client"', 'role = "server"'))
        out, err = self.net.run_bondd("office", "reload", check=False)
        self.assertIn("office goes on as it was", err + out)
        self.expect_up()


class Differs(Case):
    """`up -d` says what differs in the two files; it is not left to a later `status`."""
    SLIPS = {'[nat]\nmasquerade = ["eth0"]\n': ("", "names no device in [nat] masquerade"),
             "1196": ("1199", "the other end's file has no [[wan]] with port 1196"),
             'peer = "172.16.16.2"': ('peer = "172.16.16.3"', "peer = 172.16.16.3")}

    def test_up_names_it(self):
        net = self.net
        net.write()
        right = (net.folder / "vps.toml").read_text()
        for old, (new, words) in self.SLIPS.items():
            with self.subTest(words):
                self.assertIn(old, right)
                (net.folder / "vps.toml").write_text(right.replace(old, new).replace("/30", "/29"))
                net.up("vps")
                began = time.monotonic()
                self.assertIn(words, net.up("office"))
                self.assertLess(time.monotonic() - began, 8)
                net.down()


class Taken(Case):
    """What can be done is done, and what did not change goes on."""

    def test_the_servers_address_goes_and_comes(self):
        self.net.up()
        self.edit("vps", (f'[server]\naddress = "{SERVER}"\n', ""))
        self.net.run_bondd("vps", "reload")
        self.expect_up()
        self.edit_whole("vps", '[server]\naddress = "203.0.113.77"\n')
        self.assertIn("is not an address of this machine now", "".join(self.net.run_bondd("vps", "reload")))
        self.net.write()
        self.net.run_bondd("vps", "reload")
        self.expect_up()
        self.assertEqual(self.status("vps")["warnings"], [])

    def test_two_wans_change_their_ports(self):
        self.net.up()
        self.expect_up()
        swap = (("port = 1194", "port = 1"), ("port = 1196", "port = 1194"), ("port = 1\n", "port = 1196\n"))
        for sites in (("office",), ("vps",), ("office", "vps"), ("vps", "office")):
            with self.subTest(f"in the file of {sites}"):
                for site in sites:
                    self.edit(site, *swap)
                    self.net.run_bondd(site, "reload")
                self.expect_up()

    def test_warnings_are_those_of_the_file_as_it_is_now(self):
        self.edit("vps", ('[nat]\nmasquerade = ["eth0"]\n', ""))
        self.net.up()
        self.expect_up()
        self.assertIn("no [nat]", str(self.status("vps")["warnings"]))
        self.net.write()
        self.assertNotIn("warning", "".join(self.net.run_bondd("vps", "reload")))
        self.assertNotIn("[nat]", str(self.status("vps")["warnings"]))
        self.edit("vps", ('[nat]\nmasquerade = ["eth0"]\n', ""))
        self.assertIn("no [nat]", "".join(self.net.run_bondd("vps", "reload")))

    def test_a_changed_password_says_what_is_to_be_done(self):
        self.net.up()
        (self.net.folder / "office.password").write_text("another password, long enough too\n")
        self.assertIn("reload the other end", "".join(self.net.run_bondd("office", "reload")))
        self.assertNotIn("password", "".join(self.net.run_bondd("office", "reload")))
        self.expect_up()


class Start(Case):
    """What `up` and `status` say at the start is so."""

    def test_a_healthy_start_stays_up(self):
        for first, second in (("vps", "office"), ("office", "vps")):
            with self.subTest(f"{first} first"):
                alone = subprocess.Popen(self.net._command(first, "up"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(7)
                self.net.up(second) if second == "office" else self.net.run_bondd("vps", "up", "-d", "--timeout", "30s")
                self.expect_up()
                end = time.monotonic() + 9
                while time.monotonic() < end:
                    for site in ("office", "vps"):
                        self.assertEqual(set(self.states(site).values()), {"up"}, self.status(site))
                    time.sleep(0.3)
                alone.terminate()
                alone.wait(timeout=30)
                self.net.down()

    def test_ends_that_cannot_read_each_other_are_not_called_up(self):
        self.edit("office", ("[mlvpn]\n", '[mlvpn]\ntuntap = "tap"\n'))
        self.net.run_bondd("vps", "up", "-d")
        _, err = self.net.run_bondd("office", "up", "-d", "--timeout", "12s", check=False)
        self.assertIn("nothing passes: tuntap", err)

    def test_up_returns_1_when_it_is_taken_down_before_it_carries(self):
        waiting = subprocess.Popen(self.net._command("office", "up", "-d"), stderr=subprocess.PIPE, text=True)
        self.net.wait("rules", lambda: "proto 98" in self.net.sh("office", "ip rule"))
        second = subprocess.Popen(self.net._command("office", "up", "-d", "--timeout", "2s"), stderr=subprocess.PIPE, text=True)
        self.assertIn("carries no traffic", second.communicate(timeout=30)[1])
        self.assertEqual(second.returncode, 1, "a second up of a site that carries nothing")
        self.net.run_bondd("office", "down")
        self.assertIn("before it carried traffic", waiting.communicate(timeout=30)[1])
        self.assertEqual(waiting.returncode, 1)

    def test_ctrl_c_at_any_moment_leaves_nothing(self):
        for delay in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
            with self.subTest(f"after {delay} s"):
                process = subprocess.Popen(self.net._command("office", "up"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(delay)
                process.send_signal(signal.SIGINT)  # ip-netns(8) has become bondd
                process.wait(timeout=30)
                self.assertFalse((self.net.folder / "run").exists())
                self.assertNotIn("proto 98", self.net.sh("office", "ip rule"))


def take(args):
    global BONDD
    BONDD = str(args.bondd.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["bondd"]))
