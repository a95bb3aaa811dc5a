"""Who waits when more ask than can be answered: machines that nobody declared.

A socket is one queue. Where a flood of invented machines fills it, declared ones would wait behind thousands.
So everything is taken out of it at once, those whom the operator declared are answered, and the others wait
here, a bounded number of them, and are answered a few at a time while declared ones are about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Request = TypeVar("Request")


class Crowd(Generic[Request]):
    """Those who wait; the one that waited longest is dropped for one more: its machine asks again."""

    CALM = 16
    """As many requests at once are no crowd, and nobody is told apart."""
    MOST = 2048
    AT_ONCE, A_FEW = 64, 8
    """Requests answered between two looks at the sockets, and while declared machines are about."""
    ABOUT = 1.0
    """Seconds for which a declared machine that asked is likely to ask again."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._heard = -self.ABOUT
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def first(self, arrived: list[Request], declared: Callable[[Request], bool], now: float) -> list[Request]:
        """Who of those that arrived is answered now; all of them while there is no crowd."""
        if len(arrived) <= self.CALM and not self._waiting:
            return arrived
        answered = []
        for request in arrived:
            if declared(request):
                answered.append(request)
            else:
                self._waiting.append(request)
        if answered:
            self._heard = now
        while len(self._waiting) > self.MOST:
            self._waiting.popleft()
            self.dropped += 1
        return answered

    def gives_way(self, now: float) -> bool:
        """Whether declared machines are about."""
        return now - self._heard < self.ABOUT

    def next(self, now: float) -> Iterator[Request]:
        """Who is answered in this turn, those first who waited longest."""
        for _ in range(min(self.A_FEW if self.gives_way(now) else self.AT_ONCE, len(self._waiting))):
            yield self._waiting.popleft()
