#!/usr/bin/env python3
"""bondd-engine end to end, in network namespaces on this machine's kernel.

  tests/netns/engine_test.py --build DIR [--upstream PATH-OF-MLVPN] [unittest arguments]

Needs root, ping, iperf3, tc and ethtool. With --upstream the engine also talks to
the original mlvpn program, which is not part of this project, in both roles.
"""

import os
import pathlib
import re
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from tunnels import EngineEnd, Net, UpstreamEnd, engine_pair, iperf, run  # noqa: E402

BUILD = None
UPSTREAM = None


def pings(net, space, address, count=5, size=100, interval=0.02, options=()):
    """How many of `count` came back."""
    text = net.run(space, "ping", "-n", "-q", "-i", interval, "-W", "1", "-c", count, "-s", size, *options, address,
                   check=False)
    found = re.search(r"(\d+) received", text)
    return int(found.group(1)) if found else 0


class NetCase(unittest.TestCase):
    networks = ("1.1", "1.2")

    def setUp(self):
        self.net = Net("engtest").__enter__()
        self.addCleanup(self.net.__exit__)
        self.a, self.b = self.net.space("a"), self.net.space("b")
        self.devices = [self.net.veth(self.a, self.b, network) for network in self.networks]

    def tearDown(self):
        """Who is alive ends well when told to: no sanitizer found anything, nothing hangs."""
        for end in self.net.engines:
            if end.process.poll() is None:
                self.assertEqual(end.stop(), 0, f"how {end.space}'s engine ended")

    def pair(self, **options):
        self.client, self.server = engine_pair(self.net, BUILD, self.a, self.b, self.networks, **options)
        return self.client, self.server

    def cut(self, line):
        """What either end sends vanishes without an error."""
        for space, host in ((self.a, 2), (self.b, 1)):
            run("ip", "-n", space, "neigh", "replace", f"10.{self.networks[line]}.{host}", "lladdr",
                "02:00:00:00:00:01", "dev", self.devices[line])

    def heal(self, line):
        for space, host in ((self.a, 2), (self.b, 1)):
            run("ip", "-n", space, "neigh", "del", f"10.{self.networks[line]}.{host}", "dev", self.devices[line])

    def assert_carries(self, client, server, count=5):
        self.assertEqual(pings(self.net, client.space, server.address, count), count)
        self.assertEqual(pings(self.net, server.space, client.address, count, 1300), count)


# Goodput here is only to show that large transfers work, on a machine that may be busy with
# other tests; tests/bench measures it.
class Tunnel(NetCase):
    def test_tun_and_large_transfers_both_ways(self):
        client, server = self.pair()
        self.assert_carries(client, server)
        for reverse in (False, True):
            self.assertGreater(iperf(self.net, client, server, 1, reverse=reverse)["gbps"], 0.004)

    def test_tap(self):
        client, server = self.pair(options=["--tap"], mtu=1380)
        self.assert_carries(client, server)
        self.assertGreater(iperf(self.net, client, server, 1)["gbps"], 0.004)

    def test_clear_data(self):
        self.assert_carries(*self.pair(options=["--clear"]))

    def test_without_any_offload(self):
        client, server = self.pair(options=["--no-offloads"])
        self.assert_carries(client, server)
        self.assertGreater(iperf(self.net, client, server, 1)["gbps"], 0.004)

    def test_a_tun_without_virtio_headers(self):
        client, server = self.pair(options=["--no-vnet"])
        self.assertEqual(client.reports[0]["tun"], "none")
        self.assert_carries(client, server)
        self.assertGreater(iperf(self.net, client, server, 1)["gbps"], 0.004)

    def test_ipv6_inside(self):
        client, server = self.pair()
        for end, host in ((client, 1), (server, 2)):
            run("ip", "-n", end.space, "addr", "add", f"fd77::{host}/64", "dev", end.device, "nodad")
        self.assertEqual(pings(self.net, self.a, "fd77::2", 5, 1300), 5)
        listener = self.net.start(self.b, "iperf3", "-s", "-1", "-B", "fd77::2", stdout=-3)
        time.sleep(0.3)
        text = self.net.run(self.a, "iperf3", "-c", "fd77::2", "-t", 1, "-f", "m")
        listener.wait(timeout=5)
        self.assertGreater(float(re.findall(r"([\d.]+) Mbits/sec", text)[-1]), 4)

    def test_ipv6_outside(self):
        for space, host in ((self.a, 1), (self.b, 2)):
            run("ip", "-n", space, "addr", "add", f"fd01::{host}/64", "dev", self.devices[0], "nodad")
        server = EngineEnd(self.net, BUILD, self.b, "server", "10.77.0.2", ["six,fd01::2,5080"])
        client = EngineEnd(self.net, BUILD, self.a, "client", "10.77.0.1", ["six,fd01::1,0,fd01::2,5080"])
        client.wait_state("six", "up")
        self.assert_carries(client, server)
        self.assertGreater(iperf(self.net, client, server, 1)["gbps"], 0.004)

    def test_a_server_of_all_addresses_answers_from_the_one_that_was_asked(self):
        """The client, or a NAT before it, knows no other. Single datagrams and whole batches."""
        run("ip", "-n", self.b, "addr", "add", "10.1.1.22/24", "dev", self.devices[0])
        for options in ([], ["--no-offloads"]):
            with self.subTest(options=options):
                server = EngineEnd(self.net, BUILD, self.b, "server", "10.77.0.2", ["l1,0.0.0.0,5080"], options=options)
                client = EngineEnd(self.net, BUILD, self.a, "client", "10.77.0.1", ["l1,10.1.1.1,0,10.1.1.22,5080"],
                                   options=options)
                client.wait_state("l1", "up")
                self.assertEqual(client.status()["links"][0]["peer"]["address"], "10.1.1.22")
                self.assert_carries(client, server)
                self.assertGreater(iperf(self.net, client, server, 1, reverse=True)["gbps"], 0.004)
                # Nothing came from another of its addresses.
                self.assertEqual(client.status()["links"][0]["peer"]["address"], "10.1.1.22")
                client.stop()
                server.stop()

    def test_a_router_with_a_smaller_mtu_carries_full_packets(self):
        """Its words about the MTU are not heard, since anybody can forge them: it fragments."""
        router = self.net.space("r")
        near = self.net.veth(self.a, router, "2.1", "near")
        far = self.net.veth(router, self.b, "2.2", "far")
        for space in (router, self.b):
            run("ip", "-n", space, "link", "set", far, "mtu", "1400")
        self.net.run(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run("ip", "-n", self.a, "route", "add", "10.2.2.0/24", "via", "10.2.1.2", "dev", near)
        run("ip", "-n", self.b, "route", "add", "10.2.1.0/24", "via", "10.2.2.1", "dev", far)
        server = EngineEnd(self.net, BUILD, self.b, "server", "10.77.0.2", ["l1,10.2.2.2,5080"], mtu=1428)
        client = EngineEnd(self.net, BUILD, self.a, "client", "10.77.0.1", ["l1,10.2.1.1,0,10.2.2.2,5080"], mtu=1428)
        client.wait_state("l1", "up")
        self.assertEqual(pings(self.net, self.a, server.address, 10, 1400), 10)
        self.assertGreater(iperf(self.net, client, server, 1)["gbps"], 0.004)
        self.assertNotIn("mtu", self.net.run(self.a, "ip", "route", "get", "10.2.2.2"))

    def test_every_packet_once_and_in_order_through_a_line_that_blocks(self):
        """A shaped line with a small socket buffer: sends meet EAGAIN all the time."""
        for space in (self.a, self.b):
            self.net.run(space, "tc", "qdisc", "add", "dev", self.devices[0], "root", "tbf", "rate", "50mbit",
                         "burst", "20000", "limit", "4000000")
        self.networks = self.networks[:1]
        client, server = self.pair(link_options=",sndbuf=40000", options=["--no-repair"])
        result = iperf(self.net, client, server, 2)
        self.assertGreater(result["gbps"], 0.004)
        counters = client.status()["counters"]
        self.assertGreater(counters["udp_blocked"], 0)
        self.assertEqual(server.status()["counters"]["duplicates"], 0)


class Failures(NetCase):
    def test_wrong_password_is_said(self):
        server = EngineEnd(self.net, BUILD, self.b, "server", "10.77.0.2", ["l1.1,10.1.1.2,5080"])
        EngineEnd(self.net, BUILD, self.a, "client", "10.77.0.1", ["l1.1,10.1.1.1,0,10.1.1.2,5080"],
                  password="something-else")
        event = server.wait_for(lambda r: r["type"] == "event" and r["kind"] == "wrong-password", 5, "wrong password")
        self.assertEqual(event["link"], "l1.1")

    def test_either_end_may_be_killed_and_come_back(self):
        client, server = self.pair()
        os.kill(server.pid, signal.SIGKILL)
        self.assertEqual(server.process.wait(timeout=5), 128 + signal.SIGKILL)
        server = EngineEnd(self.net, BUILD, self.b, "server", "10.77.0.2",
                           [f"l{n},10.{n}.2,5080" for n in self.networks])
        self.wait_until_it_carries(client, server)
        os.kill(client.pid, signal.SIGKILL)
        client.process.wait(timeout=5)
        client = EngineEnd(self.net, BUILD, self.a, "client", "10.77.0.1",
                           [f"l{n},10.{n}.1,0,10.{n}.2,5080" for n in self.networks])
        self.wait_until_it_carries(client, server)

    def wait_until_it_carries(self, client, server, timeout=6):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if pings(self.net, client.space, server.address, 3, interval=0.05) == 3:
                return
        self.fail("the tunnel does not come back")

    def test_it_ends_with_its_supervisor(self):
        client, _ = self.pair()
        client.process.kill()
        for _ in range(50):
            if not pathlib.Path(f"/proc/{client.pid}").exists():
                return
            time.sleep(0.1)
        self.fail("the engine outlives its supervisor")

    def test_it_says_that_the_device_is_gone(self):
        client, _ = self.pair()
        run("ip", "-n", self.a, "link", "del", client.device)
        report = client.wait_for(lambda r: r["type"] == "failure", 5, "failure")
        self.assertTrue(report["fatal"])
        self.assertIn("is gone", report["message"])
        self.assertEqual(client.process.wait(timeout=5), 1)

    def test_it_holds_no_rights(self):
        client, _ = self.pair()
        status = pathlib.Path(f"/proc/{client.pid}/status").read_text()
        for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertRegex(status, rf"{field}:\s+0+\n")
        self.assertRegex(status, r"NoNewPrivs:\s+1\n")
        self.assertRegex(status, r"Seccomp:\s+2\n")
        self.assertNotRegex(status, r"Uid:\s+0\s")

    def test_a_line_cut_silently_and_its_return(self):
        client, server = self.pair()
        self.cut(1)
        time.sleep(1)
        self.assertGreaterEqual(pings(self.net, self.a, server.address, 50), 25)
        time.sleep(1)
        self.assertEqual(pings(self.net, self.a, server.address, 20), 20)
        self.heal(1)
        end = time.monotonic() + 10
        while client.status()["links"][1]["state"] != "up":
            self.assertLess(time.monotonic(), end, "the line does not come back")
            time.sleep(0.2)


class Reload(NetCase):
    """Requests at run time; pings go on all the while and none is lost."""

    def during_pings(self, *actions):
        pinging = self.net.start(self.a, "ping", "-n", "-q", "-i", "0.01", "-c", "150", self.server.address,
                                 stdout=-1)
        for action in actions:
            time.sleep(0.3)
            action()
        text = pinging.communicate(timeout=20)[0]
        self.assertIn("150 received", text)

    def test_links_leave_and_come(self):
        client, server = self.pair()
        self.during_pings(lambda: client.say("remove l1.2"),
                          lambda: client.say("add l1.2,10.1.2.1,0,10.1.2.2,5080"))
        client.wait_state("l1.2", "up")
        self.assertEqual(len(client.status()["links"]), 2)

    def test_a_new_password_on_both_ends(self):
        client, server = self.pair()
        self.during_pings(lambda: client.say("password another"), lambda: server.say("password another"))
        self.assert_carries(client, server)

    def test_a_new_socket(self):
        client, _ = self.pair()
        self.during_pings(lambda: client.say("rebind l1.1,10.1.1.1,0,10.1.1.2,5080"))

    def test_what_makes_no_sense_is_refused_and_harms_nothing(self):
        client, server = self.pair()
        client.say("remove nobody")
        report = client.wait_for(lambda r: r["type"] == "failure", 3, "refusal")
        self.assertFalse(report["fatal"])
        self.assertIn("nobody", report["message"])
        self.assert_carries(client, server)


class Upstream(NetCase):
    def setUp(self):
        if UPSTREAM is None:
            self.skipTest("no --upstream")
        super().setUp()

    def ours(self, role, tap, clear):
        options = (["--tap"] if tap else []) + (["--clear"] if clear else [])
        space, address = (self.a, "10.77.0.1") if role == "client" else (self.b, "10.77.0.2")
        links = [f"l{n},10.{n}.1,0,10.{n}.2,5080,timeout=5s" if role == "client" else
                 f"l{n},10.{n}.2,5080,timeout=5s" for n in self.networks]
        return EngineEnd(self.net, BUILD, space, role, address, links, options=options, mtu=1380)

    def theirs(self, role, tap, clear):
        space, address = (self.a, "10.77.0.1") if role == "client" else (self.b, "10.77.0.2")
        return UpstreamEnd(self.net, UPSTREAM, space, role, address, self.networks, tap=tap, clear=clear,
                           settings={"reorder_buffer_size": 64}, link_settings={"loss_tolerence": 10})

    def wait(self, client, server, timeout=12):
        end = time.monotonic() + timeout
        while pings(self.net, client.space, server.address, 3, interval=0.1) != 3:
            self.assertLess(time.monotonic(), end, "the tunnel does not come up")
        self.assertGreaterEqual(pings(self.net, server.space, client.address, 20, 1300), 20)

    def test_every_kind(self):
        for our_role, their_role in (("client", "server"), ("server", "client")):
            for tap in (False, True):
                for clear in (False, True):
                    with self.subTest(ours=our_role, tap=tap, clear=clear):
                        ours, theirs = self.ours(our_role, tap, clear), self.theirs(their_role, tap, clear)
                        try:
                            self.check(*((ours, theirs) if our_role == "client" else (theirs, ours)), ours)
                        finally:
                            ours.stop()
                            theirs.kill()

    def check(self, client, server, ours):
        self.wait(client, server)
        end = time.monotonic() + 5
        while any(link["state"] != "up" for link in ours.status()["links"]):
            self.assertLess(time.monotonic(), end, ours.status()["links"])
            time.sleep(0.3)
        flow = iperf(self.net, client, server, 2)
        self.assertGreater(flow["gbps"], 0.004, flow)

    def test_it_ignores_what_only_bondd_knows(self):
        """Packets of bondd's types and of all unassigned ones, and spare bits in DATA."""
        theirs = self.theirs("server", False, False)
        time.sleep(1)
        said = self.net.run(self.a, BUILD / "tests/support/upstream_probe", "10.1.1.2", 5080, "10.77.0.1", "10.77.0.2",
                            check=False)
        self.assertIn("50 of 50 pings answered, 0 packets of other kinds", said)
        theirs.kill()

    def test_a_dead_lines_link_lives_on_by_the_other_line(self):
        for n, table in zip(self.networks, ("101", "102")):  # each address by its own line, as at home
            run("ip", "-n", self.a, "rule", "add", "from", f"10.{n}.1", "lookup", table)
            run("ip", "-n", self.a, "route", "add", "default", "via", f"10.{n}.2", "table", table)
        ours, theirs = self.ours("client", False, False), self.theirs("server", False, False)
        self.wait(ours, theirs)
        link = lambda: ours.status()["links"][1]
        self.assertEqual(link()["path"], "l1.2")
        self.cut(1)
        # The server has no other way to know, and sends every other packet on the dead link.
        self.assertGreaterEqual(pings(self.net, self.a, theirs.address, 50), 35)
        self.assertEqual(link()["path"], "l1.1")
        self.assertEqual(pings(self.net, self.a, theirs.address, 50), 50)
        # One line is dead, the other loses more than the server tolerates: it then uses no
        # link at all, unless the dead line's has a session.
        run("ip", "netns", "exec", self.a, "iptables", "-A", "OUTPUT", "-o", self.devices[0], "-p", "udp", "-m",
            "statistic", "--mode", "nth", "--every", "4", "--packet", "0", "-j", "DROP")
        pings(self.net, self.a, theirs.address, 200)
        self.assertGreaterEqual(pings(self.net, self.a, theirs.address, 100), 60)
        run("ip", "netns", "exec", self.a, "iptables", "-F", "OUTPUT")
        self.heal(1)
        end = time.monotonic() + 10
        while link()["state"] != "up":
            self.assertLess(time.monotonic(), end, "the line does not come back")
            pings(self.net, self.a, theirs.address, 10)
        self.assertEqual(link()["path"], "l1.2")
        self.assertEqual(pings(self.net, self.a, theirs.address, 50), 50)
        ours.stop()
        theirs.kill()

    def test_their_restart_and_ours(self):
        for our_role, their_role in (("client", "server"), ("server", "client")):
            with self.subTest(ours=our_role):
                ours, theirs = self.ours(our_role, False, False), self.theirs(their_role, False, False)
                order = (lambda: (ours, theirs)) if our_role == "client" else (lambda: (theirs, ours))
                self.wait(*order())
                theirs.kill()
                theirs = self.theirs(their_role, False, False)
                self.wait(*order())
                os.kill(ours.pid, signal.SIGKILL)
                ours.process.wait()
                ours = self.ours(our_role, False, False)
                self.wait(*order())
                ours.stop()
                theirs.kill()


def take(args):
    global BUILD, UPSTREAM
    BUILD, UPSTREAM = args.build.resolve(), args.upstream


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["build"], ["upstream"]))
