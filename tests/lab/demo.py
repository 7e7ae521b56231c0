#!/usr/bin/python3
"""Draws the demo: a live table in the terminal, and at the end a plot as PNG.

Run it through tests/demo, which builds bondd first.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import kernel  # noqa: E402

BLUE, ORANGE, GREEN, RED, DIM, BOLD, PLAIN = (f"\033[{c}m" for c in ("38;5;33", "38;5;208", "38;5;35", "31", "2", "1", "0"))
COLOURS = [BLUE, ORANGE]
STEPS = ["ovh", "orange", "up", "both", "cut", "back", "down"]
FULL = 4.0   # Mbit/s at the end of a bar
SPARK = "▁▂▃▄▅▆▇█"


class Story:
    """What the lab has told so far."""

    def __init__(self):
        self.lines, self.samples, self.steps, self.states, self.result = [], [], {}, {}, None
        self.words = []  # text lines: shown only when something went wrong

    def hear(self, said):
        if isinstance(said, str):
            self.words.append(said)
        elif "sample" in said:
            self.samples.append(said["sample"])
        elif "lines" in said:
            self.lines = said["lines"]
        elif "step" in said:
            self.steps[said["step"]] = {"title": said["title"], "from": said["t"], "to": None}
        elif "done" in said:
            self.steps[said["done"]].update(to=said["t"], **{k: v for k, v in said.items() if k not in ("done", "t")})
        elif "states" in said:
            self.states = said["states"]
        elif "result" in said:
            self.result = said["result"]

    def current(self):
        return next((n for n, s in self.steps.items() if s["to"] is None), None)


def bar(rate, colour, width=32):
    eighths = int(min(rate / FULL, 1) * width * 8)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return f"{colour}{text}{PLAIN}{DIM}{'·' * (width - len(text))}{PLAIN}"


def spark(values, colour, top=FULL):
    return colour + "".join(SPARK[min(7, int(v / top * 7.99))] for v in values) + PLAIN


class Screen:
    """The table, redrawn in place on a terminal; plain lines elsewhere."""

    def __init__(self, story):
        self.story, self.tty, self.height, self.last = story, sys.stdout.isatty(), 0, 0.0
        self.printed = set()

    def draw(self, force=False):
        if self.tty:
            if force or time.monotonic() - self.last > 0.2:
                self.last = time.monotonic()
                rows = self.rows()
                up = f"\033[{self.height}F" if self.height else ""
                sys.stdout.write(up + "".join(f"\033[2K{row}\n" for row in rows) + "\033[J")
                sys.stdout.flush()
                self.height = len(rows)
        else:
            self.plain()

    def rows(self):
        story, rows = self.story, [""]
        t, rates, payload = 0.0, [0.0, 0.0], 0.0
        if story.samples:
            t, *rates, payload = story.samples[-1]
            payload = payload or 0.0
        rows.append(f"  {BOLD}bondd{PLAIN}  two Internet lines become one{DIM}{t:>42.0f} s{PLAIN}")
        rows.append(f"  {DIM}{'─' * 76}{PLAIN}")
        for number, line in enumerate(story.lines):
            name, cut = line["name"], number == 1 and story.current() == "cut"
            state = story.states.get(name, "")
            shown = f"{RED}cut{PLAIN}" if cut and state in ("up", "") else f"{GREEN if state == 'up' else RED}{state}{PLAIN}"
            about = f"{line['rate']:g} Mbit/s {line['delay']}"
            rows.append(f"  {COLOURS[number]}{name:<9}{PLAIN}{DIM}{about:<17}{PLAIN}{bar(rates[number], COLOURS[number])}  {rates[number]:4.2f} Mbit/s {shown}")
        rows.append(f"  {BOLD}{'download':<9}{PLAIN}{DIM}{'one TCP flow':<17}{PLAIN}{bar(payload, GREEN)}  {BOLD}{payload:4.2f}{PLAIN} Mbit/s")
        history = [s[3] or 0.0 for s in story.samples][-4 * 67::4]
        rows += ["", f"  {DIM}so far{PLAIN}   {spark(history, GREEN)}", ""]
        for name in STEPS:
            if step := story.steps.get(name):
                rows.append("  " + self.step_row(step))
        return rows

    def step_row(self, step):
        if step["to"] is None:
            return f"{BOLD}▶ {step['title']}{PLAIN}"
        sign = f"{GREEN}✓{PLAIN}" if step["good"] else f"{RED}✗{PLAIN}"
        return f"{sign} {step['title']:<52} {BOLD}{step['outcome']}{PLAIN}"

    def plain(self):
        for name, step in self.story.steps.items():
            if (name, "to") not in self.printed and step["to"] is not None:
                self.printed.add((name, "to"))
                print(f"{step['to']:5.1f} s  {'ok' if step['good'] else 'FAILED':<7}{step['title']}: {step['outcome']}", flush=True)
            elif (name, "from") not in self.printed:
                self.printed.add((name, "from"))
                print(f"{step['from']:5.1f} s         {step['title']} …", flush=True)
        count = len(self.story.samples)
        if count and count % 8 == 0 and count not in self.printed:
            self.printed.add(count)
            t, one, two, payload = self.story.samples[-1]
            print(f"{t:5.1f} s         ovh {one:4.2f} + orange {two:4.2f} Mbit/s on the lines, download {payload or 0:4.2f} Mbit/s", flush=True)


GNUPLOT = """
set terminal pngcairo size 1400,720 font "DejaVu Sans,12" background "#ffffff"
set output "{png}"
set title "{{/:Bold=18 Two Internet lines become one}}\\n{{/=12 What comes down each line, and one TCP download as its receiver counts it}}" tc "#222222" offset 0,0.4
set lmargin 8
set rmargin 3
set bmargin 4.5
set xrange [0:{end}]
set yrange [0:{top}]
set ytics 1
set format x "%g s"
set ylabel "Mbit/s" tc "#555555" offset 0.5,0
set border 3 lc "#999999"
set tics nomirror tc "#555555"
set grid y lc "#e6e6e6" lt 1
set key at graph 0.5, screen 0.035 center horizontal width 3 samplen 2.5 tc "#333333"
{marks}
set style fill solid 0.6 noborder
plot "{data}" using 1:2 with filledcurves y1=0 lc "#2a7fd0" title "line ovh: {one}", \\
     "" using 1:2:($2+$3) with filledcurves lc "#f28c28" title "line orange: {two}", \\
     "" using 1:4 with lines lw 3 lc "#14663a" title "the download"
"""
LABELS = {"ovh": "ovh alone", "orange": "orange alone", "up": "bondd up", "both": "both lines, one flow",
          "cut": "orange is cut", "back": "orange is back", "down": "bondd\\ndown"}
SHADES = {"cut": "#fbe1de", "up": "#eef1f4", "down": "#eef1f4"}


def marks(story, top):
    """gnuplot's bands, separators and captions of the steps."""
    for name, step in story.steps.items():
        begin, end = step["from"], step["to"] or story.samples[-1][0]
        middle = (begin + end) / 2
        if name in SHADES:
            yield f'set object rectangle from {begin},0 to {end},{top} behind fc rgb "{SHADES[name]}" fs solid noborder'
        yield f'set arrow from {begin},0 to {begin},{top} nohead lc "#c4c4c4" dt 3 back'
        yield f'set label "{LABELS[name]}" at {middle},{top - 0.2} center tc "#333333" font ",11"'
        if rate := step.get("rate"):
            yield f'set label "{rate:.2f} Mbit/s" at {middle},{top - 0.5} center tc "#14663a" font ":Bold,13"'
        if note := step.get("note"):
            yield f'set label "{note}" at {middle},{top - 0.78} center tc "#555555" font ",10"'


def plot(story, png):
    """Both lines stacked, the download over them (mean of half a second), the steps as bands."""
    rows, before = [], None
    for t, one, two, payload in story.samples:
        shown = "NaN" if payload is None else round((payload + (payload if before is None else before)) / 2, 3)
        rows.append(f"{t} {one} {two} {shown}\n")
        before = payload
    about = [f"{line['rate']:g} Mbit/s, {line['delay'].replace('ms', ' ms')}" for line in story.lines]
    top = 5.0
    with tempfile.NamedTemporaryFile("w", suffix=".dat") as data:
        data.writelines(rows)
        data.flush()
        script = GNUPLOT.format(png=png, end=story.samples[-1][0], top=top, marks="\n".join(marks(story, top)), data=data.name,
                                one=about[0], two=about[1])
        subprocess.run(["gnuplot"], input=script, text=True, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", default="bondd-demo.png", help="where the picture goes")
    parser.add_argument("-o", "--option", action="append", default=[], help="as for run")
    options = parser.parse_args()
    story = Story()
    screen = Screen(story)
    print("Booting the lab: an office with two boxes, two lines, the Internet, a VPS …", flush=True)
    for said in kernel.run(kernel.arguments("demo", options.option), limit=180):
        story.hear(said)
        screen.draw()
    screen.draw(force=True)
    rate = {name: step.get("rate") or 0 for name, step in story.steps.items()}
    if rate.get("both"):
        print(f"\n  One download: {max(rate['ovh'], rate['orange']):.2f} Mbit/s on the better line, {rate['both']:.2f} Mbit/s on both.")
    passed = bool(story.result and story.result["passed"])
    if story.samples and shutil.which("gnuplot"):
        plot(story, options.plot)
        print(f"  The plot: {options.plot}")
    if not passed:
        print("\nThe demo did not go as it should:\n  " + "\n  ".join(story.words[-40:]))
    return 0 if passed else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
