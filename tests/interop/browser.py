"""A real browser, driven over the W3C WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DRIVER, CHROMIUM = "/usr/bin/chromedriver", "/usr/bin/chromium"
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver section 12, "web element identifier"
PATIENCE = 10.0
"""Seconds that something may take to appear."""


def missing() -> str | None:
    """What this host lacks for it; None where all is there."""
    return next((path for path in (DRIVER, CHROMIUM) if not shutil.which(path)), None)


class Browser:
    """One session."""

    def __init__(self, port: int, options: list[str]) -> None:
        self._port = port
        chrome = {"binary": CHROMIUM, "args": options}
        wanted = {"alwaysMatch": {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}}
        self._session = self._ask("POST", "/session", {"capabilities": wanted})["sessionId"]

    def go(self, url: str) -> None:
        """Open a page."""
        self._do("POST", "url", {"url": url})

    def find(self, css: str, text: str = "") -> str:
        """The first element that is displayed, of that selector and with that text in it; waits for it."""
        end = time.monotonic() + PATIENCE
        while True:
            for element in self.all(css):
                try:
                    if self._get(element, "displayed") and text in self.text(element):
                        return element
                except LookupError:
                    pass  # it was drawn anew meanwhile
            if time.monotonic() > end:
                raise LookupError(f"nothing like {css} with {text!r} is shown; there is: {self.page()}")
            time.sleep(0.05)

    def all(self, css: str) -> list[str]:
        """Every element of a selector."""
        found = self._do("POST", "elements", {"using": "css selector", "value": css})
        return [each[_ELEMENT] for each in found]

    def seen(self, css: str) -> list[str]:
        """The texts of the elements that are displayed."""
        return [self.text(e) for e in self.all(css) if self._get(e, "displayed")]

    def text(self, element: str) -> str:
        """What an element shows."""
        return str(self._get(element, "text"))

    def page(self) -> str:
        """What the whole page shows."""
        return self.text(self.all("body")[0])

    def click(self, css: str, text: str = "") -> None:
        """Click on what `find` finds."""
        self._do("POST", f"element/{self.find(css, text)}/click", {})

    def type(self, css: str, keys: str) -> None:
        """Type into what `find` finds."""
        self._do("POST", f"element/{self.find(css)}/value", {"text": keys})

    def run(self, script: str) -> Any:
        """The value of a script's `return`."""
        return self._do("POST", "execute/sync", {"script": script, "args": []})

    def resize(self, width: int, height: int) -> None:
        """Make the window that large."""
        self._do("POST", "window/rect", {"width": width, "height": height})

    def complaints(self) -> list[str]:
        """What the browser's console was told since the last time, errors and warnings."""
        told = self._do("POST", "se/log", {"type": "browser"})
        return [entry["message"] for entry in told if entry["level"] in ("SEVERE", "WARNING")]

    def screenshot(self, file: Path) -> None:
        """What is to be seen, as PNG."""
        file.write_bytes(base64.b64decode(self._do("GET", "screenshot")))

    def close(self) -> None:
        """End the session and its browser."""
        self._ask("DELETE", f"/session/{self._session}")

    def _get(self, element: str, what: str) -> Any:
        return self._do("GET", f"element/{element}/{what}")

    def _do(self, method: str, path: str, body: object = None) -> Any:
        return self._ask(method, f"/session/{self._session}/{path}", body)

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise LookupError(f"{value['error']}: {value['message'].splitlines()[0]}")
        return value


@contextmanager
def browser(folder: Path, *more: str) -> Iterator[Browser]:
    """A fresh browser with an empty profile in `folder`, gone when the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    driver = subprocess.Popen(
        [DRIVER, f"--port={port}", "--allowed-ips=127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        made = Browser(port, [*OPTIONS, f"--user-data-dir={folder / 'profile'}", *more])
        try:
            yield made
        finally:
            made.close()
    finally:
        driver.terminate()
        driver.wait(10)


def _wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
