#!/usr/bin/python3
"""From nothing to a bond: `bondd init` in the office, its token into `bondd join` on the VPS, `bondd up`, traffic.

The office, two gateways with lines of 8 Mbit/s, the VPS and a web server are namespaces (tests/support/office_net.py).
No file is edited by hand. Then what can go wrong, and what is said of it. Needs root.
Usage: first_bond.py BONDD. Exit status 0 when all holds, 77 without root.
"""
import os
import pathlib
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import office_net  # noqa: E402
from checks import FAILED, check  # noqa: E402
from office_net import LINES, OFFICE, PC, PEER, SERVER, WEB, OfficeNet  # noqa: E402

BONDD = sys.argv[1]
DOWNLOAD = 4_000_000  # bytes
DEVICES = ["--wan", "dsl1=192.168.11.1", "--wan", "dsl2=192.168.12.1"]


class Office(OfficeNet):
    """Sites' files, and the memory of used tokens, are in the folder of the test."""

    def command(self, short, *words, out=None):
        more = ["--out", str(out or self.folder)]
        if words[0] == "join":
            more += ["--state-dir", str(self.folder / "state")]
        return ["ip", "netns", "exec", self.names[short], self.bondd, "--run-dir", str(self.folder / "run"), *words, *more]

    def bondd_says(self, short, *words, given="", out=None):
        """Exit status, standard output and standard error."""
        done = subprocess.run(self.command(short, *words, out=out), input=given, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def init(self, *words, short="office"):
        code, token, said = self.bondd_says(short, "init", *words)
        if code != 0:
            raise RuntimeError(f"init {words}: exit {code}: {said}")
        return token, said

    def join(self, token, *words, short="vps"):
        code, out, said = self.bondd_says(short, "join", *words, given=token)
        if code != 0:
            raise RuntimeError(f"join {words}: exit {code}: {out}{said}")
        return said

    def forget(self):
        """Both machines as before any init."""
        for path in self.folder.iterdir():
            if path.suffix in (".toml", ".password", ".keys", ".key", ".crt"):
                path.unlink()

    def slow_lines(self):
        for n, box in ((1, "box1"), (2, "box2")):
            for short, device in (("isp", f"line{n}"), (box, "wan")):
                self.sh(short, f"tc qdisc add dev {device} root tbf rate 8mbit burst 10k limit 60k")

    def download(self):
        """Bytes that a PC downloads from the web server, and those that each line carried meanwhile."""
        def line_bytes():
            return [int(self.sh("isp", f"cat /sys/class/net/line{n}/statistics/tx_bytes")) for n in (1, 2)]

        server = self.socket("web", office_net.socket.SOCK_STREAM, (WEB, 8000))
        server.listen(1)

        def send():
            client, _ = server.accept()
            client.sendall(bytes(DOWNLOAD))
            client.close()
        threading.Thread(target=send, daemon=True).start()
        before = line_bytes()
        client = self.socket("pc", office_net.socket.SOCK_STREAM)
        client.settimeout(20)
        client.connect((WEB, 8000))
        got = 0
        while piece := client.recv(65536):
            got += len(piece)
        return got, [now - then for now, then in zip(line_bytes(), before)]


def shows_traffic(net, what):
    """A PC reaches the Internet with the VPS's address, and one download uses both lines."""
    net.serve("web", "tcp", 80)
    check(f"{what}: a PC is seen with the VPS's address", net.ask("pc", "tcp", WEB, 80, tries=5) == SERVER)
    got, lines = net.download()
    check(f"{what}: one download uses both lines", got == DOWNLOAD and min(lines) > DOWNLOAD / 5, f"{got} bytes, by line {lines}")


def modes(net):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in net.folder.iterdir() if path.is_file()}


def gateways_on_devices():
    """Two modems on devices of their own, named by --wan; the token through a pipe; `bondd up` on both ends."""
    with Office(BONDD, "devices") as net:
        net.slow_lines()
        token, said = net.init("--server", SERVER, *DEVICES, "--yes")
        check("init prints one line on standard output", token.count("\n") == 1 and token.startswith("bondd1-"), token)
        check("init says what it found", "wan1: dsl1 gateway 192.168.11.1: reaches the Internet" in said
              and "wan2: dsl2 gateway 192.168.12.1: reaches the Internet" in said
              and "Networks of the office: 192.168.1.0/24" in said and "Backend: mlvpn: " in said, said)
        check("and what comes next", "bondd join --up" in said and "UDP ports 5080, 5081" in said, said)
        said = net.join(token)
        check("join says what it wrote", "vps.toml" in said and "leaves by eth0" in said, said)
        check("only root reads the files", set(modes(net).values()) == {0o600} and len(modes(net)) == 6, modes(net))
        for site in ("office", "vps"):
            said = net.run_bondd(site, "check")[1]
            check(f"{site}: check finds nothing", "0 errors, 0 warnings" in said, said)
        net.up()
        shows_traffic(net, "devices")
        net.down()
        net.forget()
        _, said = net.init("--server", SERVER, "--wan", "dsl1", "--wan", "dsl2", "--yes")
        text = (net.folder / "office.toml").read_text()
        check("a line without a default route: its gateway is found and written", "wan2: dsl2 gateway 192.168.12.1: reaches the Internet" in said
              and 'gateway = "192.168.12.1"' in text.replace("  ", " ").replace("  ", " "), said + text)


def gateways_on_one_lan():
    """The recipe's office: one device, two gateways on the LAN. Both are found; `join --up` starts the VPS."""
    with Office(BONDD, "one-lan") as net:
        net.slow_lines()
        token, said = net.init("--server", SERVER)
        check("both gateways of one LAN are found", "wan1: lan gateway 192.168.1.240: reaches" in said
              and "wan2: lan gateway 192.168.1.254: reaches" in said, said)
        check("the LAN is theirs", "Networks of the office: 192.168.1.0/24" in said, said)
        net.join(token, "--up")
        net.up("office")
        shows_traffic(net, "one LAN")
        net.down()
        net.forget()
        # A line without Internet is said.
        net.sh("box2", "ip link set wan down")
        _, said = net.init("--server", SERVER, "--wan", "lan=192.168.1.240", "--wan", "lan=192.168.1.254", "--wan", "lan=192.168.1.77")
        check("a gateway without Internet and a missing one are told", "192.168.1.254: answers, but nothing beyond" in said
              and "192.168.1.77: does not answer" in said, said)


def server_first():
    """init on the VPS, join in the office."""
    with Office(BONDD, "devices") as net:
        net.slow_lines()
        token, said = net.init("--role", "server", "--lan", "192.168.1.0/24", "--yes", "--server", SERVER, short="vps")
        check("VPS first: what comes next", "in the office:  bondd join --up" in said, said)
        net.up("vps")
        net.sh("office", "ip route add default via 192.168.12.1 metric 200")
        said = net.join(token, "--up", short="office")
        text = (net.folder / "office.toml").read_text()
        check("each device's only gateway is learned, not written", "gateway =" not in text and 'device  = "dsl2"' in text, text)
        shows_traffic(net, "VPS first")
        net.down()


def negative(net, what, words, token, expected, short="vps"):
    code, out, said = net.bondd_says(short, *words, given=token)
    missing = [text for text in expected if text not in said]
    check(what, code == 1 and not out and not missing, f"exit {code}, missing {missing}\n{out}{said}")


def tokens(net):
    token, _ = net.init("--server", SERVER, *DEVICES, "--valid", "1s")
    time.sleep(2.1)
    negative(net, "an expired token is refused", ["join"], token, ["the token expired at", "bondd init --force"])
    check("and leaves nothing", not (net.folder / "vps.toml").exists())

    negative(net, "init keeps files that exist", ["init", "--server", SERVER, *DEVICES], "",
             ["office.toml exists and is left as it is", "--force"], "office")
    old = (net.folder / "office.password").read_text()
    token, _ = net.init("--server", SERVER, *DEVICES, "--force")
    check("--force replaces them", (net.folder / "office.password").read_text() != old)

    negative(net, "a cut token is refused", ["join"], token[:-20], ["the token is damaged", "copy the whole line again"])
    negative(net, "another text is refused", ["join"], "hello\n", ["this is not a token", "bondd init"])
    negative(net, "no token is refused", ["join"], "", ["no token was given"])
    without = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    words = net.command("vps", "join")
    done = subprocess.run([*words[:4], *without, *words[4:]], input=token, capture_output=True, text=True)
    check("join without root is refused", done.returncode == 1 and "root" in done.stderr, done.stderr)

    taken = net.socket("vps", office_net.socket.SOCK_DGRAM, ("", 5081))
    negative(net, "a port of another program is told", ["join"], token,
             ["UDP port 5081 is in use by another program", "ss -ulnp", "--port"])
    taken.close()
    net.sh("vps", "ip link add other type dummy 2>/dev/null || ip link add other type veth; ip addr add 192.168.1.9/24 dev other; ip link set other up")
    negative(net, "a network that the VPS has itself is told", ["join"], token, ["paste it on the VPS", "192.168.1.0/24 on other"])
    net.sh("vps", "ip link del other")
    check("nothing is written by any of them", not list(net.folder.glob("vps.*")))

    # Forty at once, each into a directory of its own.
    running = [subprocess.Popen(net.command("vps", "join", out=net.folder / f"out{n}"), stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True) for n in range(40)]
    said = [(p.communicate(token)[1], p.returncode) for p in running]
    losers = [text for text, code in said if code != 0]
    check("of forty that redeem a token at once exactly one wins", len(losers) == 39
          and len(list(net.folder.glob("out*/vps.toml"))) == 1, said[:3])
    check("the others are told so", all("this token was used already: " in text and "bondd init --force" in text for text in losers), losers[:2])
    check("and a later one", "out" in net.bondd_says("vps", "join", given=token)[2])


def secrecy(net):
    """Neither the terminal nor ps(1) shows the token."""
    net.forget()
    token, said = net.init("--server", SERVER, *DEVICES, "--qr")
    check("the QR code is beside standard output", token.count("\n") == 1 and "█" in said, token)
    check("and says the token", decoded(said, net.folder) == token.strip(), said)

    status, shown = at_terminal(net.command("vps", "join"), ("press Enter: ", token))
    check("join at a terminal asks for the token and does not show it",
          status == 0 and "Paste the token" in shown and token[:30] not in shown and "Next" in shown, shown)

    for path in net.folder.glob("vps.*"):
        path.unlink()
    token, _ = net.init("--server", SERVER, *DEVICES, "--force")
    code, _, said = net.bondd_says("vps", "join", token.strip(), "--up")
    check("as an argument it is taken, with a warning", code == 0 and "shell's history" in said, said)
    pids = office_net.run(f"ip netns pids {net.names['vps']}").split()
    lines = [pathlib.Path("/proc", pid, "cmdline").read_text(errors="replace") for pid in pids]
    check("and is not shown by ps", any("join" in line for line in lines) and not any(token[7:30] in line for line in lines), lines)
    secret = (net.folder / "vps.password").read_text().strip()
    logs = "".join(path.read_text(errors="replace") for path in net.folder.rglob("log"))
    check("no secret is in the log", logs and secret not in logs and token[7:30] not in logs)
    negative(net, "join of a site that is up is refused", ["join", "--force"], net.init("--server", SERVER, *DEVICES, "--force")[0],
             ["vps is up on this machine", "bondd down vps"])
    negative(net, "and so is init", ["init", "--role", "server", "--name", "vps", "--lan", "192.168.1.0/24", "--server", SERVER, "--force"], "",
             ["vps is up on this machine", "bondd down vps"])
    net.run_bondd("vps", "down")


def questions(net):
    """What init asks at a terminal."""
    net.forget()
    words = net.command("office", "init", *DEVICES)
    status, shown = at_terminal(words, ("Address or name of the VPS: ", f"{SERVER}\n"), ("Write the files? [yes]: ", "no\n"))
    check("init asks; no: nothing is written", status == 1 and "nothing is written" in shown and not list(net.folder.glob("office.*")), shown)
    status, shown = at_terminal(words, ("Address or name of the VPS: ", f"{SERVER}\n"), ("Write the files? [yes]: ", "\n"))
    check("Enter takes the proposal", status == 0 and "bondd1-" in shown and len(list(net.folder.glob("office.*"))) == 3, shown)


def at_terminal(words, *dialogue):
    """Exit status and all that is shown; `dialogue`: what to wait for, and what to type then."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(words[0], words)
    shown = ""
    for question, answer in dialogue:
        shown += read_until(terminal, question)
        os.write(terminal, answer.encode())
    shown += read_until(terminal, None)
    status = ended(pid)
    os.close(terminal)
    return status, shown


def ended(pid, seconds=20):
    """The exit status of that child; killed when it does not end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (waited := os.waitpid(pid, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(waited[1])
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def read_until(terminal, text, seconds=20):
    """What is shown until `text`, or until the program ends."""
    shown, end = "", time.monotonic() + seconds
    while (text is None or text not in shown) and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                break
    return shown


def decoded(said, folder):
    """What a reader of QR codes sees in the half blocks, eight pixels a module."""
    rows = [re.sub("\033\\[[0-9;]*m", "", line) for line in said.splitlines() if line.startswith("\033[30;47m")]
    modules = [[c in up for c in row] for row in rows for up in ("█▀", "█▄")]
    pixels = b"".join(bytes(0 if dark else 255 for dark in line for _ in range(8)) * 8 for line in modules)
    image = folder / "qr.pgm"
    image.write_bytes(b"P5 %d %d 255\n" % (len(modules[0]) * 8, len(modules) * 8) + pixels)
    return subprocess.run(["zbarimg", "-q", "--raw", str(image)], capture_output=True, text=True).stdout.strip()


def openvpn(net):
    """The files of the other backend are right, too; its bond needs a kernel with bonding, so it is not started here."""
    net.forget()
    token, said = net.init("--server", SERVER, *DEVICES, "--backend", "openvpn-bond", "--port", "1194")
    net.join(token)
    check("openvpn-bond: keys of both ends, for root alone", set(modes(net)) >= {"office.key", "office.crt", "vps.key", "vps.crt"}
          and {mode for name, mode in modes(net).items() if name != "qr.pgm"} == {0o600}, modes(net))
    prints = {site: re.search('fingerprint = "(.*)"', (net.folder / f"{site}.toml").read_text())[1] for site in ("office", "vps")}
    own = {site: net.run_bondd(site, "key")[0] for site in ("office", "vps")}
    check("each end pins the other's certificate", prints["office"] in own["vps"] and prints["vps"] in own["office"], (prints, own))


def main():
    if os.geteuid() != 0:
        print("needs root")
        return 77
    try:
        gateways_on_devices()
        gateways_on_one_lan()
        server_first()
        with Office(BONDD, "devices") as net:
            tokens(net)
            questions(net)
            secrecy(net)
            openvpn(net)
    except Exception as error:  # the namespaces are gone by now
        check("no exception", False, f"{type(error).__name__}: {error}")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
