"""Bandwidth that many downloads share: a bucket of bytes that fills with time."""

from __future__ import annotations

import math
from typing import Final

BURST: Final = 0.05
"""Seconds whose bytes may leave at once."""
PORTION: Final = 256 << 10
"""Bytes that one download takes at most before the next one has its turn."""


class Pace:
    """How many bytes may be sent now; times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._rate = math.inf
        self._level = 0.0
        self._at = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._rate != math.inf

    def set(self, rate: float) -> None:
        """Bytes per second from now on; infinite for no limit."""
        self._rate = rate
        self._level = min(self._level, self._most)

    @property
    def _most(self) -> float:
        return max(float(PORTION), self._rate * BURST)

    def take(self, wanted: int, now: float) -> int:
        """Take up to `wanted` bytes: what may be sent now, zero where the bucket is empty."""
        if not self.limited:
            return wanted
        self._level = min(self._most, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
        taken = min(wanted, PORTION, int(self._level))
        if taken < min(wanted, PORTION, 4096):
            return 0  # crumbs cost as much as a portion
        self._level -= taken
        return taken

    def give_back(self, unsent: int) -> None:
        """What was taken and could not be sent."""
        self._level += unsent
