"""Traffic and what the receiver saw of it.

iperf3 tells a second at a time; a cut line is over by then. Here the receiver
notes when each piece arrives, so that a silence is known to the millisecond.
"""
import socket
import threading
import time

from office import in_ns


class Flow:
    """One TCP flow from `sender` to `receiver`; the one named in `connects` opens it to address:port."""

    def __init__(self, sender, receiver, address, port=5201, connects="receiver"):
        self.pieces = []  # (time.monotonic(), bytes)
        self.error = ""
        ends = {"sender": sender, "receiver": receiver}
        listens = "sender" if connects == "receiver" else "receiver"

        def listener():
            s = socket.create_server(("", port), backlog=16)
            s.settimeout(30)
            return s
        with in_ns(ends[listens], listener) as server:
            client = in_ns(ends[connects], lambda: socket.create_connection((address, port), timeout=30))
            accepted, self.seen_from = server.accept()
        self.out, self.into = (accepted, client) if listens == "sender" else (client, accepted)
        self.out.settimeout(None)
        self.into.settimeout(None)
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self._send, daemon=True), threading.Thread(target=self._receive, daemon=True)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        block = bytes(16384)
        try:
            while True:
                self.out.sendall(block)
        except OSError:
            pass

    def _receive(self):
        try:
            while piece := self.into.recv(65536):
                self.pieces.append((time.monotonic(), len(piece)))
        except OSError as e:
            self.error = str(e)

    def stop(self):
        for s in (self.into, self.out):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset: nothing lingers on the lines
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        for thread in self.threads:
            thread.join(5)
        return self

    def mbit(self, start, end):
        return mbit([self], start, end)

    def longest_silence(self, start, end):
        """Longest time without a byte between the two moments, in seconds."""
        times = [start] + [t for t, _ in list(self.pieces) if start < t < end] + [end]
        return max(b - a for a, b in zip(times, times[1:]))

    def first_second_at(self, least_mbit, start, end):
        """Seconds from `start` to the beginning of the first second at that rate; None if there is none."""
        t = start
        while t + 1 <= end:
            if self.mbit(t, t + 1) >= least_mbit:
                return t - start
            t += 0.01
        return None


def mbit(flows, start, end):
    """Mean rate of the payload that arrived between the two moments, in Mbit/s."""
    count = sum(n for flow in flows for t, n in list(flow.pieces) if start < t <= end)
    return count * 8 / 1e6 / (end - start)


def measure(seconds, *ends, flows=1, settle=0, **more):
    """Mean Mbit/s of some TCP flows over `seconds`, after `settle` seconds."""
    running = [Flow(*ends, port=5201 + i, **more) for i in range(flows)]
    start = time.monotonic() + settle
    time.sleep(settle + seconds)
    end = time.monotonic()
    for flow in running:
        flow.stop()
    return mbit(running, start, end)
