"""A bulk worker: serves /images, /files and /programs on sockets that control hands over.

One process, one epoll, `sendfile` from the page cache; a slow reader costs one descriptor and some hundred
bytes, and a file that is not in the page cache is waited for by threads (`netboot.cold`), not by the loop.
The worker answers its own paths and passes a kept-alive connection back to control when it asks for
another one. What a file's request is answered stands in `web.static`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from netboot.cold import Warmer, is_cached
from netboot.errors import MalformedPacket, Refused
from netboot.proc import is_bulk_path
from netboot.proc.helper import Line, last_resort, served
from netboot.proc.messages import Message
from netboot.tree import Opened, Served
from netboot.web.http1 import MAX_HEAD, Head, MalformedHead, parse_head
from netboot.web.pace import Pace
from netboot.web.static import (
    HEAD_TIME,
    IDLE_TIME,
    METHODS,
    STALL_TIME,
    Reply,
    open_path,
    refusal,
    respond,
)

CHUNK: Final = 2 << 20
"""Bytes that one connection gets before the next one has its turn (measured: 1 MiB costs 20 % more)."""
TICK: Final = 0.5
PACED: Final = 0.01
"""Seconds that a download rests when the shared bandwidth is used up."""
_REQUESTS_AT_ONCE: Final = 16  # pipelined requests answered before the next connection has its turn
_ITEMS: Final = 100  # per message: they stay far below the message limit
_INT: Final = struct.Struct("i")


@dataclass(eq=False, slots=True)
class _Connection:
    """One client: either collecting a request head, or sending."""

    sock: socket.socket
    buffer: bytes
    boot_id: str | None
    client: str
    since: float
    """When the present state last moved."""
    first: bool = True
    """Control chose us for this request: it is never passed back."""
    out: bytes = b""
    """Answer bytes before the file's."""
    opened: Opened | None = None
    offset: int = 0
    stop: int = 0
    acknowledged: int = 0
    warm: int = 0
    """The file is in the page cache up to here, or was brought there for us."""
    resting: bool = False
    """Threads fetch what comes next, or the bandwidth is used up."""
    path: str = ""
    keep: bool = True
    closing: bool = False
    wanted: int = select.EPOLLIN

    @property
    def sending(self) -> bool:
        """An answer is on its way."""
        return bool(self.out) or self.opened is not None


class Worker:
    """The loop of one bulk process."""

    def __init__(self, channel: socket.socket) -> None:
        self._line = Line(channel)
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._warmer: Warmer[_Connection] = Warmer()
        self._epoll.register(self._warmer.fileno(), select.EPOLLIN)
        self._connections: dict[int, _Connection] = {}
        self._served: Served | None = None
        self._pace = Pace()
        self._paced: list[_Connection] = []  # rest until the bucket has filled a little
        self._limit = 0  # requests of one client address in a tick
        self._asked: Counter[str] = Counter()  # requests of each address in this tick
        self._closed: Counter[str] = Counter()  # connections that ended since we last told control
        self._draining = False
        self._terminated = False
        self._ready_again: dict[int, _Connection] = {}  # hold whole requests: no event will say so

    def run(self) -> None:
        """Serve until control says drain (or is gone) and the last running download has ended."""
        signal.signal(signal.SIGTERM, self._terminate)
        self._line.tell("ready", {})
        next_tick = time.monotonic() + TICK
        while not (self._draining and not self._connections):
            timeout = 0.0 if self._ready_again else max(0.0, next_tick - time.monotonic())
            timeout = min(timeout, PACED) if self._paced else timeout
            for fd, events in self._epoll.poll(timeout if self._connections or self._closed else TICK * 4):
                self._event(fd, events)
            paced, self._paced = self._paced, []
            for connection in paced:
                self._wake(connection)
            again, self._ready_again = self._ready_again, {}
            for connection in again.values():
                self._advance(connection)
            now = time.monotonic()
            if now >= next_tick:
                self._tick(now)
                next_tick = now + TICK
            if self._terminated:
                self._drain()
        self._tick(time.monotonic())

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    # --- control -------------------------------------------------------------------------------------

    def _event(self, fd: int, events: int) -> None:
        if fd == self._line.fileno():
            self._hear()
        elif fd == self._warmer.fileno():
            for connection in self._warmer.done():
                self._wake(connection)
        elif found := self._connections.get(fd):
            if events & (select.EPOLLHUP | select.EPOLLERR):
                self._close(found)
            else:
                self._advance(found)

    def _wake(self, connection: _Connection) -> None:
        """Go on with a connection that rested, if it is still there."""
        connection.resting = False
        if self._connections.get(connection.sock.fileno()) is connection:
            self._advance(connection)

    def _hear(self) -> None:
        while (message := self._line.receive()) is not None:
            if message.op == "connection" and len(message.fds) == 1:
                self._adopt(message)
                continue
            message.close()
            self._obey(message)
        if self._line.gone:
            self._epoll.unregister(self._line.fileno())
            self._drain()

    def _obey(self, message: Message) -> None:
        if message.op == "configure":
            self._served = served(message)
            self._limit = 1 + int(message.number("requests") * TICK)
        elif message.op == "pace":
            self._pace.set(message.number("rate"))
        elif message.op == "drain":
            self._drain()

    def _adopt(self, message: Message) -> None:
        try:
            sock = socket.socket(fileno=message.fds[0])
        except OSError:  # no socket: nothing to answer on
            message.close()
            self._closed[message.text("client", limit=64)] += 1
            return
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # an answer's last bytes wait for nothing
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(
            sock,
            message.blob,
            message.optional_text("boot_id", limit=256),
            message.text("client", limit=64),
            time.monotonic(),
        )
        self._connections[sock.fileno()] = connection
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        if self._draining:
            self._close(connection)
        else:
            self._advance(connection)

    def _drain(self) -> None:
        """Take nothing new; let running downloads finish; idle connections end now."""
        if not self._draining:
            self._draining = True
            last_resort()
            for connection in list(self._connections.values()):
                connection.closing = True
                if not connection.sending:
                    self._close(connection)

    # --- one connection ------------------------------------------------------------------------------

    def _advance(self, connection: _Connection) -> None:
        """Go on with a connection as far as it goes without waiting, but not longer than its turn."""
        try:
            for _ in range(_REQUESTS_AT_ONCE):
                if connection.sending and not self._send(connection):
                    return
                if not self._next_request(connection):
                    return
            self._ready_again[connection.sock.fileno()] = connection
        except OSError:
            self._close(connection)

    def _next_request(self, connection: _Connection) -> bool:
        """Begin the next request; False when there is none yet, or the connection is no longer ours."""
        try:
            head = parse_head(connection.buffer) if connection.buffer else None
            while head is None:
                data = self._read(connection)
                if not data:
                    return False
                connection.buffer += data
                head = parse_head(connection.buffer)
        except MalformedHead as error:
            self._refused("http_malformed", str(error), connection)
            self._reply(connection, refusal(None, error.status, str(error)), None)
            return True
        if not connection.first and not is_bulk_path(head.path):
            self._give_back(connection)
            return False
        connection.first = False
        connection.buffer = connection.buffer[head.size :]
        connection.path = head.path
        reply, opened = self._answer(head, connection)
        self._reply(connection, reply, opened)
        return True

    def _read(self, connection: _Connection) -> bytes:
        """More of the request head; empty when there is nothing now, or the connection was closed."""
        try:
            data = connection.sock.recv(MAX_HEAD + 1 - len(connection.buffer))
        except BlockingIOError:
            return b""
        if not data:
            self._close(connection)
        elif not connection.buffer:  # a head has HEAD_TIME from its first byte, however it trickles
            connection.since = time.monotonic()
        return data

    def _answer(self, head: Head, connection: _Connection) -> tuple[Reply, Opened | None]:
        self._asked[connection.client] += 1
        if self._asked[connection.client] > self._limit:
            self._refused("http_too_many_requests", "more requests than server.boot_limits has", connection)
            return refusal(head, 429, "too many requests, ask again later"), None
        if head.method not in METHODS:
            return refusal(head, 405, f"{head.method} is not taken here, only GET and HEAD"), None
        if self._served is None:
            return refusal(head, 503, "this worker is not configured yet; ask again"), None
        try:
            opened = open_path(self._served, head.path)
        except Refused as error:
            if error.status != 404:
                self._refused("http_refused", f"{head.path[:200]!r}: {error.reason}", connection)
            return refusal(head, error.status, error.reason), None
        reply = respond(head, opened)
        if reply.start == reply.stop:
            os.close(opened.fd)
            return reply, None
        return reply, opened

    def _reply(self, connection: _Connection, reply: Reply, opened: Opened | None) -> None:
        connection.out = reply.head
        connection.opened = opened
        if opened is not None:
            _cork(connection.sock, True)
        connection.offset = connection.acknowledged = reply.start
        connection.stop, connection.warm = reply.stop, reply.start
        connection.keep = reply.keep_alive
        connection.since = time.monotonic()

    def _send(self, connection: _Connection) -> bool:
        """Send on; True when the answer is complete and the connection stays for another request."""
        try:
            if connection.out:
                sent = connection.sock.send(connection.out)
                connection.out = connection.out[sent:]
            complete = not connection.out and self._send_file(connection)
        except BlockingIOError:
            complete = False
        if not complete:
            self._want(connection, 0 if connection.resting else select.EPOLLOUT)
            return False
        if not connection.keep or connection.closing:
            self._finish_close(connection)
            return False
        self._want(connection, select.EPOLLIN)
        return True

    def _send_file(self, connection: _Connection) -> bool:
        """One turn of this download; True when its last byte was given to the kernel (or there is none)."""
        if connection.opened is None:
            return True
        if connection.offset == connection.warm and not self._warmed(connection):
            return False
        turn = self._portion(connection)
        if turn == 0:
            connection.resting = True
            self._paced.append(connection)
            return False
        sent = 0
        try:
            sent = os.sendfile(connection.sock.fileno(), connection.opened.fd, connection.offset, turn)
        finally:
            self._pace.give_back(turn - sent)
        if sent == 0:
            raise OSError(errno.EIO, "the file became shorter while it was sent")
        connection.offset += sent
        connection.since = time.monotonic()
        if connection.offset < connection.stop:
            return False
        self._end_download(connection)
        return True

    def _portion(self, connection: _Connection) -> int:
        """Bytes that may be sent at this turn; images share a bandwidth where `server.storm` says so."""
        turn = connection.warm - connection.offset
        if not (self._pace.limited and connection.path.startswith("/images/")):
            return turn
        return self._pace.take(turn, time.monotonic())

    def _warmed(self, connection: _Connection) -> bool:
        """Whether the next turn's bytes can be sent now; else threads fetch them and the connection rests."""
        assert connection.opened is not None
        offset, file = connection.offset, connection.opened.fd
        length = min(CHUNK, connection.stop - offset)
        connection.warm = offset + length
        if is_cached(file, offset, length):
            return True
        connection.resting = True
        self._warmer.warm(connection, file, offset, length)
        return False

    def _end_download(self, connection: _Connection) -> None:
        """Close the file and tell how far it came."""
        if connection.opened is not None:
            self._line.owe("progress", {"items": [self._progress(connection, done=True)]})
            os.close(connection.opened.fd)
            connection.opened = None
            _cork(connection.sock, False)

    def _progress(self, connection: _Connection, *, done: bool) -> list[object]:
        assert connection.opened is not None
        whole = done and connection.offset == connection.stop
        sent = connection.offset if whole else _acknowledged(connection)
        return [connection.boot_id, connection.client, connection.path, sent, connection.opened.size, done]

    def _want(self, connection: _Connection, events: int) -> None:
        """What to be woken for; 0: only that the client is gone."""
        if connection.wanted != events:
            connection.wanted = events
            self._epoll.modify(connection.sock.fileno(), events)

    def _give_back(self, connection: _Connection) -> None:
        """The next request is control's: pass the socket back with the bytes already read."""
        self._forget(connection)
        body = {"client": connection.client}
        if self._line.tell("return", body, blob=connection.buffer, fds=(connection.sock.fileno(),)):
            connection.sock.close()
            return
        self._closed[connection.client] += 1
        connection.sock.close()  # control is away: the client connects anew and finds it there

    def _finish_close(self, connection: _Connection) -> None:
        """Close after a complete answer; unread bytes of a body must not turn it into a reset."""
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_WR)
            connection.sock.recv(65536)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        if connection.sock.fileno() in self._connections:
            self._end_download(connection)
            self._forget(connection)
            connection.sock.close()
            self._closed[connection.client] += 1

    def _forget(self, connection: _Connection) -> None:
        fd = connection.sock.fileno()
        self._epoll.unregister(fd)
        del self._connections[fd]
        self._ready_again.pop(fd, None)

    def _refused(self, kind: str, text: str, connection: _Connection) -> None:
        self._line.report(kind, text, connection.client)

    # --- time ----------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        for connection in [c for c in self._connections.values() if now - c.since > _patience(c)]:
            self._close(connection)
        running = [self._progress(c, done=False) for c in self._connections.values() if c.opened]
        for items in _batches(running):
            self._line.tell("progress", {"items": items})
        self._line.flush()
        self._asked.clear()
        for closed in _batches([[client, count] for client, count in self._closed.items()]):
            self._line.owe("closed", {"items": closed})
        self._closed.clear()


def _cork(sock: socket.socket, corked: bool) -> None:
    """Full segments only while a file is on its way: a third less CPU per byte; loosed, the rest leaves."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, corked)


def _acknowledged(connection: _Connection) -> int:
    """The highest byte that the client's kernel has acknowledged: what we gave ours, less its queue."""
    try:
        raw = fcntl.ioctl(connection.sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        raw = bytes(4)
    (queued,) = _INT.unpack(raw)
    acknowledged: int = max(connection.acknowledged, connection.offset - queued)
    if acknowledged > connection.acknowledged:
        connection.acknowledged = acknowledged
        connection.since = time.monotonic()  # it moves, however slowly
    return acknowledged


def _patience(connection: _Connection) -> float:
    if connection.sending:
        return STALL_TIME
    return HEAD_TIME if connection.buffer else IDLE_TIME


def _batches(items: list[list[object]]) -> Iterator[list[list[object]]]:
    for start in range(0, len(items), _ITEMS):
        yield items[start : start + _ITEMS]


def main(channel: socket.socket) -> None:
    """The forker's entry: be a bulk worker on this channel until the end."""
    with contextlib.suppress(MalformedPacket):  # control speaks another language: nothing left to do
        Worker(channel).run()
