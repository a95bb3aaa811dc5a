"""How many claims a pool admits (`pools.claims`): each machine over the rate is given a time to come back at.

The time is its own: machines that were told to wait have their turn in the order in which they first asked,
and none that asks more often than told gains by it. Times are seconds since the epoch, or of any other clock.
"""

from __future__ import annotations

from collections import OrderedDict

from netboot.boot.stall import UNCLAIMED
from netboot.model.inventory import Pool
from netboot.model.manners import UNLIMITED, Rate

KEPT_FOR = 300.0
"""Seconds for which a machine's time is kept for it when it does not come."""

MOST = 20_000
"""Machines of one pool that are given a time; who comes then is told to wait without one."""

LONGEST = 60.0
"""Seconds that a machine waits between two questions at most."""


class ClaimRates:
    """The lines before the pools."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def wait(self, pool: Pool, who: str, now: float) -> float:
        """0: this claim is admitted now. Else the seconds after which its turn comes."""
        if pool.claims == UNLIMITED:
            self._lines.pop(pool.name, None)
            return 0.0
        line = self._lines.get(pool.name)
        if line is None or line.rate != pool.claims:  # a reload: everybody is given a new time
            line = self._lines[pool.name] = _Line(pool.claims)
        return line.wait(who, now)


class _Line:
    """One pool's line: `rate.count` claims at once, then `rate.per_second`."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._next = 0.0
        """When a claim would be due if they came evenly."""
        self._times: OrderedDict[str, float] = OrderedDict()

    def wait(self, who: str, now: float) -> float:
        self._forget(now)
        time = self._times.get(who)
        if time is None:
            if len(self._times) >= MOST:
                return LONGEST
            time = self._give(now)
        if time <= now:
            self._times.pop(who, None)
            return 0.0
        self._times[who] = time
        return time - now

    def _give(self, now: float) -> float:
        """The next free time; as many as the rate's count may come at once."""
        every = 1.0 / self.rate.per_second
        time = max(now, self._next - (self.rate.count - 1) * every)
        self._next = max(self._next, time) + every
        return time

    def _forget(self, now: float) -> None:
        """Those who did not come at their time; the earliest are the first."""
        while self._times and next(iter(self._times.values())) + KEPT_FOR < now:
            self._times.popitem(last=False)


def told(pool: Pool, seconds: float) -> str:
    """For the operator and the machine's console."""
    rate = pool.claims
    return (
        f"{UNCLAIMED}: pool {pool.name} admits {rate.count:g} claims in {rate.seconds:g} s, and the turn of "
        f"this machine comes in {seconds:.0f} s"
    )
