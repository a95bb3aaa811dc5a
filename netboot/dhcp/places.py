"""One card at two places at once: two machines with the same MAC, or one that everybody hears twice.

A place is the interface that a packet came in on and the relay agent that it came through. A broadcast that
two relay agents of one link hand on comes with one transaction id: those are one place. A machine that moved
is believed at its new place once it has been silent at the old one for `AT_ONCE`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from netboot.model.machine import Mac

AT_ONCE = 60.0
"""Seconds after a card's last word at one place for which it cannot be at another."""

_SAME_WORD = 10.0
"""Seconds within which one transaction id means one and the same message."""

_KEPT = 4096
_PLACES = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a packet was heard."""

    interface: str
    giaddr: int
    network: str = field(compare=False)
    """The network that it was taken for; an interface may have several."""

    def __str__(self) -> str:
        relay = f" through {IPv4Address(self.giaddr)}" if self.giaddr else ""
        return f"{self.interface}{relay} (network {self.network})"


class Whereabouts:
    """Where one card is, of the places where it was heard."""

    def __init__(self, place: Place, xid: int, alive: float, now: float) -> None:
        """It was heard at `place` first, with this transaction id, and showed life there at `alive`."""
        self.here = place
        self._at = alive
        self._heard: OrderedDict[Place, tuple[int, float]] = OrderedDict({place: (xid, now)})
        self._one: set[Place] = set()

    def heard(self, place: Place, xid: int, now: float) -> Place | None:
        """The place where the card is instead; None where it is here now."""
        for other, (said, at) in self._heard.items():
            if other != place and said == xid and now - at < _SAME_WORD:
                self._one |= {other, place}
        self._heard[place] = xid, now
        self._heard.move_to_end(place)
        if len(self._heard) > _PLACES:
            self._one.discard(self._heard.popitem(last=False)[0])
        if place != self.here and not {place, self.here} <= self._one and now - self._at < AT_ONCE:
            return self.here
        self.here, self._at = place, now
        return None


class Places:
    """The whereabouts of the cards that were heard at more than one place, the newest of them."""

    def __init__(self) -> None:
        self._cards: OrderedDict[Mac, Whereabouts] = OrderedDict()

    def of(self, mac: Mac) -> Whereabouts | None:
        """Where this card is; None where it was at one place only, or long ago."""
        return self._cards.get(mac)

    def follow(self, mac: Mac, first: Place, xid: int, alive: float, now: float) -> Whereabouts:
        """Follow a card that was heard at `first`, and now is heard elsewhere."""
        self._cards[mac] = found = Whereabouts(first, xid, alive, now)
        if len(self._cards) > _KEPT:
            self._cards.popitem(last=False)
        return found
