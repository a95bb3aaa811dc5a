"""Who is answered at all, and how often: the decisions behind `admit` and `limits`.

A network without these keys never comes here. `now` is in seconds and only ever compared with itself.
"""

from __future__ import annotations

from collections import OrderedDict

from netboot.model.machine import Client, Mac
from netboot.model.manners import UNLIMITED, Admit, Limits, Rate

KNOWN_CLIENTS = 16_384
"""MACs whose requests are counted at once; the one that was silent longest is forgotten."""

GUESTS = 16_384
"""New MACs that are remembered as let in."""

STAYS = 60.0
"""Seconds for which a new MAC that was let in may go on: its exchange, and what boots after it."""

_OUI = len("94:57:a5")


def refusal(admit: Admit, client: Client) -> str:
    """Why this client is not answered; empty for one that is in either list."""
    if client.mac in admit.macs or client.mac[:_OUI] in admit.macs:
        return ""
    if client.vendor_class.startswith(admit.vendors):
        return ""
    told = f"vendor class {client.vendor_class[:64]!r}" if client.vendor_class else "no vendor class"
    lists = [name for name, said in (("admit.macs", admit.macs), ("admit.vendors", admit.vendors)) if said]
    where = f"not in {lists[0]}" if len(lists) == 1 else f"in neither {' nor '.join(lists)}"
    return f"it is {where} (it says {told})"


class Bucket:
    """A token bucket: `rate.count` at once, then `rate.per_second`."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._tokens = rate.count
        self._at = now

    def take(self, rate: Rate, now: float) -> bool:
        """Whether one more may come now; a clock that goes back brings nothing."""
        tokens = min(rate.count, self._tokens + max(0.0, now - self._at) * rate.per_second)
        self._at = now
        self._tokens = tokens - 1 if tokens >= 1 else tokens
        return tokens >= 1


class Limiter:
    """The counts of one network; its memory is bounded whatever comes."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self._clients: OrderedDict[Mac, Bucket] = OrderedDict()
        self._guests: OrderedDict[Mac, float] = OrderedDict()
        self._newcomers = Bucket(limits.new_macs, now)

    def allows(self, mac: Mac, now: float) -> bool:
        """Whether one more request of this MAC is within `per_client`."""
        rate = self.limits.per_client
        if rate == UNLIMITED:
            return True
        bucket = self._clients.get(mac)
        if bucket is None:
            bucket = self._clients[mac] = Bucket(rate, now)
            if len(self._clients) > KNOWN_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(mac)
        return bucket.take(rate, now)

    def lets_in(self, mac: Mac, now: float) -> bool:
        """Whether a MAC without reservation or lease is within `new_macs`; it is counted once, then stays."""
        if self.limits.new_macs == UNLIMITED:
            return True
        came = self._guests.get(mac)
        if came is not None and 0 <= now - came < STAYS:
            return True
        if not self._newcomers.take(self.limits.new_macs, now):
            return False
        self._guests[mac] = now
        self._guests.move_to_end(mac)
        if len(self._guests) > GUESTS:
            self._guests.popitem(last=False)
        return True
