"""Boot storms: how many machines fetch images at once, and in which order the others get their turn.

A machine (its address) has a seat from its script, or its first byte of `/images`, until its root file
system is complete; who finds none is given a place in the queue and told when to ask again. The queue is
first come, first served, and a seat that becomes free waits for the machine in front, not for the fastest.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from netboot.boot.stall import QUEUED

BEGIN: Final = 15.0
"""Seconds in which a machine with a seat has to begin, and that its download may stand still."""
PATIENCE: Final = 60.0
"""Seconds for which asking alone, without a byte that arrives, keeps a seat."""
BETWEEN: Final = 5.0
"""Seconds that a seat is kept between two files."""
SHORTEST, LONGEST = 2.0, 30.0
"""Seconds after which a waiting machine is told to ask again."""
LATE: Final = 20.0
"""Seconds that a waiting machine may be late before it loses its place; iPXE needs some to start over."""
MOST: Final = 10_000
"""Machines in the queue; the next one is told to wait, but has no place."""
_LAST = "/root.squashfs"
_WINDOW = 2.0  # seconds over which the rate is measured


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: `before` machines come first, ask again in `seconds`."""

    before: int
    seconds: int

    def __str__(self) -> str:
        place = {0: "next in line", 1: "1 machine before it"}.get(
            self.before, f"{self.before} machines before it"
        )
        return f"{QUEUED}, {place}"


@dataclass(slots=True)
class _Seat:
    since: float
    until: float
    sent: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Ticket:
    due: float


class Storm:
    """Who downloads images now and who waits; times are seconds of any steady clock."""

    def __init__(
        self, max_downloads: float, max_rate: float, uniform: Callable[[float, float], float]
    ) -> None:
        """At most `max_downloads` machines, and no new one while `max_rate` (bits per second) is used up.

        `uniform` spreads those who wait: any number between two, by chance.
        """
        self._most = max_downloads
        self._rate = max_rate
        self._uniform = uniform
        self._seats: dict[str, _Seat] = {}
        self._queue: OrderedDict[str, _Ticket] = OrderedDict()
        self._bytes: deque[tuple[float, int]] = deque()
        self._typical = SHORTEST  # seconds that a seat is taken, a moving mean

    @property
    def downloading(self) -> int:
        """Machines that have a seat."""
        return len(self._seats)

    @property
    def waiting(self) -> int:
        """Machines in the queue."""
        return len(self._queue)

    def enter(self, client: str, now: float) -> Wait | None:
        """Ask for a seat: None where the machine has one now."""
        self._expire(now)
        seat = self._seats.get(client)
        if seat is not None:
            seat.until = max(seat.until, min(now, seat.since + PATIENCE) + BEGIN)
            return None
        before = self._before(client)
        if before < self._free(now):
            self._queue.pop(client, None)
            self._seats[client] = _Seat(now, now + BEGIN)
            return None
        wait = self._wait(before)
        if client in self._queue or len(self._queue) < MOST:
            self._queue[client] = _Ticket(now + wait.seconds)
        return wait

    def progress(self, client: str, path: str, sent: int, of: int, done: bool, now: float) -> None:
        """A download of `/images` came so far; a machine without a seat (we were restarted) takes one."""
        seat = self._seats.setdefault(client, _Seat(now, now + BEGIN))
        grown = sent - seat.sent.get(path, 0)
        if grown > 0:
            self._bytes.append((now, grown))
            seat.until = now + BEGIN
        seat.sent[path] = max(sent, seat.sent.get(path, 0))
        if done:
            seat.sent.pop(path)
            if path.endswith(_LAST) and sent == of:
                self._leave(client, now)
            elif not seat.sent:
                seat.until = now + BETWEEN

    def _before(self, client: str) -> int:
        """How many are in front of this machine; for one without a place: all."""
        if client not in self._queue:
            return len(self._queue)
        return next(place for place, other in enumerate(self._queue) if other == client)

    def _free(self, now: float) -> float:
        if self._seats and self._used(now) >= self._rate:
            return 0
        return self._most - len(self._seats)

    def _used(self, now: float) -> float:
        """Bits per second that are sent now."""
        while self._bytes and self._bytes[0][0] < now - _WINDOW:
            self._bytes.popleft()
        return 8 * sum(count for _, count in self._bytes) / _WINDOW

    def _wait(self, before: int) -> Wait:
        """The front asks often, so that no seat stays empty; those behind when their turn may come."""
        turns = (before + 1) / max(1.0, min(self._most, 1e6))
        seconds = min(LONGEST, max(SHORTEST, turns * self._typical / 2))
        return Wait(before, round(seconds * self._uniform(1.0, 1.5)))

    def _expire(self, now: float) -> None:
        for client in [client for client, seat in self._seats.items() if seat.until < now]:
            del self._seats[client]
        for client in [client for client, ticket in self._queue.items() if ticket.due + LATE < now]:
            del self._queue[client]

    def _leave(self, client: str, now: float) -> None:
        taken = now - self._seats.pop(client).since
        self._typical += 0.2 * (taken - self._typical)
