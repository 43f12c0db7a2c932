"""A headless Chromium, driven through its DevTools protocol: go somewhere, run a script, take a picture.

It is Debian's package where that is installed. There is no second browser to fall back on: tests say by name
that they did not run.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.running import eventually

__all__ = ["Browser", "browser"]

ADDRESS: Final = re.compile(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/")
LIMIT_S: Final = 90
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One page."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.complaints: list[str] = []  # what the page's console says against it

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Run a command of the protocol; its result."""
        self._number += 1
        number = self._number
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(LIMIT_S))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self._hear(message)

    def go(self, url: str) -> None:
        """Load a page and wait for all of it."""
        self.command("Page.navigate", url=url)
        self.settle()

    def settle(self) -> None:
        """Wait until the page, whichever it is by now, is loaded."""
        eventually(self._is_loaded, "the page is loaded")

    def _is_loaded(self) -> bool:
        try:
            return bool(self.run("document.readyState") == "complete")
        except AssertionError:
            return False  # the page that was asked is gone, and the next one is not there yet

    def run(self, script: str) -> Any:
        """The value of a script, promises awaited."""
        found = self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def fill(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.run(f"document.querySelector({json.dumps(selector)}).value = ''")
        self.command("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click on what the selector finds, and wait for the page that follows."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def size(self, width: int, height: int = 900) -> None:
        """The window's size; a narrow one is a phone's."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def picture(self, path: Path) -> None:
        """A screenshot as PNG."""
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(message["params"]["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(str(message["params"]["entry"]["text"]))


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with an empty profile, gone afterwards; skips the test where there is none."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no browser: Debian's package `chromium` is not installed")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *options, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            with connect(_page(process), max_size=None) as connection:
                page = Browser(connection)
                for domain in ("Page", "Runtime", "Log"):
                    page.command(f"{domain}.enable")
                yield page
        finally:
            process.terminate()
            process.communicate(timeout=LIMIT_S)


def _page(process: subprocess.Popen[bytes]) -> str:
    """The address of the first page's socket, once the browser has said where it listens."""
    assert process.stderr is not None
    for line in process.stderr:
        match = ADDRESS.search(line)
        if match is not None:
            with urlopen(f"http://127.0.0.1:{int(match[1])}/json", timeout=LIMIT_S) as answer:
                pages = json.load(answer)
            return str(next(page for page in pages if page["type"] == "page")["webSocketDebuggerUrl"])
    raise AssertionError("the browser did not start")
