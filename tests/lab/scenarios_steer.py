"""Which way a packet goes: games by one box, a service in the office reached at the VPS's address."""
import socket
import threading
import time

import office
from bondd_site import PEER, build
from office import in_ns, udp_socket
from scenarios import scenario

GAMES = [("tcp", 6112), ("udp", 27000), ("udp", 28015), ("udp", 30000)]
OUTSIDE = [("tcp", 6113), ("udp", 26999), ("udp", 30001)]  # next to the policy: these go through the bond
BOX2, VPS = "198.51.102.2", office.SERVER


class Sniffer:
    """Counts the packets of a device whose source or destination port is watched: {(proto, port): packets}."""

    def __init__(self, ns, device):
        self.seen = {}
        self.socket = in_ns(ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)))
        self.socket.bind((device, 3))
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            try:
                packet = self.socket.recv(2048)
            except OSError:  # the device has gone
                return
            if len(packet) < 24 or packet[0] >> 4 != 4 or packet[9] not in (6, 17):
                continue
            at = (packet[0] & 15) * 4
            for port in (int.from_bytes(packet[at:at + 2], "big"), int.from_bytes(packet[at + 2:at + 4], "big")):
                key = ("tcp" if packet[9] == 6 else "udp", port)
                self.seen[key] = self.seen.get(key, 0) + 1

    def count(self, ports):
        return sum(self.seen.get(p, 0) for p in ports)


def echo(ns, proto, port):
    """A server that answers with the address it sees the client from."""
    def serve_udp(s):
        while True:
            _, who = s.recvfrom(100)
            s.sendto(who[0].encode(), who)

    def serve_tcp(s):
        while True:
            c, who = s.accept()
            with c:
                c.sendall(who[0].encode())
    if proto == "udp":
        server, serve = udp_socket(ns, ("", port)), serve_udp
    else:
        server, serve = in_ns(ns, lambda: socket.create_server(("", port), reuse_port=True)), serve_tcp
    threading.Thread(target=serve, args=[server], daemon=True).start()


def ask(ns, proto, address, port, tries=3):
    """The address that the server at address:port sees `ns` from; why not, else."""
    for _ in range(tries):
        try:
            if proto == "udp":
                with udp_socket(ns) as s:
                    s.settimeout(2)
                    s.sendto(b"?", (address, port))
                    return s.recv(100).decode()
            with in_ns(ns, lambda: socket.create_connection((address, port), timeout=3)) as s:
                return s.recv(100).decode()
        except OSError as e:
            why = str(e)
    return why


@scenario("steering", limit=120)
def steering(report):
    """a game's ports by policy, from the LAN and from the machine: all packets by the chosen box, replies too"""
    lab, site = build(report)
    site.up()
    for proto, port in GAMES + OUTSIDE:
        echo("web", proto, port)
    watch = {"bond": Sniffer("cli", "bond0"), "box1": Sniffer("box1", "wan"), "box2": Sniffer("box2", "wan")}
    for ns in ("pc", "cli"):
        for proto, port in GAMES:
            seen = ask(ns, proto, office.WEB, port)
            report.check(f"{ns}: {proto} {port} is seen from box 2", seen == BOX2, seen)
        for proto, port in OUTSIDE:
            seen = ask(ns, proto, office.WEB, port)
            report.check(f"{ns}: {proto} {port} is seen from the VPS", seen == VPS, seen)
    time.sleep(0.3)
    report.figure("game packets through box 2, both ways", watch["box2"].count(GAMES), least=24)
    report.figure("game packets through the bond", watch["bond"].count(GAMES), most=0)
    report.figure("game packets through box 1", watch["box1"].count(GAMES), most=0)
    report.figure("other packets through box 2 outside the tunnel", watch["box2"].count(OUTSIDE), most=0)
    site.down()


@scenario("forward", limit=120)
def forward(report):
    """port 80 at the VPS's address from an Internet host to the office; the client's address kept"""
    lab, site = build(report)
    site.edit("vps", 'to    = "172.16.16.2:80"',
              'to = "172.16.16.2:80"\n\n[[forward]]\nproto = "tcp"\nport = "8080"\nto = "192.168.1.10:8080"\n\n'
              '[[forward]]\nproto = "udp"\nport = "5353"\nto = "192.168.1.10:5353"')
    site.up()
    echo("cli", "tcp", 80)
    echo("pc", "tcp", 8080)
    echo("pc", "udp", 5353)
    echo("web", "tcp", 80)
    for what, proto, port in (("the local server", "tcp", 80), ("a LAN host", "tcp", 8080), ("a LAN host", "udp", 5353)):
        seen = ask("web", proto, VPS, port)
        report.check(f"{proto} {port} reaches {what}, client's address kept", seen == office.WEB, seen)
    seen = ask("pc", "tcp", office.WEB, 80)
    report.check("from the LAN out: seen from the VPS", seen == VPS, seen)
    report.check("the LAN's host pings through the bond", lab.pings("pc", PEER, tries=3))
    site.down()
