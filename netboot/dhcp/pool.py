"""The dynamic addresses of one network: which they are, and in which order a new machine tries them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.model.inventory import Network
from netboot.model.machine import Mac


@dataclass(frozen=True, slots=True)
class Addresses:
    """Ranges of a network as (first, last) numbers, without what is never given to a machine."""

    spans: tuple[tuple[int, int], ...]
    never: frozenset[int]
    """The network's own addresses: ours, the gateway, name servers."""
    reserved: Container[IPv4Address]
    """Addresses of declared nodes."""

    def __contains__(self, number: object) -> bool:
        return (
            isinstance(number, int)
            and any(first <= number <= last for first, last in self.spans)
            and self._usable(number)
        )

    def __len__(self) -> int:
        """How many addresses the ranges have, those included that are never given."""
        return sum(last - first + 1 for first, last in self.spans)

    def candidates(self, mac: Mac) -> Iterator[int]:
        """Every address once, in an order of this MAC's own: two new machines rarely want the same one.

        It starts at the MAC's hash and goes on in steps that are coprime to the size, so that a crowded
        stretch is left at once.
        """
        size = len(self)
        if not size:
            return
        at, step = _start_and_step(mac, size)
        for _ in range(size):
            number = self._at(at)
            if self._usable(number):
                yield number
            at = (at + step) % size

    def _usable(self, number: int) -> bool:
        """Windows and old switches refuse .0 and .255 in larger subnets, so that nobody gets them."""
        return (
            number & 0xFF not in (0, 255)
            and number not in self.never
            and IPv4Address(number) not in self.reserved
        )

    def _at(self, index: int) -> int:
        for first, last in self.spans:
            if index <= last - first:
                return first + index
            index -= last - first + 1
        raise IndexError(index)


def _start_and_step(mac: Mac, size: int) -> tuple[int, int]:
    raw = mac.packed()
    step = zlib.crc32(b"step" + raw) % size or 1
    while math.gcd(step, size) != 1:
        step += 1
    return zlib.crc32(raw) % size, step


def addresses_of(network: Network, own: frozenset[int], reserved: Container[IPv4Address]) -> Addresses:
    """The dynamic addresses of a network; `own` are our own addresses as numbers."""
    subnet = network.subnet
    edges = {int(subnet.network_address), int(subnet.broadcast_address)}
    named = {int(a) for a in (network.gateway, network.address, *network.dns) if a is not None}
    spans = tuple((int(r.first), int(r.last)) for r in network.ranges)
    return Addresses(spans, frozenset(own | edges | named), reserved)
