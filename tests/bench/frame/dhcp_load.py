"""The DHCP load generator (`load/dhcpload.c`) in the client's namespace."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from tests.bench.frame.build import compiled
from tests.bench.frame.link import CLIENT, SERVER, Link
from tests.bench.frame.turns import Figures


class Running:
    """Clients that go on until `stop`."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def stop(self) -> Figures:
        """End them; what they measured."""
        self._process.send_signal(signal.SIGTERM)
        return figures(self._process.communicate(timeout=30)[0])


class Load:
    """The load generator, compiled for this run."""

    def __init__(self, link: Link, folder: Path) -> None:
        self._link, self._program = link, compiled("dhcpload", folder)

    def run(self, *words: str, local: object = CLIENT) -> Figures:
        """What it measured. Raises RuntimeError where answers were wrong."""
        done = subprocess.run(self._command(words, local), stdout=subprocess.PIPE, check=True, text=True)
        return figures(done.stdout)

    def start(self, *words: str, local: object = CLIENT) -> Running:
        """Let it run until it is stopped."""
        return Running(self._command((*words, "-d", "3600"), local))

    def _command(self, words: tuple[str, ...], local: object) -> list[str]:
        program = (str(self._program), "-s", str(SERVER), "-l", str(local))
        return ["ip", "netns", "exec", self._link.client, *program, *words]


def figures(printed: str) -> Figures:
    """The line of JSON that it prints. Raises RuntimeError where answers were wrong."""
    found: Figures = json.loads(printed)
    if found["wrong"] or found["refused"]:
        raise RuntimeError(f"a server answered wrongly: {printed}")
    return found
