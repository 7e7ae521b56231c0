"""A QUIC download by real programs: HTTP/3 with ngtcp2's client and server, as Debian packs them.

The server sends with GSO, with cubic unless told otherwise; the client's flow-control windows are too large to
matter. What counts is what the client hands out, in order, as for TCP.
"""

import pathlib
import shutil
import subprocess
import tempfile
import time

from tunnels import run

PROGRAMS = ("gtlsclient", "gtlsserver")
HOW_TO_INSTALL = ("needs ngtcp2's programs: apt-get install ngtcp2-client ngtcp2-server\n"
                  "(the latter starts a server of its own: systemctl disable --now ngtcp2d)")
ENDLESS = 4_000_000_000  # bytes; the server makes them up
WINDOW = "64M"


def installed():
    return all(shutil.which(program) for program in PROGRAMS)


def wait_until(wanted, seconds, what):
    end = time.monotonic() + seconds
    while not wanted():
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {seconds} s")
        time.sleep(0.005)


def download(net, client, server, seconds, control="cubic", warm_up=2):
    """One flow to `client`: Mbit/s of `seconds` after `warm_up`, and second by second."""
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        key, certificate, log = (pathlib.Path(place, name) for name in ("key.pem", "certificate.pem", "log"))
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 1,
            "-subj", "/CN=bench", "-keyout", key, "-out", certificate)
        got = pathlib.Path(place, str(ENDLESS))
        with log.open("w", encoding="utf-8") as out:
            quiet = {"stdout": out, "stderr": out}
            listener = net.start(server.space, "gtlsserver", "-q", "-d", place, f"--cc={control}", "--max-dyn-length=4G",
                                 "--no-http-dump", "--no-quic-dump", server.address, 4433, key, certificate, **quiet)
            time.sleep(0.3)
            reader = net.start(client.space, "gtlsclient", "-q", "--exit-on-all-streams-close", "--no-http-dump",
                               "--no-quic-dump", f"--download={place}", f"--max-data={WINDOW}",
                               f"--max-stream-data-bidi-local={WINDOW}", f"--max-window={WINDOW}",
                               f"--max-stream-window={WINDOW}", server.address, 4433,
                               f"https://{server.address}/{ENDLESS}", **quiet)
        try:
            wait_until(lambda: got.exists() and got.stat().st_size, 10, "first byte by QUIC")
            start, readings = time.monotonic(), []
            for second in range(warm_up + seconds + 1):
                time.sleep(max(0.0, start + second - time.monotonic()))
                readings.append((time.monotonic(), got.stat().st_size))
            if reader.poll() is not None or listener.poll() is not None:
                raise RuntimeError("the QUIC flow ended early")
        except (TimeoutError, RuntimeError) as error:
            raise RuntimeError(f"{error}; {' '.join(PROGRAMS)} said: {log.read_text(encoding='utf-8')[-500:]}") from None
        finally:
            for process in (reader, listener):
                process.terminate()
                process.wait()
    mbit = [(b[1] - a[1]) * 8e-6 / (b[0] - a[0]) for a, b in zip(readings, readings[1:])]
    (t0, s0), (t1, s1) = readings[warm_up], readings[-1]
    return {"mbit": (s1 - s0) * 8e-6 / (t1 - t0), "seconds": [round(m, 1) for m in mbit]}
