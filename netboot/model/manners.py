"""How a network treats those who ask: who is answered at all, and how often."""

from __future__ import annotations

from dataclasses import dataclass

_ENDLESS = float("inf")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in `seconds`; the count is also what may come at once."""

    count: float
    seconds: float

    @property
    def per_second(self) -> float:
        """The mean rate."""
        return self.count / self.seconds


UNLIMITED = Rate(_ENDLESS, 1.0)


@dataclass(frozen=True, slots=True)
class Admit:
    """Who is answered at all: whose card or whose vendor class is in here."""

    macs: frozenset[str] = frozenset()
    """Whole MACs, and first halves of them (`94:57:a5`: all cards of one maker)."""
    vendors: tuple[str, ...] = ()
    """Beginnings of vendor classes (option 60)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a network answers."""

    per_client: Rate = UNLIMITED
    """Requests of one MAC."""
    new_macs: Rate = UNLIMITED
    """MACs without reservation or lease, all together."""
