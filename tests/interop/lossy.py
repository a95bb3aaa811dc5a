"""A UDP relay in front of a TFTP server that loses, doubles and reorders datagrams by a seeded dice."""

from __future__ import annotations

import random
import select
import socket
import threading
from dataclasses import dataclass

Address = tuple[str, int]


@dataclass
class _Way:
    """One client's way through the relay: a port towards it, a port towards the server."""

    client: Address
    near: socket.socket
    far: socket.socket
    server: Address


class LossyRelay:
    """Clients talk to `address`; `loss` and `disorder` are probabilities per datagram, both ways."""

    def __init__(self, server: Address, *, loss: float, disorder: float = 0.0, seed: int = 1) -> None:
        self._server = server
        self._loss, self._disorder = loss, disorder
        self._dice = random.Random(seed)
        self._front = self._bound()
        self.address: Address = self._front.getsockname()
        self._ways: dict[int, _Way] = {}
        self._late: tuple[socket.socket, bytes, Address] | None = None
        self._stop = threading.Event()
        self.lost = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> LossyRelay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        for way in set(self._ways.values()):
            way.near.close()
            way.far.close()
        self._front.close()

    @staticmethod
    def _bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        return sock

    def _run(self) -> None:
        while not self._stop.is_set():
            sockets = [self._front, *{s for way in self._ways.values() for s in (way.near, way.far)}]
            for sock in select.select(sockets, [], [], 0.05)[0]:
                try:
                    datagram, sender = sock.recvfrom(70000)
                except ConnectionError:
                    continue
                self._pass(sock, datagram, sender)

    def _pass(self, sock: socket.socket, datagram: bytes, sender: Address) -> None:
        if sock is self._front:
            way = next((w for w in self._ways.values() if w.client == sender), None) or self._open(sender)
            self._forward(way.far, datagram, self._server)
            return
        way = self._ways[sock.fileno()]
        if sock is way.far:
            way.server = sender
            self._forward(way.near, datagram, way.client)
        else:
            self._forward(way.far, datagram, way.server)

    def _open(self, client: Address) -> _Way:
        way = _Way(client, self._bound(), self._bound(), self._server)
        self._ways[way.near.fileno()] = self._ways[way.far.fileno()] = way
        return way

    def _forward(self, sock: socket.socket, datagram: bytes, to: Address) -> None:
        if self._dice.random() < self._loss:
            self.lost += 1
            return
        if self._late is None and self._dice.random() < self._disorder:
            self._late = (sock, datagram, to)
            return
        sock.sendto(datagram, to)
        if self._late is not None:
            (late, old, where), self._late = self._late, None
            late.sendto(old, where)


# dataclass instances live in a set above: identity is what tells two ways apart
_Way.__hash__ = object.__hash__  # type: ignore[method-assign]
