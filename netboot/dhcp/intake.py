"""What arrived and is not answered yet: who goes first, and how many may wait for the store at once.

The work on a datagram runs at once as far as it goes without the disk; while it waits for the store, others
are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Coroutine
from typing import Any, Generic, TypeVar

from netboot.dhcp.crowd import Crowd
from netboot.events import Journal

Work = Coroutine["asyncio.Future[Any]", None, None]
"""The handling of one datagram, which never raises; what it waits for are the store's futures."""

Request = TypeVar("Request", bound=tuple[Any, ...])
"""A datagram, and whatever else `handle` takes: where it came from, and where it arrived."""

IN_FLIGHT = 4096
"""Requests that may wait for the store at once; more are dropped, their clients ask again."""


class Intake(Generic[Request]):
    """Requests on their way to their answers."""

    def __init__(
        self,
        handle: Callable[..., Work],
        declared: Callable[[], Container[str]],
        journal: Journal,
        answered: Callable[[], None],
    ) -> None:
        """`declared` are the cards that go first; `answered` is called when some work got on."""
        self._handle = handle
        self._declared = declared
        self._journal = journal
        self._answered = answered
        self._crowd: Crowd[Request] = Crowd()
        self._waiting: dict[asyncio.Future[Any], list[Work]] = {}
        """By what it waits for: one commit of the store answers many."""
        self.under_way = 0
        """How many wait for the store."""

    @property
    def has_room(self) -> bool:
        """Whether one more may be taken, whoever asks."""
        return self.under_way < IN_FLIGHT

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits at all."""
        return not self.under_way and not len(self._crowd)

    def arrived(self, requests: list[Request]) -> None:
        """Answer these now, or those first whom the operator declared."""
        crowd, loop = self._crowd, asyncio.get_running_loop()
        crowded = len(crowd)
        for request in crowd.first(requests, self._is_declared, loop.time()):
            self._take(request)
        if len(crowd) and not crowded:
            loop.call_soon(self._serve_crowd)

    def start(self, work: Work) -> None:
        """Run `work` until it waits for the store, and go on when the store has answered.

        No task of its own: it would cost more than all the rest of an answer. A store that needs a current
        task makes one.
        """
        try:
            future = work.send(None)
        except StopIteration:
            pass
        else:
            self._wait(work, future)
        self._answered()

    def close(self) -> None:
        """End what waits, unanswered."""
        while self._waiting:
            for work in self._waiting.popitem()[1]:
                work.close()
        self.under_way = 0

    def _wait(self, work: Work, future: asyncio.Future[Any]) -> None:
        future._asyncio_future_blocking = False  # as a task does: several may wait for one answer
        self.under_way += 1
        if (others := self._waiting.get(future)) is not None:
            others.append(work)
        else:
            self._waiting[future] = [work]
            future.add_done_callback(self._go_on)

    def _go_on(self, future: asyncio.Future[Any]) -> None:
        for work in self._waiting.pop(future, ()):
            self.under_way -= 1
            self.start(work)

    def _serve_crowd(self) -> None:
        """Some of those who wait. While declared machines are about, then a pause three times as long.

        So a flood has a quarter of the processor at most, and neither sockets nor the store's writer wait.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        for request in self._crowd.next(began):
            self._take(request)
        if self._crowd.dropped:
            self._journal.counters["dhcp_overload"] += self._crowd.dropped - 1
            self._crowd.dropped = 0
            text = "more ask than can be answered: requests of machines that nobody declared are dropped"
            self._journal.refused("dhcp_overload", text, source="crowd")
        if len(self._crowd):
            pause = 3 * (loop.time() - began) if self._crowd.gives_way(began) else 0.0
            loop.call_later(pause, self._serve_crowd)

    def _take(self, request: Request) -> None:
        if self.under_way < IN_FLIGHT or self._is_let_in(request):
            self.start(self._handle(*request))

    def _is_let_in(self, request: Request) -> bool:
        """Whether a full house still takes this request: a declared machine's, up to twice as many."""
        if self.under_way < 2 * IN_FLIGHT and self._is_declared(request):
            return True
        self._journal.refused("dhcp_overload", "the store is too slow: requests are dropped", source="")
        return False

    def _is_declared(self, request: Request) -> bool:
        return card(request[0]) in self._declared()


def card(data: bytes) -> str:
    """The MAC of a datagram that nobody has decoded yet."""
    return data[28:34].hex(":")
