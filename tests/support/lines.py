"""Two emulated lines between namespaces, and what is measured over them."""

import json
import re
import subprocess
import sys

from tunnels import End, cpu_seconds, run

NETWORKS = ("1.1", "1.2")
INNER_MTU = 1428  # 1500 less IPv4, UDP, header and MAC


def profiles(build):
    """The table that the simulator knows: one dictionary per profile."""
    return json.loads(run(build / "tests/sim/sim_matrix", "--profiles"))


class Lines:
    """Two emulated lines between two namespaces, with the buffers of a stock kernel.

    A spec is one text for both directions, or those of up and of down; recordings are in `directory`.
    """

    def __init__(self, net, build, specs, seed, directory="."):
        self.net, self.spaces, self.emulators = net, (net.space("a"), net.space("b")), []
        for i, (spec, network) in enumerate(zip(specs, NETWORKS)):
            up, down = (spec, spec) if isinstance(spec, str) else spec
            emulator = subprocess.Popen(
                [build / "tests/bench/line_emulator", "--left", self.spaces[0], "--right", self.spaces[1],
                 "--device", f"line{i}", "--line", up, "--back", down, "--directory", directory,
                 "--seed", str(seed * 2 + i)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            net.processes.append(emulator)
            if emulator.stdout.readline().strip() != "ready":
                raise RuntimeError("line_emulator does not start")
            self.emulators.append(emulator)
            for space, host in zip(self.spaces, (1, 2)):
                run("ip", "-n", space, "addr", "add", f"10.{network}.{host}/32", "peer", f"10.{network}.{3 - host}",
                    "dev", f"line{i}")
                run("ip", "-n", space, "link", "set", f"line{i}", "txqueuelen", "10000", "mtu", "1500", "up")
        for space in self.spaces:
            net.run(space, "sh", "-c", "echo 4096 131072 6291456 > /proc/sys/net/ipv4/tcp_rmem; "
                                       "echo 4096 16384 4194304 > /proc/sys/net/ipv4/tcp_wmem; "
                                       "echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save")

    def say(self, index, command):
        self.emulators[index].stdin.write(command + "\n")
        self.emulators[index].stdin.flush()

    def begin(self):
        """The recordings begin anew."""
        for i in range(2):
            self.say(i, "begin")

    def ends(self, index):
        network = NETWORKS[index]
        return tuple(End(self.net, space, f"line{index}", f"10.{network}.{host}")
                     for space, host in zip(self.spaces, (1, 2)))


def ping_times(text):
    return [float(t) for t in re.findall(r"time=([\d.]+)", text)]


def percentile(values, share):
    """`share` in 0 to 1; nan when there are none."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else float("nan")


def cpu_of(ends, lines):
    """CPU seconds so far of the engines and of the line emulators."""
    return sum(cpu_seconds(end.pid) for end in ends), sum(cpu_seconds(e.pid) for e in lines.emulators)


class Game:
    """60 small packets a second from `source` to `target`; how long each is on its way.

    Both namespaces share this machine's clock.
    """

    SEND = """
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 27015))
due = time.monotonic()
while True:
    s.send(struct.pack("d", time.monotonic()) + bytes(82))
    due += 1 / 60
    time.sleep(max(0, due - time.monotonic()))
"""
    RECEIVE = """
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 27015)); print("ready", flush=True)
while True:
    sent, = struct.unpack("d", s.recv(2048)[:8])
    now = time.monotonic(); print(now, (now - sent) * 1000, flush=True)
"""

    def __init__(self, net, source, target):
        self.receiver = net.start(target.space, sys.executable, "-c", self.RECEIVE, target.address,
                                  stdout=subprocess.PIPE)
        self.receiver.stdout.readline()
        self.sender = net.start(source.space, sys.executable, "-c", self.SEND, target.address)

    def stop(self):
        """[(time, delay in ms)] of all packets that came."""
        self.sender.terminate()
        self.receiver.terminate()
        text = self.receiver.communicate(timeout=5)[0]
        return [tuple(map(float, line.split())) for line in text.splitlines() if line.count(" ") == 1]
