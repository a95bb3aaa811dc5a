"""Operations under way: the disk, errors of our own, admissions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from netboot.errors import Refused, StoreError
from netboot.fleet import operations as module
from netboot.fleet.reassign import STEPS
from netboot.model.machine import Mac
from netboot.model.operation import Operation, Order
from netboot.store.memory import MemoryStore
from tests.fleet.moving import CARD, STRANGER, House, house_inventory
from tests.kube.cluster import until

TO_BARE = Order(cluster="bare")


class Full(MemoryStore):
    """A disk that refuses for a while."""

    refuses = False

    async def save_operation(self, operation: Operation, **more: Any) -> None:
        """As the disk is."""
        if self.refuses:
            raise StoreError("no space left on device")
        await super().save_operation(operation, **more)


@pytest.fixture
def house() -> House:
    """With clusters that nobody answers for; `bare` needs none."""
    return House(Full(), house_inventory(Path("blue"), Path("red")))


async def test_nothing_is_begun_where_the_disk_refuses(house: House) -> None:
    """The caller is told, and nothing counts."""
    assert isinstance(house.store, Full)
    house.store.refuses = True
    with pytest.raises(StoreError):
        await house.operations.assign(CARD, TO_BARE)
    assert not house.operations.operations(limit=9)


async def test_an_operation_waits_for_the_disk(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on when it heals."""
    assert isinstance(house.store, Full)
    monkeypatch.setattr(module, "STORE_RETRY", 0.01)
    operation = await house.operations.assign(STRANGER, TO_BARE)
    house.store.refuses = True
    running = asyncio.get_running_loop().create_task(house.operations.run())
    await asyncio.sleep(0.05)
    assert house.operations.operation(operation.id) == operation
    house.store.refuses = False
    await until(lambda: house.operations.operations(limit=1)[0].step == "boot")
    await _end(running)


async def test_whoever_wants_to_know_is_told_of_an_assignment_in_force() -> None:
    """When it is there, and not before: tags of a running machine may be others from here on."""
    told: list[tuple[Operation, bool]] = []
    house = House(MemoryStore(), house_inventory(Path("blue"), Path("red")))
    house.operations._placed = lambda o: told.append((o, bool(house.roster.placements())))
    operation = await house.operations.assign(STRANGER, TO_BARE)
    assert not told
    running = asyncio.get_running_loop().create_task(house.operations.run())
    await until(lambda: bool(told))
    assert [(o.id, placed) for o, placed in told] == [(operation.id, True)]
    await _end(running)


async def test_an_error_of_our_own_is_told_and_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends neither the operation nor the appliance."""
    monkeypatch.setattr(module, "OWN_ERROR_RETRY", 0.01)
    found: list[BaseException] = [ZeroDivisionError("oops")]
    check = STEPS["check"]

    async def sometimes(world: Any, operation: Operation) -> Any:
        if found:
            raise found.pop()
        return await check(world, operation)

    monkeypatch.setitem(STEPS, "check", sometimes)
    await house.operations.assign(STRANGER, TO_BARE)
    running = asyncio.get_running_loop().create_task(house.operations.run())
    await until(lambda: house.operations.operations(limit=1)[0].step == "boot")
    assert "error of the appliance's own" in house.operations.operations(limit=1)[0].timeline[0].text
    await _end(running)


async def test_whoever_stops_waiting_for_the_answer_loses_nothing(house: House) -> None:
    """What reached the disk is followed."""
    asked = asyncio.get_running_loop().create_task(house.operations.assign(STRANGER, TO_BARE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    await asyncio.sleep(0)
    assert len(house.operations.operations(limit=9)) == len(await house.store.operations())


async def test_ended_operations_are_forgotten_when_there_are_many(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first; the store keeps more."""
    monkeypatch.setattr(module, "KEPT", 3)
    running = asyncio.get_running_loop().create_task(house.operations.run())
    await asyncio.sleep(0)
    for _ in range(5):
        operation = await house.operations.assign(STRANGER, TO_BARE)
        await house.operations.cancel(operation.id)
        await until(lambda: house.operations.operation(operation.id).ended)  # type: ignore[union-attr]  # noqa: B023
    assert len(house.operations.operations(limit=9)) == 3
    await _end(running)


async def test_an_admission_lasts_over_a_restart(house: House) -> None:
    """Twice is once; withdrawn it is gone."""
    assert not house.operations.admitted(STRANGER)
    first = await house.operations.admit(STRANGER, "alice")
    assert await house.operations.admit(STRANGER, "bob") == first
    again = House(house.store, house.inventory)
    await again.operations.start()
    assert again.operations.admitted(STRANGER) and not again.operations.admitted(CARD)
    assert await again.operations.end_admission(STRANGER) == first
    assert not again.operations.admitted(STRANGER) and not await house.store.admissions()
    with pytest.raises(Refused, match="was not let in"):
        await again.operations.end_admission(STRANGER)


async def test_assignments_are_filed_under_a_machine_by_any_of_its_words(house: House) -> None:
    """A card that nobody knows is its own machine."""
    assert await house.operations.machine("m1") == await house.operations.machine(CARD) == "m1"
    unseen = Mac("52:54:00:00:00:77")
    assert await house.operations.machine(unseen) == unseen


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
