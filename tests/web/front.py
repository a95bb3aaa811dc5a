"""The real accept point before a house of real workers; behind it, everything else is answered `control`."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.boot.storm import Wait
from netboot.events import Journal
from netboot.web.accept import Acceptor
from netboot.web.exchange import Request, Response
from netboot.web.http1 import Head
from netboot.web.peers import Limits
from tests.proc.house import House

UNLIMITED = Limits(connections=float("inf"), requests=float("inf"))


class Plain:
    """A site that knows no machine."""

    def body_limit(self, head: Head) -> int:
        return 0

    def known(self, head: Head, client: IPv4Address) -> Response | None:
        return None

    async def answer(self, request: Request) -> Response:
        return Response(200, b"control")

    async def boot_at(self, client: IPv4Address) -> str | None:
        return None

    def admit(self, method: str, path: str, client: IPv4Address, boot_id: str | None) -> Wait | None:
        return None


@dataclass
class Front:
    """What the test looks at."""

    made: House
    acceptor: Acceptor
    journal: Journal

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.acceptor.listen_addrs[0]


@asynccontextmanager
async def front(made: House, limits: Limits = UNLIMITED) -> AsyncIterator[Front]:
    """Listen on any address of loopback until the test ends, so that clients may differ in theirs."""
    journal = Journal(time.time)
    acceptor = Acceptor(Plain(), bulk=made.supervisor, journal=journal, clock=time.monotonic, limits=limits)
    made.supervisor.on_return = lambda fd, data, client: acceptor.adopt(fd, data)
    made.supervisor.on_relay = acceptor.relayed
    made.supervisor.on_refused = lambda kind, text, source: journal.refused(kind, text, source=source)
    await acceptor.start([socket.create_server(("127.0.0.1", 0))])
    try:
        yield Front(made, acceptor, journal)
    finally:
        await acceptor.stop()
