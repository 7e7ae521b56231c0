"""Namespaces, lines and tunnels for benches and tests of bondd-engine.

Everything lives in network namespaces of its own, named with a prefix and the
process id, and is removed on every way out. Needs root; touches nothing of the
machine's own network.
"""

import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PASSWORD = "test-Pa55word!"


def run(*words, check=True, **options):
    """Runs a command; its standard output as text."""
    done = subprocess.run([str(w) for w in words], check=False, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Net:
    """A set of namespaces; a context manager that leaves nothing behind."""

    def __init__(self, prefix="iobench"):
        self.prefix = f"{prefix}-{os.getpid()}"
        self.names = []
        self.processes = []
        self.engines = []
        self.links = 0

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        for name in self.names:
            run("ip", "netns", "del", name, check=False)

    def space(self, short):
        """Makes namespace `short` and returns its full name."""
        name = f"{self.prefix}-{short}"
        run("ip", "netns", "add", name)
        self.names.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def veth(self, a, b, network, device=None):
        """Joins two namespaces by 10.NETWORK.1/24 and .2; returns the device's name in both."""
        self.links += 1
        device = device or f"line{self.links}"
        run("ip", "-n", a, "link", "add", device, "type", "veth", "peer", "name", device, "netns", b)
        for space, host in ((a, 1), (b, 2)):
            run("ip", "-n", space, "addr", "add", f"10.{network}.{host}/24", "dev", device)
            run("ip", "-n", space, "link", "set", device, "up")
        return device

    def command(self, space, *words):
        return ["ip", "netns", "exec", space, *map(str, words)]

    def run(self, space, *words, **options):
        return run(*self.command(space, *words), **options)

    def start(self, space, *words, **options):
        process = subprocess.Popen(self.command(space, *words), text=True, **options)
        self.processes.append(process)
        return process


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid, key="VmRSS"):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {key} of {pid}")


class End:
    """One end of a tunnel: a process, its device and its inner address."""

    def __init__(self, net, space, device, address):
        self.net, self.space, self.device, self.address = net, space, device, address
        self.process = None
        self.pid = None

    def configure(self, queue_length=None):
        run("ip", "-n", self.space, "addr", "add", f"{self.address}/24", "dev", self.device)
        if queue_length:
            run("ip", "-n", self.space, "link", "set", self.device, "txqueuelen", queue_length)
        run("ip", "-n", self.space, "link", "set", self.device, "up")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode if self.process else None


class NaiveEnd(End):
    """tests/bench/naive_tunnel.cc"""

    def __init__(self, net, build, space, address, local, peer, device="naive0", mtu=1400):
        super().__init__(net, space, device, address)
        self.process = net.start(space, build / "tests/bench/naive_tunnel", device, mtu, local, 5000, peer, 5000,
                                 stdout=subprocess.PIPE)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError("naive_tunnel does not start")
        self.pid = self.process.pid
        self.configure()


class EngineEnd(End):
    """bondd-engine by way of tests/support/engine_runner.cc.

    `links` are texts for --link. Reports are kept in `reports` as dictionaries.
    """

    def __init__(self, net, build, space, role, address, links, device="bond0", mtu=1400, options=(),
                 password=PASSWORD, queue_length=500):
        super().__init__(net, space, device, address)
        words = ["--engine", build / "libexec/bondd/bondd-engine", "--role", role, "--tun", device, "--mtu", mtu,
                 "--password", password, *options]
        for link in links:
            words += ["--link", link]
        self.process = net.start(space, build / "tests/support/engine_runner", *words, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        self.pid = json.loads(self.process.stdout.readline())["pid"]
        net.engines.append(self)
        self.reports = []
        self.states = {}
        self.incoming = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.wait_for(lambda report: report["type"] == "ready", 20, "ready")  # the password's key takes long on a busy machine
        self.configure(queue_length)

    def _listen(self):
        try:
            for line in self.process.stdout:
                self.incoming.put(json.loads(line))
        except ValueError:  # closed by Net's clean-up
            pass
        self.incoming.put(None)

    def wait_for(self, wanted, timeout, what):
        """The first report, of those not yet seen, for which `wanted` is true."""
        end = time.monotonic() + timeout
        while True:
            try:
                report = self.incoming.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"{self.space}: no {what} within {timeout} s; last: {self.reports[-3:]}") from None
            if report is None:
                raise RuntimeError(f"{self.space}: the engine ended while waiting for {what}; "
                                   f"last: {self.reports[-3:]}")
            self.reports.append(report)
            if report["type"] == "event" and report["kind"] == "state":
                self.states[report["link"]] = report["state"]
            if wanted(report):
                return report

    def wait_state(self, link, state, timeout=5):
        """Until `link` is in `state`, as far as its events were seen."""
        if self.states.get(link) == state:
            return None
        return self.wait_for(lambda r: r["type"] == "event" and r["link"] == link and r["state"] == state, timeout,
                             f"{link} {state}")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def status(self):
        self.say("status")
        return self.wait_for(lambda r: r["type"] == "status", 3, "status")


class UpstreamEnd(End):
    """The original program, as `program`; `settings` and `link_settings` are more of its mlvpn.conf."""

    def __init__(self, net, program, space, role, address, networks, tap=False, clear=False, mtu=1380,
                 settings=None, link_settings=None):
        super().__init__(net, space, "mv0", address)
        folder = tempfile.mkdtemp(prefix="upstream-")
        self.folder = folder
        script = pathlib.Path(folder, "updown.sh")
        script.write_text("#!/bin/sh\n[ \"$2\" = tuntap_up ] || exit 0\n"
                          "ip addr replace \"$IP4\" dev \"$1\"; ip link set \"$1\" mtu \"$MTU\" up\n")
        script.chmod(0o700)
        lines = ["[general]", f'statuscommand = "{script}"', f'mode = "{role}"', 'interface_name = "mv0"',
                 f'tuntap = "{"tap" if tap else "tun"}"', f'ip4 = "{address}/24"', f"mtu = {mtu}", "timeout = 5",
                 f'password = "{PASSWORD}"', f"cleartext_data = {int(clear)}"]
        lines += [f"{key} = {value}" for key, value in (settings or {}).items()]
        for n in networks:
            if role == "client":
                lines += [f"[l{n}]", f'bindhost = "10.{n}.1"', f'remotehost = "10.{n}.2"', "remoteport = 5080"]
            else:
                lines += [f"[l{n}]", f'bindhost = "10.{n}.2"', "bindport = 5080"]
            lines += [f"{key} = {value}" for key, value in (link_settings or {}).items()]
        config = pathlib.Path(folder, "mlvpn.conf")
        config.write_text("\n".join(lines) + "\n")
        config.chmod(0o600)
        # It changes its root to its user's home, so that must exist.
        self.process = net.start(space, program, "--debug", "--natural-title", "--user", "daemon", "-c", config,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid

    def kill(self):
        run("pkill", "-KILL", "-P", self.process.pid, check=False)
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def engine_pair(net, build, a, b, networks, options=(), link_options="", patience=5, **more):
    """A client in `a` and a server in `b`, one link per network; waits `patience` s for each to be up."""
    server = EngineEnd(net, build, b, "server", "10.77.0.2",
                       [f"l{n},10.{n}.2,5080{link_options}" for n in networks], options=options, **more)
    client = EngineEnd(net, build, a, "client", "10.77.0.1",
                       [f"l{n},10.{n}.1,0,10.{n}.2,5080{link_options}" for n in networks], options=options, **more)
    for network in networks:
        client.wait_state(f"l{network}", "up", patience)
    return client, server


def naive_pair(net, build, a, b, network):
    server = NaiveEnd(net, build, b, "10.77.0.2", f"10.{network}.2", f"10.{network}.1")
    client = NaiveEnd(net, build, a, "10.77.0.1", f"10.{network}.1", f"10.{network}.2")
    return client, server


def iperf(net, client, server, seconds, reverse=False, flows=1):
    """One cubic TCP run: Gbit/s, retransmissions, CPU seconds per Gbit of both ends."""
    listener = net.start(server.space, "iperf3", "-s", "-1", "-B", server.address, stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    before = cpu_seconds(client.pid) + cpu_seconds(server.pid)
    words = ["iperf3", "-c", server.address, "-t", seconds, "-C", "cubic", "-P", flows, "-J"]
    done = json.loads(net.run(client.space, *words, *(["-R"] if reverse else []), check=False, timeout=seconds + 20))
    cpu = cpu_seconds(client.pid) + cpu_seconds(server.pid) - before
    listener.wait(timeout=5)
    if "error" in done:
        raise RuntimeError("iperf3: " + done["error"])
    gbit = done["end"]["sum_received"]["bytes"] * 8 / 1e9
    return {"gbps": done["end"]["sum_received"]["bits_per_second"] / 1e9,
            "retransmits": done["end"]["sum_sent"]["retransmits"],
            "cpu_per_gbit": cpu / gbit if gbit else float("inf")}
