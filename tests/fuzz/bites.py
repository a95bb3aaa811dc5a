"""Choices read from octets, so that whatever a fuzzer invents is a sequence of actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Bites:
    """Octets taken from the front; zeros once there are no more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Octets not taken yet."""
        return len(self._data) - self._at

    def byte(self) -> int:
        """The next octet, 0 at the end."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def take(self, count: int) -> bytes:
        """At most `count` octets."""
        self._at += count
        return self._data[self._at - count : self._at]

    def pick(self, choices: Sequence[T]) -> T:
        """One of these, by the next octet."""
        return choices[self.byte() % len(choices)]
