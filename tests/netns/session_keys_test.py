#!/usr/bin/env python3
"""Session keys of an office and its VPS, with real packets: who says what under the password's key.

  tests/netns/session_keys_test.py --bondd PATH [--older PATH] [unittest arguments]

--older: a bondd without session keys, to stand at one end. Needs root; exit status 77 without.
"""
import base64
import collections
import ctypes
import hashlib
import json
import os
import pathlib
import socket
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import PEER, PORTS, Inside, OfficeNet  # noqa: E402

BONDD = OLDER = None
PASSWORD = "a password of the test, long enough"
AUTH, AUTH_OK, KEEPALIVE, DATA, DISCONNECT = range(5)
SMALLEST = 44  # header and MAC
ETH_P_IP, ETH_P_ALL = 0x0800, 3  # a socket for one protocol does not see what leaves
SODIUM = ctypes.CDLL("libsodium.so.23")
ONLY, NEVER = 'peer = "bondd"', 'peer = "mlvpn"'


def open_by_password(datagram, password):
    """(type, text) of a datagram under the password's key, None of any other."""
    if len(datagram) < SMALLEST or struct.unpack_from(">H", datagram)[0] != len(datagram) - 28:
        return None
    flow, seq = struct.unpack_from(">IQ", datagram, 8)
    nonce = struct.pack("<QI12x", seq, flow)
    key = hashlib.blake2b(password.encode(), digest_size=32).digest()
    box = datagram[28:]
    text = ctypes.create_string_buffer(len(box))
    if SODIUM.crypto_secretbox_open_easy(text, box, ctypes.c_ulonglong(len(box)), nonce, key) != 0:
        return None
    return struct.unpack_from("<H", datagram, 2)[0] >> 4 & 0x3f, text.raw[:len(box) - 16]


class Tap:
    """`with Tap(net) as tap:` all tunnel datagrams that pass the VPS's line meanwhile."""

    def __init__(self, net):
        self.net, self.datagrams, self.of_office = net, [], []

    def __enter__(self):
        with Inside(self.net.names["isp"]):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(("vps", ETH_P_ALL))
        self.socket.settimeout(0.1)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.socket.close()

    def listen(self):
        while not self.over.is_set():
            try:
                packet, (_, protocol, *_) = self.socket.recvfrom(2048)
            except TimeoutError:
                continue
            if protocol != ETH_P_IP:
                continue
            head = (packet[0] & 15) * 4
            if packet[9] != socket.IPPROTO_UDP:
                continue
            source, target, length = struct.unpack_from(">HHH", packet, head)
            if {source, target} & set(PORTS.values()):
                datagram = packet[head + 8:head + length]
                self.datagrams.append(datagram)
                if target in PORTS.values():
                    self.of_office.append(datagram)

    def by_password(self, *passwords):
        """Types of those that open under a password, counted; and how many do not."""
        types, sealed = collections.Counter(), 0
        for datagram in self.datagrams:
            opened = next(filter(None, (open_by_password(datagram, p) for p in passwords or (PASSWORD,))), None)
            sealed += opened is None
            if opened:
                types[opened[0]] += 1
        return types, sealed


class Case(unittest.TestCase):
    of_site = {}

    def setUp(self):
        self.net = OfficeNet(BONDD, "devices", self.of_site).__enter__()
        self.addCleanup(self.net.__exit__)

    def status(self, site):
        return json.loads(self.net.run_bondd(site, "status", "--json", check=False)[0])

    def protections(self, site):
        return [wan["protection"] for wan in self.status(site)["wans"]]

    def expect_all(self, protection, *sites, seconds=15):
        for site in sites or ("office", "vps"):
            self.net.wait(f"{protection} on {site}", lambda s=site: self.protections(s) == [protection] * 2, seconds)

    def problems(self, site):
        return {problem["code"] for problem in self.status(site)["problems"]}

    def ping(self, count=20):
        self.assertEqual(self.net.pings("office", PEER, count), count)

    def write_password(self, password, *sites):
        for site in sites or ("office", "vps"):
            (self.net.folder / f"{site}.password").write_text(password + "\n")

    def expect_only_handshakes(self, tap, *passwords, more=()):
        types, sealed = tap.by_password(*passwords)
        self.assertLessEqual(set(types), {AUTH, AUTH_OK, DISCONNECT, *more})
        self.assertGreater(sealed, 20)
        return types


class Keys(Case):
    def test_two_bondd_say_nothing_but_handshakes_under_the_password(self):
        self.net.write()
        with Tap(self.net) as tap:
            self.net.up()
            self.expect_all("session-keys")
            self.ping()
        self.assertGreaterEqual(self.expect_only_handshakes(tap)[AUTH], 2)
        for site in ("office", "vps"):
            for wan in self.status(site)["wans"]:
                self.assertLess(wan["key_age_s"], 60)
            self.assertIn("keys: ", self.net.run_bondd(site, "status")[0])

        for site in ("vps", "office"):
            with self.subTest(f"{site} starts again"), Tap(self.net) as tap:
                self.net.run_bondd(site, "down")
                self.net.up(site)
                self.expect_all("session-keys", seconds=30)
                self.ping()
            self.expect_only_handshakes(tap)

        with Tap(self.net) as tap:
            said = threading.Thread(target=lambda: self.ping(60))
            said.start()
            for site in ("vps", "office"):
                self.write_password("the next password, long enough", site)
                self.net.run_bondd(site, "reload")
                time.sleep(1)
            said.join()
        # An empty word under the new one shows that it is there.
        self.expect_only_handshakes(tap, PASSWORD, "the next password, long enough", more=[KEEPALIVE])
        with Tap(self.net) as tap:
            self.net.run_bondd("office", "down")
            self.net.up("office")
            self.expect_all("session-keys", seconds=30)
        # The VPS may not have heard that the office has it, and says it for a minute.
        self.expect_only_handshakes(tap, PASSWORD, "the next password, long enough", more=[KEEPALIVE])


class Cleartext(Case):
    """cleartext_data counts where both files have it; and then nobody can change what is sent."""

    CLEAR = "cleartext_data = true"
    PATTERN = "626f6e6464"  # what the pings say, again and again

    def shows_text(self):
        """Whether the pings' text is seen on the VPS's line, either way."""
        with Tap(self.net) as tap:
            said = self.net.sh("office", f"ping -nqc20 -i0.05 -W1 -s300 -p{self.PATTERN} {PEER} || true")
        self.assertIn(" 20 received", said)
        text = bytes.fromhex(self.PATTERN) * 20
        return any(text in datagram for datagram in tap.datagrams)

    def differing(self, site):
        return [problem["text"] for problem in self.status(site)["problems"] if problem["code"] == "setting-differs"]

    def test_it_takes_both_files(self):
        for site, other in (("office", "vps"), ("vps", "office")):
            with self.subTest(f"at {site} only"):
                self.net.write(mlvpn={site: self.CLEAR})
                self.net.apply()
                self.expect_all("session-keys", seconds=30)
                self.net.wait("packets", lambda: self.net.pings("office", PEER, 3) == 3)
                self.assertFalse(self.shows_text())
                for end, words in ((site, "is true here and false on"), (other, "is false here and true on")):
                    self.net.wait(f"{end} names it", lambda e=end, w=words: any(w in text for text in self.differing(e)))
                    self.assertEqual(self.status(end)["state"], "up")
        self.net.write(mlvpn={"office": self.CLEAR, "vps": self.CLEAR})
        self.net.apply()
        self.expect_all("session-keys", seconds=30)
        self.net.wait("packets", lambda: self.net.pings("office", PEER, 3) == 3)
        self.assertTrue(self.shows_text())
        for site in ("office", "vps"):
            self.net.wait(f"{site} has nothing to name", lambda s=site: not self.differing(s))


class Downgrade(Case):
    def test_what_had_session_keys_is_nothing_less_after_a_restart(self):
        self.net.write()
        self.net.up()
        self.expect_all("session-keys")
        self.net.wait("both remember", lambda: len(list(self.net.folder.glob("run.state/*.peer"))) == 2)
        for file in self.net.folder.glob("run.state/*.peer"):
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.net.run_bondd("office", "down")
        self.net.run_bondd("vps", "down")

        # The VPS is the original program, as far as the office can see.
        self.net.write(mlvpn={"vps": NEVER})
        with Tap(self.net) as tap:
            self.net.up("vps")
            office = self.net.up_alone()
            self.addCleanup(office.kill)
            self.net.wait("the office says it", lambda: "peer-refused" in self.problems("office"), 20)
            text = " ".join(self.net.run_bondd("office", "status", check=False)[0].split())
            self.assertIn("after it was one with session keys", text)
            self.assertIn('peer = "mlvpn"', text)
        self.assertNotIn(DATA, {kind for kind, _ in filter(None, (open_by_password(d, PASSWORD) for d in tap.of_office))})

        # The office's file says so, too; and then it may be another bondd again.
        self.net.write(mlvpn={"vps": NEVER, "office": NEVER})
        self.net.run_bondd("office", "reload")
        self.expect_all("password")
        self.net.wait("packets", lambda: self.net.pings("office", PEER, 3) == 3)
        self.net.write()
        for site in ("office", "vps"):
            self.net.run_bondd(site, "reload")
        self.expect_all("session-keys", seconds=30)
        self.ping()

    def test_a_new_password_is_a_new_peer(self):
        self.net.write()
        self.net.up()
        self.expect_all("session-keys")
        self.net.down()
        self.net.write(mlvpn={"vps": NEVER})
        self.write_password("the next password, long enough")
        self.net.up()
        self.expect_all("password")


class Peers(Case):
    def test_mlvpn_never_offers_and_bondd_takes_nothing_less(self):
        self.net.write(mlvpn={"office": NEVER, "vps": ONLY})
        with Tap(self.net) as tap:
            self.net.up("vps")
            office = self.net.up_alone()
            self.addCleanup(office.kill)
            self.net.wait("the VPS says it", lambda: "peer-refused" in self.problems("vps"), 20)
            time.sleep(2)
        # The office also asks the port with a word of its own, whether it is refused.
        opened = [open_by_password(datagram, PASSWORD) for datagram in tap.datagrams if len(datagram) >= SMALLEST]
        self.assertNotIn(None, opened)
        self.assertEqual({text for kind, text in opened if kind == AUTH}, {b"AU"})
        self.assertLessEqual({kind for kind, _ in opened}, {AUTH, DISCONNECT})
        self.net.write(mlvpn={"vps": ONLY})
        self.net.run_bondd("office", "reload")
        self.expect_all("session-keys", seconds=30)
        self.net.wait("forgotten", lambda: "peer-refused" not in self.problems("vps"))
        self.ping()


class Pairs(Case):
    """key_file: the password alone makes nobody an end."""

    def write_keys(self, *sites):
        """New keys for both ends; into the files of `sites`."""
        private = {site: os.urandom(32) for site in ("office", "vps")}
        public = {site: ctypes.create_string_buffer(32) for site in private}
        for site, key in private.items():
            SODIUM.crypto_scalarmult_base(public[site], key)
        for site in sites:
            peer = public["vps" if site == "office" else "office"].raw
            text = [base64.urlsafe_b64encode(key).decode().rstrip("=") for key in (private[site], peer)]
            file = self.net.folder / f"{site}.keys"
            file.write_text(f"private = {text[0]}\npeer = {text[1]}\n")
            file.chmod(0o600)

    def write_with(self, *sites):
        self.net.write(mlvpn={site: f'key_file = "{site}.keys"' for site in sites})

    def expect_refused(self, site, words):
        def said():
            return any(p["code"] == "peer-refused" and words in p["text"] for p in self.status(site)["problems"])
        self.net.wait(f"{site} says: {words}", said, 40)
        self.assertEqual(self.net.pings("office", PEER, 3), 0)

    def test_the_password_alone_is_not_enough(self):
        self.write_keys("office", "vps")
        self.write_with("office", "vps")
        self.net.up()
        self.expect_all("session-keys")
        self.ping()

        self.write_with("vps")
        self.net.run_bondd("office", "reload")
        self.expect_refused("vps", "has no key_file")
        right = (self.net.folder / "office.keys").read_bytes()
        self.write_keys("office")
        self.write_with("office", "vps")
        self.net.run_bondd("office", "reload")
        self.expect_refused("vps", "not the key that key_file says")

        (self.net.folder / "office.keys").write_bytes(right)
        self.net.run_bondd("office", "reload")
        self.expect_all("session-keys", seconds=30)
        self.ping()


class Older(Case):
    """One end is a bondd without session keys."""

    def either(self, site):
        self.net.of_site = {site: OLDER}
        other = "vps" if site == "office" else "office"
        self.net.write()
        self.net.up()
        self.expect_all("password", other)
        self.ping()
        for one in ("office", "vps"):
            self.net.run_bondd(one, "down")
            self.net.up(one)
            self.net.wait(f"packets after {one} started again", lambda: self.net.pings("office", PEER, 3) == 3, 20)
        # It is brought up to date.
        self.net.run_bondd(site, "down")
        self.net.of_site = {}
        self.net.up(site)
        self.expect_all("session-keys", seconds=30)
        self.ping()

    @unittest.skipUnless("--older" in sys.argv, "no --older")
    def test_office(self):
        self.either("office")

    @unittest.skipUnless("--older" in sys.argv, "no --older")
    def test_vps(self):
        self.either("vps")


def take(args):
    global BONDD, OLDER
    BONDD, OLDER = str(args.bondd.resolve()), args.older and str(args.older.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["bondd"], ["older"]))
