"""The accept point of the boot port: connections, their limits, sockets passed to workers and back.

What is answered stands in `web.boot`. All connections read into one small buffer (asyncio's own of 256 KiB
costs an mmap and a munmap per request). A socket is handed over by dup, pass, close: `transport.abort()`
closes our descriptor without shutting the connection down.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable, Coroutine, Sequence
from email.utils import formatdate
from ipaddress import IPv4Address
from typing import cast

from netboot.boot.key import shortened
from netboot.events import Journal
from netboot.proc import BulkPool, is_bulk_path
from netboot.web.exchange import Request, Response, Site
from netboot.web.http1 import Head, MalformedHead, parse_head, response_head
from netboot.web.peers import Limits, Peers

log = logging.getLogger("netboot.boot_http")

_SCRATCH = 32 * 1024
_LINGER_SECONDS = 2.0
_READING = ("GET", "HEAD")
_NOT_TAKEN = Response(405, b"nothing is taken here\n", fields=(("Allow", ", ".join(_READING)),))
"""To an upload, whose body is not read."""
_WAITS_FOR_WORKER = (0.02, 0.05, 0.1, 0.2, 0.4, 0.0)
"""Seconds between tries to find a worker."""


class Acceptor:
    """Accepts connections on bound sockets, bounds them, and brings their requests to the site."""

    def __init__(
        self, site: Site, *, bulk: BulkPool, journal: Journal, clock: Callable[[], float], limits: Limits
    ) -> None:
        self.site = site
        self.bulk = bulk
        self.journal = journal
        self.limits = limits
        self.scratch = memoryview(bytearray(_SCRATCH))
        self._clock = clock
        self._dated = (-1, "")
        self._peers = Peers(limits, elsewhere=bulk.held, journal=journal, clock=clock)
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return any(server.is_serving() for server in self._servers)

    @property
    def listen_addrs(self) -> list[tuple[str, int]]:
        """The addresses and ports that it listens on."""
        return [s.getsockname()[:2] for server in self._servers for s in server.sockets]

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on bound sockets; they are ours from now on."""
        loop = asyncio.get_running_loop()
        for sock in sockets:
            server = await loop.create_server(lambda: _Connection(self), sock=sock, backlog=1024)
            self._servers.append(server)

    async def stop(self) -> None:
        """Stop listening, end what runs, close every connection; sockets in workers live on."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
        self._servers.clear()

    def adopt(self, fd: int, data: bytes) -> None:
        """Take a socket back from a worker, with the bytes of the next request that it read already."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        self.spawn(self._adopt(sock, data))

    def relayed(self, fd: int, client: str, local: str) -> None:
        """Take a request that came over HTTPS: a socket pair's end, and the addresses of the connection."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        self.spawn(self._relayed(sock, client, local))

    async def _relayed(self, sock: socket.socket, client: str, local: str) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: _Connection(self, (client, local)), sock)
        except OSError:
            sock.close()

    async def _adopt(self, sock: socket.socket, data: bytes) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.connect_accepted_socket(lambda: _Connection(self), sock)
        except OSError:
            sock.close()
            return
        connection.feed(data)

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` beside everything else; kept until it ends, cancelled by `stop`."""
        task = asyncio.get_running_loop().create_task(work)  # the set keeps what the loop would not
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a connection's work failed", exc_info=error)

    def arrived(self, client: str, connection: _Connection) -> bool:
        """Count a connection in; False where its address has too many."""
        self._connections.add(connection)
        # the HTTPS worker has counted the one that a relayed request came over
        return connection.is_relayed or self._peers.arrived(client)

    def left(self, client: str, connection: _Connection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        if not connection.is_relayed:
            self._peers.left(client)

    def may_ask(self, client: str) -> bool:
        """Take one request from the address's bucket; False where it is empty."""
        return self._peers.may_ask(client)

    def _date(self) -> str:
        second = int(self._clock())
        if second != self._dated[0]:
            self._dated = second, formatdate(second, usegmt=True)
        return self._dated[1]

    def render(self, response: Response, *, keep_alive: bool, head_only: bool = False) -> bytes:
        """A response as bytes. `Date` is there for nodes without a clock of their own."""
        fields = [
            ("Date", self._date()),
            ("Cache-Control", "no-store"),
            *([("Content-Type", response.content_type)] if response.body else []),
            *response.fields,
        ]
        raw = response_head(response.status, len(response.body), keep_alive=keep_alive, fields=fields)
        return raw if head_only else raw + response.body


class _Connection(asyncio.BufferedProtocol):
    """One connection: a request at a time, each answered before the next is looked at."""

    def __init__(self, acceptor: Acceptor, relayed: tuple[str, str] | None = None) -> None:
        """`relayed`: the addresses, theirs and ours, of the TLS connection that this request came over."""
        self._acceptor = acceptor
        self._relayed = relayed
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._head: Head | None = None
        self._busy = False
        self._ending = False
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event = asyncio.Event()
        self._drained.set()
        self._client = ""
        self._address = IPv4Address(0)

    @property
    def is_relayed(self) -> bool:
        """Whether it is a request that came over HTTPS, and no connection of a client's."""
        return self._relayed is not None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        name = self._relayed or transport.get_extra_info("peername")
        self._client = name[0] if name else ""
        allowed = self._acceptor.arrived(self._client, self)
        try:
            self._address = IPv4Address(self._client)
        except ValueError:
            allowed = False
        if not allowed:
            self.abort()
            return
        self._set_deadline(self._acceptor.limits.head)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._acceptor.scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._ending:
            return
        self.feed(self._acceptor.scratch[:nbytes])

    def eof_received(self) -> bool:
        return self._busy  # a client that shuts its side down still gets its answer

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drained.set()
        self._ending = True
        self._transport = None
        self._acceptor.left(self._client, self)

    # requests

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes of the stream, from the socket or from a worker that read them before us."""
        if self._transport is None or self._ending:
            return
        if not self._data and not self._busy:
            self._set_deadline(self._acceptor.limits.head)  # a kept-alive connection wakes up
        self._data += data
        if self._busy:
            self._transport.pause_reading()  # the next request waits in the kernel
        else:
            self._advance()

    def _advance(self) -> None:
        """Look whether whole requests are there; if so, answer them or pass them on."""
        while self._data and not self._busy and not self._ending and self._advanced():
            pass

    def _advanced(self) -> bool:
        """Whether the request in front was taken; False where it is not whole yet, or was refused."""
        try:
            head = self._head or parse_head(self._data)
        except MalformedHead as error:
            self._refuse(error.status, str(error))
            return False
        if head is None:
            return False
        if self._head is None and not self._admit(head):
            return False
        if len(self._data) < head.size + head.length:
            return False
        self._begin(head)
        return True

    def _admit(self, head: Head) -> bool:
        """A new head: rate, body limit, and what a client waits for before it sends its body."""
        self._head = head
        if not self._acceptor.may_ask(self._client):
            self._end_with(Response(429, b"too many requests\n", fields=(("Retry-After", "1"),)))
            return False
        limit = 0 if is_bulk_path(head.path) else self._acceptor.site.body_limit(head)
        if head.length > limit:
            if limit == 0 and head.method not in _READING:
                self._end_with(_NOT_TAKEN)
            else:
                self._refuse(413, f"a body of {head.length} bytes, {limit} are allowed")
            return False
        if head.length and head.headers.get("expect", "").lower() == "100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._set_deadline(self._acceptor.limits.body)
        return True

    def _begin(self, head: Head) -> None:
        """Answer at once what is known already; all else becomes a task, which costs as much again."""
        self._busy = True
        if is_bulk_path(head.path):
            self._clear_deadline()
            self._acceptor.spawn(self._pass_on())
        elif response := self._known(head):
            self._write(head, response)
            if self._drained.is_set():
                self._next(head.size, head.keep_alive)
            else:
                self._acceptor.spawn(self._go_on(head))
        else:
            self._clear_deadline()
            self._acceptor.spawn(self._serve(head))

    def _known(self, head: Head) -> Response | None:
        if self._relayed is not None:
            return None
        return self._acceptor.site.known(head, self._address)

    async def _serve(self, head: Head) -> None:
        body = bytes(self._data[head.size : head.size + head.length])
        response = await self._guarded(head, body)
        if self._transport is not None:
            self._write(head, response)
            await self._go_on(head)

    def _write(self, head: Head, response: Response) -> None:
        assert self._transport is not None
        log.debug("%s %s %s: %d", self._client, head.method, shortened(head.path), response.status)
        raw = self._acceptor.render(response, keep_alive=head.keep_alive, head_only=head.method == "HEAD")
        self._set_deadline(self._acceptor.limits.write)
        self._transport.write(raw)

    async def _go_on(self, head: Head) -> None:
        """Wait until the answer has left; then the next request is looked at."""
        await self._drained.wait()
        self._next(head.size + head.length, head.keep_alive)
        self._advance()

    async def _guarded(self, head: Head, body: bytes) -> Response:
        """The site's answer; whatever goes wrong in it ends this request, not the daemon."""
        assert self._transport is not None
        local = self._relayed[1] if self._relayed else self._transport.get_extra_info("sockname")[0]
        try:
            request = Request(head, body, self._address, IPv4Address(local), self._relayed is not None)
            return await self._acceptor.site.answer(request)
        except Exception:
            log.exception("%s %s failed", head.method, shortened(head.path))
            text = "a request failed inside the appliance"
            self._acceptor.journal.refused("http_internal_error", text, source=self._client)
            return Response(500, b"the appliance failed at this request, its log says why\n")

    def _next(self, consumed: int, keep_alive: bool) -> None:
        if self._transport is None:
            return
        if not keep_alive:
            self._transport.close()
            return
        del self._data[:consumed]
        self._busy, self._head = False, None
        self._set_deadline(self._acceptor.limits.head if self._data else self._acceptor.limits.idle)
        self._transport.resume_reading()

    async def _pass_on(self) -> None:
        """Hand the socket with all that was read to a worker; answer 503 where none is up."""
        if self._transport is None:
            return
        self._transport.pause_reading()
        boot_id = await self._boot_id()
        await self._drained.wait()
        if self._transport is None:
            return
        assert self._head is not None
        method, path = self._head.method, self._head.path
        if wait := self._acceptor.site.admit(method, path, self._address, boot_id):
            later = (("Retry-After", str(wait.seconds)),)
            self._end_with(Response(503, f"{wait}\n".encode(), fields=later))
            return
        if await self._handed_over(boot_id):
            self.abort()
        else:
            busy = b"no process is up to send this, ask again\n"
            self._end_with(Response(503, busy, fields=(("Retry-After", "2"),)))

    async def _handed_over(self, boot_id: str | None) -> bool:
        """Give the socket to a worker; right after a start none is up yet, and firmware asks only once."""
        for pause in _WAITS_FOR_WORKER:
            if self._transport is None:
                return True  # the client did not wait
            fd = self._transport.get_extra_info("socket").fileno()
            if self._acceptor.bulk.hand_over(fd, bytes(self._data), boot_id=boot_id, client=self._client):
                return True
            await asyncio.sleep(pause)
        return False

    async def _boot_id(self) -> str | None:
        try:
            return await self._acceptor.site.boot_at(self._address)
        except Exception:
            log.exception("the boot of %s could not be found", self._client)
            return None

    # endings

    def abort(self) -> None:
        """Close our descriptor now, without a word and without shutting the connection down."""
        self._ending = True
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, status: int, reason: str) -> None:
        self._acceptor.journal.refused("http_refused", reason, source=self._client)
        self._end_with(Response(status, reason.encode() + b"\n"))

    def _end_with(self, response: Response) -> None:
        """Answer and close, reading on for a moment: closing over unread bytes would destroy the answer."""
        if self._transport is None:
            return
        self._ending = True
        head_only = self._head is not None and self._head.method == "HEAD"
        self._transport.write(self._acceptor.render(response, keep_alive=False, head_only=head_only))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._set_deadline(_LINGER_SECONDS)

    def _set_deadline(self, seconds: float) -> None:
        """Abort in `seconds`. A timer that runs out too early is set anew: cheaper than one per change."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(self._due, self._look_at_deadline)

    def _clear_deadline(self) -> None:
        self._due = math.inf

    def _look_at_deadline(self) -> None:
        self._timer = None
        if asyncio.get_running_loop().time() >= self._due:
            self._too_late()
        elif self._due != math.inf:
            self._timer = asyncio.get_running_loop().call_at(self._due, self._look_at_deadline)

    def _too_late(self) -> None:
        if not self._ending and self._data:
            self._acceptor.journal.counters["http_too_slow"] += 1
        self.abort()
