"""Which machine an order is about, and where it lives."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.errors import Refused
from netboot.fleet.orders import machine_of
from netboot.model.inventory import Pool
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.model.operation import Order
from netboot.model.overlay import overlaid
from netboot.model.placement import Placement
from netboot.store.memory import MemoryStore
from tests.fleet.moving import CARD, STRANGER, House, house_inventory

DECLARED = house_inventory(Path("blue"), Path("red"))
LEASE = Lease(str(STRANGER), STRANGER, IPv4Address("10.0.0.100"), "lab", "node-525400000099", 1e12, 1e9)
TO_RED = Order(cluster="red")


def test_a_declared_machine_is_found_by_card_and_by_name() -> None:
    """Under its declared name, whatever it is assigned to."""
    for which in ("m1", "52-54-00-12-34-56"):
        found = machine_of(which, DECLARED, [], TO_RED)
        assert (found.key, found.macs, found.home) == ("m1", (CARD,), None)
    moved = overlaid(DECLARED, [Placement("m1", (CARD,), cluster="red", name="m9")]).inventory
    assert machine_of("m9", moved, [], TO_RED).key == machine_of("m1", moved, [], TO_RED).key == "m1"


def test_a_machine_that_nobody_declared_is_found_by_its_lease() -> None:
    """In the catch-all pool of the network that it is in."""
    for which in (STRANGER, "node-525400000099"):
        found = machine_of(which, DECLARED, [LEASE], TO_RED)
        assert (found.key, found.home, found.node) == (str(STRANGER), "unknown", None)
    placed = overlaid(DECLARED, [Placement(str(STRANGER), (STRANGER,), pool="racks", home="unknown")])
    again = machine_of(STRANGER, placed.inventory, [LEASE], TO_RED)
    assert (again.key, again.home) == (str(STRANGER), "unknown")


def test_a_machine_that_was_never_seen_needs_one_place_where_it_can_be() -> None:
    """The only catch-all pool, or the one of the pool's network; else it has to boot once."""
    unseen = Mac("52:54:00:00:00:77")
    assert machine_of(unseen, DECLARED, [], TO_RED).home == "unknown"
    far = replace(DECLARED.networks["lab"], name="far")
    pools = {**DECLARED.pools, "others": Pool("others", "bare", "far", catch_all=True)}
    two = replace(DECLARED, networks={**DECLARED.networks, "far": far}, pools=pools)
    with pytest.raises(Refused, match="its network is not known") as refused:
        machine_of(unseen, two, [], TO_RED)
    assert "Boot it once" in refused.value.remedy
    assert machine_of(unseen, two, [], Order(pool="racks")).home == "unknown"
    none = replace(DECLARED, pools={n: p for n, p in DECLARED.pools.items() if not p.catch_all})
    with pytest.raises(Refused, match="no catch-all pool"):
        machine_of(unseen, none, [], TO_RED)
    with pytest.raises(Refused, match="there is no machine nobody"):
        machine_of("nobody", DECLARED, [], TO_RED)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (Order(cluster="green"), "there is no cluster green"),
        (Order(pool="green"), "there is no pool green"),
        (Order(cluster="red", name="m1"), "the name m1 belongs to another machine"),
        (Order(cluster="red", address=IPv4Address("10.0.0.5")), "10.0.0.5 belongs to m1"),
        (Order(cluster="red", address=IPv4Address("10.9.0.5")), "no machine's address in network lab"),
        (Order(cluster="red", tags=("none",)), "there is no tag none"),
    ],
)
async def test_what_cannot_be_is_refused_with_words(order: Order, why: str) -> None:
    """And nothing is begun."""
    house = House(MemoryStore(), DECLARED)
    with pytest.raises(Refused, match=why) as refused:
        await house.operations.assign(STRANGER, order)
    assert refused.value.status == 409 and not house.operations.operations(limit=9)


@pytest.mark.parametrize(
    "order", [Order(cluster="red", name=LEASE.name), Order(cluster="red", address=LEASE.address)]
)
async def test_what_another_machine_has_now_is_not_taken_from_it(order: Order) -> None:
    """A name or an address out of the ranges, as long as its lease lives; what is its own it may keep."""
    house = House(MemoryStore(), DECLARED, clock=lambda: 1e9)
    await house.store.claim_lease(LEASE, None)
    with pytest.raises(Refused, match=str(STRANGER)) as refused:
        await house.operations.assign(CARD, order)
    assert refused.value.status == 409 and not house.operations.operations(limit=9)
    assert await house.operations.assign(STRANGER, order)
    late = House(house.store, DECLARED, clock=lambda: 2e12)
    assert await late.operations.assign(CARD, order)


@pytest.mark.parametrize("which", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"])
def test_what_no_card_has_is_no_machine(which: str) -> None:
    """Groups of cards, and nobody."""
    with pytest.raises(Refused, match="no machine's own MAC address"):
        machine_of(which, DECLARED, [], TO_RED)


async def test_a_machine_lives_where_its_newest_claimed_boot_belongs() -> None:
    """Whatever it was assigned since: there its Node object is."""
    house = House(MemoryStore(), DECLARED)
    boot = house.powers_on()
    await house.claims(boot)
    house.roster.place(Placement("m1", (CARD,), cluster="bare", name="m9", since=1.0))
    operation = await house.operations.assign(CARD, TO_RED)
    assert (operation.old.cluster, operation.old.node) == ("blue", "m1")
    assert (operation.new.cluster, operation.new.node) == ("red", "m1")
    assert operation.former is not None and operation.former.cluster == "bare"
