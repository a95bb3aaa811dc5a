"""The state of a network's addresses: every choice is fair, bounded, and the same again for one machine."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

import pytest

from netboot.dhcp import stock as stock_module
from netboot.dhcp.pool import Addresses
from netboot.dhcp.stock import ASK_AGAIN, LOOKS, PROMISE, Stock
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from tests.dhcp.test_pool import macs, number

FIRST = number("10.77.1.1")
NOW = 1_000_000.0


def stock(size: int = 10, leases: tuple[Lease, ...] = ()) -> Stock:
    """A range of so many addresses."""
    return Stock(Addresses(((FIRST, FIRST + size - 1),), frozenset(), frozenset()), leases)


def lease(index: int, seen: float = NOW, *, released: bool = False) -> Lease:
    """A lease of the address with that index."""
    mac = Mac.from_bytes(b"\x02\x77\0" + index.to_bytes(3, "big"))
    return Lease(str(mac), mac, IPv4Address(FIRST + index), "lab", "x", seen + 60, seen, None, released)


def test_every_free_address_is_as_likely_as_any_other() -> None:
    """Over an empty range, and over one where two thirds are leased (chi-squared, fixed MACs)."""
    for leased in (0, 132):
        held = stock(198, tuple(lease(i) for i in range(leased)))
        counts = Counter(held.pick(mac, NOW) for mac in macs(19_800))
        free = 198 - leased
        expected = 19_800 / free
        chi = sum((counts[FIRST + i] - expected) ** 2 / expected for i in range(leased, 198))
        spread = (2 * free) ** 0.5
        assert abs(chi - free) < 4 * spread, (leased, chi)
        assert set(counts) == {FIRST + i for i in range(leased, 198)}


def test_a_machine_that_comes_again_picks_the_same() -> None:
    """While it is free, whatever others took."""
    held = stock(200)
    mac = macs(1)[0]
    first = held.pick(mac, NOW)
    for i in range(199):
        if FIRST + i != first:
            held.leased(lease(i))
        assert held.pick(mac, NOW) == first


def test_the_last_free_address_is_found_at_once() -> None:
    """In a range of 65,000 that is full but for one."""
    held = Stock(Addresses(((FIRST, FIRST + 65_535),), frozenset(), frozenset()), ())
    places = held.addresses.places
    missing = held.addresses.at(12_345)
    for place in range(places):
        each = held.addresses.at(place)
        if each != missing:
            held.leased(lease(each - FIRST))
    assert held.unused == 1
    assert {held.pick(mac, NOW) for mac in macs(50)} == {missing}
    held.promise(missing, "somebody", NOW)
    assert held.pick(macs(1)[0], NOW) is None


def test_a_promise_stands_for_a_while_and_lapses() -> None:
    """Nobody else picks it; the machine is reminded of it; afterwards it is free again."""
    held = stock(2)
    held.promise(FIRST, "a", NOW)
    assert held.promised_to("a", NOW) == FIRST
    assert held.promised_to_another(FIRST, "b", NOW) and not held.promised_to_another(FIRST, "a", NOW)
    assert {held.pick(mac, NOW) for mac in macs(9)} == {FIRST + 1}
    later = NOW + PROMISE
    assert {held.pick(mac, later) for mac in macs(9)} == {FIRST, FIRST + 1}
    assert held.promised_to("a", later) is None


def test_a_machine_has_one_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one frees the one before; a flood makes the oldest lapse."""
    held = stock(5)
    held.promise(FIRST, "a", NOW)
    held.promise(FIRST + 1, "a", NOW)
    assert held.unused == 4
    monkeypatch.setattr(stock_module, "PROMISES", 2)
    held.promise(FIRST + 2, "b", NOW)
    held.promise(FIRST + 3, "c", NOW)
    assert held.unused == 3 and held.promised_to("a", NOW) is None
    assert held.oldest_promise() == FIRST + 2


def test_those_unseen_longest_are_gone_first_and_goodbyes_before_them() -> None:
    """Also where the leases come in another order from the disk."""
    held = stock(4, (lease(2, NOW - 50), lease(0, NOW - 100), lease(1, NOW - 10), lease(3, released=True)))
    assert list(held.gone(NOW - 20, NOW)) == [FIRST + 3, FIRST, FIRST + 2]


def test_who_was_passed_over_is_asked_again_later() -> None:
    """Not in the same second, and not before those that nobody has looked at."""
    held = stock(3, (lease(0, NOW - 100), lease(1, NOW - 90), lease(2, NOW)))
    assert list(held.gone(NOW - 50, NOW)) == [FIRST, FIRST + 1]
    assert list(held.gone(NOW - 50, NOW)) == []
    assert list(held.gone(NOW - 50, NOW + ASK_AGAIN)) == [FIRST, FIRST + 1]
    held.leased(lease(0, NOW + 5))
    assert list(held.gone(NOW - 50, NOW + 9)) == [FIRST + 1]


def test_a_crowd_of_old_holders_that_live_is_looked_at_in_turns() -> None:
    """A bounded number for each request, and all of them in the end."""
    held = stock(200, tuple(lease(i, NOW - 1000 + i) for i in range(200)))
    seen: list[int] = []
    for _ in range(10):
        looked = list(held.gone(NOW, NOW))
        assert len(looked) <= 2 * LOOKS
        seen += looked
    assert sorted(seen) == [FIRST + i for i in range(200)]


def test_a_resting_address_is_nobodys_until_it_is_rested() -> None:
    """Whether it was free, promised or leased before; a lease of it ends no rest."""
    held = stock(3, (lease(0, NOW - 100),))
    held.promise(FIRST + 1, "a", NOW)
    for i in range(3):
        held.rest(FIRST + i)
    assert (held.resting, held.unused, held.pick(macs(1)[0], NOW)) == (3, 0, None)
    assert list(held.gone(NOW, NOW)) == [] and held.promised_to("a", NOW) is None
    held.leased(lease(2))
    held.rested(FIRST)
    held.rested(FIRST + 1)
    held.rested(FIRST + 2)
    assert sorted(held.gone(NOW - 1, NOW)) == [FIRST, FIRST + 2], "how old they are tells the store"
    assert held.unused == 1 and held.pick(macs(1)[0], NOW) == FIRST + 1


def test_a_forgotten_lease_is_free_wherever_it_was() -> None:
    """Ageing, living or resting."""
    held = stock(3, (lease(0, NOW - 100), lease(1, NOW), lease(2, NOW)))
    assert list(held.gone(NOW - 50, NOW)) == [FIRST]
    held.rest(FIRST + 2)
    for i in range(3):
        held.freed(FIRST + i)
    assert held.unused == 2
    held.rested(FIRST + 2)
    assert held.unused == 3


def test_a_reload_that_changes_nothing_keeps_the_state() -> None:
    """The same ranges with another snapshot's reservations elsewhere fit, other ranges do not."""
    held = stock(10)
    spans = held.addresses.spans
    assert held.fits(Addresses(spans, frozenset(), {IPv4Address("10.99.0.1")}))
    assert not held.fits(Addresses(spans, frozenset({FIRST + 2}), frozenset()))
    assert not held.fits(Addresses(((FIRST, FIRST + 20),), frozenset(), frozenset()))


def test_what_is_outside_the_ranges_is_none_of_its_affairs() -> None:
    """Leases, promises and rests of other addresses change nothing."""
    held = stock(2)
    elsewhere = FIRST + 100
    held.leased(lease(100))
    held.promise(elsewhere, "a", NOW)
    held.rest(elsewhere)
    held.rested(elsewhere)
    held.freed(elsewhere)
    held.noticed(lease(100))
    assert (held.unused, held.resting, held.size) == (2, 0, 2)


def test_a_lease_that_another_replica_wrote_is_noticed() -> None:
    """A free address turns out to be leased."""
    held = stock(2)
    held.noticed(lease(0))
    held.noticed(None)
    assert held.unused == 1
