"""Headless Chromium in a network namespace, driven over its own pipe (Chrome DevTools Protocol)."""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time


def program():
    """The browser on this machine, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page. `space`: the namespace in which it runs; None: here."""

    def __init__(self, space=None):
        self.folder = tempfile.mkdtemp(prefix="bondd-browser-")
        to_read, self.to_write = os.pipe()
        self.to_read, from_write = os.pipe()

        def place():  # the browser speaks on its descriptors 3 and 4
            for fd, way in ((to_read, 100), (from_write, 101)):
                os.dup2(fd, way)
            for way, fd in ((100, 3), (101, 4)):
                os.dup2(way, fd)
        command = [program(), "--headless=new", "--no-sandbox", "--disable-gpu",
                   "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run", f"--user-data-dir={self.folder}",
                   "--remote-debugging-pipe", "about:blank"]
        inside = ["ip", "netns", "exec", space] if space else []
        self.process = subprocess.Popen([*inside, *command], preexec_fn=place, pass_fds=(3, 4), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.number, self.answers, self.errors, self.changed = 0, {}, [], threading.Condition()
        self.session = None
        threading.Thread(target=self._read, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to_write)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self):
        rest = b""
        while chunk := os.read(self.to_read, 65536):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                with self.changed:
                    if "id" in message:
                        self.answers[message["id"]] = message
                    self._note(message.get("method"), message.get("params", {}))
                    self.changed.notify_all()

    def _note(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry'].get('url', '')}: {params['entry']['text']}")
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(json.dumps(params["args"]))

    def call(self, method, **params):
        with self.changed:
            self.number += 1
            number = self.number
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_write, json.dumps(message).encode() + b"\0")
        with self.changed:
            if not self.changed.wait_for(lambda: number in self.answers, 60):
                raise RuntimeError(f"the browser does not answer {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def evaluate(self, text):
        """The value of an expression of JavaScript; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{text}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, condition, seconds=15):
        """Until the expression is true; the time that it took, in seconds."""
        began = time.monotonic()
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds} s: {condition}\n{self.evaluate('document.body.innerText')}")
            time.sleep(0.05)
        return time.monotonic() - began

    def look(self, width, height=900, dark=False, scale=1):
        """The size of the screen, and whether its user wants dark pages."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path):
        """The whole page as PNG."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        pathlib.Path(path).write_bytes(base64.b64decode(picture["data"]))
