"""Dynamic addresses: which there are, and the order in which a machine tries them."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings
from hypothesis import strategies as st

from netboot.dhcp.pool import Addresses, addresses_of
from netboot.model.inventory import AddressRange, Network
from netboot.model.machine import Mac
from tests.dhcp.world import network


def number(text: str) -> int:
    """An address as a number."""
    return int(IPv4Address(text))


def macs(count: int) -> list[Mac]:
    """Cards of one maker with consecutive numbers, as a rack has them."""
    return [Mac.from_bytes(b"\x94\x57\xa5" + i.to_bytes(3, "big")) for i in range(count)]


def test_what_is_somebody_elses_is_never_given() -> None:
    """Not the edges of the subnet, the gateway, name servers, our own, reservations, .0 and .255."""
    wide = network(subnet="10.77.0.0/16", first="10.77.0.0", last="10.77.255.255")
    pool = addresses_of(wide, frozenset({number("10.77.3.3")}), {IPv4Address("10.77.9.9")})
    forbidden = [
        "10.77.0.0",
        "10.77.255.255",
        "10.77.0.254",
        "10.77.0.253",
        "10.77.0.1",
        "10.77.3.3",
        "10.77.9.9",
    ]
    assert not any(number(a) in pool for a in [*forbidden, "10.77.4.0", "10.77.4.255", "10.78.0.5"])
    assert number("10.77.4.1") in pool and number("10.77.255.254") in pool


@settings(deadline=None)
@given(st.binary(min_size=6, max_size=6), st.integers(1, 700), st.integers(0, 60))
def test_every_address_is_a_candidate_once(raw: bytes, size: int, gap: int) -> None:
    """Each machine's order is a whole walk through all ranges: the last free address is found."""
    first = number("10.1.0.1")
    spans = ((first, first + size - 1), (first + size + gap, first + size + gap + 9))
    pool = Addresses(spans, frozenset({first + 3}), frozenset())
    everything = [n for low, high in spans for n in range(low, high + 1) if n in pool]
    assert sorted(pool.candidates(Mac.from_bytes(raw))) == everything


def test_the_first_candidates_of_a_rack_are_spread() -> None:
    """Cards with consecutive numbers do not all want the same address."""
    pool = addresses_of(network(first="10.77.0.1", last="10.77.0.254"), frozenset(), frozenset())
    firsts = Counter(next(iter(pool.candidates(mac))) for mac in macs(200))
    assert len(firsts) > 100 and max(firsts.values()) <= 5


def test_a_machines_order_never_changes() -> None:
    """The same MAC wants the same address after every restart."""
    pool = addresses_of(network(), frozenset(), frozenset())
    mac = macs(1)[0]
    assert list(pool.candidates(mac)) == list(pool.candidates(mac))
    assert next(iter(pool.candidates(Mac("94:57:a5:00:00:00")))) == next(iter(pool.candidates(mac)))


def test_a_huge_range_costs_nothing_to_hold() -> None:
    """A /8 is three numbers, and its first candidate is found at once."""
    huge = Network(
        "huge",
        IPv4Network("10.0.0.0/8"),
        "eth1",
        IPv4Address("10.0.0.1"),
        ranges=(AddressRange(IPv4Address("10.0.0.2"), IPv4Address("10.255.255.254")),),
    )
    pool = addresses_of(huge, frozenset(), frozenset())
    assert next(iter(pool.candidates(macs(1)[0]))) in pool


def test_without_a_range_nobody_gets_a_dynamic_address() -> None:
    """Reservations only: no candidate, no member."""
    pool = Addresses((), frozenset(), frozenset())
    assert list(pool.candidates(macs(1)[0])) == [] and number("10.0.0.1") not in pool
