"""Booted Debian machines in namespaces of the lab: systemd is their first process.

Each has a Debian tree below a layer of its own, which takes every write, and the network of one
namespace. systemd-nspawn boots them; tests/booted makes the tree.
"""
import dataclasses
import os
import pathlib
import subprocess
import time

from office import sh

CGROUPS = "/sys/fs/cgroup"
ROOM = pathlib.Path("/run/machines")
BOOT_LIMIT_S = 90     # a lab's kernel on a slow core needs 30
REBOOTS = 133         # systemd-nspawn's exit status then
CLEAN_ENVIRONMENT = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
                     "DEBIAN_FRONTEND=noninteractive"]
# As on a machine of its own: systemd may filter system calls and devices with the kernel's programs.
RIGHTS = ["--capability=all", "--system-call-filter=bpf @mount @module"]


def have_cgroups():
    """systemd wants the unified hierarchy. Mounted here it is seen by the lab alone; its groups are the whole machine's."""
    sh(f"mount -t cgroup2 cgroup2 {CGROUPS}")
    for group in pathlib.Path(CGROUPS).glob("bondd-lab-*"):
        if "populated 0" in (group / "cgroup.events").read_text():
            remove_group(group)  # of a lab that was killed


def remove_group(group):
    """A group of the kernel whose processes have ended, with those below it."""
    for folder, _, _ in os.walk(group, topdown=False):
        os.rmdir(folder)


@dataclasses.dataclass(eq=False)
class Machine:
    """A machine with the devices of namespace `ns`; off until boot()."""
    name: str
    ns: str
    tree: str

    def __post_init__(self):
        self.room = ROOM / self.name
        self.root = self.room / "root"
        for folder in ("root", "writes", "work"):
            (self.room / folder).mkdir(parents=True)
        sh(f"mount -t overlay -o lowerdir={self.tree},upperdir={self.room}/writes,workdir={self.room}/work overlay {self.root}")
        self.group = pathlib.Path(CGROUPS, f"bondd-lab-{os.urandom(4).hex()}-{self.name}")
        self.nspawn = None

    def boot(self):
        """Returns once all units are started, after how many seconds."""
        began = time.monotonic()
        log = open(self.room / "console.log", "wb")
        self.group.mkdir(exist_ok=True)
        self.nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={self.name}", "--register=no", "--keep-unit",
             f"--network-namespace-path=/run/netns/{self.ns}", "--bind=/dev/net/tun", "--resolv-conf=off", "--console=pipe", *RIGHTS],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"),
            preexec_fn=lambda: (self.group / "cgroup.procs").write_text("0"))
        self.wait_until_started()
        return time.monotonic() - began

    def wait_until_started(self):
        deadline = time.monotonic() + BOOT_LIMIT_S
        while time.monotonic() < deadline and self.nspawn.poll() is None:
            if self.first_process() and \
                    self.run("systemctl is-system-running --wait", check=False).stdout.strip() in ("running", "degraded"):
                return
            time.sleep(0.2)
        raise RuntimeError(f"{self.name} does not boot:\n{self.console()}")

    def first_process(self):
        """Its systemd's pid out here, or None."""
        children = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")
        for pid in children.read_text().split() if children.exists() else []:
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    return int(pid)
            except OSError:
                pass  # it has ended meanwhile
        return None

    def run(self, command, check=True, timeout=120, **more):
        """A shell command in the machine, as root's. Returns CompletedProcess with text."""
        done = subprocess.run(["nsenter", f"--target={self.first_process()}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                               "--root", "--wd", *CLEAN_ENVIRONMENT, "sh", "-c", command], capture_output=True, text=True, timeout=timeout, **more)
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def says(self, command, **more):
        return self.run(command, **more).stdout.strip()

    def unit(self, unit, what):
        """A property of a unit, as text."""
        return self.says(f"systemctl show --value --property={what} {unit}")

    def reboot(self):
        """Returns once it is there again, after how many seconds."""
        began = time.monotonic()
        self.run("systemctl reboot", check=False)
        if (status := self.nspawn.wait(timeout=60)) != REBOOTS:
            raise RuntimeError(f"{self.name} does not reboot, exit {status}:\n{self.console()}")
        self.boot()
        return time.monotonic() - began

    def power_off(self):
        if self.nspawn is not None and self.nspawn.poll() is None:
            self.run("systemctl poweroff", check=False)
            self.nspawn.wait(timeout=60)
        if self.group.exists():
            remove_group(self.group)

    def console(self, lines=40):
        return "\n".join((self.room / "console.log").read_text(errors="replace").splitlines()[-lines:])
