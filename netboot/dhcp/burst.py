"""Replies that are decided in one turn of the event loop leave together, the first of them at once.

Measured with 64 clients behind one relay agent: a datagram that finds its receiver asleep costs the sender
the wake-up, which was a third of all our CPU time while replies left one by one. Sent in a row, the first
wakes the receiver for all: 44 instead of 59 µs for an exchange. A single reply never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address
from typing import Protocol

from netboot.dhcp.engine import Reply
from netboot.dhcp.route import BROADCAST, LinkLayer, Unicast
from netboot.model.machine import Mac


class Way(Protocol):
    """The ways out of an interface; `net.Endpoint` is one. All but `unicasts` raise OSError."""

    @property
    def name(self) -> str:
        """The interface's name."""

    def unicast(self, payload: bytes, host: str, port: int, source: IPv4Address) -> None:
        """Send a datagram."""

    def unicasts(self, datagrams: Sequence[tuple[bytes, str, int]], source: IPv4Address) -> Iterable[OSError]:
        """Send many, each with its host and port; what went wrong."""

    def frame(self, payload: bytes, mac: Mac, to: IPv4Address, source: IPv4Address) -> None:
        """Send to one card."""

    def broadcast(self, payload: bytes, source: IPv4Address) -> None:
        """Send to the link."""


class Burst:
    """The replies of this turn; `failed` is told of one that waited and then could not be sent."""

    __slots__ = ("_failed", "_holding", "_waiting")

    def __init__(self, failed: Callable[[str, OSError], None]) -> None:
        self._failed = failed
        self._holding = False
        self._waiting: list[tuple[Reply, IPv4Address, Way]] = []

    def hold(self) -> None:
        """Let what is sent from now on wait for the end of this turn."""
        if not self._holding:
            self._holding = True
            asyncio.get_running_loop().call_soon(self._leave)

    def send(self, reply: Reply, source: IPv4Address, way: Way) -> None:
        """Send now, or at the end of a turn that holds. Raises OSError, but only now."""
        if self._holding:
            self._waiting.append((reply, source, way))
        else:
            _send(reply, source, way)

    def _leave(self) -> None:
        self._holding = False
        waiting, self._waiting = self._waiting, []
        datagrams: dict[tuple[Way, IPv4Address], list[tuple[bytes, str, int]]] = {}
        for reply, source, way in waiting:
            where = reply.destination
            if isinstance(where, Unicast):
                datagrams.setdefault((way, source), []).append((reply.payload, where.host, where.port))
                continue
            try:
                _send(reply, source, way)
            except OSError as error:
                self._failed(way.name, error)
        for (way, source), several in datagrams.items():
            for problem in way.unicasts(several, source):
                self._failed(way.name, problem)


def _send(reply: Reply, source: IPv4Address, way: Way) -> None:
    where = reply.destination
    if isinstance(where, Unicast):
        way.unicast(reply.payload, where.host, where.port, source)
    elif isinstance(where, LinkLayer):
        way.frame(reply.payload, where.mac, where.address, source)
    else:
        assert where is BROADCAST
        way.broadcast(reply.payload, source)
