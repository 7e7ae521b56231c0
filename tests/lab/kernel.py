"""Where a scenario runs: in namespaces of this machine when its kernel has
bonding and netem, else in a user-mode-linux kernel booted for it alone.

Either way the scenario gets process, mount and network namespaces of its own
and a /run of its own, so that several labs run side by side. What it prints
comes back line by line; a line that starts with RECORD is JSON for programs.
"""
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
RECORD = "\x1e"  # ASCII "record separator"
UML = "/usr/bin/linux.uml"

PROBE = """ip link add lab-probe type bond && ip link add lab-veth type veth &&
           tc qdisc add dev lab-veth root netem delay 1ms rate 1mbit"""
# A private /run (so also /run/netns), and no trace of this machine's own sites.
DIRECT = """mount -t tmpfs tmpfs /run && exec "$0" "$1" --inside "$2" """


SOURCE = pathlib.Path(__file__).resolve().parents[2]


def bondd_path():
    """BONDD, else the program that was built last below build/, else the installed one."""
    if "BONDD" in os.environ:
        return str(pathlib.Path(os.environ["BONDD"]).resolve())
    built = [*SOURCE.glob("build/bondd/main/bondd"), *SOURCE.glob("build/*/bondd/main/bondd")]
    return str(max(built, key=lambda p: p.stat().st_mtime)) if built else "bondd"


def arguments(scenario, options):
    return {"scenario": scenario, "bondd": bondd_path(), "source": str(SOURCE), "options": options}


def machine_will_do():
    """True when a throw-away network namespace takes a bond and a netem qdisc."""
    return subprocess.run(["unshare", "--net", "--mount", "sh", "-c", PROBE],
                          capture_output=True).returncode == 0


def command(args, limit, memory, direct, room):
    """The command line that runs `run --inside ARGS`, ending after `limit` seconds."""
    packed = json.dumps(args).encode().hex()
    if direct:
        return ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc",
                "timeout", "-k5", str(limit), "sh", "-c", DIRECT, sys.executable, str(HERE / "run"), packed]
    if not os.path.exists(UML):
        sys.exit("lab: this kernel lacks bonding or netem, and user-mode-linux is not installed: run tests/setup")
    return [UML, f"mem={memory}M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
            f"init={HERE}/init", f"uml_dir={room}/", "con=null", "con0=fd:0,fd:1", "quiet",
            f"lab.dir={HERE}", f"lab.args={packed}", f"lab.limit={limit}"]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def kill(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(args, limit=300, memory=512, direct=None):
    """Runs `run --inside` with `args` (a JSON value) in a lab of its own.

    Yields what it says: a str for a line of text, a dict for a record. The lab
    has ended, with all its processes, when the generator does, however it ends.
    """
    if os.geteuid() != 0:
        sys.exit("lab: needs root, for namespaces (sudo tests/lab/run …)")
    if direct is None:
        direct = machine_will_do()
    room = tempfile.mkdtemp(prefix="bondd-lab-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    started = False  # the kernel's own words at boot are not the scenario's
    said = []
    process = subprocess.Popen(command(args, limit, memory, direct, room), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                               env=dict(os.environ, TMPDIR=room), preexec_fn=die_with_parent)
    watchdog = threading.Timer(limit + 20, kill, [process.pid])  # should the kernel itself hang
    watchdog.start()
    try:
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip("\r\n")
            if line.startswith(RECORD):
                record = json.loads(line[1:])
                started = started or "begin" in record
                if "end" in record:
                    return
                yield record
            elif started:
                yield line
            else:
                said.append(line)
        yield "lab: ended before the scenario did" + "".join("\n  | " + s for s in said[-15:] if not started)
    finally:
        watchdog.cancel()
        kill(process.pid)
        process.wait()
        shutil.rmtree(room, ignore_errors=True)


SPEAKING = threading.Lock()


def record(**fields):
    """Inside the lab, from any thread: a record for the program outside."""
    with SPEAKING:
        sys.stdout.write(RECORD + json.dumps(fields) + "\n")
        sys.stdout.flush()
