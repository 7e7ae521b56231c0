#!/usr/bin/env python3
"""Networks, names and machines as they are found: odd addresses, lying name servers, what others have on them.

  tests/netns/networks_test.py --bondd PATH [unittest arguments]

Needs root; exit status 77 without.
"""
import difflib
import json
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import main_of_cases  # noqa: E402
from office_net import SERVER, WEB, OfficeNet  # noqa: E402

BONDD = None


class Case(unittest.TestCase):
    def setUp(self):
        self.net = OfficeNet(BONDD).__enter__()
        self.addCleanup(self.net.__exit__)

    def status(self, site="office"):
        return json.loads(self.net.run_bondd(site, "status", "--json", check=False)[0])

    def states(self, site="office"):
        return {wan["name"]: wan["state"] for wan in self.status(site)["wans"]}

    def edit(self, site, old, new):
        file = self.net.folder / f"{site}.toml"
        text = file.read_text()
        self.assertIn(old, text)
        file.write_text(text.replace(old, new))

    def check(self, site="office", status=0):
        """What `bondd check` says, and that it ends so."""
        done = subprocess.run(self.net._command(site, "check"), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    @staticmethod
    def flush_table_of(priority):
        """A command that empties the table of bondd's rule with that priority, whichever slot the site has."""
        return f"ip route flush table $(ip rule | sed -n 's/^{priority}:.* lookup \\([0-9]*\\).*/\\1/p')"

    def settings(self, who="office"):
        return self.net.sh(who, "sysctl -a 2>/dev/null | grep -E 'net.ipv4.(conf|ip_forward)'").splitlines()

    def expect_lan_in_the_bond(self):
        self.assertEqual(self.net.ask("pc", "tcp", WEB, 7), SERVER)


class OddNetworks(Case):
    """What a gateway gives its line's device does not stop the others."""

    def set_dsl2(self, address):
        self.net.sh("office", f"ip addr flush dev dsl2; ip addr add {address} dev dsl2")

    def test_a_line_with_an_unexpected_network_waits_and_the_others_carry(self):
        net = self.net
        net.serve("web", "tcp", 7)
        net.write()
        net.up("vps")
        for address, what in (("172.16.16.77/20", "overlaps with 172.16.16.77/20 on dsl2 now"),
                              ("192.168.12.1/24", "is this machine's own address (on dsl2) now"),
                              ("172.16.16.2/20", "overlaps with 172.16.16.2/20 on dsl2 now")):
            with self.subTest(address):
                self.set_dsl2(address)
                self.assertIn(what, self.check())
                net.up("office")
                self.assertEqual(self.states(), {"box1": "up", "box2": "waiting"})
                net.run_bondd("office", "reload")
                self.expect_lan_in_the_bond()
                net.run_bondd("office", "down")

    def test_a_reload_while_a_line_has_an_unexpected_network_is_done(self):
        net = self.net
        net.write()
        net.up()
        net.sh("office", "ip addr add 172.16.16.77/20 dev dsl2")
        net.run_bondd("office", "reload")
        net.wait("both lines up", lambda: set(self.states().values()) == {"up"})

    def test_what_shall_go_through_the_bond_does_although_a_gateway_has_that_network(self):
        net = self.net
        net.serve("web", "tcp", 7)
        net.write(through='"198.51.100.0/24"')
        self.edit("office", 'device = "dsl2"\ngateway = "192.168.12.1"\n', 'device = "dsl2"\n')
        self.set_dsl2("198.51.100.77/24")
        self.assertIn('"198.51.100.0/24" is the network 198.51.100.0/24 that dsl2 has now', self.check())
        net.up()
        self.expect_lan_in_the_bond()


class Dns:
    """A name server in a namespace: `answer(type)` gives the addresses, or None for silence."""

    def __init__(self, net, short, address, answer):
        self.socket, self.answer = net.socket(short, socket.SOCK_DGRAM, (address, 53)), answer
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                question, who = self.socket.recvfrom(2048)
            except OSError:
                if self.socket.fileno() < 0:
                    return
                continue
            end = question.index(b"\0", 12) + 5
            addresses = self.answer(struct.unpack(">H", question[end - 4:end - 2])[0])
            if addresses is None:
                continue
            records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1 if len(a) == 4 else 28, 1, 60, len(a)) + a for a in addresses)
            self.socket.sendto(question[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0) + question[12:end] + records, who)


def four(*addresses):
    """A name with these IPv4 addresses."""
    return lambda kind: [socket.inet_aton(a) for a in addresses] if kind == 1 else []


def six(*addresses):
    return lambda kind: [socket.inet_pton(socket.AF_INET6, a) for a in addresses] if kind == 28 else []


class Names(Case):
    """Where the server's name leads is looked at like a written address, and the first answer of use counts."""

    def setUp(self):
        super().setUp()
        self.etc = pathlib.Path("/etc/netns") / self.net.names["office"]
        self.etc.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, self.etc)
        self.net.write()
        self.edit("office", f'address = "{SERVER}"', 'address = "vps.example"')

    def resolve_by_hosts(self, address):
        (self.etc / "resolv.conf").write_text("")
        (self.etc / "hosts").write_text(f"{address} vps.example\n")

    def test_a_name_that_leads_nowhere_is_said_by_check_up_and_status(self):
        for address, what in (("127.0.1.1", "this machine itself"), ("192.168.1.252", "this machine's own address (on lan)"),
                              ("0.0.0.0", "which no machine has"), ("172.16.16.1", "inside the bond's own network 172.16.16.0/30"),
                              ("192.168.1.10", "in the network of lan, 192.168.1.0/24"), ("192.168.11.1", "the gateway of box1"),
                              ("2001:db8::1", "and this machine has no IPv6 address")):
            with self.subTest(address):
                self.resolve_by_hosts(address)
                words = f"vps.example is {address}, {what}: the server cannot be there"
                self.assertIn(words, self.check())
                done = subprocess.run(self.net._command("office", "up", "-d", "--timeout", "4s"), capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stdout + done.stderr)

    def test_a_resolver_that_lies_does_not_hide_one_that_does_not(self):
        net = self.net
        net.up("vps")
        (self.etc / "hosts").write_text("")
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.53\n")
        lies = {"a filter": four("0.0.0.0"), "a captive portal": four("192.168.11.1"), "nothing": four()}
        box1 = Dns(net, "box1", "192.168.11.1", lies["nothing"])
        Dns(net, "box2", "192.168.12.1", four(SERVER))
        for what, lie in lies.items():
            with self.subTest(what):
                box1.answer = lie
                net.up("office")
                net.run_bondd("office", "down")

    def test_a_name_with_only_ipv6_is_said_when_the_gateways_tell_it(self):
        (self.etc / "hosts").write_text("")
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.53\n")
        for box, address in (("box1", "192.168.11.1"), ("box2", "192.168.12.1")):
            Dns(self.net, box, address, six("2001:db8::1"))
        done = subprocess.run(self.net._command("office", "up", "-d", "--timeout", "6s"), capture_output=True, text=True, timeout=60)
        self.assertIn("vps.example is 2001:db8::1, and this machine has no IPv6 address", done.stdout + done.stderr)


class Vps(Case):
    """A server that does not have its address yet, and one whose office sits behind a carrier's NAT."""

    def test_an_address_that_comes_later_is_listened_on(self):
        net = self.net
        net.write()
        for site in ("office", "vps"):
            self.edit(site, f'address = "{SERVER}"', 'address = "203.0.113.60"')
        self.assertIn("bondd listens there once it comes", self.check("vps"))
        net.up("vps")
        net.sh("vps", "ip addr add 203.0.113.60/24 dev eth0")
        net.up("office")

    def test_the_offices_outer_addresses_may_be_in_a_network_behind_the_bond(self):
        net = self.net
        for box, line, outer in (("box1", "line1", "10.1.1"), ("box2", "line2", "10.1.2")):
            net.sh("isp", f"ip addr flush dev {line}; ip addr add {outer}.1/24 dev {line}")
            net.sh(box, f"ip addr flush dev wan; ip addr add {outer}.2/24 dev wan; ip route replace default via {outer}.1")
        net.serve("web", "tcp", 7)
        net.write()
        self.edit("vps", 'through_bond = ["192.168.1.0/24"]', 'through_bond = ["10.0.0.0/8", "192.168.0.0/16"]')
        net.up()
        net.wait("both lines up", lambda: set(self.states().values()) == {"up"})
        self.expect_lan_in_the_bond()


class LeftBehind(Case):
    """down gives the machine back, whatever happened meanwhile."""

    def test_tables_of_the_admin_have_the_chains_that_they_had(self):
        net = self.net
        for table, chain, more in (("mangle", "PREROUTING", ""), ("mangle", "FORWARD", ""), ("filter", "INPUT", "counter accept")):
            hook = f"type filter hook {chain.lower()} priority {table};"
            net.sh("office", f"nft add table ip {table}; nft add chain ip {table} {chain} '{{ {hook} }}'")
            if more:
                net.sh("office", f"nft add rule ip {table} {chain} {more}")
        ruleset = "nft list ruleset | sed -E 's/packets [0-9]+ bytes [0-9]+//'"
        before = net.sh("office", ruleset)
        net.write()
        net.up()
        net.down()
        self.assertEqual(net.sh("office", ruleset), before)

    def test_a_renamed_device_has_its_settings_back(self):
        net = self.net
        net.sh("office", "sysctl -qw net.ipv4.conf.all.rp_filter=1")
        before = self.settings()
        net.write()
        net.up()
        self.assertNotEqual(self.settings(), before)
        net.sh("office", "ip link set dsl2 down; ip link set dsl2 name usb0; ip link set usb0 up")
        net.run_bondd("office", "down")
        after = [line.replace(".usb0.", ".dsl2.") for line in self.settings()]
        self.assertEqual(list(difflib.unified_diff(sorted(before), sorted(after), n=0)), [])


class Forwarding(Case):
    """A device that does not forward, though the machine does, is switched on and off again."""

    def test_forwarding_that_is_off_for_one_device(self):
        net = self.net
        net.serve("web", "tcp", 7)
        net.serve("pc", "tcp", 80)
        net.write(vps='[[forward]]\nproto = "tcp"\nport = "80"\nto = "192.168.1.10:80"\n')
        for site, setting in (("office", "lan.forwarding"), ("office", "default.forwarding"), ("vps", "eth0.forwarding")):
            with self.subTest(f"{site} {setting}"):
                net.sh(site, f"sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.conf.{setting}=0")
                before = self.settings(site)
                net.up()
                self.expect_lan_in_the_bond()
                self.assertEqual(net.ask("web", "tcp", SERVER, 80), WEB)
                net.down()
                self.assertEqual(self.settings(site), before)
                net.sh(site, f"sysctl -qw net.ipv4.conf.{setting}=1")


    def test_down_leaves_it_on_for_a_bridge_that_came_meanwhile(self):
        net = self.net
        net.sh("office", "sysctl -qw net.ipv4.ip_forward=0; ip link add br0 type bridge; ip link set br0 up; ip link add p0 type veth peer name p0x;"
               "ip link set p0 master br0 up")
        net.write()
        net.up()
        self.assertNotIn("ip_forward", "".join(net.run_bondd("office", "down")))
        self.assertIn("net.ipv4.ip_forward = 0", self.settings(), "this bridge was there before")
        net.up("office")
        net.sh("office", "ip link add br1 type bridge; ip link set br1 up; ip link add q0 type veth peer name q0x; ip link set q0 master br1 up")
        said = "".join(net.run_bondd("office", "down"))
        self.assertIn("net.ipv4.ip_forward stays 1, it was 0 before bondd: another program forwards packets by now (interface br1)", said)
        self.assertIn("net.ipv4.ip_forward = 1", self.settings())


class ReadOnlySettings(Case):
    """/proc/sys that cannot be written, as in a container."""

    CURE = "set it on the host, or in the container's options"

    def confined(self, site, *words):
        """(what it said, exit status)"""
        command = " ".join(self.net._command(site, *words)[4:])
        said = self.net.sh(site, "unshare -m sh -c 'mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys;"
                           f"{command} 2>&1; echo exit $?'")
        text, _, status = said.rpartition("exit ")
        return text, int(status)

    def test_a_wrong_value_without_which_packets_are_dropped_is_an_error(self):
        net = self.net
        net.write()
        net.up("vps")
        net.sh("office", "for d in all dsl1 dsl2; do sysctl -qw net.ipv4.conf.$d.accept_redirects=0 net.ipv4.conf.$d.send_redirects=0; done")
        for key, value in (("net.ipv4.ip_forward", 0), ("net.ipv4.conf.all.rp_filter", 1), ("net.ipv4.conf.default.rp_filter", 1)):
            with self.subTest(key):
                before = net.sh("office", f"sysctl -n {key}")
                net.sh("office", f"sysctl -qw {key}={value}")
                for words in (("up", "-d"), ("check",)):
                    said, status = self.confined("office", *words)
                    self.assertEqual(status, 1, said)
                    self.assertRegex(said, r"net\.ipv4\.\S+ is \d, bondd needs \d, and /proc/sys is read-only here")
                    self.assertIn(self.CURE, said)
                net.sh("office", f"sysctl -qw {key}={before}")
        said, status = self.confined("office", "up", "-d")
        self.assertEqual(status, 0, said)
        net.sh("office", "sysctl -qw net.ipv4.ip_forward=0")  # by the host
        net.wait("status names it", lambda: ("setting-fixed", "error") in [(p["code"], p["severity"]) for p in self.status()["problems"]], 25)
        self.assertIn(self.CURE, str(self.status()["problems"]))
        self.assertEqual(self.confined("office", "reload")[1], 1)

    def test_redirects_that_stay_on_are_a_warning(self):
        net = self.net
        net.write()
        net.up("vps")
        net.sh("office", "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=1")
        self.assertIn("net.ipv4.conf.all.send_redirects is 1", self.confined("office", "check")[0])
        said, status = self.confined("office", "up", "-d")
        self.assertEqual(status, 0, said)
        net.wait("status names it", lambda: "redirects-on" in [p["code"] for p in self.status()["problems"]])
        self.assertNotIn("another program keeps undoing it", net.sh("office", f"cat {net.folder}/run/office/log"))


class Unreachable(Case):
    """What does not get to the server: the first hop that fails is named, alone."""

    def problems(self):
        return {(p["wan"], p["code"]) for p in self.status()["problems"]}

    def expect(self, change, back, problems):
        net = self.net
        with self.subTest(change):
            for short, text in change:
                net.sh(short, text)
            net.wait(f"{change}: {problems}", lambda: self.problems() == problems, 25)
            said = " ".join(p["text"] + p["remedy"] for p in self.status()["problems"])
            self.assertNotRegex(said, "key|password")
            for short, text in back:
                net.sh(short, text)
            net.wait("both lines up again", lambda: set(self.states().values()) == {"up"}, 40)
            net.wait("nothing is wrong any more", lambda: not self.problems())

    def test_the_first_hop_is_named_alone(self):
        net = self.net
        net.write()
        net.up()
        both = {("box1", "unreachable"), ("box2", "unreachable")}
        # Says so about once a second, whatever comes; the server's own packets still arrive.
        rule = "FORWARD -d 203.0.113.10 -j REJECT --reject-with icmp-host-unreachable"
        self.expect([("isp", f"iptables -A {rule}")], [("isp", f"iptables -D {rule}")], both)
        self.expect([("box2", "ip link set wan down")], [("box2", "ip link set wan up; ip route add default via 198.51.102.1")],
                    {("box2", "line-dead")})
        net.run_bondd("vps", "down")
        net.wait("a stopped peer has its remedy at once", lambda: self.problems() and all(
            p["remedy"] for p in self.status()["problems"]), 3)
        self.assertTrue(all(code in ("peer-left", "port-refused") for _, code in self.problems()), self.problems())


class Forms(Case):
    """A line's gateway in whichever form Linux holds it."""

    def expect_both_lines(self, change, wan):
        net = self.net
        net.sh("office", change)
        net.write()
        self.edit("office", 'device = "dsl2"\ngateway = "192.168.12.1"\n', wan)
        self.assertIn("0 errors, 0 warnings", self.check())
        net.up()
        net.wait("both lines up", lambda: set(self.states().values()) == {"up"})
        seen = net.tunnel_packets()
        self.assertGreater(seen["box2", "own"], 0)

    def test_a_single_address_beside_a_network(self):
        self.expect_both_lines("ip addr flush dev dsl2; ip addr add 192.168.12.2/32 dev dsl2; ip addr add 10.66.0.5/24 dev dsl2",
                               'device = "dsl2"\ngateway = "192.168.12.1"\n')

    def test_an_address_with_its_far_end(self):
        self.expect_both_lines("ip addr flush dev dsl2; ip addr add 192.168.12.2 peer 192.168.12.1/32 dev dsl2", 'device = "dsl2"\n')

    def test_a_device_without_arp(self):
        mac = json.loads(self.net.sh("box2", "ip -j link show eth0"))[0]["address"]
        self.net.sh("box2", f"ip neigh replace 192.168.12.2 lladdr {mac} dev eth0")
        self.expect_both_lines(f"ip link set dsl2 down; ip link set dsl2 arp off; ip link set dsl2 address {mac}; ip addr flush dev dsl2;"
                               "ip addr add 192.168.12.2/32 dev dsl2; ip link set dsl2 up", 'device = "dsl2"\n')


class Held(Case):
    """What goes into the bond leaves by no gateway while somebody takes the bond's interface away."""

    def in_the_clear(self):
        """How many packets of the PC to the Internet the gateways have seen."""
        return sum(int(line.split()[0]) for box in ("box1", "box2")
                   for line in self.net.sh(box, "iptables -nvxL FORWARD").splitlines() if WEB in line)

    def test_a_foreign_change_of_the_interface_lets_nothing_out(self):
        net = self.net
        net.serve("web", "tcp", 7)
        net.write()
        net.up()
        for box in ("box1", "box2"):
            net.sh(box, f"iptables -I FORWARD -d {WEB}")
        sender, ends = net.socket("pc", socket.SOCK_DGRAM), threading.Event()

        def send():
            while not ends.wait(0.002):
                try:
                    sender.sendto(b"secret", (WEB, 9))
                except OSError:
                    pass  # "no route", told by the office's machine
        thread = threading.Thread(target=send)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(ends.set)
        for change in ("ip link set bond0 down", "ip addr flush dev bond0", "ip link set bond0 down; sleep 0.1; ip link set bond0 up",
                       "ip rule del pref 5290", self.flush_table_of(5290), self.flush_table_of(5291) + "; ip rule del pref 5291"):
            with self.subTest(change):
                net.sh("office", change)
                net.wait("the LAN is in the bond again", lambda: net.ask("pc", "tcp", WEB, 7, tries=1) == SERVER)
                self.assertEqual(self.in_the_clear(), 0)


class NarrowBond(Case):
    """Below 1280 bytes a device has no IPv6."""

    def test_it_carries_and_is_widened_and_narrowed(self):
        net = self.net
        for who in ("office", "vps"):
            net.sh(who, "sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0")
        net.serve("web", "tcp", 7)
        net.write(bond={"office": "mtu = 1200\n", "vps": "mtu = 1200\n"})
        net.up()
        self.expect_lan_in_the_bond()
        for before, after in ((1200, 1400), (1400, 576)):
            self.edit("office", f"mtu = {before}", f"mtu = {after}")
            net.run_bondd("office", "reload")
            self.assertEqual(net.sh("office", "cat /sys/class/net/bond0/mtu").strip(), str(after))
            self.expect_lan_in_the_bond()
        self.assertNotIn("repair-failed", [p["code"] for p in self.status()["problems"]])


class BrokenBond(Case):
    """Tunnels that are up are no bond while its interface, or what leads into it, cannot be set up."""

    def test_the_state_is_down_until_it_is_set_up(self):
        net = self.net
        net.serve("web", "tcp", 7)
        net.write()
        net.up()
        net.wait("both lines up", lambda: self.status()["state"] == "up", 20)
        # The kernel takes no gateway that it does not reach: no route leads into the bond.
        net.sh("office", "ip rule add pref 100 to 172.16.16.1 unreachable; " + self.flush_table_of(5290))
        net.wait("repair-failed", lambda: "repair-failed" in [p["code"] for p in self.status()["problems"]])
        self.assertIsNone(net.ask("pc", "tcp", WEB, 7, tries=1))
        self.assertEqual((self.status()["state"], set(self.states().values())), ("down", {"up"}))
        done = subprocess.run(net._command("office", "status"), capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 3, done.stdout)
        net.sh("office", "ip rule del pref 100")
        net.wait("up again", lambda: self.status()["state"] == "up", 20)
        self.expect_lan_in_the_bond()


class LongPackets(Case):
    """A line that loses long packets without a word, as a tunnel behind a modem does."""
    LONGEST = 1400
    MEGABYTES = 4

    def transfer(self, way):
        """TCP of the PC with the Internet, up or down; how many bytes arrived within 20 s."""
        listener = self.net.socket("web", socket.SOCK_STREAM, (WEB, 0))
        listener.listen(1)
        pc = self.net.socket("pc", socket.SOCK_STREAM)
        pc.settimeout(20)
        pc.connect(listener.getsockname())
        web = listener.accept()[0]
        web.settimeout(20)
        sender, receiver = (pc, web) if way == "up" else (web, pc)

        def send():
            for _ in range(self.MEGABYTES):
                sender.sendall(bytes(1_000_000))
            sender.shutdown(socket.SHUT_WR)
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        arrived = 0
        while data := receiver.recv(1 << 16):
            arrived += len(data)
        thread.join()
        web.close()
        return arrived

    def find_and_use_the_line(self, way, end):
        net = self.net
        net.write()
        net.up()
        # What the kernel hands on as one packet is to be judged as many.
        for machine, device in (("office", "dsl2"), ("vps", "eth0")):
            net.sh(machine, f"ip link set {device} gso_max_segs 1")
        net.sh("box2", f"iptables -I FORWARD -p udp -m length --length {self.LONGEST + 1}:65535 -j DROP; iptables -I FORWARD -f -j DROP")
        # How many long packets go by that line until it is known depends on the other one's speed.
        for _ in range(80):
            self.assertEqual(self.transfer(way), self.MEGABYTES * 1_000_000)
            if self.status(end)["wans"][1]["path_mtu"]:
                break
        net.wait("the line is named", lambda: "line-narrow" in [p["code"] for p in self.status(end)["problems"]])
        longest = {wan["name"]: wan["path_mtu"] for wan in self.status(end)["wans"]}
        self.assertIsNone(longest["box1"])
        self.assertTrue(self.LONGEST - 8 <= longest["box2"] <= self.LONGEST, longest)
        self.assertEqual(self.states(), {"box1": "up", "box2": "up"})
        # The bond's packets fit: none but a probe is dropped any more.
        net.wait("shorter packets", lambda: int(net.sh(end, "cat /sys/class/net/bond0/mtu")) <= longest["box2"] - 72)
        before = self.dropped()
        for direction in ("up", "down"):
            for _ in range(3):
                self.assertEqual(self.transfer(direction), self.MEGABYTES * 1_000_000)
        self.assertLess(self.dropped() - before, 20)
        self.assertIsNotNone(self.status(end)["wans"][1]["path_mtu"])

    def dropped(self):
        """How many long packets the line has dropped."""
        rules = self.net.sh("box2", "iptables -nvxL FORWARD").splitlines()
        return sum(int(rule.split()[0]) for rule in rules if "DROP" in rule and "length" in rule)

    def test_a_line_that_drops_what_the_office_sends_is_found(self):
        self.find_and_use_the_line("up", "office")

    def test_a_line_that_drops_what_the_vps_sends_is_found(self):
        self.find_and_use_the_line("down", "vps")


class Roles(Case):
    """Both files have the same role: each end says so where the person sits, with the cure."""

    def problems(self, site):
        return {(problem["code"], problem["remedy"]) for problem in self.status(site)["problems"]}

    def up_in_the_foreground(self, site):
        process = subprocess.Popen(self.net._command(site, "up"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def test_two_servers(self):
        net = self.net
        net.write()
        server = (net.folder / "vps.toml").read_text()
        # As somebody writes it who takes this machine for the VPS: nothing in it is wrong for one.
        for old, new in (("172.16.16.1/30", "172.16.16.2/30"), ('peer = "172.16.16.2"', 'peer = "172.16.16.1"'), ("vps.password", "office.password"),
                         ("192.168.1.0/24", "10.9.0.0/16"), ('address = "203.0.113.10"\n', ""), ('["eth0"]', '["dsl1"]')):
            self.assertIn(old, server)
            server = server.replace(old, new)
        (net.folder / "office.toml").write_text(server)
        for site in ("vps", "office"):
            self.check(site)
            self.up_in_the_foreground(site)
        for site in ("vps", "office"):
            net.wait(f"{site}: each WAN waits for the office", lambda: [code for code, _ in self.problems(site)] == ["office-away"] * 2)
            for _, remedy in self.problems(site):
                self.assertIn('whose file has role = "client"; if this machine is the office, write that here', remedy)

    def test_two_clients(self):
        net = self.net
        net.write()
        office = (net.folder / "office.toml").read_text()
        client = office.replace("172.16.16.2/30", "172.16.16.1/30").replace('peer = "172.16.16.1"', 'peer = "172.16.16.2"').replace("office.password", "vps.password")
        client = "".join(line + "\n" for line in client.splitlines() if not line.startswith(("device", "gateway")))
        (net.folder / "vps.toml").write_text(client)
        self.assertIn('is this machine\'s own (on eth0); write the VPS\'s, or, if this machine is the VPS, take its file', self.check("vps", 1))
        self.edit("vps", "203.0.113.10", "198.51.101.2")
        self.assertIn('; if this machine is the VPS, write role = "server"', self.check("vps", 1))
        self.up_in_the_foreground("office")
        net.wait("the office is told the role", lambda: {code for code, _ in self.problems("office")} == {"port-refused"}, 25)
        for _, remedy in self.problems("office"):
            self.assertIn('there, role must be "server"', remedy)


class Checks(Case):
    """check says what up would refuse."""

    def test_chains_that_iptables_cannot_use(self):
        net = self.net
        net.write()
        for chain in ("INPUT '{ type filter hook input priority -5; }'", "FORWARD"):
            with self.subTest(chain):
                net.sh("office", f"nft add table ip filter; nft add chain ip filter {chain}")
                said = self.check(status=1)
                self.assertRegex(said, r"chain (INPUT|FORWARD) of table ip filter cannot be used by iptables")
                self.assertIn("1 error, 0 warnings", said)
                net.sh("office", "nft delete table ip filter")

    def test_a_device_by_another_name_of_it_is_told_its_own(self):
        net = self.net
        net.write()
        net.sh("office", "ip link property add dev dsl2 altname north")
        net.sh("vps", "ip link property add dev eth0 altname outside")
        self.edit("office", 'device = "dsl2"', 'device = "north"')
        self.edit("vps", 'masquerade = ["eth0"]', 'masquerade = ["outside"]')
        self.assertIn('"north" is another name (altname) of dsl2; write device = "dsl2"', self.check(status=1))
        self.assertIn('"outside" is another name (altname) of eth0; write "eth0"', self.check("vps", status=1))


def take(args):
    global BONDD
    BONDD = str(args.bondd.resolve())


if __name__ == "__main__":
    sys.exit(main_of_cases(take, ["bondd"]))
