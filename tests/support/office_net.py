"""An office, its two gateways, the VPS and a host of the Internet in namespaces, with backend = "mlvpn".

    pc 192.168.1.10 --- lan --- .252 office
                                  |  |
       box1 (line 198.51.101.2) --+  +-- box2 (line 198.51.102.2)
                          \\           /
                        isp 203.0.113.1, 198.51.100.1
                          /           \\
            vps 203.0.113.10       web 198.51.100.80

boxes="devices": each gateway on a device of the office's own, dsl1 192.168.11.0/24 and dsl2 192.168.12.0/24.
boxes="one-lan": both gateways on the LAN, .240 and .254, and the office's only device is lan.
Each gateway masquerades, and forwards TCP 2222 and UDP 51820 of its line to the office. Needs root; everything
is removed on every way out.
"""
import ctypes
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

SERVER, WEB, PC, OFFICE = "203.0.113.10", "198.51.100.80", "192.168.1.10", "192.168.1.252"
LINES = {"box1": "198.51.101.2", "box2": "198.51.102.2"}
INSIDE, PEER = "172.16.16.2", "172.16.16.1"  # the two ends of the bond
PORTS = {"box1": 1194, "box2": 1196}  # of the tunnels
SPACES = ("pc", "office", "box1", "box2", "isp", "vps", "web")

# near end: namespace, device, address; far end alike
COMMON = """
    box1    wan   198.51.101.2/24   isp     line1 198.51.101.1/24
    box2    wan   198.51.102.2/24   isp     line2 198.51.102.1/24
    isp     vps   203.0.113.1/24    vps     eth0  203.0.113.10/24
    isp     web   198.51.100.1/24   web     eth0  198.51.100.80/24
"""
BOXES = {
    "devices": """
    pc      eth0  192.168.1.10/24   office  lan   192.168.1.252/24
    box1    eth0  192.168.11.1/24   office  dsl1  192.168.11.2/24
    box2    eth0  192.168.12.1/24   office  dsl2  192.168.12.2/24
""",
    "one-lan": """
    pc      eth0  192.168.1.10/24   isp     swpc  -
    box1    eth0  192.168.1.240/24  isp     sw1   -
    box2    eth0  192.168.1.254/24  isp     sw2   -
    office  lan   192.168.1.252/24  isp     swof  -
"""}
GATEWAYS = {"devices": {"box1": ("dsl1", "192.168.11.1", "192.168.11.2"), "box2": ("dsl2", "192.168.12.1", "192.168.12.2")},
            "one-lan": {"box1": ("lan", "192.168.1.240", OFFICE), "box2": ("lan", "192.168.1.254", OFFICE)}}

SITE = """role = "{role}"
backend = "mlvpn"
[server]
address = "203.0.113.10"
[bond]
interface = "bond0"
address = "{own}/30"
peer = "{peer}"
{bond}
[mlvpn]
password_file = "{site}.password"
{mlvpn}
[routes]
through_bond = [{through}]
"""


def run(text, ns=None, check=True, timeout=60):
    words = ["ip", "netns", "exec", ns] if ns else []
    done = subprocess.run([*words, "sh", "-ec", text], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise RuntimeError(f"{text}: exit {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


class Inside:
    """`with Inside(name):` sockets made meanwhile by this thread belong to that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        if self.libc.setns(there, 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), f"setns {self.name}")
        os.close(there)

    def __exit__(self, *_):
        self.libc.setns(self.back, 0x40000000)
        os.close(self.back)


class OfficeNet:
    def __init__(self, bondd, boxes="devices", of_site=None):
        """`of_site`: another bondd for a site, by its name."""
        self.bondd, self.boxes, self.of_site = bondd, boxes, of_site or {}
        self.names = {short: f"bonddw{os.getpid()}{short}" for short in SPACES}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bondd-office-"))
        self.sockets = []

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for site in ("office", "vps"):
            if (self.folder / f"{site}.toml").exists():
                subprocess.run(self._command(site, "down"), capture_output=True, timeout=60)
        for s in self.sockets:
            s.close()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _build(self):
        for short, name in self.names.items():
            run(f"ip netns add {name}; ip -n {name} link set lo up")
            # A namespace may start with the machine's own settings: known ones for all.
            run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 "
                "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", name)
        if self.boxes == "one-lan":
            self.sh("isp", "ip link add sw type bridge; ip link set sw up")
        for cable in filter(str.strip, (COMMON + BOXES[self.boxes]).splitlines()):
            near, device, address, far, far_device, far_address = cable.split()
            run(f"ip link add {device} netns {self.names[near]} type veth peer name {far_device} netns {self.names[far]}")
            self.sh(near, f"ip addr add {address} dev {device}; ip link set {device} up")
            join = f"ip link set {far_device} master sw" if far_address == "-" else f"ip addr add {far_address} dev {far_device}"
            self.sh(far, f"{join}; ip link set {far_device} up")
        gateways = GATEWAYS[self.boxes]
        for short in ("box1", "box2", "isp"):
            self.sh(short, "sysctl -qw net.ipv4.ip_forward=1")
        for short, line in LINES.items():
            to = gateways[short][2]
            self.sh(short, f"ip route add default via {line.rsplit('.', 1)[0]}.1; iptables -t nat -A POSTROUTING -o wan -j MASQUERADE;"
                    f"iptables -t nat -A PREROUTING -i wan -p tcp --dport 2222 -j DNAT --to-destination {to};"
                    f"iptables -t nat -A PREROUTING -i wan -p udp --dport 51820 -j DNAT --to-destination {to}")
        self.sh("pc", f"ip route add default via {OFFICE}")
        self.sh("office", f"ip route add default via {gateways['box1'][1]}; sysctl -qw net.ipv4.ip_forward=1")
        self.sh("vps", "ip route add default via 203.0.113.1")
        self.sh("web", "ip route add default via 198.51.100.1")

    def sh(self, short, text, check=True):
        return run(text, self.names[short], check)

    # --- the site ---

    def write(self, office="", vps="", bond=None, through='"0.0.0.0/0"', wan="", mlvpn=None):
        """Both files; `office` and `vps` are more tables, `bond` and `mlvpn` more keys of these by site, `wan` of each [[wan]]."""
        bond, mlvpn = bond or {}, mlvpn or {}
        text = {"office": SITE.format(role="client", site="office", own=INSIDE, peer=PEER, through=through, bond=bond.get("office", ""),
                                      mlvpn=mlvpn.get("office", "")),
                "vps": SITE.format(role="server", site="vps", own=PEER, peer=INSIDE, through='"192.168.1.0/24"', bond=bond.get("vps", ""),
                                   mlvpn=mlvpn.get("vps", ""))}
        for box, (device, gateway, _) in GATEWAYS[self.boxes].items():
            for site in text:
                text[site] += f'[[wan]]\nname = "{box}"\nport = {PORTS[box]}\n'
            text["office"] += f'device = "{device}"\ngateway = "{gateway}"\n{wan}'
        text["office"] += office
        text["vps"] += '[nat]\nmasquerade = ["eth0"]\n' + vps
        for site in text:
            (self.folder / f"{site}.toml").write_text(text[site])
            secret = self.folder / f"{site}.password"
            secret.write_text("a password of the test, long enough\n")
            secret.chmod(0o600)

    def _command(self, site, *words):
        return ["ip", "netns", "exec", self.names[site], self.of_site.get(site, self.bondd), "--run-dir",
                str(self.folder / "run"), *words, str(self.folder / f"{site}.toml")]

    def run_bondd(self, site, *words, check=True):
        """(standard output, standard error) of bondd WORDS FILE."""
        done = subprocess.run(self._command(site, *words), capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise RuntimeError(f"bondd {' '.join(words)} ({site}): exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def up(self, *sites):
        """`bondd up -d` at both ends at once, or at the ones given."""
        running = [subprocess.Popen(self._command(site, "up", "-d"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                   for site in sites or ("vps", "office")]
        said = [(process.communicate(timeout=90)[0], process.returncode) for process in running]
        if any(code != 0 for _, code in said):
            raise RuntimeError(f"up: {said}")
        return "".join(text for text, _ in said)

    def up_alone(self):
        """The office's bondd in the foreground, set up, though nobody answers; a process to terminate."""
        process = subprocess.Popen(self._command("office", "up"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait("rules of the office", lambda: "proto 98" in self.sh("office", "ip rule"))
        return process

    def apply(self):
        """Up, or the changed files of what is up."""
        if (self.folder / "run").exists():
            for site in ("vps", "office"):
                self.run_bondd(site, "reload")
        else:
            self.up()

    def down(self):
        for site in ("office", "vps"):
            self.run_bondd(site, "down")

    @staticmethod
    def wait(what, condition, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"not within {seconds} s: {what}")
            time.sleep(0.1)

    # --- packets ---

    def socket(self, short, kind, bound=("", 0)):
        with Inside(self.names[short]):
            s = socket.socket(socket.AF_INET, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(bound)
        self.sockets.append(s)
        return s

    def serve(self, short, proto, port, address=""):
        """Answers on that port with the address that the client is seen from."""
        if proto == "udp":
            s = self.socket(short, socket.SOCK_DGRAM, (address, port))
        else:
            s = self.socket(short, socket.SOCK_STREAM, (address, port))
            s.listen(20)

        def answer():
            while True:
                try:
                    if proto == "udp":
                        _, who = s.recvfrom(2048)
                        s.sendto(who[0].encode(), who)
                    else:
                        client, who = s.accept()
                        client.sendall(who[0].encode())
                        client.close()
                except OSError:
                    if s.fileno() < 0:
                        return
        threading.Thread(target=answer, daemon=True).start()

    def ask(self, short, proto, address, port, tries=2, timeout=1.5, source=("", 0)):
        """What the server there answers: the address that it sees us from. None when nothing comes."""
        for _ in range(tries):
            s = self.socket(short, socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM, source)
            s.settimeout(timeout)
            try:
                s.connect((address, port))
                if proto == "udp":
                    s.send(b"?")
                return s.recv(100).decode()
            except OSError:
                continue
            finally:
                s.close()
        return None

    def pings(self, short, address, count=3):
        said = self.sh(short, f"ping -nqc{count} -i0.1 -W1 {address} || true")
        return int(re.search(r"(\d+) received", said).group(1))

    def tunnel_packets(self, seconds=1.0):
        """Per gateway, how many packets of its own WAN's tunnel left by it, and how many of the other's."""
        rules = {box: [("own", PORTS[box]), ("others", PORTS["box2" if box == "box1" else "box1"])] for box in PORTS}
        for box, counted in rules.items():
            for _, port in counted:
                self.sh(box, f"iptables -I FORWARD -o wan -p udp --dport {port}")
        time.sleep(seconds)
        seen = {}
        for box, counted in rules.items():
            lines = self.sh(box, "iptables -nvxL FORWARD").splitlines()
            for what, port in counted:
                seen[box, what] = sum(int(line.split()[0]) for line in lines if line.endswith(f"dpt:{port}"))
                self.sh(box, f"iptables -D FORWARD -o wan -p udp --dport {port}")
        return seen
