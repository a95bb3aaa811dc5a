"""Who waits for one cluster, and whose turn it is: higher priority first, then who came first. Pure.

Nobody is kept on the line: a machine is told when to ask again, later the more machines are before it. It has
its turn when it asks, nobody of higher priority waits, and the rate allows one more.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from netboot.model.manners import Rate

RATE = Rate(50, 2.0)
"""Credentials of one cluster: fifty at once, twenty-five a second. Each costs some six calls of its API."""

LONGEST = 30.0
"""Seconds that a machine is told to wait at most: when the API answers again, it shall hear of it soon."""

GRACE = 15.0
"""Seconds past its time after which a machine is out: machines come up to a quarter later than told."""

MOST = 20_000
"""Machines that wait for one cluster; who comes then waits without a place."""


@dataclass(slots=True)
class Ticket:
    """One machine's place."""

    number: int
    due: float
    """When it was told to ask again."""


class JoinQueue:
    """The queue of one cluster. Times are those of any steady clock, in seconds."""

    def __init__(self, now: float, rate: Rate = RATE) -> None:
        self._rate = rate
        self._tokens = rate.count
        self._at = now
        self._pruned = now
        self._number = 0
        self._lines: dict[int, OrderedDict[str, Ticket]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def before(self, who: str, priority: int) -> int:
        """How many have their turn before this one; who left the middle of a line is still counted."""
        higher = sum(len(line) for p, line in self._lines.items() if p > priority)
        line = self._lines.get(priority)
        if not line:
            return higher
        head = next(iter(line.values())).number
        number = line[who].number if who in line else self._number + 1
        return higher + min(number - head, len(line))

    def ask(self, who: str, priority: int, now: float) -> float:
        """0: it is this one's turn. Else the seconds after which it shall ask again."""
        self._prune(now)
        if not any(line for p, line in self._lines.items() if p > priority) and self._take(now):
            self.leave(who)
            return 0.0
        return self.wait(who, priority, now, 0.0)

    def wait(self, who: str, priority: int, now: float, least: float) -> float:
        """It cannot have its turn now: seconds after which it shall ask again, at least `least`."""
        self._prune(now)
        seconds = min(LONGEST, max(1.0, least) + self.before(who, priority) / self._rate.per_second)
        self._place(who, priority, now + seconds)
        return seconds

    def leave(self, who: str) -> None:
        """It waits no more."""
        for priority, line in list(self._lines.items()):
            if line.pop(who, None) is not None and not line:
                del self._lines[priority]

    def _place(self, who: str, priority: int, due: float) -> None:
        line = self._lines.get(priority, OrderedDict())
        if who in line:
            line[who].due = due
        elif len(self) < MOST:
            self.leave(who)  # its pool's priority may have changed
            self._number += 1
            self._lines.setdefault(priority, line)[who] = Ticket(self._number, due)

    def _take(self, now: float) -> bool:
        """Whether the rate allows one more; a clock that goes back brings nothing."""
        gained = max(0.0, now - self._at) * self._rate.per_second
        self._tokens, self._at = min(self._rate.count, self._tokens + gained), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _prune(self, now: float) -> None:
        """Once a second, take out who did not come back: a machine without power keeps nobody waiting."""
        if 0 <= now - self._pruned < 1.0:
            return
        self._pruned = now
        for line in list(self._lines.values()):
            for who in [who for who, ticket in line.items() if now > ticket.due + GRACE]:
                self.leave(who)
