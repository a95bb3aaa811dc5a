"""The listener of the API: connections and TLS handshakes within bounds, for DHCP is answered beside them.

A stranger's connections are counted from their first packet on, half a handshake too. A handshake costs a
thousandth of a second of the process that answers DHCP: so many of one address and second, and no more.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from weakref import WeakSet

from aiohttp import web

from netboot.events import Journal
from netboot.model.manners import Rate
from netboot.web.api.connection import Connection, speaks_http, tell_to_speak_tls
from netboot.web.api.guard import Handler
from netboot.web.api.tries import Tries

OF_ONE = 64
"""Connections of one address."""
MOST = 1024
"""Connections of all."""
HANDSHAKES = Rate(50, 5.0)
"""Of one address."""
FIRST_REQUEST = 15.0
"""Seconds for the handshake, and again until the first request stands there."""
_ACCEPTS = 16
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE = 1.0


class Door:
    """Serves an application on one bound socket, over TLS where there is a context; `open`, then `close`."""

    def __init__(
        self,
        application: web.Application,
        context: ssl.SSLContext | None,
        journal: Journal,
        clock: Callable[[], float],
    ) -> None:
        self._context = context
        self._journal = journal
        self._clock = clock
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
        application.middlewares.insert(0, self._arrived)
        self._heard: WeakSet[asyncio.BaseTransport] = WeakSet()
        self._coming: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes = Tries(HANDSHAKES)
        self._listener: socket.socket | None = None

    async def open(self, listener: socket.socket) -> None:
        """Serve on a bound socket; it is ours from now on."""
        await self._runner.setup()
        listener.setblocking(False)
        self._listener = listener
        self._listen()

    async def close(self) -> None:
        """Stop listening, let answers under way leave, close every connection."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()

    def held(self, address: str) -> int:
        """The connections of an address, those in their handshake too."""
        return self._coming[address] + sum(_peer(each) == address for each in self._served())

    def _served(self) -> list[asyncio.Transport]:
        server = self._runner.server
        return [each.transport for each in server.connections if each.transport] if server else []

    def _listen(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(_ACCEPTS):
            try:
                sock, address = self._listener.accept()
            except OSError as error:  # none is left, or the client has gone already
                if error.errno in _FULL:
                    loop = asyncio.get_running_loop()
                    loop.remove_reader(self._listener)
                    loop.call_later(_PAUSE, self._listen)
                return
            self._attend(sock, str(address[0]))

    def _attend(self, sock: socket.socket, address: str) -> None:
        if why := self._refusal(address):
            self._journal.refused("api_too_many_connections", why, source=address)
            sock.close()
            return
        sock.setblocking(False)
        self._coming[address] += 1
        task = asyncio.get_running_loop().create_task(self._connected(sock))
        self._tasks.add(task)  # the set keeps what the loop would not
        task.add_done_callback(lambda ended: self._came(ended, address))

    def _refusal(self, address: str) -> str:
        """Why a connection is not taken; empty where it is."""
        if self.held(address) >= OF_ONE:
            return f"more than {OF_ONE} connections from one address"
        if len(self._tasks) + len(self._served()) >= MOST:
            return f"more than {MOST} connections"
        if self._context is not None and not self._handshakes.failed(address, self._clock()):
            return f"more than {HANDSHAKES.per_second:g} TLS handshakes per second from one address"
        return ""

    def _came(self, task: asyncio.Task[None], address: str) -> None:
        self._tasks.discard(task)
        self._coming[address] -= 1
        if not self._coming[address]:
            del self._coming[address]

    async def _connected(self, sock: socket.socket) -> None:
        """Shake hands; a connection without a request after a while is closed."""
        loop = asyncio.get_running_loop()
        limit = FIRST_REQUEST if self._context else None
        try:
            if self._context is not None and await self._plain(sock):
                return
            transport, _ = await loop.connect_accepted_socket(
                self._connection,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=limit,
                ssl_shutdown_timeout=limit,
            )
        except (OSError, TimeoutError):
            return  # it speaks no TLS, or not in time; the socket was the transport's, which has closed it
        loop.call_later(FIRST_REQUEST, self._look, transport)

    def _connection(self) -> Connection:
        assert self._runner.server is not None
        return Connection(self._runner.server, asyncio.get_running_loop(), self._journal)

    async def _plain(self, sock: socket.socket) -> bool:
        """Whether plain HTTP came where TLS is spoken; it is told, and the socket closed. Raises OSError."""
        plain = True
        try:
            async with asyncio.timeout(FIRST_REQUEST):
                plain = await speaks_http(sock)
            if plain:
                tell_to_speak_tls(sock)
        finally:
            if plain:
                sock.close()
        return plain

    def _look(self, transport: asyncio.BaseTransport) -> None:
        if transport not in self._heard and isinstance(transport, asyncio.Transport):
            transport.abort()

    @web.middleware
    async def _arrived(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A request stands there: from now on its own limits count, however long its answer takes."""
        if request.transport is not None:
            self._heard.add(request.transport)
        return await handler(request)


def _peer(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return str(name[0]) if name else ""
