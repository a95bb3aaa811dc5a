"""The inventory in force."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from netboot.fleet.roster import Roster
from netboot.model.placement import Placement
from tests.fleet.moving import CARD, STRANGER, house_inventory

DECLARED = house_inventory(Path("blue"), Path("red"))
TO_RED = Placement("m1", (CARD,), cluster="red", name="m9", since=1.0)


def test_each_change_is_another_snapshot() -> None:
    """DHCP notices it by its identity; with nothing assigned it is the declared one itself."""
    roster = Roster(DECLARED)
    assert roster.inventory() is DECLARED
    roster.place(TO_RED)
    first = roster.inventory()
    assert first is not DECLARED and first.by_name["m9"].placed == TO_RED
    roster.place(replace(TO_RED, cluster="bare"))
    assert roster.inventory() is not first and first.by_name["m9"].placed == TO_RED
    roster.remove("m1")
    assert roster.inventory() is DECLARED
    roster.remove("m1")


def test_a_reload_keeps_assignments_as_far_as_it_can(caplog: pytest.LogCaptureFixture) -> None:
    """One whose target is gone is broken, said once, and in force again when the target is back."""
    roster = Roster(DECLARED)
    roster.place(TO_RED)
    pools = {name: pool for name, pool in DECLARED.pools.items() if pool.cluster != "red"}
    without = replace(
        DECLARED, clusters={n: c for n, c in DECLARED.clusters.items() if n != "red"}, pools=pools
    )
    with caplog.at_level(logging.WARNING):
        roster.declare(without)
        roster.declare(replace(without))
    assert roster.broken("m1") == "there is no cluster red" and roster.placement("m1") == TO_RED
    assert len([r for r in caplog.records if "broken" in r.message]) == 1
    assert roster.inventory().by_mac[CARD].placed is None
    roster.declare(DECLARED)
    assert roster.broken("m1") is None and roster.inventory().by_mac[CARD].placed == TO_RED


def test_drift_is_what_departs_from_the_file() -> None:
    """In words; nothing for a machine that is as declared."""
    roster = Roster(DECLARED)
    assert roster.drift("m1") == []
    roster.place(TO_RED)
    assert roster.drift("m1") == [
        "cluster: red instead of blue",
        "name: m9 instead of m1",
        "image: of-red instead of of-blue",
    ]
    roster.place(Placement(str(STRANGER), (STRANGER,), pool="racks", home="unknown", since=2.0))
    assert "cluster: red instead of bare" in roster.drift(str(STRANGER))


def test_what_would_be_in_force_changes_nothing() -> None:
    """It only tells."""
    roster = Roster(DECLARED)
    inventory, why = roster.with_(TO_RED)
    assert why is None and inventory.by_name["m9"] and roster.inventory() is DECLARED
    assert roster.with_(replace(TO_RED, cluster="green"))[1] == "there is no cluster green"
