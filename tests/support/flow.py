"""One cubic TCP flow between namespaces, byte by byte in time: plain, or by the kernel's MPTCP."""

import json
import subprocess
import sys

# The source sends until it is killed; the sink takes what comes for `seconds` from the first byte on,
# and tells when it came: [s of the machine's monotonic clock, bytes] for each 10 ms.
PROGRAM = """
import json, socket, sys, time
role, side, address, seconds, mptcp = *sys.argv[1:4], float(sys.argv[4]), sys.argv[5] == "mptcp"

def make():
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262 if mptcp else socket.IPPROTO_TCP)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    return made

if side == "listen":
    listener = make()
    listener.bind((address, 5201))
    listener.listen()
    print("ready", flush=True)
    flow, _ = listener.accept()
else:
    flow = make()
    flow.connect((address, 5201))
if role == "source":
    while True:
        flow.send(bytes(1 << 17))
if side == "connect":
    flow.send(b"?")  # an MPTCP server may use all lines once it has heard something
came, end = {}, time.monotonic() + 60
flow.settimeout(0.2)
while time.monotonic() < end:
    try:
        n = len(flow.recv(1 << 20))
    except socket.timeout:
        continue
    if n == 0:
        break
    now = time.monotonic()
    if not came:
        end = now + seconds
    came[int(now * 100)] = came.get(int(now * 100), 0) + n
print(json.dumps([[t / 100, n] for t, n in came.items()]), flush=True)
"""


class Arrivals:
    """What came at the sink, in time."""

    def __init__(self, pairs):
        self.pairs = pairs
        self.first = pairs[0][0] if pairs else None

    def mbit(self, begin, end):
        return sum(n for t, n in self.pairs if begin <= t < end) * 8e-6 / (end - begin)


def bulk(net, client, server, seconds, download, mptcp=False, when_ready=lambda: None):
    """`seconds` of one flow from its first byte on; `when_ready` is called just before it connects."""
    kind = "mptcp" if mptcp else "tcp"

    def start(end, role, side):
        return net.start(end.space, sys.executable, "-c", PROGRAM, role, side, server.address, seconds, kind,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    listener = start(server, "source" if download else "sink", "listen")
    if listener.stdout.readline().strip() != "ready":
        raise RuntimeError("flow: the server does not listen")
    when_ready()
    connector = start(client, "sink" if download else "source", "connect")
    sink, source = (connector, listener) if download else (listener, connector)
    text = sink.communicate(timeout=seconds + 130)[0]
    source.kill()
    source.wait()
    return Arrivals(json.loads(text) if text.strip() else [])
