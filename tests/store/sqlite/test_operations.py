"""Assignments, operations and admissions on the disk."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.model.boot import Kept
from netboot.model.machine import Mac
from netboot.model.operation import Line, Operation, Order, Side
from netboot.model.placement import Admission, Placement
from netboot.store.sqlite import SqliteStore
from netboot.store.sqlite import operations as module
from tests.store.values import NOW, claim

CARD = Mac("52:54:00:00:00:01")
PLACED = Placement("m1", (CARD,), "red", None, "m9", IPv4Address("10.0.0.9"), ("gpu",), None, NOW, "o1")
OPERATION = Operation(
    "o1",
    "m1",
    (CARD,),
    Order("red", None, "m9", IPv4Address("10.0.0.9"), ("gpu",), drain=True),
    Side("blue", "metal", "m1"),
    Side("red", "metal", "m9"),
    PLACED,
    former=replace(PLACED, cluster="green", tags=None),
    started=NOW,
    timeline=(Line("check", NOW, "red answers"),),
)


async def test_an_operation_and_its_assignment_come_back_as_they_were(path: Path) -> None:
    """Written in one commit, read after a restart; a second write replaces."""
    store = await SqliteStore.open(path)
    await store.save_operation(replace(OPERATION, step="check"))
    await store.save_operation(OPERATION, place=PLACED)
    await store.close()
    store = await SqliteStore.open(path)
    assert list(await store.operations()) == [OPERATION]
    assert list(await store.placements()) == [PLACED]
    await store.save_operation(replace(OPERATION, state="rolled back", ended=NOW + 1), remove="m1")
    assert not await store.placements()
    await store.close()


async def test_old_operations_go_when_there_are_too_many(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest stay, and whatever still runs."""
    monkeypatch.setattr(module, "OPERATIONS_KEPT", 3)
    for number in range(6):
        ended = None if number == 0 else NOW + number
        await store.save_operation(replace(OPERATION, id=f"o{number}", started=NOW + number, ended=ended))
    assert [o.id for o in await store.operations()] == ["o5", "o4", "o3", "o0"]
    assert [o.id for o in await store.operations(limit=1)] == ["o5"]


async def test_an_admission_lasts_until_it_is_withdrawn(store: SqliteStore) -> None:
    """Twice is once; withdrawing one that is not there is no error."""
    for at in (NOW, NOW + 1):
        await store.admit(Admission(CARD, at, "admin"))
    assert list(await store.admissions()) == [Admission(CARD, NOW + 1, "admin")]
    await store.end_admission(CARD)
    await store.end_admission(CARD)
    assert not await store.admissions()


async def test_a_claim_keeps_what_its_boot_belonged_to(path: Path) -> None:
    """Over a restart: cluster, pool, name and tags as they were when it was claimed."""
    store = await SqliteStore.open(path)
    burnt = replace(claim(), kept=Kept("m9", "red", "metal", ("gpu",)))
    await store.burn(burnt)
    await store.close()
    store = await SqliteStore.open(path)
    assert await store.claim_of("b1") == burnt
    await store.close()
