"""Run-time assignments laid over the declared inventory."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netboot.model.inventory import Assignment, Cluster, Inventory, NoMatch, Pool
from netboot.model.machine import Client, Mac
from netboot.model.overlay import overlaid, problem
from netboot.model.placement import Placement
from tests.model.test_inventory import FAR, FIRST, INVENTORY, LAB, NODE, SECOND, STRANGER

DECLARED = replace(
    INVENTORY,
    clusters={**INVENTORY.clusters, "red": Cluster("red", "10.0.0.1:6443", "fedora", ("edge",))},
    pools={
        **INVENTORY.pools,
        "metal": replace(INVENTORY.pools["metal"], image="of-the-pool"),
        "blades": Pool("blades", "red", "far", ("blade",), image="of-blades"),
    },
)
TO_RED = Placement("m1", (FIRST, SECOND), cluster="red", since=1.0)
FOUND = Placement(str(STRANGER), (STRANGER,), cluster="blue", home="rest", since=2.0)


def assigned(inventory: Inventory, mac: Mac = FIRST) -> Assignment:
    """What a machine on the lab network belongs to."""
    found = inventory.match(Client(mac), [LAB])
    assert isinstance(found, Assignment)
    return found


def test_another_cluster_takes_the_place_of_the_pools_own() -> None:
    """Network, address, pool tags and node tags stay; the cluster's tags and the image are the new one's."""
    before = assigned(DECLARED)
    after = assigned(overlaid(DECLARED, [TO_RED]).inventory)
    assert (before.cluster.name, before.image, before.options[42]) == ("blue", "of-the-pool", "10.0.0.4")
    assert (after.cluster.name, after.image) == ("red", "fedora")
    assert (after.pool, after.network, after.address, after.name) == (
        before.pool,
        before.network,
        before.address,
        "m1",
    )
    assert before.settings.modules == ("a", "g", "p", "r") and after.settings.modules == ("a", "p", "r")
    assert after.reason == "assigned to cluster red at run time (declared in pool metal)"


def test_the_pools_image_counts_while_its_own_cluster_is_in_force() -> None:
    """An assignment to the very cluster that the pool has changes nothing; a node's own image always wins."""
    assert assigned(overlaid(DECLARED, [replace(TO_RED, cluster="blue")]).inventory).image == "of-the-pool"
    own = replace(DECLARED, nodes=(replace(NODE, image="own"),))
    assert assigned(overlaid(own, [TO_RED]).inventory).image == "own"


def test_another_pool_brings_its_cluster_tags_and_image_but_no_network() -> None:
    """The machine stays where it is cabled."""
    to_blades = replace(TO_RED, cluster=None, pool="blades")
    after = assigned(overlaid(DECLARED, [to_blades]).inventory)
    assert (after.pool.name, after.cluster.name, after.image) == ("blades", "red", "of-blades")
    assert (after.network, after.settings.modules) == (LAB, ("a", "r"))


def test_name_address_and_tags_take_the_place_of_the_declared_ones() -> None:
    """It is found under both names; its old address is nobody's; its lease stays where it was."""
    moved = replace(TO_RED, name="m9", address=IPv4Address("10.77.0.90"), tags=("gpu",))
    inventory = overlaid(DECLARED, [moved]).inventory
    after = assigned(inventory)
    assert (after.name, after.address, after.settings.modules) == (
        "m9",
        IPv4Address("10.77.0.90"),
        ("a", "p", "g"),
    )
    assert inventory.by_name["m1"] is inventory.by_name["m9"] is inventory.by_mac[SECOND]
    assert list(inventory.reserved) == [IPv4Address("10.77.0.90")]
    assert after.node is not None and (after.node.holder, after.node.declared) == ("m1", True)


def test_a_machine_that_nobody_declared_becomes_a_node() -> None:
    """With its name, address and tags; only in the network that it was found in."""
    named = replace(FOUND, name="n7", address=IPv4Address("10.77.0.70"), tags=("rack",))
    inventory = overlaid(DECLARED, [named]).inventory
    after = assigned(inventory, STRANGER)
    assert (after.name, after.address, after.cluster.name) == ("n7", IPv4Address("10.77.0.70"), "blue")
    assert after.node is not None and (after.node.holder, after.node.declared) == (str(STRANGER), False)
    assert isinstance(inventory.match(Client(STRANGER), [FAR]), NoMatch)
    assert assigned(overlaid(DECLARED, [FOUND]).inventory, STRANGER).name == f"new-{STRANGER.digits}"


def test_the_declared_inventory_stays_as_it_is() -> None:
    """Neither it nor its indexes change; what was merged of tags is shared."""
    DECLARED.index()
    inventory = overlaid(DECLARED, [replace(TO_RED, name="m9"), FOUND]).inventory
    assert assigned(DECLARED).cluster.name == "blue" and "m9" not in DECLARED.by_name
    assert assigned(DECLARED, STRANGER).node is None
    assert inventory._bundles is DECLARED._bundles


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cluster": "green"}, "there is no cluster green"),
        ({"cluster": None, "pool": "green"}, "there is no pool green"),
        ({"tags": ("rack", "none")}, "there is no tag none"),
        ({"name": "m2"}, "the name m2 belongs to another machine"),
        ({"address": IPv4Address("10.77.0.20")}, "10.77.0.20 belongs to m2"),
        ({"address": IPv4Address("10.78.0.20")}, "no machine's address in network lab"),
        ({"address": IPv4Address("10.77.0.255")}, "no machine's address in network lab"),
        ({"address": IPv4Address("10.77.0.1")}, "own address"),
        ({"machine": "m3", "macs": ()}, "no node m3 is declared any more"),
        ({"machine": str(STRANGER), "macs": (STRANGER,), "home": "gone"}, "catch-all pool gone"),
        ({"machine": str(STRANGER), "macs": (STRANGER,), "home": "metal"}, "catch-all pool metal"),
    ],
)
def test_an_assignment_that_collides_is_broken_and_says_why(change: dict[str, object], why: str) -> None:
    """The machine is treated as declared then."""
    other = replace(NODE, name="m2", macs=(), address=IPv4Address("10.77.0.20"))
    inventory = replace(DECLARED, nodes=(NODE, other))
    broken = replace(TO_RED, **change)  # type: ignore[arg-type]
    overlay = overlaid(inventory, [broken])
    assert why in overlay.broken[broken.machine]
    assert assigned(overlay.inventory).cluster.name == "blue"


def test_of_two_that_collide_the_earlier_one_counts() -> None:
    """Whatever order they are stored in."""
    first, second = replace(TO_RED, name="m9"), replace(FOUND, name="m9")
    for order in ([first, second], [second, first]):
        overlay = overlaid(DECLARED, order)
        assert list(overlay.broken) == [str(STRANGER)] and assigned(overlay.inventory).name == "m9"


def test_a_machine_is_found_by_its_cards_where_the_file_renamed_it() -> None:
    """And one that was assigned as a stranger keeps its assignment when the file declares it."""
    renamed = replace(DECLARED, nodes=(replace(NODE, name="m5"),))
    assert assigned(overlaid(renamed, [TO_RED]).inventory).cluster.name == "red"
    declared = replace(DECLARED, nodes=(NODE, replace(NODE, name="m6", macs=(STRANGER,), address=None)))
    assert assigned(overlaid(declared, [FOUND]).inventory, STRANGER).name == "m6"


def test_keeping_ones_own_name_and_address_is_no_collision() -> None:
    """The same call again is checked against the inventory in which it is in force."""
    same = replace(TO_RED, name="m1", address=NODE.address)
    inventory = overlaid(DECLARED, [same]).inventory
    assert problem(inventory, same) is None
    assert overlaid(DECLARED, [same]).broken == {}
