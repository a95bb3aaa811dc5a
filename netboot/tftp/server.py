"""The TFTP process: epoll, one connected socket per transfer, a whole window in one system call.

Control gives it the listening sockets (one per address of ours, so an answer comes from the address that
was asked), the directories and the limits; per-machine names are asked of control over the channel.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import math
import os
import re
import select
import signal
import socket
import struct
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

from netboot.errors import MalformedPacket, Refused
from netboot.proc.helper import REPORTS, Line, last_resort, served
from netboot.proc.messages import Message, close_all
from netboot.tftp import wire
from netboot.tftp.transfer import DEFAULT_BLKSIZE, ETHERNET_BLKSIZE, Action, End, Send, Transfer, negotiate
from netboot.tftp.wire import HEADER, ErrorCode, Opcode, Request
from netboot.tree import Opened, Served, split_name

PER_MACHINE: Final = re.compile(
    r"(?:.*/)?(?:autoexec\.ipxe|grub\.cfg(?:-[^/]*)?|pxelinux\.cfg/[^/]+)", re.IGNORECASE | re.DOTALL
)
"""Names that control is asked for before any file: their content depends on who asks."""
ANSWER_TIME: Final = 5.0
"""Seconds that control may take; later the client's own repetition asks anew."""
CACHE_BYTES: Final = 32 << 20
CACHED_FILE: Final = 8 << 20
TICK: Final = 0.5
_LISTEN_BATCH: Final = 32
_MAX_PENDING: Final = 256
_MAX_ASKS: Final = 250  # of control, per tick: a flood of requests must not keep it busy
_SOL_UDP, _UDP_SEGMENT, _UDP_PAYLOAD = 17, 103, 65507
_SEGMENTS: Final = 64  # that one UDP_SEGMENT send may hold in every kernel (UDP_MAX_SEGMENTS)
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT, _IP_MTU = 10, 0, 14
_IOV: Final = 512
_BATCH_ITEMS: Final = 100

Peer = tuple[str, int]


class Source(Protocol):
    """A file as datagrams."""

    stride: int
    """Bytes of a whole datagram."""

    def datagrams(self, first: int, count: int) -> memoryview:
        """Blocks `first` and on, each behind its header, in one piece; raises OSError."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class WireImage:
    """A whole file as it goes over the wire, kept for everybody who asks with this block size."""

    def __init__(self, content: bytearray, stride: int) -> None:
        self._view = memoryview(content)
        self.stride = stride
        self.size = len(content)
        self.users = 0

    def datagrams(self, first: int, count: int) -> memoryview:
        """See Source."""
        return self._view[(first - 1) * self.stride : (first - 1 + count) * self.stride]

    def close(self) -> None:
        """One user less; the cache may let go of an image without users."""
        self.users -= 1


class Scratch:
    """One buffer for all transfers that read their windows as they send them."""

    def __init__(self) -> None:
        self._buffer = bytearray(128 * 1024)

    def room(self, size: int) -> bytearray:
        """The buffer, at least this long."""
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return self._buffer


class FileWindows:
    """A file too big to be kept: each window is read when it is sent, into one buffer for all."""

    def __init__(self, opened: Opened, blksize: int, scratch: Scratch) -> None:
        self._opened = opened
        self._scratch = scratch
        self.stride = blksize + HEADER.size

    def datagrams(self, first: int, count: int) -> memoryview:
        """See Source; the piece is valid until the next call of any of them."""
        buffer = self._scratch.room(count * self.stride)
        filled = _fill(self._opened, buffer, first, count, self.stride - HEADER.size)
        return memoryview(buffer)[:filled]

    def close(self) -> None:
        """Close the file."""
        os.close(self._opened.fd)


def wire_image(opened: Opened, blksize: int) -> WireImage:
    """Read a whole file between the headers of its blocks; raises OSError."""
    blocks = opened.size // blksize + 1
    content = bytearray(opened.size + blocks * HEADER.size)
    _fill(opened, content, 1, blocks, blksize)
    return WireImage(content, blksize + HEADER.size)


def text_image(content: bytes, blksize: int) -> WireImage:
    """The same for bytes in memory."""
    starts = range(0, len(content) + 1, blksize)
    datagrams = (wire.data(i + 1, content[start : start + blksize]) for i, start in enumerate(starts))
    return WireImage(bytearray(b"".join(datagrams)), blksize + HEADER.size)


class Cache:
    """Wire images of hot files, the least recently asked first. What is in use is never dropped."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._images: OrderedDict[tuple[tuple[int, int, int, int], int], WireImage] = OrderedDict()

    def image(self, opened: Opened, blksize: int) -> WireImage | None:
        """The image of this file with one user more, made if need be; None: no room, or too costly."""
        key = (opened.identity, blksize)
        image = self._images.get(key)
        if image is None:
            if opened.size > CACHED_FILE or blksize < DEFAULT_BLKSIZE or not self._make_room(opened.size):
                return None
            image = self._images[key] = wire_image(opened, blksize)
        self._images.move_to_end(key)
        image.users += 1
        return image

    def _make_room(self, size: int) -> bool:
        held = sum(image.size for image in self._images.values())
        for key in [key for key, image in self._images.items() if image.users == 0]:
            if held + size <= self._limit:
                break
            held -= self._images.pop(key).size
        return held + size <= self._limit


def _fill(opened: Opened, buffer: bytearray, first: int, count: int, blksize: int) -> int:
    """Lay blocks `first` and on into `buffer`, each behind its header; the bytes laid.

    Raises OSError when the file has become shorter.
    """
    at, pieces = 0, []
    view = memoryview(buffer)
    for block in range(first, first + count):
        offset = (block - 1) * blksize
        size = min(blksize, opened.size - offset)
        HEADER.pack_into(buffer, at, Opcode.DATA, block & 0xFFFF)
        at += HEADER.size
        pieces.append(view[at : at + size])
        at += size
        if len(pieces) == _IOV or block == first + count - 1:
            _read(opened.fd, pieces, offset + size)
            pieces = []
    return at


def _read(fd: int, pieces: list[memoryview], end: int) -> None:
    """Read what lies before `end` in the file into these pieces, in one system call."""
    wanted = sum(map(len, pieces))
    if wanted and os.preadv(fd, pieces, end - wanted) != wanted:
        raise OSError(errno.EIO, "the file became shorter while it was sent")


@dataclass(eq=False, slots=True)
class _Running:
    """One transfer with its socket."""

    sock: socket.socket
    machine: Transfer
    source: Source
    name: str
    peer: Peer
    key: tuple[int, Peer]
    request: Request
    segment: bool = True
    """The kernel cuts a window into datagrams."""
    timer: float = math.inf
    """When its entry among the timers rings; other entries of it are stale."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A per-machine name that control is asked for."""

    listener: socket.socket
    request: Request
    name: str
    peer: Peer
    deadline: float


class Server:
    """The loop of the TFTP process."""

    def __init__(self, channel: socket.socket) -> None:
        self._line = Line(channel)
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._listeners: dict[int, socket.socket] = {}
        self._served: Served | None = None
        self._max_transfers = self._per_client = 0
        self._transfers: dict[int, _Running] = {}
        self._by_peer: dict[tuple[int, Peer], _Running] = {}
        self._clients: dict[str, int] = {}
        self._timers: list[tuple[float, int, _Running]] = []
        self._questions: dict[int, _Question] = {}
        self._counter = 0
        self._cache = Cache()
        self._scratch = Scratch()
        self._missing = self._asks = 0  # since the last tick
        self._draining = self._terminated = False

    def run(self) -> None:
        """Serve until control says drain (or is gone) and the last running transfer has ended."""
        signal.signal(signal.SIGTERM, self._terminate)
        next_tick = time.monotonic() + TICK
        while not (self._draining and not self._transfers):
            others = []
            for fd, _ in self._epoll.poll(self._timeout(next_tick)):
                running = self._transfers.get(fd)
                if running is not None:
                    self._heard(running)
                else:
                    others.append(fd)
            for fd in others:  # last: a client's old transfer ends before its new one is counted
                self._event(fd)
            now = time.monotonic()
            self._expire(now)
            if now >= next_tick:
                self._tick(now)
                next_tick = now + TICK
            if self._terminated:
                self._drain()
        self._line.flush()

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def _timeout(self, next_tick: float) -> float:
        if not self._transfers and not self._questions:
            return 4 * TICK
        first = min(next_tick, self._timers[0][0]) if self._timers else next_tick
        return max(0.0, first - time.monotonic())

    def _event(self, fd: int) -> None:
        if listener := self._listeners.get(fd):
            self._asked(listener)
        elif fd == self._line.fileno():
            self._hear()

    # --- control -------------------------------------------------------------------------------------

    def _hear(self) -> None:
        while (message := self._line.receive()) is not None:
            if message.op == "configure":
                self._configure(message)
                continue
            close_all(message.fds)
            if message.op == "answer":
                self._answered(message)
            elif message.op == "drain":
                self._drain()
        if self._line.gone:
            self._epoll.unregister(self._line.fileno())
            self._drain()

    def _configure(self, message: Message) -> None:
        self._served = served(message)
        self._max_transfers = message.number("max_transfers")
        self._per_client = message.number("per_client")
        for fd in message.fds:
            listener = socket.socket(fileno=fd)
            listener.setblocking(False)
            self._listeners[fd] = listener
            self._epoll.register(fd, select.EPOLLIN)
        self._line.tell("ready", {})

    def _drain(self) -> None:
        """Free the port at once, let running transfers finish."""
        if not self._draining:
            self._draining = True
            last_resort()
            for fd, listener in self._listeners.items():
                self._epoll.unregister(fd)
                listener.close()
            self._listeners.clear()
            self._questions.clear()

    # --- requests ------------------------------------------------------------------------------------

    def _asked(self, listener: socket.socket) -> None:
        for _ in range(_LISTEN_BATCH):
            try:
                datagram, address = listener.recvfrom(wire.MAX_REQUEST + 1)
            except OSError:
                return  # drained, or an earlier answer could not be delivered
            self._request(listener, datagram, (address[0], address[1]))

    def _request(self, listener: socket.socket, datagram: bytes, peer: Peer) -> None:
        try:
            packet = wire.parse(datagram)
        except MalformedPacket as error:
            self._refused("tftp_malformed", str(error), peer)
            if datagram[:2] in (b"\0\1", b"\0\2"):  # only what meant to ask is told
                self._deny(listener, peer, ErrorCode.ILLEGAL_OPERATION, str(error))
            return
        if isinstance(packet, Request):
            try:
                self._read_request(listener, packet, peer)
            except Refused as error:
                self._deny(listener, peer, _CODES.get(error.status, ErrorCode.UNDEFINED), error.reason)
                self._refuse(packet, error, peer)

    def _refuse(self, request: Request, error: Refused, peer: Peer) -> None:
        name = request.name[:200]
        if error.status == 404:
            self._missing += 1
            if self._missing <= REPORTS:  # a flood of them must not keep control busy
                self._line.tell("transfers", {"items": [[name, peer[0], 0, 0, True, error.reason]]})
        else:
            self._refused("tftp_refused", f"{name!r}: {error.reason}", peer)

    def _read_request(self, listener: socket.socket, request: Request, peer: Peer) -> None:
        if request.opcode != Opcode.RRQ:
            raise Refused(403, "this server takes no files: write requests are refused")
        if request.mode != "octet":
            raise Refused(400, f"mode {request.mode[:20]!r} is not served, ask in mode octet (binary)")
        parts = split_name(request.name.replace("\\", "/"))
        name = "/".join(parts)
        if self._known(listener, request, peer) or self._full(peer):
            return
        if PER_MACHINE.fullmatch(name) and self._ask(listener, request, name, peer):
            return
        self._serve_file(listener, request, name, peer)

    def _known(self, listener: socket.socket, request: Request, peer: Peer) -> bool:
        """A repeated request of a transfer that just began gets its first packet again, not a second one."""
        if any(q.peer == peer and q.request == request for q in self._questions.values()):
            return True
        key = (listener.fileno(), peer)
        if key in self._by_peer:
            self._heard(self._by_peer[key])  # it may have ended the transfer before it asked anew
        running = self._by_peer.get(key)
        if running is None:
            return False
        action = running.machine.repeat(time.monotonic()) if running.request == request else None
        if action is None:  # the client began anew from the same port
            self._end(running, "the client asked anew")
            return False
        self._do(running, action)
        return True

    def _full(self, peer: Peer) -> bool:
        """Over a limit: no answer, for clients repeat a request and give up at an error."""
        if len(self._transfers) >= self._max_transfers:
            self._refused("tftp_busy", f"{self._max_transfers} transfers run already", peer)
            return True
        if self._clients.get(peer[0], 0) >= self._per_client:
            self._refused("tftp_busy", f"{self._per_client} transfers of this client run already", peer)
            return True
        return False

    def _ask(self, listener: socket.socket, request: Request, name: str, peer: Peer) -> bool:
        """Ask control for a per-machine name; False when control is away."""
        self._asks += 1
        if len(self._questions) >= _MAX_PENDING or self._asks > _MAX_ASKS:
            return True  # the client repeats its request
        self._counter += 1
        deadline = time.monotonic() + ANSWER_TIME
        body = {"id": self._counter, "name": name, "client": peer[0]}
        if not self._line.tell("ask", body):
            return False
        self._questions[self._counter] = _Question(listener, request, name, peer, deadline)
        return True

    def _answered(self, message: Message) -> None:
        asked = self._questions.pop(message.number("id"), None)
        if asked is None or asked.listener.fileno() < 0:
            return
        try:
            if not message.body.get("found"):
                self._serve_file(asked.listener, asked.request, asked.name, asked.peer)
            else:
                self._begin(asked.listener, asked.request, asked.name, asked.peer, message.blob)
        except Refused as error:
            self._deny(
                asked.listener, asked.peer, _CODES.get(error.status, ErrorCode.UNDEFINED), error.reason
            )
            self._refuse(asked.request, error, asked.peer)

    def _serve_file(self, listener: socket.socket, request: Request, name: str, peer: Peer) -> None:
        assert self._served is not None
        try:
            opened = open_name(self._served, name)
        except OSError as error:
            raise _as_refused(error) from None
        self._begin(listener, request, name, peer, opened)

    def _begin(
        self, listener: socket.socket, request: Request, name: str, peer: Peer, content: Opened | bytes
    ) -> None:
        """Start a transfer from a socket of its own, bound to the address that was asked."""
        size = len(content) if isinstance(content, bytes) else content.size
        try:
            sock = _connected(listener, peer)
        except OSError as error:
            if isinstance(content, Opened):
                os.close(content.fd)
            raise Refused(503, f"no transfer can be begun now: {error.strerror}") from None
        agreed = negotiate(request.options, size=size, max_blksize=max_blksize(sock))
        try:
            source = self._source(content, agreed.blksize)
        except OSError as error:
            sock.close()
            raise Refused(503, f"the file cannot be read: {error.strerror}") from None
        key = (listener.fileno(), peer)
        running = _Running(sock, Transfer(size, agreed), source, name, peer, key, request)
        self._transfers[sock.fileno()] = self._by_peer[key] = running
        self._clients[peer[0]] = self._clients.get(peer[0], 0) + 1
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._do(running, running.machine.start(time.monotonic()))

    def _source(self, content: Opened | bytes, blksize: int) -> Source:
        if isinstance(content, bytes):
            return text_image(content, blksize)
        try:
            image = self._cache.image(content, blksize)
        except OSError:
            os.close(content.fd)
            raise
        if image is None:
            return FileWindows(content, blksize, self._scratch)
        os.close(content.fd)
        return image

    def _deny(self, listener: socket.socket, peer: Peer, code: ErrorCode, text: str) -> None:
        with contextlib.suppress(OSError):
            listener.sendto(wire.error(code, text), peer)

    # --- running transfers ---------------------------------------------------------------------------

    def _heard(self, running: _Running) -> None:
        try:
            datagram = running.sock.recv(512)
        except BlockingIOError:
            return
        except OSError:
            self._gone(running)
            return
        number = wire.ack_number(datagram)
        if number is None:
            self._heard_other(running, datagram)
            return
        action = running.machine.ack(number, time.monotonic())
        if action is not None:
            self._do(running, action)
        else:
            self._arm(running)

    def _heard_other(self, running: _Running, datagram: bytes) -> None:
        try:
            packet = wire.parse(datagram)
        except MalformedPacket:
            return  # from this client's port, but no word of TFTP: as if it had not come
        if isinstance(packet, wire.Ack) and (action := running.machine.ack(packet.number, time.monotonic())):
            self._do(running, action)
        elif isinstance(packet, wire.Error):
            self._aborted(running, packet)

    def _aborted(self, running: _Running, packet: wire.Error) -> None:
        """The client ends it. After a question for the size that is its way to say thank you."""
        if "tsize" in running.request.options and not running.machine.acknowledged:
            self._forget(running)
        else:
            self._end(running, f"the client ended it: error {packet.code} {packet.text[:100]!r}")

    def _gone(self, running: _Running) -> None:
        """The client's port is closed: complete if only its last ACK is missing."""
        self._end(running, None if running.machine.all_sent else "the client closed its port")

    def _do(self, running: _Running, action: Action) -> None:
        try:
            if isinstance(action, Send):
                self._send(running, running.source.datagrams(action.first, action.blocks))
            elif isinstance(action, End):
                self._end(running, action.error)
            else:
                running.sock.send(wire.oack(running.machine.negotiated.answer))
        except BlockingIOError:
            pass  # the socket's buffer is full: as good as lost, the timer sends it again
        except ConnectionRefusedError:
            self._gone(running)
        except OSError as error:
            with contextlib.suppress(OSError):
                running.sock.send(wire.error(ErrorCode.UNDEFINED, "the file cannot be sent"))
            self._end(running, f"it could not be sent: {error.strerror}")
        self._arm(running)

    def _arm(self, running: _Running) -> None:
        """See to it that a timer rings no later than the transfer is due."""
        if running.machine.due < running.timer and running.sock.fileno() >= 0:
            running.timer = running.machine.due
            self._counter += 1
            heapq.heappush(self._timers, (running.timer, self._counter, running))

    def _send(self, running: _Running, datagrams: memoryview) -> None:
        """Send blocks that lie in one piece; the kernel cuts them apart where it can (UDP_SEGMENT)."""
        stride = running.source.stride
        if len(datagrams) <= stride:
            running.sock.send(datagrams)
            return
        if running.segment:
            piece = min(_SEGMENTS, _UDP_PAYLOAD // stride) * stride
            segments = [(_SOL_UDP, _UDP_SEGMENT, struct.pack("H", stride))]
            try:
                for at in range(0, len(datagrams), piece):
                    running.sock.sendmsg([datagrams[at : at + piece]], segments)
                return
            except OSError as error:
                if error.errno not in _NO_SEGMENTS:
                    raise
                running.segment = False
        for at in range(0, len(datagrams), stride):
            running.sock.send(datagrams[at : at + stride])

    def _expire(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            at, _, running = heapq.heappop(self._timers)
            if at != running.timer or running.sock.fileno() < 0:
                continue
            running.timer = math.inf
            if running.machine.due <= now:
                self._do(running, running.machine.expire(now))
            self._arm(running)

    def _end(self, running: _Running, error: str | None) -> None:
        size = running.machine.size
        sent = size if error is None else running.machine.acknowledged
        self._line.owe("transfers", {"items": [[running.name, running.peer[0], sent, size, True, error]]})
        self._forget(running)

    def _forget(self, running: _Running) -> None:
        fd = running.sock.fileno()
        self._epoll.unregister(fd)
        del self._transfers[fd]
        if self._by_peer.get(running.key) is running:
            del self._by_peer[running.key]
        left = self._clients[running.peer[0]] - 1
        if left:
            self._clients[running.peer[0]] = left
        else:
            del self._clients[running.peer[0]]
        running.sock.close()
        running.source.close()

    # --- telling -------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        self._missing = self._asks = 0
        for number in [n for n, asked in self._questions.items() if asked.deadline <= now]:
            del self._questions[number]
        items = [
            [r.name, r.peer[0], r.machine.acknowledged, r.machine.size, False, None]
            for r in self._transfers.values()
        ]
        for start in range(0, len(items), _BATCH_ITEMS):
            self._line.tell("transfers", {"items": items[start : start + _BATCH_ITEMS]})
        self._line.flush()

    def _refused(self, kind: str, text: str, peer: Peer) -> None:
        self._line.report(kind, text, peer[0])


_CODES: Final = {404: ErrorCode.NOT_FOUND, 403: ErrorCode.ACCESS_VIOLATION}
_NO_SEGMENTS: Final = frozenset(
    {errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
)


def open_name(offered: Served, name: str) -> Opened:
    """The file that a TFTP name means; the name in lower case is tried when it is not found as it stands.

    `images/NAME/GENERATION/FILE`, else a path below `files_dir`, else a built-in program. Raises OSError.
    """
    try:
        return _open_exactly(offered, name)
    except FileNotFoundError:
        if name.lower() == name:
            raise
    return _open_exactly(offered, name.lower())


def _open_exactly(offered: Served, name: str) -> Opened:
    parts = tuple(name.split("/"))
    if parts[0] == "images":
        return offered.image(parts[1:])
    if len(parts) == 1 and parts[0]:
        return offered.program(parts[0])
    return offered.file(parts)


def _as_refused(error: OSError) -> Refused:
    if error.errno in (errno.ELOOP, errno.EXDEV, errno.EACCES, errno.EPERM):
        return Refused(403, "this file is not offered: a link, or not readable by the helper user")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):
        return Refused(503, f"this file cannot be opened now: {os.strerror(error.errno)}")
    return Refused(404, "file not found")


def _connected(listener: socket.socket, peer: Peer) -> socket.socket:
    """A socket from the address that was asked, on a port of its own (its TID), to this client alone."""
    sock = socket.socket(listener.family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if listener.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)  # routers may fragment
        sock.bind((listener.getsockname()[0], 0))
        sock.connect(peer)
    except OSError:
        sock.close()
        raise
    return sock


def max_blksize(sock: socket.socket) -> int:
    """The biggest block that leaves a connected socket unfragmented: Ethernet's, or the route's if bigger."""
    try:
        mtu = sock.getsockopt(socket.IPPROTO_IP, _IP_MTU)
    except OSError:
        return ETHERNET_BLKSIZE
    headers = 20 + 8 + HEADER.size
    return max(512, mtu - headers)


def main(channel: socket.socket) -> None:
    """The forker's entry: be the TFTP process on this channel until the end."""
    with contextlib.suppress(MalformedPacket):  # control speaks another language: nothing left to do
        Server(channel).run()
