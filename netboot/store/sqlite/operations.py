"""Run-time assignments and the operations that made them, each as one JSON text; and admissions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from ipaddress import IPv4Address
from typing import Any, TypeVar

from netboot.model.machine import Mac
from netboot.model.operation import Line, Operation, Order, Side
from netboot.model.placement import Admission, Placement
from netboot.store.sqlite.batch import Batch
from netboot.store.sqlite.writer import Part

T = TypeVar("T", Order, Placement)

OPERATIONS_KEPT = 10_000
"""Ended operations that are remembered, the newest."""


class Operations(Part):
    """The assignments, operations and admissions of the store."""

    async def save_operation(
        self, operation: Operation, *, place: Placement | None = None, remove: str | None = None
    ) -> None:
        """Write an operation, and what it does to assignments, in one commit. Raises StoreError."""
        await self._writer.do(lambda batch: _save(batch, operation, place, remove))

    async def operations(self, *, limit: int = 1000) -> Sequence[Operation]:
        """The newest operations, newest first. Raises StoreError."""
        query = "SELECT body FROM operations ORDER BY started DESC, id DESC LIMIT ?"
        return [operation_of(text) for (text,) in await self._writer.execute(query, (limit,))]

    async def placements(self) -> Sequence[Placement]:
        """Every run-time assignment. Raises StoreError."""
        rows = await self._writer.execute("SELECT body FROM assignments ORDER BY machine")
        return [placement_of(json.loads(text)) for (text,) in rows]

    async def admit(self, admission: Admission) -> None:
        """Let a machine join. Raises StoreError."""
        row = (str(admission.mac), admission.at, admission.by)
        await self._writer.execute("INSERT OR REPLACE INTO admissions VALUES (?,?,?)", row)

    async def end_admission(self, mac: Mac) -> None:
        """Let it join no longer. Raises StoreError."""
        await self._writer.execute("DELETE FROM admissions WHERE mac = ?", (str(mac),))

    async def admissions(self) -> Sequence[Admission]:
        """Every machine that was let in. Raises StoreError."""
        rows = await self._writer.execute("SELECT mac, at, by FROM admissions ORDER BY at")
        return [Admission(Mac(mac), at, by) for mac, at, by in rows]


def _save(batch: Batch, operation: Operation, place: Placement | None, remove: str | None) -> None:
    ended = operation.ended is not None
    row = (operation.id, operation.started, ended, text_of(operation))
    batch.execute("INSERT OR REPLACE INTO operations VALUES (?,?,?,?)", row)
    if place is not None:
        batch.execute("INSERT OR REPLACE INTO assignments VALUES (?,?)", (place.machine, text_of(place)))
    if remove is not None:
        batch.execute("DELETE FROM assignments WHERE machine = ?", (remove,))
    if ended:
        batch.execute(
            "DELETE FROM operations WHERE ended = 1 AND id IN (SELECT id FROM operations "
            "ORDER BY started DESC, id DESC LIMIT -1 OFFSET ?)",
            (OPERATIONS_KEPT,),
        )


def text_of(value: Operation | Placement) -> str:
    """As one JSON text."""
    return json.dumps(asdict(value), default=str, separators=(",", ":"))


def operation_of(text: str) -> Operation:
    """The operation of a JSON text."""
    said = json.loads(text)
    former = said.get("former")
    said.update(
        macs=tuple(map(Mac, said["macs"])),
        order=_plain(Order, said["order"]),
        old=Side(**said["old"]),
        new=Side(**said["new"]),
        placement=placement_of(said["placement"]),
        former=placement_of(former) if former else None,
        timeline=tuple(Line(**line) for line in said["timeline"]),
    )
    return Operation(**_known(Operation, said))


def placement_of(said: dict[str, Any]) -> Placement:
    """The assignment of a JSON object."""
    return _plain(Placement, {**said, "macs": tuple(map(Mac, said["macs"]))})


def _plain(kind: type[T], said: dict[str, Any]) -> T:
    address, tags = said.get("address"), said.get("tags")
    fixed = {
        "address": IPv4Address(address) if address else None,
        "tags": tuple(tags) if tags is not None else None,
    }
    return kind(**_known(kind, {**said, **fixed}))


def _known(kind: type[Any], said: dict[str, Any]) -> dict[str, Any]:
    """Without keys that a later version wrote."""
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in said.items() if key in names}
