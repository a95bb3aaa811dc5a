"""Control's side of its helpers: start, watch, restart with back-off, drain; hand over connections.

Everything here runs in control's event loop and never waits for a helper: a message that a helper does
not take now goes to another one, or is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from netboot.errors import MalformedPacket, NetbootError
from netboot.proc import Kind, Place, ProcessInfo, Progress, Transfer, messages
from netboot.proc.forking import ForkerHandle
from netboot.proc.reports import as_closed, as_progress, as_transfer, ending
from netboot.proc.slots import FIRST_BACK_OFF, Helper, Slot
from netboot.tree import Served

log = logging.getLogger(__name__)

LONGEST_BACK_OFF: Final = 5.0
_SETTLED: Final = 30.0  # seconds after which a helper's end counts as its first
_SHARE_EVERY: Final = 0.25  # seconds
_BATCH: Final = 64  # messages read from one helper before the loop goes on
_MAX_QUESTIONS: Final = 256


@dataclass(frozen=True, slots=True)
class TftpLimits:
    """Transfers at once, in all and per client address; `single_port`: all of them from port 69."""

    max_transfers: int = 500
    per_client: int = 64
    single_port: bool = False


@dataclass(frozen=True, slots=True)
class Https:
    """The HTTPS listener: bound sockets, and certificate chain and key as one text of PEM."""

    sockets: tuple[socket.socket, ...]
    pem: bytes = field(repr=False)


def _ignore(*_: object) -> None:
    """What a callback does until the app sets it."""


def _close_returned(fd: int, _: bytes, __: str) -> None:
    os.close(fd)


def _close_relayed(fd: int, _: str, __: str) -> None:
    os.close(fd)


async def _anywhere(_: str, __: str, ___: str) -> Place:
    return Place()


async def _nothing(_: str, __: str) -> bytes | None:
    return None


class Supervisor:
    """The helpers of one control process: `proc.BulkPool` and `proc.TftpSide` in one.

    Set the callbacks before `run`. Every callback is called in the event loop and must not block.
    """

    def __init__(
        self,
        forker: ForkerHandle,
        served: Served,
        *,
        workers: int,
        tftp_sockets: Sequence[socket.socket] = (),
        tftp_limits: TftpLimits | None = None,
        requests: float = 200.0,
        connections: float = math.inf,
        max_rate: float = math.inf,
        https: Https | None = None,
        grace: float = 10.0,
    ) -> None:
        """`tftp_sockets` are bound UDP sockets, one per address (we keep them for restarts; none: no TFTP).

        `requests`: per second, what one client address may ask of one bulk worker on kept-alive connections.
        `connections`: what one client address may hold at all HTTPS workers and bulk workers together.
        `max_rate`: bits per second of all downloads of `/images` together, shared among the workers.
        `https`: as many processes that end TLS as there are workers; None: no HTTPS.
        `grace`: seconds that running downloads get at an orderly end.
        """
        self._forker = forker
        self._served = served
        self._tftp_sockets = tuple(tftp_sockets)
        self._limits = tftp_limits or TftpLimits()
        self._requests = requests
        self._connections = connections
        self._max_rate = max_rate
        self._grace = grace
        self._slots = [Slot("bulk", index) for index in range(workers)]
        if self._tftp_sockets:
            self._slots.append(Slot("tftp", 0))
        self._https = https
        if https is not None:
            self._slots += [Slot("https", index) for index in range(workers)]
        self._numbers: dict[int, Helper] = {}  # every process that the forker has not reported ended
        self._next_number = 0
        self._stopping = asyncio.Event()
        self._forker_gone = asyncio.Event()
        self._none_left = asyncio.Event()
        self._questions: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self.on_progress: Callable[[Progress], None] = _ignore
        self.on_return: Callable[[int, bytes, str], None] = _close_returned
        self.on_relay: Callable[[int, str, str], None] = _close_relayed
        self.place: Callable[[str, str, str], Awaitable[Place]] = _anywhere
        self.on_transfer: Callable[[Transfer], None] = _ignore
        self.on_refused: Callable[[str, str, str], None] = _ignore
        """kind, text and source address of something that a helper refused."""
        self.virtual: Callable[[str, str], Awaitable[bytes | None]] = _nothing
        self.ready = asyncio.Event()
        """Every helper has said ready once."""

    # --- what control asks -------------------------------------------------------------------------

    def hand_over(self, fd: int, head: bytes, *, boot_id: str | None, client: str) -> bool:
        """See `proc.BulkPool.hand_over`."""
        workers = [h for s in self._slots if s.kind == "bulk" and (h := s.helper) and h.state == "ready"]
        for worker in sorted(workers, key=lambda helper: helper.connections):
            body = {"boot_id": boot_id, "client": client}
            with contextlib.suppress(OSError, MalformedPacket):  # behind, or just ended: the next one
                messages.send(worker.channel, "connection", body, blob=head, fds=(fd,))
                worker.connections += 1
                worker.clients[client] += 1
                return True
        return False

    def certify(self, pem: bytes) -> None:
        """Put a renewed certificate (chain and key, PEM) into force for new connections."""
        assert self._https is not None
        if pem == self._https.pem:
            return
        self._https = replace(self._https, pem=pem)
        for slot in self._slots:
            if slot.kind == "https" and slot.helper:
                with contextlib.suppress(OSError):  # one that just ended is started with the new one
                    messages.send(slot.helper.channel, "certificate", blob=pem)

    def processes(self) -> list[ProcessInfo]:
        """Every helper's place and how it is."""
        return [
            ProcessInfo(slot.kind, slot.index, helper.pid, helper.state, helper.connections, slot.restarts)
            if (helper := slot.helper)
            else ProcessInfo(slot.kind, slot.index, None, "ended", 0, slot.restarts)
            for slot in self._slots
        ]

    def held(self, client: str) -> int:
        """See `proc.BulkPool.held`."""
        return sum(s.helper.clients[client] for s in self._slots if s.helper)

    def downloads(self) -> int:
        """Connections that the bulk workers hold now."""
        return sum(s.helper.connections for s in self._slots if s.kind == "bulk" and s.helper)

    def stop(self) -> None:
        """Begin the orderly end: `run` returns when the helpers have drained or their grace is over."""
        self._stopping.set()

    async def run(self) -> None:
        """Keep the helpers until `stop` or cancellation; raises NetbootError when the forker is lost."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._forker.channel, self._hear_forker)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                keepers = [group.create_task(self._keep(slot)) for slot in self._slots]
                if self._max_rate != math.inf:
                    keepers.append(group.create_task(self._share_rate()))
                await self._first_of(self._stopping, self._forker_gone)
                for task in (*keepers, *self._questions):
                    task.cancel()
            if self._forker_gone.is_set() and not self._stopping.is_set():
                raise NetbootError(
                    "the forker has ended, so helpers cannot be restarted. Restart netboot (its unit does so)"
                )
        finally:
            self._group = None
            await self._drain()
            loop.remove_reader(self._forker.channel)
            self._forker.channel.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._forker.process.wait, 5.0)

    # --- one slot ------------------------------------------------------------------------------------

    async def _keep(self, slot: Slot) -> None:
        """Start this slot's helper, and again whenever it ends, ever more slowly while it keeps ending."""
        while True:
            helper = slot.helper = self._start(slot)
            await helper.ended.wait()
            slot.restarts += 1
            if time.monotonic() - helper.began > _SETTLED:
                slot.back_off = FIRST_BACK_OFF
            log.warning(
                "%s process %d (pid %s) ended; starting it again in %.1f s",
                slot.kind, slot.index, helper.pid, slot.back_off,
            )  # fmt: skip
            await asyncio.sleep(slot.back_off)
            slot.back_off = min(2 * slot.back_off, LONGEST_BACK_OFF)

    async def _share_rate(self) -> None:
        """Give each worker its part of the bandwidth, by its connections; all begin with an equal one."""
        while True:
            workers = [s.helper for s in self._slots if s.kind != "tftp" and s.helper]
            weights = [1 + worker.connections for worker in workers]
            for worker, weight in zip(workers, weights, strict=True):
                rate = int(self._max_rate / 8 * weight / sum(weights))
                with contextlib.suppress(OSError):  # behind, or just ended
                    messages.send(worker.channel, "pace", {"rate": max(1, rate)})
            await asyncio.sleep(_SHARE_EVERY)

    def _start(self, slot: Slot) -> Helper:
        ours, theirs = messages.pair()
        self._next_number += 1
        helper = Helper(self._next_number, ours, time.monotonic())
        self._numbers[helper.number] = helper
        self._none_left.clear()
        asyncio.get_running_loop().add_reader(ours, self._hear, slot, helper)
        try:
            with theirs:
                body = {"id": helper.number, "kind": slot.kind}
                messages.send(self._forker.channel, "start", body, fds=(theirs.fileno(),))
            pem = self._https.pem if self._https and slot.kind == "https" else b""
            messages.send(ours, "configure", self._configuration(), blob=pem, fds=self._sockets(slot.kind))
        except OSError as error:
            log.error("cannot start a %s process: %s", slot.kind, error)
            self._hang_up(helper)
        return helper

    def _configuration(self) -> dict[str, object]:
        return {
            "images_dir": self._served.images_dir,
            "files_dir": self._served.files_dir,
            "program_dirs": list(self._served.program_dirs),
            "max_transfers": self._limits.max_transfers,
            "per_client": self._limits.per_client,
            "single_port": int(self._limits.single_port),
            "requests": int(min(self._requests, 1_000_000)),
            "connections": int(min(self._connections, 1_000_000)),
        }

    def _sockets(self, kind: Kind) -> list[int]:
        https = self._https.sockets if self._https else ()
        sockets: dict[Kind, Sequence[socket.socket]] = {"tftp": self._tftp_sockets, "https": https}
        return [sock.fileno() for sock in sockets.get(kind, ())]

    def _hang_up(self, helper: Helper) -> None:
        """Close our end of a helper's channel: it drains by itself and is no longer counted on."""
        if not helper.ended.is_set():
            asyncio.get_running_loop().remove_reader(helper.channel)
            helper.channel.close()
            helper.state, helper.connections = "ended", 0
            helper.clients.clear()
            helper.ended.set()

    # --- what helpers say ----------------------------------------------------------------------------

    def _hear(self, slot: Slot, helper: Helper) -> None:
        for _ in range(_BATCH):
            try:
                message = messages.receive(helper.channel)
                if message is None:
                    self._hang_up(helper)
                    return
                self._take(slot, helper, message)
            except BlockingIOError:
                return
            except MalformedPacket as error:
                log.error("%s process %d (pid %s): %s; ending it", slot.kind, slot.index, helper.pid, error)
                self._end(helper, hard=True)
                self._hang_up(helper)
                return
            except OSError:
                self._hang_up(helper)
                return

    def _take(self, slot: Slot, helper: Helper, message: messages.Message) -> None:
        if message.op == "return" and slot.kind == "bulk" and len(message.fds) == 1:
            try:
                client = message.text("client", limit=64)
            except MalformedPacket:
                message.close()
                raise
            helper.left(client, 1)
            self._guard(self.on_return, message.fds[0], message.blob, client)
            return
        if message.op == "relay" and slot.kind == "https" and len(message.fds) == 1:
            try:
                client, local = message.text("client", limit=64), message.text("local", limit=64)
            except MalformedPacket:
                message.close()
                raise
            self._guard(self.on_relay, message.fds[0], client, local)
            return
        message.close()
        words = _WORDS[slot.kind]
        if message.op not in words:
            raise MalformedPacket(f"unknown word {message.op[:32]!r}")
        words[message.op](self, helper, message)

    def _ready(self, helper: Helper, _: messages.Message) -> None:
        helper.state = "ready"
        if all(slot.helper and slot.helper.state == "ready" for slot in self._slots):
            self.ready.set()

    def _opened(self, helper: Helper, message: messages.Message) -> None:
        """An HTTPS worker accepted a connection; it alone does not know who holds how many elsewhere."""
        client = message.text("client", limit=64)
        helper.connections += 1
        helper.clients[client] += 1
        if self.held(client) > self._connections:
            text = f"more than {self._connections:g} connections from one address"
            self._guard(self.on_refused, "http_too_many_connections", text, client)
            with contextlib.suppress(OSError):
                messages.send(helper.channel, "close", {"client": client})

    def _closed(self, helper: Helper, message: messages.Message) -> None:
        for item in message.items("items"):
            helper.left(*as_closed(item))

    def _progress(self, _: Helper, message: messages.Message) -> None:
        for item in message.items("items"):
            self._guard(self.on_progress, as_progress(item))

    def _transfers(self, _: Helper, message: messages.Message) -> None:
        for item in message.items("items"):
            self._guard(self.on_transfer, as_transfer(item))

    def _refused(self, _: Helper, message: messages.Message) -> None:
        kind, text, source = (message.text(key) for key in ("kind", "text", "source"))
        self._guard(self.on_refused, kind, text, source)

    def _ask(self, helper: Helper, message: messages.Message) -> None:
        question, name, client = message.number("id"), message.text("name"), message.text("client", limit=64)
        if self._group is None or len(self._questions) >= _MAX_QUESTIONS:
            return  # the client asks again
        task = self._group.create_task(self._answer(helper, question, name, client))
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def _answer(self, helper: Helper, question: int, name: str, client: str) -> None:
        try:
            content = await self.virtual(name, client)
        except Exception:
            log.exception("the per-machine file %r for %s", name, client)
            return  # no answer: the client asks again
        try:
            body = {"id": question, "found": content is not None}
            messages.send(helper.channel, "answer", body, blob=content or b"")
        except (OSError, MalformedPacket) as error:
            log.warning("the per-machine file %r for %s was not delivered: %s", name, client, error)

    def _where(self, helper: Helper, message: messages.Message) -> None:
        question, method = message.number("id"), message.text("method", limit=16)
        path, client = message.text("path"), message.text("client", limit=64)
        if self._group is None or len(self._questions) >= _MAX_QUESTIONS:
            return  # the download begins without an answer
        task = self._group.create_task(self._answer_place(helper, question, method, path, client))
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def _answer_place(self, helper: Helper, question: int, method: str, path: str, client: str) -> None:
        try:
            place = await self.place(method, path, client)
        except Exception:
            log.exception("the place of %s for a download", client)
            place = Place()
        facts = {"id": question, "boot_id": place.boot_id, "wait": place.wait, "reason": place.reason}
        with contextlib.suppress(OSError, MalformedPacket):
            messages.send(helper.channel, "place", facts)

    def _guard(self, callback: Callable[..., None], *arguments: object) -> None:
        """A callback that fails costs its own event, not the helper."""
        try:
            callback(*arguments)
        except Exception:
            log.exception("a listener of the helpers failed")

    # --- what the forker says ------------------------------------------------------------------------

    def _hear_forker(self) -> None:
        try:
            while (message := messages.receive(self._forker.channel)) is not None:
                message.close()
                self._take_forker(message)
        except BlockingIOError:
            return
        except (MalformedPacket, OSError) as error:
            log.error("the forker's channel: %s", error)
        asyncio.get_running_loop().remove_reader(self._forker.channel)
        self._forker_gone.set()
        self._none_left.set()

    def _take_forker(self, message: messages.Message) -> None:
        if message.op == "started" and (helper := self._numbers.get(message.number("id"))):
            helper.pid = message.number("pid")
        elif message.op == "exit":
            ended = self._numbers.pop(message.number("id"), None)
            if ended is not None:
                log.log(
                    logging.DEBUG if self._stopping.is_set() else logging.WARNING,
                    "helper pid %s %s", message.number("pid"), ending(message.number("status")),
                )  # fmt: skip
                self._hang_up(ended)
            if not self._numbers:
                self._none_left.set()
        elif message.op == "refused":
            log.error("the forker refused: %s", message.text("text"))

    # --- the end -------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Ask every helper to finish, wait for the grace, then end those that are left."""
        if not self._numbers:
            self._none_left.set()
        for helper in list(self._numbers.values()):
            helper.state = "draining"
            with contextlib.suppress(OSError):
                messages.send(helper.channel, "drain")
        for seconds, hard in ((self._grace, True), (2.0, True)):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._none_left.wait()
            for helper in list(self._numbers.values()):
                self._end(helper, hard=hard)
        for helper in list(self._numbers.values()):
            self._hang_up(helper)

    def _end(self, helper: Helper, *, hard: bool) -> None:
        with contextlib.suppress(OSError):
            messages.send(self._forker.channel, "kill", {"id": helper.number, "hard": int(hard)})

    async def _first_of(self, *events: asyncio.Event) -> None:
        """Wait until one of the events is set."""
        waits: list[Coroutine[None, None, bool]] = [event.wait() for event in events]
        assert self._group is not None
        tasks = [self._group.create_task(_swallow(wait)) for wait in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _swallow(wait: Coroutine[None, None, bool]) -> None:
    await wait


_Word = Callable[[Supervisor, Helper, messages.Message], None]
_BULK_WORDS: Final[Mapping[str, _Word]] = {
    "ready": Supervisor._ready,
    "closed": Supervisor._closed,
    "progress": Supervisor._progress,
    "refused": Supervisor._refused,
}
_TFTP_WORDS: Final[Mapping[str, _Word]] = {
    "ready": Supervisor._ready,
    "ask": Supervisor._ask,
    "transfers": Supervisor._transfers,
    "refused": Supervisor._refused,
}
_HTTPS_WORDS: Final[Mapping[str, _Word]] = {
    "ready": Supervisor._ready,
    "opened": Supervisor._opened,
    "closed": Supervisor._closed,
    "place": Supervisor._where,
    "progress": Supervisor._progress,
    "refused": Supervisor._refused,
}
_WORDS: Final[Mapping[Kind, Mapping[str, _Word]]] = {
    "bulk": _BULK_WORDS,
    "tftp": _TFTP_WORDS,
    "https": _HTTPS_WORDS,
}
