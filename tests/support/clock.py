"""A clock for tests."""

from __future__ import annotations


class Clock:
    """Seconds, which stand still until the test moves them."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
