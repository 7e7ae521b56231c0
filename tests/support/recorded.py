"""Pairs of recorded lines on the kernel: one flow over the bond, MPTCP beside it, each line alone.

The twin of tests/sim/recorded.cc; both read the same pairs.tsv.
"""

import bisect
import re
import statistics
import subprocess
import time

from flow import bulk
from lines import INNER_MTU, NETWORKS, Lines, percentile, ping_times
from tunnels import Net, engine_pair, run

SECONDS, WARM_UP = 15, 2
CHANCE_BYTES = 1504
PAYLOAD_SHARE = (INNER_MTU - 52) / 1500
# What a bond of two lines has to show; the aims in brackets.
SHARE_BAR = 0.85  # (0.92) of what the lines offer in the very seconds of the flow
BEST_BAR = 0.92  # of the better line alone
MPTCP_BAR = 0.97  # (1.1) of the kernel's MPTCP in the same run
PING_BAR_MS = 100  # (50) 95th percentile above idle
REDUNDANT_BAR = 0.10  # (0.05) of the bytes on the lines


class Offer:
    """What one direction of a line offers, in the words of netem and `trace FILE offset S`."""

    def __init__(self, words, directory):
        self.chances, self.offset, self.mbit = None, 0, 0.0
        if file := re.search(r"trace (\S+)", words):
            self.chances = [int(ms) for ms in (directory / file[1]).read_text().split()]
            self.offset = int((re.search(r"offset (\d+)", words) or [0, 0])[1])
        elif rate := re.search(r"rate ([\d.]+)(k|m|g)bit", words):
            self.mbit = float(rate[1]) * {"k": 1e-3, "m": 1, "g": 1e3}[rate[2]]

    def between(self, begin, end):
        """Mbit/s; s since the recording began."""
        if self.chances is None:
            return self.mbit
        return (self._before(end) - self._before(begin)) * CHANCE_BYTES * 8e-6 / (end - begin)

    def _before(self, seconds):
        periods, ms = divmod((seconds + self.offset) * 1000, self.chances[-1])
        return int(periods) * len(self.chances) + bisect.bisect_left(self.chances, ms)


class Pair:
    def __init__(self, line, directory, offset):
        self.name, a_down, b_down, a_up, b_up = line.rstrip("\n").split("\t")
        self.directory, self.offset = directory, offset
        self.specs = [tuple(self._moved(words) for words in way) for way in ((a_up, a_down), (b_up, b_down))]
        self.offers = [[Offer(words, directory) for words in way] for way in self.specs]

    def _moved(self, words):
        if "trace" not in words:
            return words
        begin = int((re.search(r"offset (\d+)", words) or [0, 0])[1])
        return re.sub(r" offset \d+", "", words) + f" offset {begin + self.offset}"

    def offered(self, download, begin, end):
        return sum(way[1 if download else 0].between(begin, end) for way in self.offers)


def counter(end, device, name):
    return int(end.net.run(end.space, "cat", f"/sys/class/net/{device}/statistics/{name}"))


def judge(pair, arrivals, began, download):
    """What came between the flow's seconds 2 and 17, counted from its first byte."""
    if arrivals.first is None:
        return {"mbit": 0.0, "limit": float("nan"), "still": 2 * SECONDS}
    begin, end = arrivals.first + WARM_UP, arrivals.first + WARM_UP + SECONDS
    still = sum(arrivals.mbit(begin + i / 2, begin + (i + 1) / 2) == 0
                and pair.offered(download, begin - began + i / 2, begin - began + (i + 1) / 2) > 1
                for i in range(2 * SECONDS))
    return {"mbit": arrivals.mbit(begin, end), "still": still,
            "limit": pair.offered(download, begin - began, end - began) * PAYLOAD_SHARE}


def timed_flow(net, lines, client, server, pair, download, mptcp=False):
    began = []

    def begin():
        lines.begin()
        began.append(time.monotonic())

    arrivals = bulk(net, client, server, WARM_UP + SECONDS, download, mptcp, begin)
    return judge(pair, arrivals, began[0], download)


def start_ping(net, client, server, seconds):
    return net.start(client.space, "ping", "-n", "-i", "0.1", "-w", seconds, server.address, stdout=subprocess.PIPE)


def bond_run(args, pair, download, seed):
    with Net("brain-rec") as net:
        lines = Lines(net, args.build, pair.specs, seed, str(pair.directory))
        client, server = engine_pair(net, args.build, *lines.spaces, NETWORKS, mtu=INNER_MTU, patience=60)
        lines.begin()
        idle = ping_times(start_ping(net, client, server, 4).communicate()[0])
        sender, receiver = (server, client) if download else (client, server)

        def on_lines():
            return sum(counter(sender, f"line{i}", "tx_bytes") for i in (0, 1))

        def inside():
            return counter(receiver, receiver.device, "rx_bytes"), counter(receiver, receiver.device, "rx_packets")

        before, ping = (on_lines(), *inside()), start_ping(net, client, server, WARM_UP + SECONDS + 1)
        result = timed_flow(net, lines, client, server, pair, download)
        after = (on_lines(), *inside())
        times = ping_times(ping.communicate(timeout=60)[0])[10 * WARM_UP:]
        outside, payload, packets = (b - a for a, b in zip(before, after))
        useful = payload + packets * (1500 - INNER_MTU)
        result["redundant"] = 1 - useful / outside if outside else 0.0
        result["idle"] = statistics.median(idle) if idle else float("nan")
        result["ping"] = percentile(times, 0.95) - result["idle"]
        return result


def mptcp_run(args, pair, download, seed):
    """The kernel's MPTCP between the same ends: the client has an endpoint for a subflow on each line."""
    with Net("brain-rec") as net:
        lines = Lines(net, args.build, pair.specs, seed, str(pair.directory))
        client, server = lines.ends(0)
        for space in lines.spaces:
            net.run(space, "sysctl", "-qw", "net.mptcp.enabled=1")
            net.run(space, "ip", "mptcp", "limits", "set", "subflow", 2, "add_addr_accepted", 2)
        # The second subflow goes from the client's second address to the server's second.
        run("ip", "-n", server.space, "mptcp", "endpoint", "add", f"10.{NETWORKS[1]}.2", "dev", "line1", "signal")
        run("ip", "-n", client.space, "mptcp", "endpoint", "add", f"10.{NETWORKS[1]}.1", "dev", "line1", "subflow", "fullmesh")
        sender = server if download else client
        before = counter(sender, "line1", "tx_bytes")
        result = timed_flow(net, lines, client, server, pair, download, mptcp=True)
        result["over_b"] = (counter(sender, "line1", "tx_bytes") - before) * 8e-6 / (WARM_UP + SECONDS)
        return result


def alone_run(args, pair, index, download, seed):
    with Net("brain-rec") as net:
        lines = Lines(net, args.build, pair.specs, seed, str(pair.directory))
        return timed_flow(net, lines, *lines.ends(index), pair, download)


def middle(runs, key):
    return statistics.median(r[key] for r in runs) if runs else float("nan")


def measure(args, pair, download):
    bonds, rivals, alone = [], [], ([], [])
    for seed in range(1, args.repeat + 1):
        bonds.append(bond_run(args, pair, download, seed))
        if args.mptcp:
            rivals.append(mptcp_run(args, pair, download, seed))
        for i in (0, 1) if args.alone else ():
            alone[i].append(alone_run(args, pair, i, download, seed))
    mbit, rival = middle(bonds, "mbit"), middle(rivals, "mbit")
    share = statistics.median(r["mbit"] / r["limit"] if r["limit"] else 0.0 for r in bonds)
    a, b = (middle(runs, "mbit") for runs in alone)
    still = max(r["still"] for r in bonds)
    missed = [name for name, bad in (
        ("share", not share >= SHARE_BAR), ("best", args.alone and mbit < BEST_BAR * max(a, b)),
        ("mptcp", args.mptcp and mbit < MPTCP_BAR * rival), ("still", still > 0),
        ("ping", middle(bonds, "ping") > PING_BAR_MS), ("redundant", middle(bonds, "redundant") > REDUNDANT_BAR)) if bad]
    print(f"{pair.name:18} {'down' if download else 'up':4} {pair.offset:4} {a:7.2f} {b:7.2f} {rival:7.2f} {mbit:7.2f} "
          f"{middle(bonds, 'limit'):7.2f} {share:6.2f} {mbit / max(a, b) if args.alone else float('nan'):6.2f} "
          f"{mbit / rival if rival else float('nan'):6.2f} {still:6} {max([r['still'] for r in rivals], default=0):6} "
          f"{middle(bonds, 'redundant') * 100:7.1f} {middle(bonds, 'idle'):6.0f} {middle(bonds, 'ping'):6.0f}  "
          f"{'MISSED' if missed else 'ok'} {' '.join(missed)}  | {' '.join(format(r['mbit'], '.2f') for r in bonds)}"
          f"{' / ' if rivals else ''}{' '.join(format(r['mbit'], '.2f') for r in rivals)}", flush=True)
    return not missed


def measure_all(args, downloads):
    print(f"One cubic flow, {SECONDS} s from its second {WARM_UP} on (from the first byte), medians of {args.repeat}; bars: share "
          f"{SHARE_BAR}, best {BEST_BAR}, MPTCP {MPTCP_BAR}, no half second without a byte, ping {PING_BAR_MS} ms, redundant "
          f"{REDUNDANT_BAR:.0%}")
    print("pair               dir    +s       A       B   MPTCP    bond   limit  share  /best /MPTCP  still  MPTCP  redund   idle"
          "  p95-id")
    good = True
    for line in (args.traces / "pairs.tsv").read_text().splitlines():
        if args.profiles and line.split("\t")[0] not in args.profiles:
            continue
        for offset in args.offsets:
            for download in downloads:
                good = measure(args, Pair(line, args.traces, offset), download) and good
    return 0 if good else 1
