"""Headless Chromium, driven over its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

from .paths import SetupError

# Seconds; the first page on a new database makes Odoo build all its asset bundles.
PATIENCE = 240


class Browser:
    """One page in a headless browser.

    :param program: path of Chromium
    """

    def __init__(self, program):
        self._ids = itertools.count(1)
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [
                str(program),
                "--headless=new",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
                "--hide-scrollbars",
                f"--user-data-dir={self._profile.name}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._socket = websocket.create_connection(self._address(), timeout=PATIENCE)
        #: Errors that pages wrote to the console.
        self.complaints = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._socket.close()
        self._process.terminate()
        self._process.wait(10)
        self._profile.cleanup()

    def _address(self):
        place = Path(self._profile.name) / "DevToolsActivePort"
        for _attempt in range(PATIENCE * 10):
            if place.exists() and place.read_text().count("\n"):
                port = place.read_text().split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as reply:
                    for target in json.load(reply):
                        if target["type"] == "page":
                            return target["webSocketDebuggerUrl"]
            time.sleep(0.1)
        raise SetupError("Chromium does not start: run make env to see why.")

    def call(self, method, **parameters):
        """Send a command of the protocol and return its result.

        :raise SetupError: with the browser's message, when the command fails
        """
        number = next(self._ids)
        self._socket.send(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise SetupError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._listen(message)

    def _listen(self, message):
        """Keep the errors that a page logs."""
        values = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            thrown = details.get("exception", {}).get("description")
            self.complaints.append(thrown or details["text"])
        elif message.get("method") == "Runtime.consoleAPICalled":
            if values["type"] == "error":
                parts = [
                    str(part.get("value", part.get("description")))
                    for part in values["args"]
                ]
                self.complaints.append(" ".join(parts))
        elif message.get("method") == "Log.entryAdded":
            entry = values["entry"]
            if entry["level"] == "error":
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")

    def evaluate(self, script):
        """Return the value of a JavaScript expression, or of its promise."""
        result = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in result:
            raise SetupError(f"JavaScript failed: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script, what, patience=PATIENCE):
        """Wait until an expression is true.

        :param what: what the page should show, for the message
        :param patience: seconds
        :raise SetupError: when it does not become true in time
        """
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with contextlib.suppress(SetupError):  # the page is being replaced
                if self.evaluate(f"Boolean({script})"):
                    return
            time.sleep(0.1)
        raise SetupError(f"The page does not show {what}.")

    def resize(self, width, height):
        """Set the size of the window, in pixels; a narrow one emulates a phone."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def open(self, url):
        """Go to a page."""
        self.call("Page.navigate", url=url)

    def picture(self):
        """Return a PNG of the window."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return base64.b64decode(data)
