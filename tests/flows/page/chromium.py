"""A real browser for tests: headless Chromium over its own protocol, with what it asked for and complained of."""

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OUTSIDE = "--proxy-server=http://127.0.0.1:9"  # nothing listens there: what would leave the machine fails


def program():
    """The browser's path; None: there is none on this machine."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One tab."""

    def __init__(self, folder):
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        command = [program(), *options, _OUTSIDE, "--hide-scrollbars", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.requests, self.complaints = [], []
        self._numbers, self._socket = itertools.count(1), None
        self._connect(folder / "DevToolsActivePort")
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def close(self):
        """End the browser."""
        if self._socket is not None:
            self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=20)

    def width(self, pixels, height=900):
        """Give the window a width, a phone's too."""
        is_phone = pixels < 600
        size = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def open(self, url):
        """Go to an address and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, script):
        """The value of a script."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, script, seconds=120):
        """Wait until a script gives something true, and give it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.2)
        raise AssertionError(f"{script} was not true within {seconds} s; the page says: {self.text()[:2000]}")

    def text(self):
        """What is to be read on the page."""
        return self.run("document.body.innerText")

    def click(self, selector):
        """Click what a selector finds, once it is there and can be clicked."""
        found = json.dumps(selector)
        self.wait(f"(e => e && !e.disabled)(document.querySelector({found}))")
        self.run(f"document.querySelector({found}).click()")

    def click_text(self, selector, text):
        """Click the first of these elements whose text begins so."""
        begins = f"e => e.innerText.trim().startsWith({json.dumps(text)})"
        found = f"[...document.querySelectorAll({json.dumps(selector)})].find({begins})"
        self.wait(f"!!{found}")
        self.run(f"{found}.click()")

    def screenshot(self, path, *, whole=True):
        """Save what is seen as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def call(self, method, **parameters):
        """One command of the protocol; events that come before its answer are noted."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=120))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event, details):
        if event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(details["exceptionDetails"].get("text", "exception"))
        elif event == "Runtime.consoleAPICalled" and details["type"] in {"error", "assert"}:
            self.complaints.append(
                " ".join(str(each.get("value", each.get("description"))) for each in details["args"])
            )
        elif event == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.complaints.append(f"{details['entry']['text']} {details['entry'].get('url', '')}")

    def _connect(self, port_file):
        from websockets.sync.client import connect

        end = time.monotonic() + 60
        while not (port_file.is_file() and port_file.read_text().count("\n")):
            assert self._process.poll() is None, "the browser ended"
            assert time.monotonic() < end, "the browser did not begin"
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as reply:
            pages = [each for each in json.load(reply) if each["type"] == "page"]
        self._socket = connect(pages[0]["webSocketDebuggerUrl"], max_size=None, proxy=None)
