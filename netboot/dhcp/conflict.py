"""Whether somebody uses an address that we are about to offer (RFC 2131 section 4.4.1, RFC 5227).

Each question is one future: the request that asks waits for it as it waits for the store, while all others
are answered. Nobody waits longer than `WAIT`, and what was silent a moment ago is not asked again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from netboot.events import Journal
from netboot.model.machine import Mac

WAIT = 0.3
"""Seconds for which an answer is waited for. iPXE asks again after one second, EDK2 after four."""

TIMES = 2
"""Questions within `WAIT`, because a link may lose one."""

SILENT_FOR = 30.0
"""Seconds for which an address that was silent counts as free, so that a client that retries is answered
at once."""

AT_ONCE = 1024
"""Addresses that are asked at the same time; beyond it an address is offered unasked, and counted."""

ROUTED_AT_ONCE = 256
"""The same behind routers, whose own tables of neighbours must not overflow by our questions."""

REMEMBERED = 8192
"""Silent addresses that are remembered."""

BATCH = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """Somebody has the address."""

    mac: Mac | None
    """The card; None where it answered through a router."""


class Asker(Protocol):
    """A socket that asks; `netboot.alive` has two."""

    def fileno(self) -> int:
        """The socket that becomes readable."""

    def ask(self, address: IPv4Address) -> None:
        """Ask once. Raises OSError."""

    def answers(self, most: int) -> Iterator[tuple[IPv4Address, Mac | None]]:
        """Answers that wait."""


class Prober:
    """Asks links by ARP, and everything behind a router by ICMP echo."""

    def __init__(self, links: Mapping[str, Asker], routed: Asker | None, journal: Journal) -> None:
        """`links` by interface name."""
        self._links = dict(links)
        self._routed = routed
        self._journal = journal
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[IPv4Address, asyncio.Future[Answer | None]] = {}
        self._routed_now = 0
        self._due: deque[tuple[float, IPv4Address, asyncio.Future[Answer | None], Asker, int]] = deque()
        self._silent: OrderedDict[IPv4Address, float] = OrderedDict()

    async def run(self) -> None:
        """Listen for answers until cancelled; before and after, nobody is asked."""
        loop = self._loop = asyncio.get_running_loop()
        for asker in self._askers():
            loop.add_reader(asker.fileno(), self._hear, asker)
        try:
            await loop.create_future()
        finally:
            self._loop = None
            for asker in self._askers():
                loop.remove_reader(asker.fileno())
            self._due.clear()
            while self._waiting:
                _, waiting = self._waiting.popitem()
                if not waiting.done():
                    waiting.set_result(None)

    def ask(self, address: IPv4Address, link: str | None) -> asyncio.Future[Answer | None] | None:
        """Ask who has an address, on a link or (None) behind a router.

        The future's result is None for silence. No future: it was silent a moment ago, or cannot be asked.
        """
        if self._loop is None:
            return None
        now = self._loop.time()
        if now < self._silent.get(address, 0.0):
            return None
        if (waiting := self._waiting.get(address)) is not None:
            return waiting
        asker = self._routed if link is None else self._links.get(link)
        if asker is None:
            self._journal.counters["dhcp_offered_unasked"] += 1
            return None
        if len(self._waiting) >= AT_ONCE or (link is None and self._routed_now >= ROUTED_AT_ONCE):
            self._unasked(f"{len(self._waiting)} addresses are being asked already")
            return None
        try:
            asker.ask(address)
        except OSError as error:
            self._unasked(f"{address} cannot be asked: {error}")
            return None
        return self._wait(self._loop, address, asker, now)

    def _wait(
        self, loop: asyncio.AbstractEventLoop, address: IPv4Address, asker: Asker, now: float
    ) -> asyncio.Future[Answer | None]:
        self._journal.counters["dhcp_probes"] += 1
        future: asyncio.Future[Answer | None] = loop.create_future()
        if asker is self._routed:
            self._routed_now += 1
            future.add_done_callback(self._one_less)
        self._waiting[address] = future
        if not self._due:
            loop.call_at(now + WAIT / TIMES, self._tick)
        self._due.append((now + WAIT / TIMES, address, future, asker, 1))
        return future

    def _one_less(self, _: object) -> None:
        self._routed_now -= 1

    def _askers(self) -> tuple[Asker, ...]:
        return (*self._links.values(), *((self._routed,) if self._routed else ()))

    def _unasked(self, why: str) -> None:
        text = f"addresses are offered without asking whether somebody uses them: {why}"
        self._journal.refused("dhcp_offered_unasked", text, source="")

    def _hear(self, asker: Asker) -> None:
        for address, mac in asker.answers(BATCH):
            future = self._waiting.pop(address, None)
            if future is not None and not future.done():
                future.set_result(Answer(mac))

    def _tick(self) -> None:
        """What is due: ask again, or take silence for an answer. All wait equally long, thus in a queue."""
        if self._loop is None:
            return
        now = self._loop.time()
        while self._due and self._due[0][0] <= now:
            _, address, future, asker, times = self._due.popleft()
            if future.done():
                continue
            if times < TIMES:
                self._ask_again(address, asker)
                self._due.append((now + WAIT / TIMES, address, future, asker, times + 1))
            else:
                self._silence(address, future, now)
        if self._due:
            self._loop.call_at(self._due[0][0], self._tick)

    def _ask_again(self, address: IPv4Address, asker: Asker) -> None:
        try:
            asker.ask(address)
        except OSError as error:
            self._unasked(f"{address} cannot be asked again: {error}")

    def _silence(self, address: IPv4Address, future: asyncio.Future[Answer | None], now: float) -> None:
        self._waiting.pop(address, None)
        self._silent[address] = now + SILENT_FOR
        self._silent.move_to_end(address)
        if len(self._silent) > REMEMBERED:
            self._silent.popitem(last=False)
        future.set_result(None)
