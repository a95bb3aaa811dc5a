"""The way back."""

from __future__ import annotations

from netboot.model.operation import turned
from tests.fleet.moving import Move, texts, with_inventory


async def cancelled(move: Move, **changes: bool) -> str:
    """How the way back of a machine that waits for its boot went, with what was left to the operator."""
    operation = await move.assign()
    await move.at(operation, "boot")
    if "down" in changes:
        await move.blue.api.control("settings", **changes)
    await move.house.operations.cancel(operation.id)
    done = await move.ended(operation)
    assert done.state == "rolled back"
    return f"{texts(done, 'uncordon')} / {done.left}"


async def test_only_our_own_cordon_is_taken_back(move: Move) -> None:
    """A node that an operator had cordoned before stays so."""
    move.blue.merge("nodes", "m1", {"spec": {"unschedulable": True}})
    assert "nothing was cordoned" in await cancelled(move)
    assert move.cordoned()


async def test_a_cordon_that_cannot_be_taken_back_is_told(move: Move) -> None:
    """The old cluster does not answer: it is waited for, then left to the operator."""
    told = await cancelled(move, down=True)
    assert "not uncordoned" in told and "m1 of cluster blue may still be cordoned" in told
    assert move.house.assigned().cluster.name == "blue"


async def test_it_is_too_late_once_the_machine_has_claimed_its_boot(move: Move) -> None:
    """An operation that turns at that very moment goes on to its end instead."""
    operation = await move.assign()
    await move.at(operation, "boot")
    await move.stop()
    await move.house.boot()
    now = move.house.clock()
    late = turned(move.now(operation), "cancelled by an operator", now)
    await move.house.store.save_operation(late)
    await move.restart()
    again = await move.at(operation, "ready")
    assert again.state == "running" and "too late to roll back" in texts(again, "withdraw")


async def test_without_the_switch_nothing_is_uncordoned(move: Move) -> None:
    """Nothing was cordoned then."""
    await with_inventory(move, cordon=False)
    assert "nothing was cordoned" in await cancelled(move)


async def test_a_switch_that_was_turned_off_meanwhile_leaves_the_cordon_to_the_operator(move: Move) -> None:
    """It is said: the node is not made schedulable by somebody who may not any more."""
    operation = await move.assign()
    await move.at(operation, "boot")
    await with_inventory(move, cordon=False)
    await move.house.operations.cancel(operation.id)
    done = await move.ended(operation)
    assert "not uncordoned" in texts(done, "uncordon") and "may still be cordoned" in done.left
    assert move.cordoned()
