"""The office in namespaces: an LAN with two boxes, their lines, and the Internet.

       pc  cli            .240 box1 ==== line 1 ==== isp          srv (the VPS)
        |   |               |                         |            |
    ====+===+== lan ========+== 192.168.1.0/24    ====+==== net ===+=== 203.0.113.0/24
                            |                         |            |
                          .254 box2 ==== line 2 ==== isp          web (a host of the Internet)

Each name is a network namespace. `ways` lists the variants of how the boxes are
reached from cli: both on one LAN, or each on a device of its own.
"""
import array
import ctypes
import dataclasses
import fcntl
import os
import pathlib
import socket
import struct
import subprocess
import time

# near end: namespace, device, address; far end: namespace, device, address (a switch's port has none)
LAN = """
    pc    eth0  192.168.1.10/24     lan  pc     -
    cli   eth0  192.168.1.252/24    lan  cli    -
"""
BOXES = {
    "one-lan": """
    box1  eth0  192.168.1.240/24    lan  box1   -
    box2  eth0  192.168.1.254/24    lan  box2   -
""",
    "devices": """
    box1  eth0  192.168.11.1/24     cli  dsl1   192.168.11.2/24
    box2  eth0  192.168.12.1/24     cli  dsl2   192.168.12.2/24
"""}
INTERNET = """
    box1  wan   198.51.101.2/24     isp  line1  198.51.101.1/24
    box2  wan   198.51.102.2/24     isp  line2  198.51.102.1/24
    isp   eth0  203.0.113.1/24      net  isp    -
    srv   eth0  203.0.113.10/24     net  srv    -
    web   eth0  203.0.113.80/24     net  web    -
"""
SWITCHES = ["lan", "net"]
DEFAULT_ROUTES = {
    "one-lan": {"cli": ["192.168.1.240"]},
    "devices": {"cli": ["192.168.11.1 metric 100", "192.168.12.1 metric 200"]}}
COMMON_ROUTES = {"pc": ["192.168.1.252"], "box1": ["198.51.101.1"], "box2": ["198.51.102.1"],
                 "srv": ["203.0.113.1"], "web": ["203.0.113.1"]}
ROUTERS = ["box1", "box2", "isp"]
MODULES = ["tun", "bonding", "veth", "bridge", "sch_netem", "nf_conntrack", "ipv6"]

SERVER, WEB, PC, CLI = "203.0.113.10", "203.0.113.80", "192.168.1.10", "192.168.1.252"


@dataclasses.dataclass
class Line:
    """One Internet line. Rates as tc takes them; the delay is one way; the limit is the queue in packets (netem's default)."""
    rate: str = "2000kbit"
    delay: str = "25ms"
    limit: int = 1000
    upload: str = ""  # the rate from the office; equal to `rate` when empty
    mtu: int = 1500

    def shaper(self, upward, netem=True):
        """The queueing discipline of one direction; without netem (--direct on a bare kernel) the delay is lost."""
        rate = self.upload if upward and self.upload else self.rate
        if netem:
            return f"netem rate {rate} delay {self.delay} limit {self.limit}"
        return f"tbf rate {rate} burst 3000 limit {min(self.limit, 100) * 1500}"

    @property
    def mbit(self):
        return self._mbit(self.rate)

    def times(self, factor):
        """The same line with its rates times `factor`."""
        kbit = lambda rate: rate and f"{round(self._mbit(rate) * 1000 * factor)}kbit"
        return dataclasses.replace(self, rate=kbit(self.rate), upload=kbit(self.upload))

    @staticmethod
    def _mbit(rate):
        number = float("".join(c for c in rate if c.isdigit() or c == "."))
        return number / 1000 if rate.endswith("kbit") else number


EQUAL = [Line("2000kbit", "25ms"), Line("2000kbit", "12ms")]
UNLIKE = [Line("4000kbit", "10ms"), Line("1600kbit", "40ms")]


def sh(text, check=True, ns=None, timeout=60):
    """Runs a shell command (in a namespace); returns its standard output."""
    words = ["ip", "netns", "exec", ns] if ns else []
    done = subprocess.run([*words, "sh", "-c", text], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise RuntimeError(f"{ns or 'lab'}: {text}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Namespace:
    """`with Namespace("cli"):` — sockets made meanwhile by this thread belong to cli."""
    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        assert self.libc.setns(there, 0x40000000) == 0, f"setns {self.name}"
        os.close(there)

    def __exit__(self, *_):
        assert self.libc.setns(self.back, 0x40000000) == 0
        os.close(self.back)


class Office:
    """Builds the namespaces; `lines` may be changed later with set_line()."""

    def __init__(self, lines=None, boxes="one-lan"):
        self.lines = lines or EQUAL
        self.boxes = boxes
        for module in MODULES:
            subprocess.run(["modprobe", module], capture_output=True)  # built in, or loaded on demand: no matter
        cables = [line.split() for line in (LAN + BOXES[boxes] + INTERNET).splitlines() if line.strip()]
        names = dict.fromkeys(SWITCHES + [c[0] for c in cables])
        ip_batch([f"netns add {name}" for name in names])
        per_ns = {name: ["link set lo up"] for name in names}
        for name in SWITCHES:
            per_ns[name] += ["link add sw type bridge", "link set sw up"]
        for near, dev, address, far, far_dev, far_address in cables:
            per_ns[near] += [f"addr add {address} dev {dev}", f"link set {dev} up"]
            join = f"link set {far_dev} master sw" if far in SWITCHES else f"addr add {far_address} dev {far_dev}"
            per_ns[far] += [join, f"link set {far_dev} up"]
        for name, routes in {**COMMON_ROUTES, **DEFAULT_ROUTES[boxes]}.items():
            per_ns[name] += [f"route add default via {route}" for route in routes]
        for name in names:
            with Namespace(name):
                # Debian's systemd sets loose reverse-path filtering.
                write_sysctl("net/ipv4/conf/all/rp_filter", 2)
                write_sysctl("net/ipv4/conf/default/rp_filter", 2)
                write_sysctl("net/ipv4/ip_forward", int(name in ROUTERS))
                write_sysctl("net/ipv6/conf/default/accept_dad", 0)  # addresses are final at once
        ip_batch([f"link add {dev} netns {near} type veth peer name {far_dev} netns {far}"
                  for near, dev, _, far, far_dev, _ in cables])
        for near, dev, _, far, far_dev, _ in cables:
            for name, device in ((near, dev), (far, far_dev)):
                with Namespace(name):
                    no_offload(device)
        for name, commands in per_ns.items():
            ip_batch(commands, name)
        self.iptables = find_iptables()
        for box in ("box1", "box2"):
            sh(f"{self.iptables} -t nat -A POSTROUTING -o wan -j MASQUERADE", ns=box)
        self.netem = subprocess.run("ip netns exec box1 tc qdisc add dev lo root netem && ip netns exec box1 tc qdisc del dev lo root",
                                    shell=True, capture_output=True).returncode == 0
        for number, line in enumerate(self.lines, 1):
            self.set_line(number, line)

    def set_line(self, number, line):
        self.lines[number - 1] = line
        sh(f"tc qdisc replace dev wan root {line.shaper(True, self.netem)} && ip link set wan mtu {line.mtu}", ns=f"box{number}")
        sh(f"tc qdisc replace dev line{number} root {line.shaper(False, self.netem)} && ip link set line{number} mtu {line.mtu}", ns="isp")

    def unshape(self):
        """Takes the shaping off, to see what the kernel itself is good for."""
        for number in (1, 2):
            sh("tc qdisc del dev wan root", ns=f"box{number}")
            sh(f"tc qdisc del dev line{number} root", ns="isp")

    def cut(self, number, direction="both"):
        """Drops every packet of a line (direction: both, up, down), without any link event.

        At the box, so that what is under way is lost too, then at the isp's end.
        Returns the moment (time.monotonic()), the early side of it.
        """
        began = time.monotonic()
        for ns, device, inward in ((f"box{number}", "wan", "down"), ("isp", f"line{number}", "up")):
            rules = {inward: f"PREROUTING -i {device}", ({"up", "down"} - {inward}).pop(): f"POSTROUTING -o {device}"}
            wanted = [rule for word, rule in rules.items() if direction in ("both", word)]
            sh(" && ".join(f"{self.iptables} -t mangle -I {rule} -j DROP" for rule in wanted), ns=ns)
        return began

    def mend(self, number):
        """Ends every cut; returns the moment, the late side of it."""
        for ns in ("isp", f"box{number}"):
            sh(f"{self.iptables} -t mangle -F PREROUTING && {self.iptables} -t mangle -F POSTROUTING", ns=ns)
        return time.monotonic()

    def pings(self, ns, address, tries=1, seconds=1):
        return any(subprocess.run(["ip", "netns", "exec", ns, "ping", "-nqc1", f"-W{seconds}", address],
                                  capture_output=True).returncode == 0 for _ in range(tries))

    def fragments(self):
        """IP fragments made so far by any machine of the lab."""
        total = 0
        for name in ("pc", "cli", "box1", "box2", "isp", "srv", "web"):
            with Namespace(name):
                rows = [r.split() for r in pathlib.Path("/proc/thread-self/net/snmp").read_text().splitlines() if r.startswith("Ip:")]
            total += int(dict(zip(*rows))["FragCreates"])
        return total

    def line_bytes(self):
        """Bytes that have come down each line to its box."""
        result = []
        for number in (1, 2):
            with Namespace(f"box{number}"):
                row = next(r for r in pathlib.Path("/proc/thread-self/net/dev").read_text().splitlines() if r.strip().startswith("wan:"))
            result.append(int(row.split()[1]))
        return result


def ip_batch(lines, ns=None):
    """One `ip` process for many commands; a lab kernel takes 50 ms to start a process."""
    words = ["-n", ns] if ns else []
    done = subprocess.run(["ip", *words, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ip {ns or ''}: {done.stderr.strip()} in {lines}")


def find_iptables():
    """The iptables variant that works on this kernel, with -w.

    Only a change tells: without nf_tables' IPv4 family, `iptables -S` still succeeds.
    """
    for variant in ("iptables", "iptables-legacy"):
        probe = f"{variant} -w -t nat -N LAB-PROBE && {variant} -w -t nat -X LAB-PROBE"
        if subprocess.run(["ip", "netns", "exec", "box1", "sh", "-c", probe], capture_output=True).returncode == 0:
            return variant + " -w"
    raise RuntimeError("neither iptables nor iptables-legacy works on this kernel")


def write_sysctl(path, value):
    pathlib.Path("/proc/sys", path).write_text(f"{value}\n")


def no_offload(device):
    """Packets of at most one MTU, as on a real wire; a veth would pass 64 KiB at once. As `ethtool -K tso off gso off gro off`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for command in (0x1F, 0x24, 0x2C):  # ETHTOOL_STSO, _SGSO, _SGRO
            value = array.array("I", [command, 0])
            request = struct.pack("16sP", device.encode(), value.buffer_info()[0])
            fcntl.ioctl(s, 0x8946, request.ljust(40, b"\0"))  # SIOCETHTOOL


def full_sized_ping(ns="pc", address="172.16.16.1"):
    """Whether 1500 bytes pass; the first try may only find out the path's MTU."""
    return " 0 received" not in sh(f"ping -c4 -i0.5 -s1472 -W2 {address}", ns=ns, check=False)


def in_ns(ns, make):
    """make() with this thread in the namespace; for sockets."""
    with Namespace(ns):
        return make()


def udp_socket(ns, address=("", 0)):
    def make():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(address)
        return s
    return in_ns(ns, make)
