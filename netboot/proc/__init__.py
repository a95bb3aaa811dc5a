"""The door to the helper processes: what control tells them and hears from them.

Control owns the only boot HTTP listener and hands connected sockets to bulk workers; one TFTP process
serves first-stage files. `supervisor.py` keeps them, `forker.py` makes them, `messages.py` carries words
and descriptors between them, `privileges.py` gives up rights. The whole story: docs/processes.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["bulk", "tftp", "https"]
State = Literal["starting", "ready", "draining", "ended"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one HTTP download came; told at least once per second while it runs, and at its end.

    `sent` is the highest byte of the file that the machine's kernel has acknowledged so far (offset of a
    Range included; at the end: that was given to our kernel). `done`: this response is over, complete when
    its last byte was sent, else the connection broke at `sent`.
    """

    boot_id: str | None
    client: str
    path: str
    sent: int
    of: int
    done: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far one TFTP transfer came; `error` says why a finished one did not complete, else None."""

    name: str
    client: str
    sent: int
    of: int
    done: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One helper process as /healthz shows it; `restarts` counts its slot's unplanned ends."""

    kind: Kind
    index: int
    pid: int | None
    state: State
    connections: int
    restarts: int


@dataclass(frozen=True, slots=True)
class Place:
    """Whether a download may begin now: after `wait` seconds (0: now) because of `reason`; for `boot_id`."""

    boot_id: str | None = None
    wait: int = 0
    reason: str = ""


class HttpsSide(Protocol):
    """The workers of the HTTPS listener as the accept point sees them; they send files themselves."""

    on_relay: Callable[[int, str, str], None]
    """A request for control: our end of a socket pair (the callee owns it), the client's address, ours."""
    place: Callable[[str, str, str], Awaitable[Place]]
    """Method, path and client address of a download: whether it may begin."""


class BulkPool(Protocol):
    """The bulk workers as the accept point sees them."""

    on_progress: Callable[[Progress], None]
    on_return: Callable[[int, bytes, str], None]
    """A worker met a path that is not its own on a kept-alive connection: socket (the callee owns it),
    the bytes already read, the client's address."""

    def hand_over(self, fd: int, head: bytes, *, boot_id: str | None, client: str) -> bool:
        """Give a connected socket with the bytes already read to the least loaded worker.

        The caller closes its own descriptor afterwards. False: no worker is up, answer 503.
        """
        ...

    def held(self, client: str) -> int:
        """Connections of this client address that the workers hold."""
        ...


class TftpSide(Protocol):
    """The TFTP process as control sees it."""

    virtual: Callable[[str, str], Awaitable[bytes | None]]
    """The content of a per-machine name for the client at this address; None: there is no such name."""
    on_transfer: Callable[[Transfer], None]


def is_bulk_path(path: str) -> bool:
    """Whether a bulk worker answers this path (the path of `http1.Head`); control answers all others.

    Both sides ask this one function, so a connection is never handed to and fro.
    """
    if path.startswith("/programs/"):
        return path.rpartition("/")[2].lower() != "autoexec.ipxe"
    return path.startswith(("/images/", "/files/"))
