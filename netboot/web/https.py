"""A worker of the HTTPS listener: ends TLS, sends files itself, relays everything else to control.

A TLS connection cannot change its process, so these workers accept for themselves. Certificate and key come
over the channel, for a helper may not read them. What belongs to control travels through a socket pair per
request, together with the client's address; a download of `/images` begins when control admits it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import gc
import os
import signal
import socket
import ssl
import struct
import termios
import time
from asyncio import sslproto
from collections import Counter
from dataclasses import dataclass
from typing import Final

from netboot.cold import is_cached
from netboot.errors import MalformedPacket, Refused
from netboot.proc import Place, is_bulk_path
from netboot.proc.helper import Line, last_resort, served
from netboot.proc.messages import Message
from netboot.tree import Opened, Served
from netboot.web.http1 import MAX_HEAD, Head, MalformedHead, parse_head, response_head
from netboot.web.pace import Pace
from netboot.web.static import HEAD_TIME, IDLE_TIME, METHODS, STALL_TIME, open_path, refusal, respond

HANDSHAKE_TIME: Final = 10.0
"""Seconds that a handshake may take."""
PIECE: Final = 128 << 10
"""Bytes of a file that are read and encrypted at a time; the next ones when these have gone to the kernel."""
TICK: Final = 0.5
MOST: Final = 2000
"""Connections of one worker; TLS costs some 50 KiB each."""
PACED: Final = 0.02
"""Seconds that a download rests when the shared bandwidth is used up."""
ENDED: Final = 64
"""Connections that have ended until their memory is given back, while others stand."""
ENDED_ALL: Final = 8
"""The same when none stands."""
_ADMISSION_TIME: Final = 5.0
_ACCEPTS: Final = 16  # connections taken before the loop goes on
_RECEIVE: Final = 16 << 10  # one record of TLS
_ALL: Final = 1 << 62
_INT: Final = struct.Struct("i")
_LONGEST_ANSWER: Final = 64 << 20


@dataclass(eq=False, slots=True)
class _Download:
    """A file on its way, for the reports to control."""

    boot_id: str | None
    client: _Client
    path: str
    size: int
    sent: int
    """Up to here it was given to TLS."""
    acknowledged: int
    """Up to here the client's kernel surely has it."""

    def progress(self, *, done: bool, whole: bool = False) -> list[object]:
        """What control is told; the exact size where the `whole` was sent."""
        behind = self.sent - self.client.queued()
        self.acknowledged = self.sent if whole else max(self.acknowledged, behind)
        return [self.boot_id, self.client.address, self.path, self.acknowledged, self.size, done]


@dataclass(eq=False, slots=True)
class _Client:
    """One TLS connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    address: str
    local: str
    busy: bool = False

    def queued(self) -> int:
        """Octets that wait here and in our kernel (its own count is of encrypted ones: a little more)."""
        transport = self.writer.transport
        sock = transport.get_extra_info("socket")
        try:
            raw = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)) if sock else None
        except (OSError, ValueError):
            raw = None
        if raw is None:
            return _ALL  # it is closed: no more than we know has arrived
        (waiting,) = _INT.unpack(raw)
        return transport.get_write_buffer_size() + int(waiting)


class Terminator:
    """The loop of one HTTPS process."""

    def __init__(self, channel: socket.socket) -> None:
        self._line = Line(channel)
        self._served: Served | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._listeners: list[socket.socket] = []
        self._limit = 1 << 30  # connections of one address
        self._held: dict[str, list[asyncio.Task[None]]] = {}  # of each address, the newest last
        self._closed: Counter[str] = Counter()  # connections that ended since we last told control
        self._ended = 0  # connections whose memory was not given back yet
        self._pace = Pace()
        self._clients: set[_Client] = set()
        self._downloads: set[_Download] = set()
        self._questions: dict[int, asyncio.Future[Place]] = {}
        self._asked = 0
        self._draining = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until control says drain (or is gone) and the last answer has left."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._line.fileno(), self._hear)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._drain)
        self._line.tell("ready", {})
        while not (self._draining.is_set() and not any(c.busy for c in self._clients)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._draining.wait()
            if self._draining.is_set():
                await asyncio.sleep(TICK / 10)
            self._tick()
        for client in self._clients:
            client.writer.transport.abort()

    # --- control -------------------------------------------------------------------------------------

    def _hear(self) -> None:
        while (message := self._line.receive()) is not None:
            self._obey(message)
        if self._line.gone:
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            self._drain()

    def _obey(self, message: Message) -> None:
        if message.op == "configure":
            self._served = served(message)
            self._limit = message.number("connections")
            self._certify(message.blob)
            for fd in message.fds:
                self._listen(socket.socket(fileno=fd))
            return
        message.close()
        if message.op == "certificate":
            self._certify(message.blob)
        elif message.op == "place":
            answer = self._questions.pop(message.number("id"), None)
            if answer is not None and not answer.done():
                wait, reason = message.number("wait", highest=3600), message.text("reason")
                answer.set_result(Place(message.optional_text("boot_id", limit=256), wait, reason))
        elif message.op == "pace":
            self._pace.set(message.number("rate"))
        elif message.op == "close" and (held := self._held.get(message.text("client", limit=64))):
            held[-1].cancel()
        elif message.op == "drain":
            self._drain()

    def _certify(self, pem: bytes) -> None:
        """Take certificate chain and key, one text of PEM; connections that stand keep what they have."""
        handle = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(handle, pem)
            self._context.load_cert_chain(f"/proc/self/fd/{handle}", password="")
        except (OSError, ValueError) as error:  # control looked at it before: a race with a half-written file
            self._line.report("https_certificate", f"the certificate cannot be used: {error}", "")
        finally:
            os.close(handle)

    def _listen(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._listeners.append(sock)
        asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _drain(self) -> None:
        if not self._draining.is_set():
            self._draining.set()
            last_resort()
            for sock in self._listeners:
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()
            for client in self._clients:
                if not client.busy:
                    client.writer.transport.abort()

    def _tick(self) -> None:
        running = [download.progress(done=False) for download in self._downloads]
        for start in range(0, len(running), 100):
            self._line.tell("progress", {"items": running[start : start + 100]})
        closed: list[list[object]] = [[client, count] for client, count in self._closed.items()]
        for start in range(0, len(closed), 100):
            self._line.owe("closed", {"items": closed[start : start + 100]})
        self._ended += self._closed.total()
        if self._ended >= (ENDED if self._tasks else ENDED_ALL):
            self._ended = 0
            give_back()
        self._closed.clear()
        self._line.flush()

    # --- one connection ------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        """Take what waits; a connection counts from here on, so half a handshake does, too."""
        for _ in range(_ACCEPTS):
            try:
                sock, (address, _) = listener.accept()
            except OSError:  # none is left, or the client has gone already
                return
            if self._may_stay(address):
                self._attend(sock, address)
            else:
                sock.close()

    def _may_stay(self, address: str) -> bool:
        if len(self._held.get(address, ())) >= self._limit:
            text = f"more than {self._limit} connections from one address"
            self._line.report("http_too_many_connections", text, address)
            return False
        return len(self._tasks) < MOST

    def _attend(self, sock: socket.socket, address: str) -> None:
        """Serve a connection; control counts it too, as others may hold some of the same address."""
        task = asyncio.get_running_loop().create_task(self._connected(sock, address))
        self._tasks.add(task)
        self._held.setdefault(address, []).append(task)
        self._line.tell("opened", {"client": address})
        task.add_done_callback(lambda ended: self._left(ended, address))

    def _left(self, task: asyncio.Task[None], address: str) -> None:
        self._tasks.discard(task)
        self._closed[address] += 1
        held = self._held[address]
        held.remove(task)
        if not held:
            del self._held[address]

    async def _connected(self, sock: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_HEAD, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            sock.setblocking(False)
            local = sock.getsockname()[0]
        except OSError:  # it is gone already
            sock.close()
            return
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, sock, ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIME, ssl_shutdown_timeout=HANDSHAKE_TIME,
            )  # fmt: skip
        except (OSError, TimeoutError, asyncio.CancelledError):
            return  # it speaks no TLS, or not in time; the socket was the transport's, which has closed it
        transport.set_write_buffer_limits(high=1)  # a slow reader keeps two pieces in memory, not ten
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        await self._converse(_Client(reader, writer, address, local))

    async def _converse(self, client: _Client) -> None:
        """Answer requests until one side has had enough; the last answer leaves before we forget it."""
        self._clients.add(client)
        try:
            while await self._request(client) and not self._draining.is_set():
                client.busy = False
            client.writer.close()
            async with asyncio.timeout(STALL_TIME):
                await client.writer.wait_closed()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, asyncio.CancelledError):
            client.writer.transport.abort()  # the client went away, took too long, or had to go
        finally:
            self._clients.discard(client)

    async def _request(self, client: _Client) -> bool:
        """Answer one request; whether another one may follow."""
        try:
            raw = await self._head(client)
            head = parse_head(raw)
            assert head is not None
        except MalformedHead as error:
            self._line.report("http_malformed", str(error), client.address)
            await self._send(client, refusal(None, error.status, str(error)).head)
            return False
        except asyncio.LimitOverrunError:
            await self._send(client, refusal(None, 431, "the request head is longer than 8 KiB").head)
            return False
        if is_bulk_path(head.path):
            return await self._file(client, head)
        return await self._relay(client, head, raw)

    async def _head(self, client: _Client) -> bytes:
        async with asyncio.timeout(IDLE_TIME):
            first = await client.reader.readexactly(1)
        client.busy = True
        async with asyncio.timeout(HEAD_TIME):
            return first + await client.reader.readuntil(b"\r\n\r\n")

    async def _send(self, client: _Client, data: bytes) -> None:
        async with asyncio.timeout(STALL_TIME):
            client.writer.write(data)
            await client.writer.drain()

    # --- files ---------------------------------------------------------------------------------------

    async def _file(self, client: _Client, head: Head) -> bool:
        if head.method not in METHODS:
            reply = refusal(head, 405, f"{head.method} is not taken here, only GET and HEAD")
            await self._send(client, reply.head)
            return reply.keep_alive
        place = await self._place(client, head)
        if place.wait:
            await self._send(client, _wait(place, head.keep_alive))
            return head.keep_alive
        try:
            if self._served is None:
                raise Refused(503, "this worker is not configured yet; ask again")
            opened = open_path(self._served, head.path)
        except Refused as error:
            reply = refusal(head, error.status, error.reason)
            await self._send(client, reply.head)
            return reply.keep_alive
        try:
            return await self._file_content(client, head, opened, place.boot_id)
        finally:
            os.close(opened.fd)

    async def _file_content(self, client: _Client, head: Head, opened: Opened, boot_id: str | None) -> bool:
        reply = respond(head, opened)
        await self._send(client, reply.head)
        if reply.start == reply.stop:
            return reply.keep_alive
        download = _Download(boot_id, client, head.path, opened.size, reply.start, reply.start)
        self._downloads.add(download)
        try:
            while download.sent < reply.stop:
                piece = await self._piece(opened.fd, download, reply.stop)
                await self._send(client, piece)
                download.sent += len(piece)
        finally:
            self._downloads.discard(download)
            item = download.progress(done=True, whole=download.sent == reply.stop)
            self._line.owe("progress", {"items": [item]})
        return reply.keep_alive

    async def _piece(self, fd: int, download: _Download, stop: int) -> bytes:
        """The next bytes of a file, when the shared bandwidth has some left; threads wait for a disk."""
        wanted = min(PIECE, stop - download.sent)
        if download.path.startswith("/images/"):
            while (length := self._pace.take(wanted, time.monotonic())) == 0:  # noqa: ASYNC110 - it is time
                await asyncio.sleep(PACED)
            wanted = length
        if is_cached(fd, download.sent, wanted):
            piece = os.pread(fd, wanted, download.sent)
        else:
            piece = await asyncio.to_thread(os.pread, fd, wanted, download.sent)
        if not piece:
            raise EOFError("the file became shorter while it was sent")
        return piece

    async def _place(self, client: _Client, head: Head) -> Place:
        """Ask control whose boot this is, and whether it may download now."""
        self._asked += 1
        answer = self._questions[self._asked] = asyncio.get_running_loop().create_future()
        question = {"id": self._asked, "method": head.method, "path": head.path, "client": client.address}
        number = self._asked
        try:
            if not self._line.tell("place", question):
                return Place()
            async with asyncio.timeout(_ADMISSION_TIME):
                place: Place = await answer
                return place
        except TimeoutError:
            return Place()  # control is away: a running rack is not held up by that
        finally:
            self._questions.pop(number, None)

    # --- relay ---------------------------------------------------------------------------------------

    async def _relay(self, client: _Client, head: Head, raw: bytes) -> bool:
        """Let control answer, through a socket pair of this request alone."""
        ours, theirs = socket.socketpair()
        with theirs:
            facts = {"client": client.address, "local": client.local}
            if not self._line.tell("relay", facts, fds=(theirs.fileno(),)):
                ours.close()
                busy = refusal(head, 503, "the appliance restarts, ask again")
                await self._send(client, busy.head)
                return False
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_HEAD)
        sending = asyncio.get_running_loop().create_task(self._body(client, writer, raw, head.length))
        try:
            keep = await self._answer(client, reader, head)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, EOFError):
                await sending
            writer.close()
        return keep and not sending.cancelled()

    async def _body(self, client: _Client, writer: asyncio.StreamWriter, raw: bytes, length: int) -> None:
        writer.write(raw)
        while length:
            piece = await client.reader.read(min(length, PIECE))
            if not piece:
                raise EOFError
            writer.write(piece)
            await writer.drain()
            length -= len(piece)
        await writer.drain()

    async def _answer(self, client: _Client, reader: asyncio.StreamReader, head: Head) -> bool:
        """Copy control's answer, a 100 Continue before it too; whether the connection may stay."""
        async with asyncio.timeout(STALL_TIME):
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                await self._send(client, raw)
                status, length, keep = _framing(raw)
                if status != 100:
                    break
            left = 0 if head.method == "HEAD" or status in (204, 304) else min(length, _LONGEST_ANSWER)
            while left:
                piece = await reader.readexactly(min(left, PIECE))
                await self._send(client, piece)
                left -= len(piece)
        return keep and head.keep_alive


def give_back() -> None:
    """Return to the system what ended connections had: cycles, and what glibc keeps for itself."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none, and keeps nothing
    if trim is not None:
        trim(0)


def _framing(raw: bytes) -> tuple[int, int, bool]:
    """Status, Content-Length and keep-alive of an answer of our own control process."""
    first, *lines = raw.decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    return int(first.split()[1]), int(fields.get("content-length", "0")), fields.get("connection") != "close"


def _wait(place: Place, keep_alive: bool) -> bytes:
    body = f"{place.reason}\n".encode()
    fields = [("Retry-After", str(place.wait)), ("Content-Type", "text/plain; charset=utf-8")]
    return response_head(503, len(body), keep_alive=keep_alive, fields=fields) + body


def main(channel: socket.socket) -> None:
    """The forker's entry: be an HTTPS worker on this channel until the end."""
    # asyncio keeps a receive buffer of 256 KiB for each connection, all of it in memory
    sslproto.SSLProtocol.max_size = _RECEIVE
    with contextlib.suppress(MalformedPacket):  # control speaks another language: nothing left to do
        asyncio.run(_run(channel))


async def _run(channel: socket.socket) -> None:
    await Terminator(channel).run()
