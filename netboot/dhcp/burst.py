"""Replies that are decided in one turn of the event loop leave together, the first of them at once.

Measured with 64 clients behind one relay agent: a datagram that finds its receiver asleep costs the sender
the wake-up, which was a third of all our CPU time while replies left one by one. Sent in a row, the first
wakes the receiver for all: 44 instead of 59 µs for an exchange. A single reply never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Burst:
    """The replies of this turn; `failed` is told of a reply that waited and then could not be sent."""

    __slots__ = ("_failed", "_holding", "_waiting")

    def __init__(self, failed: Callable[[str, OSError], None]) -> None:
        self._failed = failed
        self._holding = False
        self._waiting: list[tuple[str, Callable[[], None]]] = []

    def hold(self) -> None:
        """Let what is sent from now on wait for the end of this turn."""
        if not self._holding:
            self._holding = True
            asyncio.get_running_loop().call_soon(self._leave)

    def send(self, interface: str, sending: Callable[[], None]) -> None:
        """Send now, or at the end of a turn that holds. Raises OSError, but only now."""
        if self._holding:
            self._waiting.append((interface, sending))
        else:
            sending()

    def _leave(self) -> None:
        self._holding = False
        waiting, self._waiting = self._waiting, []
        for interface, sending in waiting:
            try:
                sending()
            except OSError as error:
                self._failed(interface, error)
