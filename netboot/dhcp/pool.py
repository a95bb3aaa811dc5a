"""The dynamic addresses of one network: which they are, and which of them are free.

Nothing here walks through a range or keeps something for each of its addresses, so that a /8 costs as
little as a /24: addresses are counted by arithmetic, and only those that were taken are remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.model.inventory import Network
from netboot.model.machine import Mac

_PER_BLOCK = 254
"""Addresses of 256 that machines may get: Windows and old switches refuse .0 and .255, so that nobody
gets them."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Ranges of a network as (first, last) numbers, without what is never given to a machine."""

    spans: tuple[tuple[int, int], ...]
    never: frozenset[int]
    """The network's own addresses: ours, the gateway, name servers."""
    reserved: Collection[IPv4Address]
    """Addresses of declared nodes."""

    def __contains__(self, number: object) -> bool:
        return (
            isinstance(number, int)
            and any(first <= number <= last for first, last in self.spans)
            and 0 < number & 0xFF < 255
            and number not in self.never
            and IPv4Address(number) not in self.reserved
        )

    @property
    def places(self) -> int:
        """How many addresses the ranges have, .0 and .255 left out."""
        return sum(_rank(last) - _rank(first - 1) for first, last in self.spans)

    def at(self, place: int) -> int:
        """The address at a place, counted from the first range's first one. Raises IndexError."""
        for first, last in self.spans:
            before = _rank(first - 1)
            count = _rank(last) - before
            if place < count:
                return _select(before + place)
            place -= count
        raise IndexError(place)

    def place(self, number: int) -> int | None:
        """The place of an address; None for one outside the ranges and for .0 and .255."""
        passed = 0
        for first, last in self.spans:
            before = _rank(first - 1)
            if first <= number <= last and 0 < number & 0xFF < 255:
                return passed + _rank(number) - before - 1
            passed += _rank(last) - before
        return None

    def taken(self) -> frozenset[int]:
        """The places of addresses that are never given, or declared nodes' own."""
        others = self._reserved_inside()
        found = (self.place(number) for number in (*self.never, *others))
        return frozenset(place for place in found if place is not None)

    def _reserved_inside(self) -> Iterator[int]:
        """Reserved addresses within the ranges, found along the shorter of the two ways."""
        if self.places < len(self.reserved):
            numbers = (n for first, last in self.spans for n in range(first, last + 1))
            return (n for n in numbers if IPv4Address(n) in self.reserved)
        return iter(map(int, self.reserved))


def _rank(number: int) -> int:
    """How many of the addresses up to `number` end neither in .0 nor in .255."""
    return (number >> 8) * _PER_BLOCK + min(number & 0xFF, _PER_BLOCK)


def _select(rank: int) -> int:
    """The address that has `rank` such addresses before it."""
    block, rest = divmod(rank, _PER_BLOCK)
    return block << 8 | rest + 1


class Free:
    """A set of the numbers 0 to size - 1, full at first; each of its members can be drawn by its turn.

    A shuffle that is never written down: members stand at the turns 0 to len - 1, and only those that left
    their own place are remembered, so that taking, giving back and drawing cost the same in a set of any
    size, however full it is.
    """

    __slots__ = ("_at", "_count", "_turn")

    def __init__(self, size: int) -> None:
        self._count = size
        self._at: dict[int, int] = {}
        self._turn: dict[int, int] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, member: int) -> bool:
        return self._turn.get(member, member) < self._count

    def __getitem__(self, turn: int) -> int:
        """The member at a turn below the length."""
        return self._at.get(turn, turn)

    def take(self, member: int) -> bool:
        """Remove a member; False where it is none."""
        turn = self._turn.get(member, member)
        if turn >= self._count:
            return False
        self._count -= 1
        self._swap(turn, self._count)
        return True

    def give(self, member: int) -> bool:
        """Put a removed number back; False where it is a member."""
        turn = self._turn.get(member, member)
        if turn < self._count:
            return False
        self._swap(turn, self._count)
        self._count += 1
        return True

    def _swap(self, one: int, other: int) -> None:
        first, second = self[one], self[other]
        self._put(one, second)
        self._put(other, first)

    def _put(self, turn: int, member: int) -> None:
        if turn == member:
            self._at.pop(turn, None)
            self._turn.pop(member, None)
        else:
            self._at[turn], self._turn[member] = member, turn


def draws(mac: Mac) -> tuple[int, int]:
    """Two numbers of 64 bits that only this MAC draws: the same after every restart, and in every replica.

    A hash without pattern, because the MACs of a rack have one.
    """
    digest = hashlib.blake2b(mac.packed(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def addresses_of(network: Network, own: frozenset[int], reserved: Collection[IPv4Address]) -> Addresses:
    """The dynamic addresses of a network; `own` are our own addresses as numbers."""
    subnet = network.subnet
    edges = {int(subnet.network_address), int(subnet.broadcast_address)}
    named = {int(a) for a in (network.gateway, network.address, *network.dns) if a is not None}
    spans = tuple((int(r.first), int(r.last)) for r in network.ranges)
    return Addresses(spans, frozenset(own | edges | named), reserved)
