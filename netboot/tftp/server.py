"""The TFTP process: epoll, a whole window in one system call, nothing that waits for a disk or for control.

Control gives it the listening sockets (one per address of ours, so an answer comes from the address that
was asked), the directories and the limits; per-machine names are asked of control over the channel.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from netboot.cold import Warmer
from netboot.errors import MalformedPacket, Refused
from netboot.proc.helper import REPORTS, Line, last_resort, served
from netboot.proc.messages import Message, close_all
from netboot.tftp import wire
from netboot.tftp.names import PER_MACHINE, clean_name, open_name
from netboot.tftp.ports import RECEIVED, OwnPort, Peer, Port, SharedPort, allow_fragments
from netboot.tftp.questions import Questions
from netboot.tftp.sources import Cache, Cold, FileWindows, Scratch, Source, Text
from netboot.tftp.transfer import (
    MAX_WINDOW,
    SHARED_MAX_WINDOW,
    Action,
    End,
    Send,
    SendOack,
    Transfer,
    negotiate,
)
from netboot.tftp.wire import ErrorCode, Opcode, Request
from netboot.tree import Opened, Served

TICK: Final = 0.5
_EVENTS: Final = 128
_GLANCES: Final = 40  # some 30 microseconds
_VAIN: Final = 8
_LISTEN_BATCH: Final = 64
_BATCH_ITEMS: Final = 100
_CODES: Final = {404: ErrorCode.NOT_FOUND, 403: ErrorCode.ACCESS_VIOLATION}


@dataclass(eq=False, slots=True)
class _Running:
    """One transfer with its end of the wire."""

    port: Port
    machine: Transfer
    source: Source
    name: str
    peer: Peer
    key: tuple[int, Peer]
    request: Request
    send: Callable[[bytes | memoryview], object]
    recv: Callable[[int], bytes]
    fd: int | None
    """Where epoll hears it; None where the listener hears for it (`tftp.single_port`)."""
    timer: float = math.inf
    """When its entry among the timers rings; other entries of it are stale."""
    cold: Send | None = None
    """What is sent as soon as the disk has given it."""
    over: bool = False


class Server:
    """The loop of the TFTP process."""

    def __init__(self, channel: socket.socket) -> None:
        self._line = Line(channel)
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._warmer: Warmer[_Running] = Warmer()
        self._epoll.register(self._warmer.fileno(), select.EPOLLIN)
        self._listeners: dict[int, socket.socket] = {}
        self._served: Served | None = None
        self._max_transfers = self._per_client = 0
        self._single_port = False
        self._by_fd: dict[int, _Running] = {}
        self._transfers: dict[tuple[int, Peer], _Running] = {}
        self._clients: dict[str, int] = {}
        self._timers: list[tuple[float, int, _Running]] = []
        self._questions = Questions(self._line)
        self._counter = 0
        self._cache = Cache()
        self._scratch = Scratch()
        self._missing = 0  # since the last tick
        self._in_vain = _VAIN
        self._draining = self._terminated = False

    def run(self) -> None:
        """Serve until control says drain (or is gone) and the last running transfer has ended."""
        signal.signal(signal.SIGTERM, self._terminate)
        running_of, take, poll, clock = self._by_fd.get, self._take, self._epoll.poll, time.monotonic
        now = clock()
        next_tick = now + TICK
        while not (self._draining and not self._transfers):
            others = []
            heard = self._glance() if len(self._by_fd) == 1 and self._in_vain < _VAIN else None
            heard = heard or poll(self._timeout(now, next_tick), _EVENTS)
            now = clock()
            for fd, _ in heard:
                running = running_of(fd)
                if running is None:
                    others.append(fd)
                    continue
                try:
                    datagram = running.recv(RECEIVED)
                except OSError as error:
                    self._unheard(running, error)
                else:
                    take(running, datagram, now)
            for fd in others:  # last: a client's old transfer ends before its new one is counted
                self._event(fd, now)
            if self._timers and self._timers[0][0] <= now:
                self._expire(now)
            if now >= next_tick:
                self._tick(now)
                next_tick = now + TICK
            if self._terminated:
                self._drain()
        self._line.flush()

    def _glance(self) -> list[tuple[int, int]]:
        """Look a few times before going to sleep: a lone client on this host answers within that time.

        Sleeping and waking would take longer than its whole round trip. Where nothing comes so soon (a
        real network), a transfer is soon waited for in the ordinary way.
        """
        poll = self._epoll.poll
        for _ in range(_GLANCES):
            if heard := poll(0, 1):
                self._in_vain = 0
                return heard
        self._in_vain += 1
        return []

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def _timeout(self, now: float, next_tick: float) -> float:
        if not self._transfers and not self._questions:
            return 4 * TICK
        first = self._timers[0][0] if self._timers else next_tick
        return max(0.0, (first if first < next_tick else next_tick) - now)

    def _event(self, fd: int, now: float) -> None:
        if listener := self._listeners.get(fd):
            self._asked(listener, now)
        elif fd == self._line.fileno():
            self._hear()
        elif fd == self._warmer.fileno():
            self._warmed()

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
        self._single_port = bool(message.number("single_port", highest=1))
        for fd in message.fds:
            listener = socket.socket(fileno=fd)
            listener.setblocking(False)
            allow_fragments(listener)
            self._listeners[fd] = listener
            self._epoll.register(fd, select.EPOLLIN)
        self._line.tell("ready", {})

    def _drain(self) -> None:
        """Free the port at once, let running transfers finish; those on port 69 itself end with it."""
        if self._draining:
            return
        self._draining = True
        last_resort()
        for running in [r for r in self._transfers.values() if r.fd is None]:
            self._end(running, "the appliance restarts")
        for fd, listener in self._listeners.items():
            self._epoll.unregister(fd)
            listener.close()
        self._listeners.clear()
        self._questions.clear()

    # --- requests ------------------------------------------------------------------------------------

    def _asked(self, listener: socket.socket, now: float) -> None:
        fd, running_of = listener.fileno(), self._transfers.get
        for _ in range(_LISTEN_BATCH):
            try:
                datagram, peer = listener.recvfrom(wire.MAX_REQUEST + 1)
            except OSError:
                return  # drained, or an earlier answer could not be delivered
            running = running_of((fd, peer)) if self._single_port else None
            if running is None or datagram[:2] in _REQUESTS:
                self._request(listener, datagram, peer)
            else:
                self._take(running, datagram, now)

    def _request(self, listener: socket.socket, datagram: bytes, peer: Peer) -> None:
        try:
            packet = wire.parse(datagram)
        except MalformedPacket as error:
            self._refused("tftp_malformed", str(error), peer)
            if datagram[:2] in _REQUESTS:  # only what meant to ask is told
                self._deny(listener, peer, ErrorCode.ILLEGAL_OPERATION, str(error))
            return
        if isinstance(packet, Request):
            with self._refusals(listener, packet, peer):
                self._read_request(listener, packet, peer)

    @contextlib.contextmanager
    def _refusals(self, listener: socket.socket, request: Request, peer: Peer) -> Iterator[None]:
        """Answer a Refused with an ERROR, and report it."""
        try:
            yield
        except Refused as error:
            self._deny(listener, peer, _CODES.get(error.status, ErrorCode.UNDEFINED), error.reason)
            self._refuse(request, error, peer)

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
        name = clean_name(request.name)
        if self._known(listener, request, peer) or self._full(peer):
            return
        now = time.monotonic()
        if PER_MACHINE.fullmatch(name) and self._questions.ask(listener, request, name, peer, now):
            return
        self._begin(listener, request, name, peer, self._open(name))

    def _known(self, listener: socket.socket, request: Request, peer: Peer) -> bool:
        """A repeated request of a transfer that just began gets its first packet again, not a second one."""
        if self._questions.waits(request, peer):
            return True
        key, now = (listener.fileno(), peer), time.monotonic()
        running = self._transfers.get(key)
        if running is None:
            return False
        try:
            self._take(running, running.recv(RECEIVED), now)  # it may have ended it before it asked anew
        except OSError as error:
            self._unheard(running, error)
        if running.over:
            return False
        action = running.machine.repeat(now) if running.request == request else None
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

    def _answered(self, message: Message) -> None:
        asked = self._questions.answered(message)
        if asked is None:
            return
        with self._refusals(asked.listener, asked.request, asked.peer):
            content = message.blob if message.body.get("found") else self._open(asked.name)
            self._begin(asked.listener, asked.request, asked.name, asked.peer, content)

    def _open(self, name: str) -> Opened:
        assert self._served is not None
        return open_name(self._served, name)

    def _begin(
        self, listener: socket.socket, request: Request, name: str, peer: Peer, content: Opened | bytes
    ) -> None:
        """Start a transfer; raises Refused where no socket can be had."""
        size = len(content) if isinstance(content, bytes) else content.size
        try:
            port: Port = SharedPort(listener, peer) if self._single_port else OwnPort(listener, peer)
            agreed = negotiate(
                request.options,
                size=size,
                max_blksize=port.max_blksize(),
                max_window=SHARED_MAX_WINDOW if self._single_port else MAX_WINDOW,
            )
        except OSError as error:
            if isinstance(content, Opened):
                os.close(content.fd)
            raise Refused(503, f"no transfer can be begun now: {error.strerror}") from None
        source = self._source(content, agreed.blksize)
        key = (listener.fileno(), peer)
        machine = Transfer(size, agreed)
        running = _Running(
            port,
            machine,
            source,
            name,
            peer,
            key,
            request,
            port.send,
            port.recv,
            port.fileno(),
        )
        self._transfers[key] = running
        if running.fd is not None:
            self._by_fd[running.fd] = running
            self._in_vain = 0
            self._epoll.register(running.fd, select.EPOLLIN)
        self._clients[peer[0]] = self._clients.get(peer[0], 0) + 1
        self._do(running, running.machine.start(time.monotonic()))

    def _source(self, content: Opened | bytes, blksize: int) -> Source:
        if isinstance(content, bytes):
            return Text(content, blksize)
        return self._cache.image(content, blksize) or FileWindows(content, blksize, self._scratch)

    def _deny(self, listener: socket.socket, peer: Peer, code: ErrorCode, text: str) -> None:
        with contextlib.suppress(OSError):
            listener.sendto(wire.error(code, text), peer)

    # --- running transfers ---------------------------------------------------------------------------

    def _unheard(self, running: _Running, error: OSError) -> None:
        """Reading failed: nothing was there, or the client's port is closed."""
        if not isinstance(error, BlockingIOError):
            self._gone(running)

    def _take(self, running: _Running, datagram: bytes, now: float) -> None:
        """A datagram of the client. Nearly all go the short way, where each tenth of a microsecond counts."""
        machine = running.machine
        if len(datagram) == 4 and (first := machine.advance(_from_bytes(datagram), now)):
            source, window = running.source, machine.window
            try:
                if window > 1:
                    running.port.send_window(source.datagrams(first, window), source.stride)
                elif (blocks := source.blocks) is not None:
                    running.send(blocks[first - 1])
                else:
                    running.send(source.datagrams(first, 1))
            except (OSError, Cold):
                self._do(running, Send(first, window))  # it meets the same, and knows what to do
            return
        number = wire.ack_number(datagram)
        if number is None:
            self._take_other(running, datagram, now)
            return
        action = running.machine.ack(number, now)
        if action is not None:
            self._do(running, action)
        elif running.machine.due < running.timer:
            self._arm(running)

    def _take_other(self, running: _Running, datagram: bytes, now: float) -> None:
        try:
            packet = wire.parse(datagram)
        except MalformedPacket:
            return  # from this client's port, but no word of TFTP: as if it had not come
        if isinstance(packet, wire.Ack) and (action := running.machine.ack(packet.number, now)):
            self._do(running, action)
        elif isinstance(packet, wire.Error):
            self._aborted(running, packet)

    def _aborted(self, running: _Running, packet: wire.Error) -> None:
        """The client ends it."""
        if _asked_for_the_size(running):
            self._forget(running)
        else:
            self._end(running, f"the client ended it: error {packet.code} {packet.text[:100]!r}")

    def _gone(self, running: _Running) -> None:
        """The client's port is closed: complete if only its last ACK is missing."""
        if _asked_for_the_size(running):
            self._forget(running)
        else:
            self._end(running, None if running.machine.all_sent else "the client closed its port")

    def _do(self, running: _Running, action: Action, *, wait: bool = False) -> None:
        try:
            if isinstance(action, Send):
                self._send(running, action, wait)
            elif isinstance(action, End):
                self._end(running, action.error)
            elif isinstance(action, SendOack):
                running.port.send(wire.oack(running.machine.negotiated.answer))
        except BlockingIOError:
            pass  # the socket's buffer is full: as good as lost, the timer sends it again
        except ConnectionRefusedError:
            self._gone(running)
        except OSError as error:
            with contextlib.suppress(OSError):
                running.port.send(wire.error(ErrorCode.UNDEFINED, "the file cannot be sent"))
            self._end(running, f"it could not be sent: {error.strerror}")
        if running.machine.due < running.timer:
            self._arm(running)

    def _send(self, running: _Running, action: Send, wait: bool) -> None:
        if running.cold is not None:
            return  # its bytes are on their way from the disk
        source = running.source
        try:
            datagrams = source.datagrams(action.first, action.blocks, wait)
        except Cold as cold:
            running.cold = action
            self._warmer.warm(running, cold.fd, cold.offset, cold.length)
            return
        if len(datagrams) <= source.stride:
            running.port.send(datagrams)
        else:
            running.port.send_window(datagrams, source.stride)

    def _warmed(self) -> None:
        """The disk has given what some transfers waited for."""
        for running in self._warmer.done():
            action, running.cold = running.cold, None
            if action is not None and not running.over:
                self._do(running, action, wait=True)

    def _arm(self, running: _Running) -> None:
        """See to it that a timer rings when the transfer is due."""
        if not running.over:
            running.timer = running.machine.due
            self._counter += 1
            heapq.heappush(self._timers, (running.timer, self._counter, running))

    def _expire(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            at, _, running = heapq.heappop(self._timers)
            if at != running.timer or running.over:
                continue
            running.timer = math.inf
            if running.machine.due <= now:
                self._do(running, running.machine.expire(now))
            if running.machine.due < running.timer:
                self._arm(running)

    def _end(self, running: _Running, error: str | None) -> None:
        size = running.machine.size
        sent = size if error is None else running.machine.acknowledged
        self._line.owe("transfers", {"items": [[running.name, running.peer[0], sent, size, True, error]]})
        self._forget(running)

    def _forget(self, running: _Running) -> None:
        running.over = True
        if running.fd is not None:
            self._epoll.unregister(running.fd)
            del self._by_fd[running.fd]
        if self._transfers.get(running.key) is running:
            del self._transfers[running.key]
        left = self._clients[running.peer[0]] - 1
        if left:
            self._clients[running.peer[0]] = left
        else:
            del self._clients[running.peer[0]]
        running.port.close()
        running.source.close()

    # --- telling -------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        self._missing = 0
        self._questions.tick(now)
        items = [
            [r.name, r.peer[0], r.machine.acknowledged, r.machine.size, False, None]
            for r in self._transfers.values()
        ]
        for start in range(0, len(items), _BATCH_ITEMS):
            self._line.tell("transfers", {"items": items[start : start + _BATCH_ITEMS]})
        self._line.flush()

    def _refused(self, kind: str, text: str, peer: Peer) -> None:
        self._line.report(kind, text, peer[0])


def _asked_for_the_size(running: _Running) -> bool:
    """Whether it ended where a question for the size ends: that is firmware's way to say thank you."""
    return "tsize" in running.request.options and not running.machine.acknowledged


_REQUESTS: Final = (b"\0\1", b"\0\2")
_from_bytes: Final = int.from_bytes  # in network order, which is its own choice


def main(channel: socket.socket) -> None:
    """The forker's entry: be the TFTP process on this channel until the end."""
    with contextlib.suppress(MalformedPacket):  # control speaks another language: nothing left to do
        Server(channel).run()
