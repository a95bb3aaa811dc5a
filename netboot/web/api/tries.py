"""How often one address may fail: some times at once, then now and then; and who came from it lately."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from netboot.model.access import ApiToken
from netboot.model.manners import Rate

ADDRESSES = 4096
"""Addresses that are remembered, those that failed last."""


class Tries:
    """Failures by address: each fills a bucket that empties with time. `now` is seconds of any clock."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Seconds until this address may fail again; 0 for now."""
        over = self._level(_key(address), now) + 1 - self._rate.count
        return max(0.0, over / self._rate.per_second)

    def failed(self, address: str, now: float) -> bool:
        """Count a failure; False, and not counted, where the address has had its share."""
        key = _key(address)
        if self.wait(address, now) > 0:
            return False
        self._buckets[key] = (self._level(key, now) + 1, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return True

    def _level(self, key: str, now: float) -> float:
        level, at = self._buckets.get(key, (0.0, now))
        return max(0.0, level - max(0.0, now - at) * self._rate.per_second)


class Guests:
    """Which tokens opened from which address lately; `seconds` says how long that counts."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._came: OrderedDict[tuple[str, ApiToken], float] = OrderedDict()

    def came(self, address: str, token: ApiToken, now: float) -> None:
        """Remember that it opened."""
        key = (_key(address), token)
        self._came[key] = now
        self._came.move_to_end(key)
        if len(self._came) > ADDRESSES:
            self._came.popitem(last=False)

    def knows(self, address: str, token: ApiToken, now: float) -> bool:
        """Whether it opened from there lately."""
        at = self._came.get((_key(address), token))
        return at is not None and now - at <= self._seconds


def _key(address: str) -> str:
    """What counts as one address: of IPv6 the network, for its hosts choose their own."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address):
        return found.exploded[:19]
    return str(found)
