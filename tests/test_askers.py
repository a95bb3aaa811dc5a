"""Who asks from an address."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netboot.askers import Askers
from netboot.boot.session import proved
from netboot.model.inventory import Assignment, NoMatch
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.store.memory import MemoryStore
from tests.boot.conftest import ADDRESS, MAC, OTHER, inventory

NOW = 1_800_000_000.0


@pytest.fixture
async def askers() -> tuple[Askers, MemoryStore, dict[IPv4Address, Mac]]:
    store, seen = MemoryStore(), {ADDRESS: MAC}
    lease = Lease("m1c29", MAC, ADDRESS, "lab", "m1c29", NOW + 300, NOW, "boot1")
    assert await store.claim_lease(lease, None)
    found = inventory()
    made = Askers(inventory=lambda: found, store=store, neighbour=lambda _, a: seen.get(a), clock=lambda: NOW)
    return made, store, seen


async def test_lease_and_link_together_prove_a_machine(askers) -> None:
    """On a link of ours the kernel's neighbour entry must show the leased MAC."""
    made, _, seen = askers
    asker = await made.at(ADDRESS)
    assert asker.lease is not None and asker.lease.mac == MAC and proved(asker)
    seen[ADDRESS] = OTHER
    assert not proved(await made.at(ADDRESS))


async def test_an_address_without_lease_is_nobodys(askers) -> None:
    """Nothing is known of who asks from there."""
    made, _, _ = askers
    assert (await made.at(IPv4Address("10.77.0.99"))).lease is None


async def test_an_address_is_held_by_its_lease_or_its_boot(askers) -> None:
    """Firmware never renews: after the lease's end the running boot holds the address."""
    made, store, _ = askers
    lease = await store.lease_at(ADDRESS)
    assert lease is not None and made.held(lease, None)
    assert not made.held(replace(lease, expires=NOW - 1), None)


async def test_a_machine_is_matched_on_its_network(askers) -> None:
    """The declared machine belongs to its pool, another to nothing; addresses belong to networks."""
    made, _, _ = askers
    assert isinstance(made.match(MAC, "lab", "m1c29"), Assignment)
    assert isinstance(made.match(OTHER, "lab", ""), NoMatch)
    network = made.network_of(ADDRESS)
    assert network is not None and network.name == "lab"
    assert made.network_of(IPv4Address("192.0.2.1")) is None
