"""Failures of one address are counted, within bounds, and forgotten with time."""

from __future__ import annotations

from netboot.model.manners import Rate
from netboot.web.api import tries
from netboot.web.api.tries import Tries


def test_some_failures_at_once_then_one_at_a_time() -> None:
    """Three at once and three a minute: the fourth waits for twenty seconds."""
    some = Tries(Rate(3, 60.0))
    for _ in range(3):
        assert some.wait("10.0.0.1", 100.0) == 0
        assert some.failed("10.0.0.1", 100.0)
    assert some.wait("10.0.0.1", 100.0) == 20
    assert not some.failed("10.0.0.1", 100.0)
    assert some.wait("10.0.0.2", 100.0) == 0
    assert some.wait("10.0.0.1", 120.0) == 0
    assert some.wait("10.0.0.1", 50.0) == 20  # a clock that was set back


def test_the_hosts_of_one_ipv6_network_count_as_one() -> None:
    """A host takes as many of its addresses as it likes."""
    some = Tries(Rate(1, 60.0))
    some.failed("2001:db8:1:2::1", 0.0)
    assert some.wait("2001:db8:1:2:ffff::9%eth0", 0.0) > 0
    assert some.wait("2001:db8:1:3::1", 0.0) == 0


def test_few_addresses_are_remembered() -> None:
    """A crowd of addresses costs bounded memory, and the newest stay."""
    some = Tries(Rate(1, 60.0))
    for number in range(tries.ADDRESSES + 10):
        some.failed(f"unix {number}", 0.0)
    assert len(some._buckets) == tries.ADDRESSES
    assert some.wait(f"unix {tries.ADDRESSES + 9}", 0.0) > 0
