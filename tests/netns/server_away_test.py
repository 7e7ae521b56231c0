#!/usr/bin/env python3
"""The server is away: what the office's connections do, with real packets on this machine's kernel.

  tests/netns/server_away_test.py --bondd PATH [unittest arguments]

Needs root; exit status 77 without.
"""
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import LINES, PEER, SERVER, WEB, OfficeNet, run  # noqa: E402

BONDD = None
ECHO, ASK = 7, 9
DIRECT = '[failover]\ndirect = true\nafter = "2s"\n'


class Case(unittest.TestCase):
    def setUp(self):
        self.net = OfficeNet(BONDD, "devices").__enter__()
        self.addCleanup(self.net.__exit__)
        self.net.serve("web", "tcp", ASK)
        self.net.serve("web", "udp", ASK)
        listener = self.net.socket("web", socket.SOCK_STREAM, ("", ECHO))
        listener.listen(20)
        threading.Thread(target=self.echo_all, args=(listener,), daemon=True).start()

    @staticmethod
    def echo_all(listener):
        def echo(client):
            try:
                while data := client.recv(100):
                    client.sendall(data)
            except OSError:
                pass
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=echo, args=(client,), daemon=True).start()

    def start_connection(self, who):
        """A TCP connection that stays."""
        client = self.net.socket(who, socket.SOCK_STREAM)
        client.settimeout(15)
        client.connect((WEB, ECHO))
        self.expect_alive(client)
        return client

    def expect_alive(self, client):
        client.sendall(b"there?")
        self.assertEqual(client.recv(100), b"there?")

    def status(self):
        return json.loads(self.net.run_bondd("office", "status", "--json")[0])

    def told(self):
        return [problem for problem in self.status()["problems"] if problem["code"] == "past-bond"]

    def ask(self, who, proto="tcp"):
        return self.net.ask(who, proto, WEB, ASK, tries=1)

    def go_direct(self):
        self.net.run_bondd("vps", "down")
        self.net.wait("a new connection past the bond", lambda: self.ask("pc") in LINES.values(), 20)

    def come_back(self):
        self.net.up("vps")
        self.net.wait("a new connection through the bond", lambda: self.ask("pc") == SERVER, 30)


class Direct(Case):
    def test_new_connections_leave_by_a_wan_and_come_back(self):
        self.net.write(office=DIRECT)
        self.net.up()
        old = self.start_connection("pc")
        self.assertEqual(self.told(), [])
        self.go_direct()
        for who in ("pc", "office"):
            for proto in ("tcp", "udp"):
                self.assertIn(self.ask(who, proto), LINES.values(), f"{proto} of {who}")
        self.assertEqual(self.net.pings("office", PEER, 2), 0, "the bond's own end is not looked for elsewhere")
        out, err = self.net.run_bondd("office", "plan")
        self.assertEqual((out, err.strip()), ("", "office: nothing to change"))
        problem = self.told()[0]
        self.assertIn("past the bond", problem["text"])
        self.assertIn("direct = false", problem["remedy"])
        self.assertEqual(self.status()["state"], "down")
        direct = {who: self.start_connection(who) for who in ("pc", "office")}

        self.come_back()
        self.assertEqual(self.ask("office"), SERVER)
        self.net.wait("status forgets it", lambda: not self.told())
        for who, client in direct.items():
            with self.subTest(f"a connection of {who} that began past the bond goes on there"):
                self.expect_alive(client)
        self.expect_alive(old)
        self.net.down()
        self.assertNotIn("BONDD", self.net.sh("office", "iptables-save"))

    def test_the_server_is_away_from_the_start(self):
        self.net.write(office=DIRECT)
        alone = self.net.up_alone()
        try:
            self.net.wait("a connection past the bond", lambda: self.ask("pc") in LINES.values(), 25)
        finally:
            alone.terminate()
            alone.wait(timeout=30)

    def test_a_gateway_that_is_off_is_not_taken(self):
        self.net.write(office=DIRECT)
        self.net.up()
        self.net.sh("box1", "ip link set eth0 down")
        self.go_direct()
        self.assertEqual(self.ask("pc"), LINES["box2"])

    def test_policies_and_answers_keep_their_ways(self):
        self.net.write(office=DIRECT + '[[policy]]\nname = "one"\nwan = "box2"\nmatch = [{ proto = "udp", dport = "9" }]\n')
        self.net.serve("office", "tcp", 2222)
        self.net.up()
        self.go_direct()
        self.assertEqual(self.ask("pc", "udp"), LINES["box2"])
        for box, line in LINES.items():
            self.assertEqual(self.net.ask("web", "tcp", line, 2222), WEB, box)

    def test_reset_ends_tcp_that_began_on_the_other_way(self):
        self.net.write(office=DIRECT + 'running = "reset"\n')
        self.net.up()
        old = self.start_connection("pc")
        self.go_direct()
        with self.assertRaises(ConnectionResetError):
            for _ in range(5):
                self.expect_alive(old)
        direct = self.start_connection("pc")
        self.come_back()
        with self.assertRaises(ConnectionResetError):
            for _ in range(5):
                self.expect_alive(direct)
        self.expect_alive(self.start_connection("pc"))


class Held(Case):
    """Without `direct` what goes into the bond leaves by no gateway, whatever happens between up and down."""

    def leaked(self):
        """Packets to the web that passed a gateway since the last call."""
        lines = [line for box in LINES for line in self.net.sh(box, "iptables -Z -nvxL FORWARD").splitlines()]
        return sum(int(line.split()[0]) for line in lines if WEB in line)

    def kill_all(self):
        for pid in run(f"ip netns pids {self.net.names['office']}").split():
            try:
                os.kill(int(pid), signal.SIGKILL)  # bondd and its engine
            except ProcessLookupError:
                pass  # it died with its parent

    def test_not_one_packet_leaves_in_the_clear(self):
        self.net.write()
        for box in LINES:
            self.net.sh(box, f"iptables -I FORWARD -o wan -d {WEB}")
        self.net.up()
        sender = self.net.socket("pc", socket.SOCK_DGRAM)
        own = self.net.socket("office", socket.SOCK_DGRAM)
        over = threading.Event()

        def send():
            while not over.wait(0.005):
                for one in (sender, own):
                    try:
                        one.sendto(b"secret", (WEB, ASK))
                    except OSError:
                        pass  # no way out now, which is what is wanted
        self.leaked()
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            for what, change in (("the bond carries", lambda: time.sleep(1)),
                                 ("the server is away", lambda: self.net.run_bondd("vps", "down")),
                                 ("reload", lambda: self.net.run_bondd("office", "reload")),
                                 ("kill -9 of all", self.kill_all),
                                 ("up again", lambda: self.net.up()),
                                 ("reload of the file", lambda: self.net.run_bondd("office", "reload"))):
                change()
                time.sleep(2)
                with self.subTest(what):
                    self.assertEqual(self.leaked(), 0)
        finally:
            over.set()
            thread.join()


def take(args):
    global BONDD
    BONDD = str(args.bondd.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["bondd"]))
