"""A helper process as control sees it, and the place that it fills."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from netboot.proc import Kind, State

FIRST_BACK_OFF: Final = 0.1
"""Seconds before a helper that ended is started again; twice as many after each further end."""


@dataclass(eq=False, slots=True)
class Helper:
    """One started process, from the word to the forker until its channel or the process itself ends."""

    number: int
    channel: socket.socket
    began: float
    pid: int | None = None
    state: State = "starting"
    clients: Counter[str] = field(default_factory=Counter)
    """Connections that a bulk or HTTPS worker holds, by the client's address."""
    connections: int = 0
    """All of them."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """The channel is closed: the helper takes no new work."""

    def left(self, client: str, count: int) -> None:
        """Count connections of a client out; a helper that says too many has ended them all."""
        gone = min(count, self.clients[client])
        self.connections -= gone
        self.clients[client] -= gone
        if not self.clients[client]:
            del self.clients[client]


@dataclass(eq=False, slots=True)
class Slot:
    """A place that always holds one helper."""

    kind: Kind
    index: int
    helper: Helper | None = None
    restarts: int = 0
    back_off: float = FIRST_BACK_OFF
