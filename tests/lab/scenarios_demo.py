"""What tests/demo shows: the story is told here, inside the lab; demo.py draws it."""
import threading
import time

import flow
import office
from bondd_site import Site, difference, snapshot
from byhand import ByHand
from kernel import record
from scenarios import scenario

WANS = ["ovh", "orange"]
BOXES = {1: "192.168.1.240", 2: "192.168.1.254"}


class Clock:
    """Seconds since the demo began, and a sample of all rates four times a second."""

    def __init__(self, lab):
        self.lab, self.zero, self.flow, self.site = lab, time.monotonic(), None, None
        self.going = True
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self._sample, self._states)]
        for thread in self.threads:
            thread.start()

    def now(self):
        return time.monotonic() - self.zero

    def _sample(self):
        last, came = time.monotonic(), self.lab.line_bytes()
        while self.going:
            time.sleep(0.25)
            now, come = time.monotonic(), self.lab.line_bytes()
            rates = [(b - a) * 8 / 1e6 / (now - last) for a, b in zip(came, come)]
            flow_ = self.flow
            payload = round(flow_.mbit(last, now), 3) if flow_ else None
            record(sample=[round(self.now(), 2), *[round(x, 3) for x in rates], payload])
            last, came = now, come

    def _states(self):
        while self.going:
            if self.site:
                try:
                    record(states={w["name"]: w["state"] for w in self.site.status()["wans"]})
                except Exception as e:  # a daemon that ends just now; the table shows it as unknown
                    record(states={name: "?" for name in WANS}, why=str(e))
            else:
                record(states={})
            time.sleep(1)

    def stop(self):
        self.going = False
        for thread in self.threads:
            thread.join(5)


class Step:
    """`with Step(clock, "both", "…") as step:` announces a step, and tells its outcome."""

    def __init__(self, clock, name, title):
        self.clock, self.name, self.title = clock, name, title
        self.outcome, self.good, self.rate, self.note = "", True, None, ""

    def __enter__(self):
        record(step=self.name, title=self.title, t=round(self.clock.now(), 2))
        return self

    def __exit__(self, kind, error, _):
        if kind:
            self.outcome, self.good = str(error).splitlines()[0], False
        record(done=self.name, t=round(self.clock.now(), 2), outcome=self.outcome, good=self.good, rate=self.rate, note=self.note)


@scenario("demo", limit=180)
def demo(report):
    """the story of tests/demo: two lines, alone and bonded, a cut, and nothing left"""
    lab = office.Office(office.EQUAL)
    by_hand = report.option("up", "") == "by-hand"
    site = None if by_hand else Site(lab, report)
    before = snapshot()
    seconds = report.option("seconds", 8)
    record(lines=[{"name": n, "rate": line.mbit, "delay": line.delay} for n, line in zip(WANS, lab.lines)])
    clock = Clock(lab)
    for number, name in enumerate(WANS, 1):
        with Step(clock, name, f"line {name} alone: one TCP download") as step:
            step.rate = alone(lab, clock, number, seconds)
            step.outcome = f"{step.rate:.2f} Mbit/s"
            report.figure(step.title, step.rate, "Mbit/s", least=1.4)
    with Step(clock, "up", "bondd up office.toml, bondd up vps.toml") as step:
        began = time.monotonic()
        hand = ByHand(lab) if by_hand else site.up()
        clock.site = site
        took = time.monotonic() - began
        step.outcome = f"carries traffic after {took:.1f} s"
        report.figure(step.title, took, "s", most=20.0)
    running = clock.flow = flow.Flow("web", "pc", office.WEB)
    with Step(clock, "both", "both lines: one TCP download") as step:
        time.sleep(seconds + 2)
        end = time.monotonic()
        step.rate = running.mbit(end - seconds, end)
        step.outcome = f"{step.rate:.2f} Mbit/s"
        report.figure(step.title, step.rate, "Mbit/s", least=2.2)  # well above either line, even on a busy machine
    with Step(clock, "cut", "orange is cut, silently, during the download") as step:
        cut = lab.cut(2)
        time.sleep(seconds)
        end = time.monotonic()
        silence, step.rate = running.longest_silence(cut, end), running.mbit(end - 4, end)
        step.note = f"{silence:.1f} s without a byte"
        step.outcome = f"{silence:.2f} s without a byte, then {step.rate:.2f} Mbit/s"
        report.figure("silence", silence, "s", most=4.0)
    with Step(clock, "back", "orange is back") as step:
        mended = lab.mend(2)
        time.sleep(seconds)
        end = time.monotonic()
        after = running.first_second_at(1.3 * lab.lines[0].mbit, mended, end)
        step.good = after is not None
        step.rate = running.mbit(end - 4, end)
        step.outcome = f"both carry after {max(after, 0.1):.1f} s, {step.rate:.2f} Mbit/s" if step.good else "not in time"
        report.figure("both carry again after", after, "s", most=8.0)
    running.stop()
    clock.flow = clock.site = None
    with Step(clock, "down", "bondd down: links, routes, rules, firewall, sysctls") as step:
        hand.down() if by_hand else site.down()
        time.sleep(1)
        left = difference(before, snapshot())
        step.good = not left
        step.outcome = "exactly as before" if step.good else f"{len(left.splitlines())} things are left"
        report.check("nothing is left", not left, left)
    clock.stop()


def alone(lab, clock, number, seconds):
    """One line with no tunnel: web to cli through its box."""
    office.sh(f"ip route replace {office.WEB} via {BOXES[number]}", ns="cli")
    clock.flow = running = flow.Flow("web", "cli", office.WEB)
    time.sleep(seconds)
    end = time.monotonic()
    clock.flow = None
    running.stop()
    office.sh(f"ip route del {office.WEB}", ns="cli")
    time.sleep(1)  # the queue of the line runs empty
    return running.mbit(end - seconds + 2, end)
