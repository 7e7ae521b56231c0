"""What an admin's commands do to a bond that carries traffic."""
import threading
import time

from bondd_site import OFFICE, PEER, build
from office import udp_socket
from scenarios import scenario

PORT = 7000
PACE = 0.02          # seconds between two packets of 800 bytes in each direction: a sixth of one line, and little work
OWN_TRAFFIC = 12     # kbyte/s: what keeps a drained tunnel known, openvpn's and bondd's probes; the stream itself makes 90
USED_AGAIN = {"openvpn-bond": 25, "mlvpn": 1}  # percent: a bond sends by turns; the engine needs but one line for so little


class Stream:
    """Numbered packets from one address to another through the bond; lost() once they have had time to arrive."""

    def __init__(self, from_ns, to_ns, address, port):
        self.arrived, self.sent, self.ends, self.closed = set(), [], False, False  # sent: when each one left
        self.receiver = udp_socket(to_ns, (address, port))
        self.receiver.settimeout(0.2)  # a socket that somebody reads keeps its port when it is closed
        self.sender = udp_socket(from_ns)
        self.target = (address, port)
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._receive, self._send)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        due = time.monotonic()
        while not self.ends:
            self.sender.sendto(len(self.sent).to_bytes(4, "big") + bytes(796), self.target)
            self.sent.append(time.monotonic())
            due = max(due, time.monotonic() - PACE) + PACE  # late is late: no burst makes up for it
            time.sleep(max(0.0, due - time.monotonic()))

    def _receive(self):
        while not self.closed:
            try:
                self.arrived.add(int.from_bytes(self.receiver.recv(2048)[:4], "big"))
            except TimeoutError:
                pass

    def stop(self):
        self.ends = True
        self.threads[1].join()

    def close(self):
        self.closed = True
        self.threads[0].join()
        self.receiver.close()
        self.sender.close()

    def lost(self):
        """When each packet left that did not arrive."""
        return [left for number, left in enumerate(self.sent) if number not in self.arrived]


def carried_once_both_say(report, lab, site, when, what, state):
    """kbyte/s of each line, once both ends show orange in this state."""
    for shown in ("office", "vps"):
        report.check(f"{when}: {shown} {what}", site.wait_for_state(shown, "orange", state, 30), site.status(shown)["wans"])
    time.sleep(3)
    began, before = time.monotonic(), lab.line_bytes()
    time.sleep(3)
    return [(now - then) / 1000 / (time.monotonic() - began) for now, then in zip(lab.line_bytes(), before)]


@scenario("drain", limit=150)
def drain(report):
    """`bondd wan office orange drain` and restore beside a stream in both directions: no packet is lost"""
    lab, site = build(report, measured=True)
    site.up()
    time.sleep(2)
    def command(*words):
        moments.append((time.monotonic(), " ".join(words)))
        site.said_by(end, *words)

    for end in ("office", "vps"):
        moments = []
        streams = [Stream("cli", "srv", PEER, PORT), Stream("srv", "cli", OFFICE, PORT)]
        time.sleep(2)
        command("wan", end, "orange", "drain")
        _, orange = carried_once_both_say(report, lab, site, f"drained at {end}", "says so", "drained")
        report.figure(f"drained at {end}: that line carries", orange, "kbyte/s", most=OWN_TRAFFIC)
        command("reload", end)
        report.check(f"drained at {end}: a reload keeps it so", site.state(end, "orange") == "drained")
        command("wan", end, "orange", "restore")
        ovh, orange = carried_once_both_say(report, lab, site, f"restored at {end}", "uses it", "up")
        report.figure(f"restored at {end}: share of that line", 100 * orange / (ovh + orange), "%", least=USED_AGAIN[report.option("backend", "openvpn-bond")])
        for stream in streams:
            stream.stop()
        time.sleep(2)
        for stream, way in zip(streams, ("up", "down")):
            lost = stream.lost()
            report.figure(f"drained at {end}: packets lost {way}, of {len(stream.sent)}", len(lost), most=0)
            for left in lost:
                print("    one left " + ", ".join(f"{left - then:.2f} s after `{words}`" for then, words in moments))
            stream.close()

    site.said_by("office", "wan", "office", "orange", "drain")
    time.sleep(3)
    refused = site.run("office", "wan", "office", "ovh", "drain")
    report.check("the last line is not drained", refused.returncode == 1 and "no other WAN" in refused.stderr, refused.stderr)
    lab.cut(1)
    began = time.monotonic()
    while not lab.pings("cli", PEER) and time.monotonic() - began < 30:
        pass
    report.figure("the other line is cut: the drained one carries after", time.monotonic() - began, "s", most=8)
    lab.mend(1)
    report.check("the other line is back: drained again", site.wait_for_state("office", "orange", "drained", 20),
                 site.status()["wans"])
    site.down()
