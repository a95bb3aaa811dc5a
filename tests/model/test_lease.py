from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from netboot.model.inventory import INFINITE
from netboot.model.lease import Lease
from netboot.model.machine import Mac

LEASE = Lease(
    "m1", Mac("52:54:00:00:00:01"), IPv4Address("10.77.0.10"), "lab", "m1", expires=100.0, last_seen=50.0
)


def test_a_lease_lives_until_it_expires() -> None:
    """The last moment belongs to nobody."""
    assert LEASE.live(99.9)
    assert not LEASE.live(100.0)


def test_an_infinite_lease_never_expires() -> None:
    """Infinity needs no case of its own."""
    assert replace(LEASE, expires=INFINITE).live(10.0**12)
