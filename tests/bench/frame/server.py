"""One server under test: a process in a namespace, with its CPU and memory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.frame import cpu


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a server is started, made for one turn in a folder of its own."""

    command: Sequence[str]
    ready: Callable[[], bool]
    """Whether it serves; asked again and again after the start."""
    environment: Mapping[str, str] = field(default_factory=dict)
    patience: float = 60.0


class Server:
    """The process of a recipe, while the `with` lasts. Raises RuntimeError where it does not start."""

    def __init__(self, recipe: Recipe, namespace: str, directory: Path) -> None:
        self.log = directory / "log"
        self._recipe, self._namespace = recipe, namespace
        self._meter = cpu.meter()
        self._process: subprocess.Popen[bytes] | None = None
        self.started_in = 0.0
        """Seconds from start to ready."""

    def __enter__(self) -> Self:
        try:
            began = time.monotonic()
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    ["ip", "netns", "exec", self._namespace, *self._recipe.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._recipe.environment},
                    start_new_session=True,
                    preexec_fn=self._meter.join,
                )
            self._wait_until_ready(began + self._recipe.patience)
            self.started_in = time.monotonic() - began
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float:
        """CPU seconds of the server and all its processes so far."""
        return self._meter.seconds(self.pid)

    def memory(self) -> int:
        """Octets of memory of all its processes (PSS)."""
        return cpu.memory(self.pid)

    def descriptors(self) -> int:
        """Open descriptors of all its processes."""
        return cpu.descriptors(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """End it and all that it started."""
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._meter.close()

    def _wait_until_ready(self, until: float) -> None:
        assert self._process is not None
        while not self._recipe.ready():
            if self._process.poll() is not None or time.monotonic() > until:
                said = self.log.read_text(errors="replace")[-1500:]
                raise RuntimeError(f"{self._recipe.command[0]} does not serve: {said}")
            time.sleep(0.01)
