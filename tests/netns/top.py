#!/usr/bin/python3
"""`bondd top` in a real terminal (tmux), on the office and the VPS of mlvpn_site.py with traffic. Needs root.

Usage: top.py BONDD. Exit status 0 when all holds, 77 without root or tmux.
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import mlvpn_site as site
from mlvpn_site import both, check, sh, wait_for

UP = {"ovh": "up", "orange": "up"}
OFFICE = str(site.FOLDER / "office.toml")
BARS = "▁▂▃▄▅▆▇█"


class Terminal:
    """A terminal of its own with `bondd top` in it."""

    def __init__(self, columns=79, rows=24, environment="LC_ALL=C.UTF-8"):
        self.socket = f"bonddt{os.getpid()}-{columns}"  # one each: the server of the last one may not be gone yet
        command = f"env {environment} {shlex.join(site.bondd('office', 'top', OFFICE))}; echo left with $?; sleep 60"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), command)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")

    def tmux(self, *words):
        return subprocess.run(["tmux", "-u", "-L", self.socket, *words], capture_output=True, text=True, timeout=20,
                              env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout

    def shown(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def row(self, wan):
        """Of that WAN: its line, without the mark of the selected one."""
        return next((line for line in self.shown().splitlines() if line[2:].startswith(wan)), "")

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))


def widest(screen):
    return max(map(len, screen.splitlines()), default=0)


def traffic():
    return subprocess.Popen(["ip", "netns", "exec", site.NAMES["office"], "ping", "-nqi0.005", "-s1300", "-w200", site.PEER],
                            stdout=subprocess.DEVNULL)


def shows_lines(terminal):
    wait_for("shows the site and both lines", lambda: "office: up, 2 of 2 WANs up" in terminal.shown()
             and " up " in terminal.row("ovh") and " up " in terminal.row("orange"))
    wait_for("with rates of now", lambda: re.search(r" up +\S+ +[1-9][\d.]* +[1-9][\d.]* ", terminal.row("ovh")))
    wait_for("latency, loss and share", lambda: re.search(r"\d+ % +[\d.]+ ms +[\d.]+ % ", terminal.row("ovh")), 20)
    wait_for("sparklines", lambda: sum(terminal.shown().count(bar) for bar in BARS) >= 8)
    check("in 79 columns", widest(terminal.shown()) <= 79, terminal.shown())
    check("in colours", "\x1b[" in terminal.shown("-e"), terminal.shown("-e"))


def drains(terminal):
    check("the first line is selected", terminal.shown().splitlines()[2].startswith("> ovh"), terminal.shown())
    terminal.press("Down")
    wait_for("an arrow selects the next", lambda: "> orange" in terminal.shown())
    terminal.press("d")
    wait_for("d drains it", lambda: site.states() == {"ovh": "up", "orange": "drained"})
    wait_for("the screen shows it", lambda: " drained " in terminal.row("orange") and "office: degraded" in terminal.shown())
    wait_for("among the events, too", lambda: re.search(r"\d\d:\d\d:\d\d office orange: up -> drained, ", terminal.shown()))
    terminal.press("Up", "d")
    wait_for("the last one stays, and the screen says so", lambda: "no other WAN carries traffic" in terminal.shown())
    terminal.press("Down", "r")
    wait_for("r takes it back", lambda: site.states() == UP)
    wait_for("the screen shows that", lambda: " up " in terminal.row("orange"))


def resizes(terminal):
    for columns, rows in ((120, 30), (50, 24), (30, 8), (79, 24)):
        terminal.resize(columns, rows)
        wait_for(f"{columns} columns: the name and the state stay", lambda: " up" in terminal.row("ovh") and widest(terminal.shown()) <= columns)
    wait_for("wide again: all columns", lambda: "LATENCY" in terminal.shown() and "LOSS" in terminal.shown())


def problem(terminal):
    sh("ip link set dsl2 down", ns="office")
    wait_for("a line that is lost, with what to do", lambda: re.search(r"^orange: .*dsl2", terminal.shown(), re.M), 20)
    wait_for("and its event", lambda: "orange: up -> " in terminal.shown(), 20)
    sh("ip link set dsl2 up; ip route replace default via 10.99.2.1 metric 2", ns="office")
    wait_for("a line that is back", lambda: " up " in terminal.row("orange"), 20)


def goes_and_comes(terminal):
    both("down")
    wait_for("a site that is taken down", lambda: "office is not up" in terminal.shown(), 20)
    both("up", "-d")
    wait_for("and is back", lambda: "office: up" in terminal.shown() and " up " in terminal.row("ovh"), 20)


def leaves(terminal, key):
    terminal.press(key)
    wait_for(f"{key} leaves it, with 0, and the screen is as before", lambda: "left with 0" in terminal.shown() and "WAN" not in terminal.shown())


def without_a_screen():
    for words in (["env", "TERM=dumb"], ["env", "TERM=no-such-terminal"]):
        # script(1) gives it a terminal
        done = subprocess.run(["script", "-qec", shlex.join([*words, *site.bondd("office", "top", OFFICE)]), "/dev/null"],
                              capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        check(f"{words[1]}: 1, and what to use", done.returncode == 1 and "bondd status --watch" in done.stdout, done)
    done = subprocess.run(site.bondd("office", "top", OFFICE), capture_output=True, text=True, timeout=20)
    check("into a pipe: 1, and what to use", done.returncode == 1 and "bondd status --watch" in done.stderr and not done.stdout, done)
    done = subprocess.run(site.bondd("office", "top", str(site.FOLDER / "offise.toml")), capture_output=True, text=True, timeout=20)
    check("another name: 1, with the likely one", done.returncode == 1 and "did you mean office?" in done.stderr, done)


def play():
    site.write(site.WANS)
    time.sleep(2)  # for the carrier
    both("up", "-d")
    wait_for("both WANs up", lambda: site.states() == UP)
    without_a_screen()
    load = traffic()
    try:
        with Terminal() as terminal:
            shows_lines(terminal)
            drains(terminal)
            resizes(terminal)
            problem(terminal)
            goes_and_comes(terminal)
            leaves(terminal, "q")
        with Terminal(60, environment="LC_ALL=C NO_COLOR=1") as terminal:
            wait_for("without UTF-8 and colours", lambda: " up" in terminal.row("ovh") and re.search(r"down .*#", terminal.shown()), 20)
            check("nothing but ASCII", terminal.shown().isascii(), terminal.shown())
            check("no colour", not re.search(r"\x1b\[[\d;]*3[1-7]m", terminal.shown("-e")), terminal.shown("-e"))
            leaves(terminal, "C-c")
    finally:
        load.kill()
        load.wait()
    site.down()


if __name__ == "__main__":
    if shutil.which("tmux") is None:
        print("needs tmux")
        sys.exit(77)
    sys.exit(site.exit_status_of(play))
