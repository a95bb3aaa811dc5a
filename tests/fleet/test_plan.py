"""What an operation would do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netboot.errors import Refused
from netboot.model.operation import Order
from tests.fleet.moving import CARD, OTHER, TO_RED, Move, node_object, texts, web_pod, with_inventory


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(move: Move) -> None:
    """Nothing is written anywhere, and no Node object is touched."""
    move.blue.pod("web", "m1", **web_pod(0))
    before = move.blue.node("m1"), move.red.node("m1")
    planned = await move.assign(replace(TO_RED, drain=True), dry_run=True)
    assert planned.state == "planned" and not move.house.operations.operations(limit=9)
    assert texts(planned, "cordon") == "cordon Node m1"
    assert texts(planned, "drain").startswith("evict 1 pods")
    assert texts(planned, "revoke") == "delete 1 live credentials"
    assert texts(planned, "delete") == "delete Node m1 from cluster blue"
    assert (move.blue.node("m1"), move.red.node("m1")) == before
    assert not await move.house.store.operations()


async def test_a_dry_run_with_a_target_that_is_down_is_refused(move: Move) -> None:
    """As the operation itself would be, and neither writes anything."""
    await move.red.api.control("settings", down=True)
    planned = await move.assign(dry_run=True)
    assert "would be refused" in texts(planned, "check")
    assert not await move.house.store.operations()


async def test_a_plan_names_what_is_skipped_left_and_refused(move: Move) -> None:
    """Switches that are off, Node objects of others, pods that would be lost, a name that is taken."""
    move.blue.pod("mine", "m1")
    planned = await move.assign(replace(TO_RED, drain=True), dry_run=True)
    assert "would be refused: 1 pods without a controller" in texts(planned, "drain")
    move.blue.merge("nodes", "m1", {"status": {"nodeInfo": {"systemUUID": OTHER}}})
    planned = await move.assign(dry_run=True)
    assert texts(planned, "cordon").startswith("leave Node m1 alone")
    assert texts(planned, "delete").endswith("--force deletes it")
    await with_inventory(move, cordon=False, drain=False, delete=False)
    planned = await move.assign(replace(TO_RED, drain=True), dry_run=True)
    for action in ("cordon", "drain", "delete"):
        assert texts(planned, action) == f"skip: node_actions.{action} of cluster blue is off"
    move.red.create("nodes", "m1", node_object("m1", OTHER))
    assert "another machine lives as Node m1" in texts(await move.assign(dry_run=True), "check")
    to_bare = await move.assign(Order(cluster="bare"), dry_run=True)
    assert texts(to_bare, "check") == "cluster bare answers, and its credentials work"


async def test_where_the_node_object_is_gone_nothing_is_planned(move: Move) -> None:
    """No cordon, no drain, no delete."""
    move.blue.remove("nodes", "m1")
    planned = await move.assign(replace(TO_RED, drain=True), dry_run=True)
    assert texts(planned, "cordon") == "no Node object m1 is there"
    assert (texts(planned, "drain"), texts(planned, "delete")) == (
        "nothing to drain",
        "no Node object is left",
    )


async def test_an_old_cluster_that_is_down_is_planned_to_be_waited_for(move: Move) -> None:
    """For its cordon and for its delete."""
    await move.blue.api.control("settings", down=True)
    planned = await move.assign(dry_run=True)
    assert "wait for cluster blue" in texts(planned, "cordon")
    assert "wait for cluster blue" in texts(planned, "delete")


async def test_a_dry_run_says_what_a_running_operation_makes_of_it(move: Move) -> None:
    """The same order begins nothing, another one is refused, the way back rolls it back."""
    operation = await move.assign()
    await move.at(operation, "boot")
    same = await move.assign(dry_run=True)
    assert same.state == "planned"
    assert texts(same, "check") == f"operation {operation.id} does this already: nothing would be begun"
    with pytest.raises(Refused, match="asks for something else"):
        await move.assign(Order(cluster="bare"), dry_run=True)
    back = await move.house.operations.unassign(CARD, Order(), dry_run=True)
    assert texts(back, "withdraw") == f"roll operation {operation.id} back: as the file declares it"
    assert move.now(operation).state == "running"
    await move.joins_red()
    await move.ended(operation)
    assert "has done this" in texts(await move.assign(dry_run=True), "check")


async def test_a_machine_that_is_there_already_is_planned_to_be_left_alone(move: Move) -> None:
    """Three lines, and nothing of cordons and boots."""
    planned = await move.assign(Order(cluster="blue", drain=True), dry_run=True)
    assert [line.step for line in planned.timeline] == ["check", "assign", "finish"]
