"""Start the API stand-in as a process, make it fail, look inside. For fast tests, the lab and the demo.

    with KubeApi.start(directory) as kube:
        kube.control("settings", jws="corrupt-for-nodes")
        kube.control("objects", resource="nodes")

Operations: settings (see controllers.Settings; without arguments it only shows them), objects, requests
(what was asked, by whom, with which answer), create, merge, delete, expire_tokens, forget_history,
living_node (another machine lives under a name), dead_node (it stops renewing its Lease).
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, directory: Path, timeout: float) -> None:
        super().__init__("control", timeout=timeout)
        self._directory = directory

    def connect(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:  # through /proc, for the path of a Unix socket is limited to 108 octets
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{descriptor}/control.sock")
        finally:
            os.close(descriptor)


def control(directory: Path, op: str, timeout: float = 10.0, **arguments: Any) -> Any:
    """One operation on the stand-in that serves `directory`; raises RuntimeError with its refusal."""
    connection = _UnixConnection(directory, timeout)
    try:
        body = json.dumps({"op": op, **arguments})
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(answer.decode(errors="replace"))
    return json.loads(answer)


@dataclass
class KubeApi:
    """A running stand-in."""

    directory: Path
    process: subprocess.Popen[bytes]
    server: str

    @classmethod
    def start(
        cls,
        directory: Path,
        listen: str = "127.0.0.1:0",
        *,
        prefix: Sequence[str] = (),
        timeout: float = 30.0,
    ) -> KubeApi:
        """Start it and wait until it answers; `prefix` is a command to run it under: `ip netns exec NAME`."""
        directory.mkdir(parents=True, exist_ok=True)
        ready = directory / "ready"
        ready.unlink(missing_ok=True)
        command = [
            *prefix,
            sys.executable,
            "-m",
            "tests.kube.apiserver",
            "--listen",
            listen,
            "--dir",
            str(directory),
        ]
        with (directory / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        until = time.monotonic() + timeout
        while not (ready.exists() and ready.read_text().endswith("\n")):
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise RuntimeError(
                    f"the API stand-in did not start: {(directory / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.05)
        return cls(directory, process, ready.read_text().strip())

    def control(self, op: str, **arguments: Any) -> Any:
        """One operation; see the module."""
        return control(self.directory, op, **arguments)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def __enter__(self) -> KubeApi:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
