"""An office in `cli` and its VPS in `srv`, from the very files of examples/, and what bondd does with them."""
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from office import EQUAL, Office, sh

PEER, OFFICE = "172.16.16.1", "172.16.16.2"
SIDES = {"office": "cli", "vps": "srv"}  # site, namespace
PROGRAMS = ("bondd", "bondd-engine", "openvpn")


def build_office(report, lines=None):
    """An office on these lines (EQUAL, without); the options limit=PACKETS and boxes=devices vary it."""
    limit = report.option("limit", 0)
    lines = [dataclasses.replace(line, limit=limit or line.limit) for line in lines or EQUAL]
    return Office(lines, report.option("boxes", "one-lan"))


def build(report, lines=None, measured=False):
    """An office, and the files of a site in it: (lab, site). `measured`: flows run between the bond's two ends."""
    lab = build_office(report, lines)
    site = Site(lab, report)
    if measured:
        site.edit_both("[bond]", '[bond]\nfrom_bond = "all"')
    return lab, site


class Site:
    """Writes both sites' files under /run/lab; up() and down() run bondd on them.

    The report's options choose a variant of the files: backend=mlvpn, auth=tls,
    mode=balance-xor, boxes=devices (gateways learned: the file names none).
    """

    def __init__(self, lab, report):
        self.lab, self.report, self.bondd = lab, report, report.args["bondd"]
        if shutil.which(self.bondd) is None:
            raise RuntimeError(f"no bondd at {self.bondd}: build it first, or name it with BONDD")
        self.files = {}
        for site in SIDES:
            folder = pathlib.Path("/run/lab", site)
            folder.mkdir(parents=True)
            self.files[site] = folder / f"{site}.toml"
            self.files[site].write_text(pathlib.Path(report.args["source"], "examples", f"{site}.toml").read_text())
            self.write(site, "bond.password", "a password of the lab\n")
        sh("openvpn --genkey secret /run/lab/bond.key")
        for site in SIDES:
            self.write(site, "bond.key", pathlib.Path("/run/lab/bond.key").read_text())
        self._variant()

    def _variant(self):
        option = self.report.option
        if (backend := option("backend", "openvpn-bond")) != "openvpn-bond":
            self.edit_both('backend = "openvpn-bond"', f'backend = "{backend}"')
        if (mode := option("mode", "balance-rr")) != "balance-rr":
            self.edit_both('mode         = "balance-rr"', f'mode = "{mode}"\nxmit_hash_policy = "layer3+4"')
        if self.lab.boxes == "devices":
            self.edit("office", 'device  = "eth0"\ngateway = "192.168.1.240"', 'device = "dsl1"')
            self.edit("office", 'device  = "eth0"\ngateway = "192.168.1.254"', 'device = "dsl2"')
        if option("auth", "static-key") == "tls":
            self.use_tls()

    def write(self, site, name, text):
        path = self.files[site].parent / name
        path.write_text(text)
        path.chmod(0o600)

    def edit(self, site, old, new):
        """Replaces text of a site's file, told without regard to the width of blanks."""
        text, old = self.files[site].read_text(), old.split("\n")
        lines = text.split("\n")
        squeeze = lambda line: " ".join(line.split())
        for at in range(len(lines)):
            if all(squeeze(line).startswith(squeeze(part)) for line, part in zip(lines[at:at + len(old)], old)):
                lines[at:at + len(old)] = [new]
                self.files[site].write_text("\n".join(lines))
                return
        raise RuntimeError(f"{site}.toml has no {old!r}")

    def edit_both(self, old, new):
        for site in SIDES:
            self.edit(site, old, new)

    def use_tls(self):
        """The default authentication: each pins the other's fingerprint."""
        for site in SIDES:
            self.edit(site, '[openvpn]\nauth = "static-key"\nkey = "bond.key"', "")
        fingerprint = {site: self.said_by(site, "key", str(self.files[site])).split('"')[1] for site in SIDES}
        for site, other in (("office", "vps"), ("vps", "office")):
            with self.files[site].open("a") as f:
                f.write(f'\n[openvpn]\nfingerprint = "{fingerprint[other]}"\n')

    def command(self, site, *words):
        return ["ip", "netns", "exec", SIDES[site], self.bondd, *words]

    def run(self, site, *words, timeout=60, **more):
        """bondd in the site's namespace, to its end. Returns CompletedProcess with text."""
        return subprocess.run(self.command(site, *words), capture_output=True, text=True, timeout=timeout, **more)

    def said_by(self, site, *words):
        """The standard output of a bondd that ends with 0."""
        done = self.run(site, *words)
        if done.returncode != 0:
            raise RuntimeError(f"bondd {' '.join(words)}: exit {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def start(self, site, *words, **more):
        return subprocess.Popen(self.command(site, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, **more)

    def up(self, *words, expect=0):
        """`bondd up -d` on both ends at once; returns seconds until both said so and a ping passes."""
        began = time.monotonic()
        patience = [] if "--timeout" in words or expect != 0 else ["--timeout", "90s"]  # a lab on a slow core
        more = {"vps": [], "office": patience}  # without it a server is ready once it listens
        running = {site: self.start(site, "up", "-d", *words, *more[site], str(self.files[site])) for site in more}
        said = {}
        for site, process in running.items():
            said[site] = process.communicate(timeout=150)[0]  # the longest --timeout that a scenario gives, and more
            if expect is not None and process.returncode != expect:
                raise RuntimeError(f"bondd up -d {site}: exit {process.returncode}\n{said[site]}{self.logs()}")
        if expect == 0 and not self.lab.pings("cli", PEER, tries=5):
            raise RuntimeError(f"up, but no ping passes\n{said}{self.logs()}")
        self.said = said
        self.codes = {site: process.returncode for site, process in running.items()}
        return time.monotonic() - began

    def down(self):
        """`bondd down` on both ends; raises when one fails."""
        for site in ("office", "vps"):
            done = self.run(site, "down", str(self.files[site]))
            if done.returncode != 0:
                raise RuntimeError(f"bondd down {site}: exit {done.returncode}\n{done.stdout}{done.stderr}{self.logs()}")

    def status(self, site="office"):
        return json.loads(self.said_by(site, "status", "--json", site))

    def state(self, site, wan):
        """As status shows it; "no answer" while bondd has no time for it."""
        return next((one["state"] for one in self.status(site)["wans"] if one["name"] == wan), "no answer")

    def wait_for_state(self, site, wan, state, seconds=15):
        """Whether the WAN is shown in this state in time."""
        end = time.monotonic() + seconds
        while self.state(site, wan) != state:
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True

    def processes(self, *names):
        """{pid: name} of bondd and what it started, on both ends."""
        return {pid: name for pid, name in processes(SIDES.values()).items() if name in (names or PROGRAMS)}

    def kill_all(self):
        """kill -9 of every process of both sites."""
        killed = self.processes()
        for pid in killed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it died with its parent
        time.sleep(0.5)
        return sorted(killed.values())

    def logs(self):
        """The end of every log that may say why."""
        paths = [p for folder in ("/run/bondd", "/var/log/bondd", "/run/lab") for p in pathlib.Path(folder).rglob("*") if "log" in p.name and p.is_file()]
        return "".join(f"--- {p}\n" + "\n".join(p.read_text(errors="replace").splitlines()[-15:]) + "\n" for p in paths)


# What belongs to the moment, not to the configuration: counters, ages, and figures of the whole machine.
VOLATILE = ("fs.", "kernel.", "net.netfilter.nf_conntrack_count", "net.ipv4.tcp_fastopen_key", "vm.", "net.core.flow_limit")
FIREWALLS = ["iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"]
TABLES = ["filter", "nat", "mangle", "raw"]
CHANGING = re.compile(r" state [A-Z]+|valid_lft .*| expires \d+sec|\[\d+:\d+\]|^#.*")
LOOKED_AT = set()


def snapshot(namespaces=("cli", "srv")):
    """All that bondd could have changed, as text: {what: lines}."""
    whole = {}
    for ns in namespaces:
        if ns not in LOOKED_AT:  # a legacy table exists from its first look on: have them all from the beginning
            LOOKED_AT.add(ns)
            sh("; ".join(f"{tool} -w -t {table} -S" for tool in FIREWALLS for table in TABLES), ns=ns, check=False)
        commands = {"links": "ip -o link", "addresses": "ip -o addr", "rules": "ip -4 rule; ip -6 rule",
                    "neighbours": "ip neigh show nud permanent", "sysctls": "sysctl -a",
                    "routes": "ip -4 route show table all; ip -6 route show table all",
                    **{tool: f"{tool}-save" for tool in FIREWALLS}}
        text = sh("; ".join(f"echo '=== {what}'; {{ {c}; }} 2>/dev/null" for what, c in commands.items()), ns=ns, check=False)
        for part in text.split("=== ")[1:]:
            what, *lines = part.splitlines()
            whole[f"{ns} {what}"] = [CHANGING.sub("", x).strip() for x in lines if what != "sysctls" or not x.startswith(VOLATILE)]
        whole[f"{ns} processes"] = sorted(name for pid, name in processes([ns]).items() if name in PROGRAMS)
    return whole


def processes(namespaces):
    """{pid: name} of all that runs in these namespaces."""
    found = {}
    for pid in map(int, sh("; ".join(f"ip netns pids {ns}" for ns in namespaces)).split()):
        try:
            found[pid] = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            pass  # it has ended meanwhile
    return found


def difference(before, after):
    """Lines that came and went, as text; empty when all is the same."""
    said = []
    for what in before:
        gone = [x for x in before[what] if x and x not in after[what]]
        new = [x for x in after[what] if x and x not in before[what]]
        if not gone and not new and [x for x in before[what] if x] != [x for x in after[what] if x]:
            said.append(f"{what}: same lines in another order")
        said += [f"{what}: - {x}" for x in gone] + [f"{what}: + {x}" for x in new]
    return "\n".join(said[:80])
