#!/usr/bin/python3
"""The page of [web]: a whole site with two gateways in namespaces, asked by HTTP and looked at in a browser.

Login and Page need Chromium, and for its accessibility axe-core: BONDD_AXE names its axe.min.js, for example of
`npm pack axe-core@4.14.1`. BONDD_IMAGES=docs/images makes the pictures of docs/howto/web-page.md anew.
Usage: web_test.py --bondd BONDD [Case …]. Exit status 0 when all holds, 77 without what it needs.
"""
import http.client
import json
import os
import pathlib
import random
import re
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import browser  # noqa: E402
from checks import main_of_cases  # noqa: E402
from office_net import INSIDE, LINES, OFFICE, PEER, Inside, OfficeNet  # noqa: E402

BONDD = None
TOKEN = "a-token-of-the-test-0123456789"
WEB = '[web]\nlisten = "{}"\n'
WITH_TOKEN = 'token_file = "web.token"\n'
PORT = 8080


def take(args):
    global BONDD
    BONDD = args.bondd


def ask(net, space, address, path, headers=None, method="GET"):
    """(status, headers, body) of one request from that namespace."""
    with Inside(net.names[space]):
        s = socket.socket()
    with s:
        s.settimeout(5)
        s.connect((address, PORT))
        connection = http.client.HTTPConnection(address, PORT)
        connection.sock = s
        connection.putrequest(method, path, skip_host="Host" in (headers or {}))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read().decode()


def pid_of_page(net):
    for pid in net.sh("office", f"ip netns pids {net.names['office']}").split():
        comm = pathlib.Path(f"/proc/{pid}/comm")
        if comm.exists() and comm.read_text().strip() == "bondd-web":
            return int(pid)
    return None


def nonsense(dice, count):
    """Requests with errors of any kind in them."""
    good = [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /api/v1/live?sample=1&event=2 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nCookie: bondd=x; a=\"b\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"GET /%00%ff%2e%2e/etc?token=%zz HTTP/1.1\r\nHost: [::1]:1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"]
    pieces = [b"%", b"\r\n", b"\0", b"&=&=", b"?", b":", b";", b"A" * 5000, b"A" * 40000, b"\r\nX: y" * 300, *good]
    for _ in range(count):
        request = bytearray(dice.choice(good))
        for _ in range(dice.randrange(6)):
            at = dice.randrange(len(request))
            request[at:at + dice.randrange(10)] = dice.choice([dice.randbytes(dice.randrange(1, 20)), dice.choice(pieces)])
        yield bytes(request)


class Site(unittest.TestCase):
    web = WEB.format(f"127.0.0.1:{PORT}")

    @classmethod
    def setUpClass(cls):
        cls.net = OfficeNet(BONDD)
        cls.net.__enter__()
        cls.addClassCleanup(cls.net.__exit__)
        token = cls.net.folder / "web.token"
        token.write_text(TOKEN + "\n")
        token.chmod(0o600)
        cls.net.write(office=cls.web)
        cls.net.up()
        cls.net.wait("both WANs up", lambda: cls.states() == {"up"}, 20)

    @classmethod
    def status(cls):
        return json.loads(cls.net.run_bondd("office", "status", "--json", check=False)[0])

    @classmethod
    def states(cls):
        return {wan["state"] for wan in cls.status()["wans"]}


class Loopback(Site):
    """Without a token, on loopback."""

    def get(self, path, **headers):
        return ask(self.net, "office", "127.0.0.1", path, headers)

    def answers(self):
        try:
            return self.get("/api/v1/status")[0] == 200
        except OSError:
            return False

    def test_tells_what_the_commands_tell(self):
        ours, theirs = json.loads(self.get("/api/v1/status")[2]), self.status()
        self.assertEqual(ours.keys(), theirs.keys())
        self.assertEqual([wan["name"] for wan in ours["wans"]], [wan["name"] for wan in theirs["wans"]])
        names = [set(re.findall(r"^bondd_\w+", text, re.M)) for text in (self.get("/metrics")[2], self.net.run_bondd("office", "metrics")[0])]
        self.assertEqual(*names)
        tunnels = json.loads(self.get("/status")[2])["tunnels"]
        self.assertEqual({t["name"]: t["status"] for t in tunnels}, {"box1": "connected", "box2": "connected"})

    def test_answers_with_the_headers_that_close_the_page(self):
        status, headers, body = self.get("/")
        self.assertEqual((status, headers["X-Content-Type-Options"]), (200, "nosniff"))
        self.assertIn("default-src 'self'", headers["Content-Security-Policy"])
        self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])
        self.assertNotRegex(body, r"https?://")

    def test_refuses_foreign_names_and_pages(self):
        self.assertEqual(self.get("/", Host="evil.example:8080")[0], 421)
        self.assertEqual(self.get("/api/v1/status", Origin="http://evil.example")[0], 403)
        self.assertEqual(self.get("/api/v1/status", Origin=f"http://127.0.0.1:{PORT}")[0], 200)
        self.assertEqual(ask(self.net, "office", "127.0.0.1", "/", method="POST")[0], 405)

    def test_has_no_rights(self):
        status = pathlib.Path(f"/proc/{pid_of_page(self.net)}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertNotIn("0", fields["Uid"].split())
        self.assertEqual({fields[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}, {"0" * 16})
        self.assertEqual((fields["NoNewPrivs"], fields["Seccomp"], fields["Groups"].strip()), ("1", "2", ""))

    def test_is_not_there_for_others(self):
        with self.assertRaises(OSError):
            ask(self.net, "pc", OFFICE, "/")

    def test_a_slow_or_a_greedy_one_keeps_nobody_out(self):
        with Inside(self.net.names["office"]):
            slow = [socket.socket() for _ in range(80)]
        for s in slow:
            s.settimeout(5)
            s.connect(("127.0.0.1", PORT))
            s.send(b"GET / HTTP/1.1\r\nX: ")

        def dribble():
            while any(s.fileno() >= 0 for s in slow):
                for s in slow:
                    try:
                        s.send(b"x")
                    except OSError:
                        s.close()
                time.sleep(1)
        threading.Thread(target=dribble, daemon=True).start()
        began = time.monotonic()
        self.net.wait("an answer while 80 connections hang", self.answers, 40)
        print(f"answers {time.monotonic() - began:.0f} s after 80 slow connections came", flush=True)
        for s in slow:
            s.close()
        status = self.get("/", **{f"X-{i}": "y" * 1000 for i in range(40)})[0]
        self.assertIn(status, (413, 431))

    def test_nonsense_does_not_end_it(self):
        pid, requests = pid_of_page(self.net), nonsense(random.Random(1), 1500)
        for request in requests:
            with Inside(self.net.names["office"]):
                s = socket.socket()
            with s:
                s.settimeout(0.2)
                try:
                    s.connect(("127.0.0.1", PORT))
                    s.send(request)
                    s.shutdown(socket.SHUT_WR)
                    s.recv(4096)
                except OSError:
                    pass
        self.assertEqual(pid_of_page(self.net), pid)
        self.net.wait("an answer", self.answers)

    def test_comes_back_when_it_is_killed(self):
        os.kill(pid_of_page(self.net), 9)
        self.net.wait("a new page", self.answers, 10)
        self.assertEqual(self.states(), {"up"})

    def test_says_why_it_is_not_there_and_comes_when_it_can(self):
        taken = self.net.socket("office", socket.SOCK_STREAM, ("127.0.0.1", PORT + 1))
        taken.listen()
        try:
            self.net.write(office=WEB.format(f"127.0.0.1:{PORT + 1}"))
            self.net.run_bondd("office", "reload")
            self.assertIn(f"cannot listen at 127.0.0.1:{PORT + 1}", "".join(self.status()["warnings"]))
            self.assertIsNone(pid_of_page(self.net))
            taken.close()
            self.net.wait("the page", lambda: pid_of_page(self.net) is not None)
            self.assertNotIn("cannot listen", "".join(self.status()["warnings"]))
        finally:
            self.net.write(office=self.web)
            self.net.run_bondd("office", "reload")
            self.net.wait("the page where it was", self.answers)

    def test_zz_follows_a_reload_and_leaves_with_the_site(self):
        before = pid_of_page(self.net)
        self.net.write(office=self.web + '[[policy]]\nname = "games"\nwan = "box2"\nmatch = [{ proto = "udp", dport = "6112" }]\n')
        self.net.run_bondd("office", "reload")
        self.net.wait("the steering table", lambda: "6112" in self.get("/api/v1/site")[2])
        self.assertEqual(pid_of_page(self.net), before)
        self.net.write()
        self.net.run_bondd("office", "reload")
        self.assertIsNone(pid_of_page(self.net))
        self.net.write(office=self.web)
        self.net.run_bondd("office", "reload")
        self.net.wait("the page again", lambda: pid_of_page(self.net) is not None)
        self.net.down()
        self.assertIsNone(pid_of_page(self.net))


class Token(Site):
    """For the LAN, with a token."""
    web = WEB.format(f"{OFFICE}:{PORT}") + WITH_TOKEN

    def get(self, path, **headers):
        return ask(self.net, "pc", OFFICE, path, headers)

    def test_shows_nothing_without_it(self):
        for path in ("/status", "/metrics", "/api/v1/status", "/api/v1/live", "/api/v1/events", "/api/v1/site"):
            self.assertEqual(self.get(path)[0], 401, path)
            self.assertEqual(self.get(path, Authorization="Bearer wrong-token-0123456789")[0], 401, path)
            self.assertEqual(self.get(path, Authorization=f"Bearer {TOKEN}")[0], 200, path)
        self.assertEqual(self.get("/")[0], 401)

    def test_is_exchanged_for_a_cookie(self):
        status, headers, _ = self.get(f"/?token={TOKEN}")
        self.assertEqual((status, headers["Location"]), (303, "/"))
        cookie = headers["Set-Cookie"].split(";")[0]
        self.assertEqual(self.get("/api/v1/status", Cookie=cookie)[0], 200)
        self.assertEqual(self.get("/api/v1/status", Cookie=cookie + "0")[0], 401)
        self.assertEqual(self.get("/api/v1/status", Cookie=cookie, Origin="http://evil.example")[0], 403)
        self.assertEqual(self.get("/api/v1/status", Cookie=cookie, Host="evil.example")[0], 421)

    def test_stands_in_no_log_and_on_no_command_line(self):
        log = "".join(p.read_text(errors="replace") for p in (self.net.folder / "run").rglob("log"))
        self.assertIn("the page is at", log)
        self.assertNotIn(TOKEN, log)
        self.assertNotIn(TOKEN, pathlib.Path(f"/proc/{pid_of_page(self.net)}/cmdline").read_text())

    def test_a_new_one_counts_after_a_reload(self):
        token = self.net.folder / "web.token"
        try:
            token.write_text(TOKEN + "-new\n")
            self.net.run_bondd("office", "reload")
            self.net.wait("the new token", lambda: self.get("/api/v1/live", Authorization=f"Bearer {TOKEN}-new")[0] == 200)
            self.assertEqual(self.get("/api/v1/live", Authorization=f"Bearer {TOKEN}")[0], 401)
        finally:
            token.write_text(TOKEN + "\n")
            self.net.run_bondd("office", "reload")


class Looks:
    """What is judged of any page."""

    def accessible(self, when):
        axe = os.environ.get("BONDD_AXE")
        if not axe:
            print("accessibility not judged: BONDD_AXE names no axe.min.js", flush=True)
            return
        self.page.evaluate(pathlib.Path(axe).read_text() + ";0")
        for dark in (False, True):
            self.page.look(1280, dark=dark)
            found = self.page.evaluate("axe.run().then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.nodes.map((n) => n.html + n.failureSummary)])))")
            self.assertEqual(json.loads(found), [], when)
        self.page.look(1280)


@unittest.skipUnless(browser.program(), "Chromium is not installed")
class Login(Looks, Site):
    """In a browser on a PC of the LAN, with a token."""
    web = WEB.format(f"{OFFICE}:{PORT}") + WITH_TOKEN

    def test_a_token_is_asked_for_once(self):
        url = f"http://{OFFICE}:{PORT}/"
        with browser.Browser(self.net.names["pc"]) as self.page:
            self.page.look(1280)
            self.page.open(url)
            self.accessible("the way in")
            enter = "document.getElementById('token').value = '{}'; document.querySelector('button').click()"
            self.page.evaluate(enter.format("a-wrong-token-0123456789"))
            self.page.wait("document.getElementById('answer').textContent.includes('not the token')")
            self.page.evaluate(enter.format(TOKEN))
            self.page.wait("document.querySelectorAll('.way.good').length === 2")
            self.assertEqual(self.page.evaluate("document.cookie + location.href"), url)  # scripts see no cookie
            self.page.open(url)
            self.page.wait("document.querySelectorAll('.way.good').length === 2")


@unittest.skipUnless(browser.program(), "Chromium is not installed")
class Page(Looks, Site):
    """In a browser on the office's machine."""
    web = WEB.format(f"127.0.0.1:{PORT}") + '[[policy]]\nname = "games"\nwan = "box2"\nmatch = [{ proto = "udp", dport = "27000-30000" }]\n'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.page = browser.Browser(cls.net.names["office"])
        cls.addClassCleanup(cls.page.__exit__)
        cls.page.look(1280)
        cls.page.open(f"http://127.0.0.1:{PORT}/")
        cls.page.wait("document.querySelectorAll('.way.good').length === 2")

    def shoot(self, name, **look):
        folder = os.environ.get("BONDD_IMAGES")
        if not folder:
            return
        self.page.look(**look)
        time.sleep(1.2)
        self.page.screenshot(pathlib.Path(folder) / f"page-{name}.png")
        self.page.look(1280)

    def rate(self, wan):
        label = self.page.evaluate(f"document.querySelector('.card[data-wan={wan}] .graph').getAttribute('aria-label')")
        return max([float(n) for n in re.findall(r"([\d.]+) Mbit/s", label)] or [0])

    def traffic(self, seconds):
        """16 flows of UDP through the bond, so that both lines are used, 6 Mbit/s each way."""
        stop = time.monotonic() + seconds
        flows = [(self.net.socket("office", socket.SOCK_DGRAM, (INSIDE, port)), self.net.socket("vps", socket.SOCK_DGRAM, (PEER, port)), port)
                 for port in range(7000, 7016)]

        def send():
            while time.monotonic() < stop:
                for here, there, port in flows:
                    for one, to in ((here, PEER), (there, INSIDE)):
                        try:
                            one.sendto(b"x" * 1000, (to, port))
                        except OSError:
                            pass
                time.sleep(0.02)
        thread = threading.Thread(target=send)
        thread.start()
        return thread

    def test_a_loads_and_shows_the_site(self):
        text = self.page.evaluate("document.body.innerText")
        for words in ("office", "up since", "box1", "box2", "192.168.11.1", "UDP to port 27000-30000", "everything else", "Nothing."):
            self.assertIn(words, text)
        self.assertEqual(self.page.errors, [])

    def test_b_graph_moves_with_traffic(self):
        paths = "[...document.querySelectorAll('.line0')].map((line) => line.getAttribute('d')).join()"
        before, rate = self.page.evaluate(paths), sum(map(self.rate, LINES))
        traffic = self.traffic(40 if os.environ.get("BONDD_IMAGES") else 6)
        self.net.wait("a rate in the page", lambda: sum(map(self.rate, LINES)) > rate + 1, 10)
        self.assertNotEqual(before, self.page.evaluate(paths))
        traffic.join()
        self.shoot("desk", width=1280)
        self.shoot("desk-dark", width=1280, dark=True)
        self.shoot("phone", width=390, height=844)

    def test_c_a_cut_is_red_within_two_seconds(self):
        box = "box2"
        way = f"document.querySelector('.way[data-wan={box}]')"
        try:
            self.net.sh(box, "ip link set wan down")
            took = self.page.wait(f"{way}.classList.contains('bad')", 10)
            print(f"red {took:.2f} s after the cut", flush=True)
            self.assertLess(took, 2)
            parts = f"[...{way}.querySelectorAll('.part')].map((part) => part.classList[1]).join()"
            took = self.page.wait(f"{parts} === 'good,good,bad,unknown'", 20)
            print(f"and the provider is named after {took:.1f} s more", flush=True)
            self.assertIn("modem-router's status page", self.page.evaluate("document.getElementById('problems').innerText"))
            self.shoot("line-cut", width=1280)
            self.accessible("with a line cut")
        finally:
            self.net.sh(box, f"ip link set wan up; ip route replace default via {LINES[box].rsplit('.', 1)[0]}.1")
        self.page.wait(f"{way}.classList.contains('good')", 30)
        self.assertEqual(self.page.errors, [])

    def test_d_is_accessible(self):
        self.accessible("while all is well")

    def test_e_fits_a_phone(self):
        self.page.look(360, 740)
        wide = self.page.evaluate("document.documentElement.scrollWidth")
        self.page.look(1280)
        self.assertLessEqual(wide, 360)

    def test_f_three_viewers_cost_little(self):
        pid, viewers, seconds = pid_of_page(self.net), 3, 10
        others = [browser.Browser(self.net.names["office"]) for _ in range(viewers - 1)]
        try:
            for other in others:
                other.open(f"http://127.0.0.1:{PORT}/")
                other.wait("document.querySelectorAll('.way.good').length === 2")
            ticks = [sum(map(int, pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
                     for _ in [time.sleep(0), time.sleep(seconds)]]
        finally:
            for other in others:
                other.__exit__()
        percent = (ticks[1] - ticks[0]) / os.sysconf("SC_CLK_TCK") / seconds * 100
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss, rss = (int(re.search(rf"^{key}:\s+(\d+)", rollup, re.M).group(1)) / 1024 for key in ("Pss", "Rss"))
        print(f"with {viewers} viewers: {percent:.1f} % of a core, {rss:.1f} MB resident, {pss:.1f} MB of its own share", flush=True)
        self.assertLess(percent, 1)
        self.assertLess(rss, 20)


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ("bondd",), programs=("ip", "iptables")))
