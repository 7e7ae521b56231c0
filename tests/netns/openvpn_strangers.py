#!/usr/bin/env python3
"""A stranger at the port of openvpn-bond with TLS: 10,000 session requests a second, and the office's tunnel comes up all the same.

Both ends' openvpn run with the files that bondd writes; a third host sends what opens a session, without any key.
Usage: openvpn_strangers.py --files PATH [unittest arguments]: the program openvpn_files. Needs root and openvpn.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from tunnels import Net, run  # noqa: E402

FILES = None
PORT, RATE, PRIORITY = 1194, 10_000, -10
VPS = "10.1.1.2"  # towards the office; 10.3.1.2 towards the stranger
INNER = "172.16.0.1"

# P_CONTROL_HARD_RESET_CLIENT_V2: opcode 7, a session id, no acks, packet id 0; and the same as long as a wrapped one.
FLOOD = r"""
import os, socket, struct, sys, time
to, port, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((to, port))
began, sent, answers = time.monotonic(), 0, 0
print("floods", flush=True)
try:
    while True:
        due = int((time.monotonic() - began) * rate)
        while sent < due:
            body = bytes([7 << 3]) + os.urandom(8) + b"\0" + struct.pack(">I", 0)
            try:
                s.send(body if sent % 2 else body + os.urandom(60))
            except ConnectionRefusedError:
                pass
            sent += 1
        try:
            while s.recv(2000, socket.MSG_DONTWAIT):
                answers += 1
        except (BlockingIOError, ConnectionRefusedError):
            pass
        time.sleep(0.001)
except KeyboardInterrupt:
    print(sent / (time.monotonic() - began), answers, flush=True)
"""


class Strangers(unittest.TestCase):
    def setUp(self):
        self.net = Net("bondd-strangers").__enter__()
        self.addCleanup(self.net.__exit__)
        self.folder = tempfile.TemporaryDirectory(prefix="bondd-strangers-")
        self.addCleanup(self.folder.cleanup)
        self.spaces = {short: self.net.space(short) for short in ("office", "vps", "x")}
        self.net.veth(self.spaces["office"], self.spaces["vps"], "1.1")
        self.net.veth(self.spaces["x"], self.spaces["vps"], "3.1")
        for end, address in (("office", "172.16.0.2"), ("vps", INNER)):
            self.net.run(self.spaces[end], "ip", "tuntap", "add", end, "mode", "tap", "user", "nobody")
            self.net.run(self.spaces[end], "ip", "addr", "add", f"{address}/24", "dev", end)
            self.net.run(self.spaces[end], "ip", "link", "set", end, "up")
        self.running = {}

    def make_files(self, *more):
        run(FILES, self.folder.name, VPS, PORT, "nobody", "nogroup", *more)

    def log(self, end):
        path = pathlib.Path(self.folder.name, f"{end}.log")
        return path.read_text() if path.exists() else ""

    def start(self, end):
        """With the priority that bondd gives it."""
        with open(f"{self.folder.name}/{end}.log", "a") as log:
            self.running[end] = self.net.start(self.spaces[end], "nice", "-n", PRIORITY, "openvpn", "--config", f"{self.folder.name}/{end}.conf",
                                               stdout=log, stderr=log)

    def flood(self):
        process = self.net.start(self.spaces["x"], "python3", "-c", FLOOD, "10.3.1.2", PORT, RATE, stdout=subprocess.PIPE)
        process.stdout.readline()
        return process

    def end_of(self, flood):
        """(datagrams a second that were sent, answers that came)."""
        flood.send_signal(2)
        said = flood.communicate(timeout=10)[0].split()
        return float(said[0]), int(said[1])

    def carries_within(self, seconds):
        """Seconds until a ping passes; None. An openvpn that ends is started anew, as bondd does."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            for end in ("vps", "office"):
                if end not in self.running or self.running[end].poll() is not None:
                    self.start(end)
            done = subprocess.run(self.net.command(self.spaces["office"], "ping", "-nqc1", "-W1", INNER), capture_output=True)
            if done.returncode == 0:
                return time.monotonic() - began
        return None

    def test_the_tunnel_comes_up_and_nobody_is_answered(self):
        self.make_files()
        self.start("vps")
        loaded = os.getloadavg()[0] > 2 * os.cpu_count()
        flood = self.flood()
        took = self.carries_within(60)
        rate, answers = self.end_of(flood)
        print(f"{rate:.0f} datagrams a second, {answers} answers; the office carries after {took and round(took, 1)} s")
        self.assertEqual(answers, 0)
        self.assertIsNotNone(took, self.log("vps")[-2000:])
        if loaded and (took >= 5.0 or rate < RATE * 0.8):
            self.skipTest("a figure of a machine with so much other work says nothing")
        self.assertLess(took, 5.0)
        self.assertGreater(rate, RATE * 0.8)

    def test_it_does_not_come_up_without_the_key(self):
        """That the flood is one: without tls-crypt it keeps the office out."""
        self.make_files("--no-tls-crypt")
        self.start("vps")
        flood = self.flood()
        self.assertIsNone(self.carries_within(15))
        rate, answers = self.end_of(flood)
        print(f"without the key: {rate:.0f} datagrams a second, {answers} answers")
        self.assertGreater(answers, 0)

    def test_a_peer_without_the_key_is_not_answered_and_the_log_says_why(self):
        self.make_files()
        conf = pathlib.Path(self.folder.name, "office.conf")
        conf.write_text(re.sub("tls-crypt .*\n", "", conf.read_text()))
        self.start("vps")
        self.assertIsNone(self.carries_within(8))
        self.assertIn("tls-crypt unwrap", self.log("vps"))


def take(args):
    global FILES
    FILES = str(args.files.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["files"], programs=["openvpn"]))
