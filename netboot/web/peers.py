"""What one client address may hold and ask: its open connections, and a bucket of requests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from netboot.events import Journal

_MAX_PEERS: Final = 8192


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client address and one connection may do. Times are seconds."""

    connections: float = 256
    requests: float = 200
    """Per second, and as many at once."""
    head: float = 10.0
    body: float = 10.0
    idle: float = 60.0
    write: float = 60.0


@dataclass(slots=True)
class _Peer:
    """One client address: open connections, and a token bucket of requests."""

    connections: int
    tokens: float
    at: float


class Peers:
    """Every client address that is here, or was lately."""

    def __init__(
        self,
        limits: Limits,
        *,
        elsewhere: Callable[[str], int],
        journal: Journal,
        clock: Callable[[], float],
    ) -> None:
        """`elsewhere`: connections that an address holds at the workers."""
        self._limits = limits
        self._elsewhere = elsewhere
        self._journal = journal
        self._clock = clock
        self._peers: dict[str, _Peer] = {}

    def arrived(self, client: str) -> bool:
        """Count a connection in; False where its address has too many."""
        peer = self._peer(client)
        peer.connections += 1
        if peer.connections + self._elsewhere(client) <= self._limits.connections:
            return True
        text = f"more than {self._limits.connections:g} connections from one address"
        self._journal.refused("http_too_many_connections", text, source=client)
        return False

    def left(self, client: str) -> None:
        """Count a connection out."""
        if peer := self._peers.get(client):
            peer.connections -= 1

    def may_ask(self, client: str) -> bool:
        """Take one request from the address's bucket; False where it is empty."""
        if self._limits.requests == math.inf:
            return True
        peer, now = self._peer(client), self._clock()
        refilled = peer.tokens + max(0.0, now - peer.at) * self._limits.requests
        peer.tokens, peer.at = min(max(1.0, self._limits.requests), refilled), now
        if peer.tokens >= 1:
            peer.tokens -= 1
            return True
        text = f"more than {self._limits.requests:g} requests per second from one address"
        self._journal.refused("http_too_many_requests", text, source=client)
        return False

    def _peer(self, client: str) -> _Peer:
        peer = self._peers.get(client)
        if peer is None:
            if len(self._peers) >= _MAX_PEERS:
                self._peers = {name: p for name, p in self._peers.items() if p.connections}
            peer = self._peers[client] = _Peer(0, max(1.0, self._limits.requests), self._clock())
        return peer
