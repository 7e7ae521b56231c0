"""The recipe as an admin types it: openvpn with a shared key, a bond, marks. The column to compare with."""
import os
import signal
import subprocess
import time

from office import SERVER, sh, ip_batch

PORTS = {1: 1194, 2: 1196}
OPENVPN = ("openvpn --dev tap{n} --dev-type tap --mode p2p --proto udp4 --cipher AES-256-CBC --keepalive 1 2 "
           "--persist-tun --persist-key --replay-window 512 15 --txqueuelen 1000 --verb 1 --secret /run/lab/bond.key")
BOND = ["link add bond0 type bond mode {mode} arp_interval 300 arp_ip_target {peer}",
        "link set tap1 down", "link set tap2 down", "link set tap1 master bond0", "link set tap2 master bond0",
        "link set tap1 up", "link set tap2 up", "addr add {address}/30 dev bond0", "link set bond0 up"]


class ByHand:
    def __init__(self, office, mode="balance-rr"):
        self.processes = []
        ipt = office.iptables
        os.makedirs("/run/lab", exist_ok=True)
        sh("openvpn --genkey secret /run/lab/bond.key")
        ip_batch([f"route add {SERVER}/32 via 192.168.1.240", "route add default via 192.168.1.254 table 200",
                  "rule add fwmark 2 lookup 200"], "cli")
        for chain in ("OUTPUT", "PREROUTING"):
            sh(f"{ipt} -t mangle -A {chain} -p udp --dport 1196 -j MARK --set-mark 2", ns="cli")
        sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0", ns="cli")
        sh("sysctl -qw net.ipv4.ip_forward=1", ns="srv")
        for n, port in PORTS.items():
            self._openvpn("srv", n, f"--port {port} --user nobody --group nogroup")
            self._openvpn("cli", n, f"--remote {SERVER} {port} --nobind")
        for ns in ("srv", "cli"):
            self._wait_for_taps(ns)
        self._bond("srv", mode, "172.16.16.1", "172.16.16.2")
        self._bond("cli", mode, "172.16.16.2", "172.16.16.1")
        ip_batch(["route add 192.168.1.0/24 via 172.16.16.2"], "srv")
        ip_batch(["route replace default via 172.16.16.1"], "cli")
        sh(f"{ipt} -t nat -A POSTROUTING -o eth0 -j MASQUERADE", ns="srv")
        if not office.pings("cli", "172.16.16.1", tries=15):
            raise RuntimeError("by hand: no ping through the bond within 15 s")

    def _openvpn(self, ns, n, more):
        words = f"ip netns exec {ns} {OPENVPN.format(n=n)} {more}".split()
        log = open(f"/run/lab/openvpn-{ns}-{n}.log", "w")
        self.processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _wait_for_taps(self, ns):
        for _ in range(100):
            if all(sh(f"ip -br link show tap{n}", ns=ns, check=False) for n in PORTS):
                return
            time.sleep(0.05)
        raise RuntimeError(f"by hand: openvpn made no taps in {ns}: " + sh("tail -n3 /run/lab/*.log"))

    def _bond(self, ns, mode, address, peer):
        hashing = "balance-xor xmit_hash_policy layer3+4" if mode == "balance-xor" else mode
        ip_batch([line.format(mode=hashing, address=address, peer=peer) for line in BOND], ns)

    def down(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(10)
