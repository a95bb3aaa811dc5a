"""Boots: the newest of them, each as one JSON text."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from netboot.model.boot import Boot, Step
from netboot.model.machine import Mac
from netboot.store.sqlite.batch import Batch
from netboot.store.sqlite.writer import Part, Writer

BOOTS_KEPT = 50_000
"""Boots that are remembered, the newest; older ones go with their claims."""

_PRUNE_AFTER = 2000
"""Boots written between two looks for old ones."""


class Boots(Part):
    """The boots of the store."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer)
        self._saved = 0
        writer.at_open.append(_prune)

    async def save_boots(self, boots: Sequence[Boot]) -> None:
        """Insert or replace these boots in one commit. Raises StoreError."""
        rows = [(boot.id, boot.started, boot_text(boot)) for boot in boots]
        await self._writer.do(lambda batch: self._put(batch, rows))

    async def boots(self, *, limit: int = 1000) -> Sequence[Boot]:
        """The newest boots, newest first. Raises StoreError."""
        query = "SELECT body FROM boots ORDER BY started DESC, id DESC LIMIT ?"
        return await self._writer.do(
            lambda batch: [boot_of(text) for (text,) in batch.connection.execute(query, (limit,))]
        )

    def _put(self, batch: Batch, rows: list[tuple[str, float, str]]) -> None:
        batch.connection.executemany("INSERT OR REPLACE INTO boots VALUES (?,?,?)", rows)
        self._saved += len(rows)
        if self._saved > _PRUNE_AFTER:
            self._saved = 0
            _prune(batch.connection)


def _prune(connection: sqlite3.Connection) -> None:
    row = connection.execute(
        "SELECT started FROM boots ORDER BY started DESC LIMIT 1 OFFSET ?", (BOOTS_KEPT,)
    ).fetchone()
    if row:
        connection.execute("DELETE FROM boots WHERE started <= ?", row)
        connection.execute("DELETE FROM claims WHERE claimed <= ?", row)


def boot_text(boot: Boot) -> str:
    """A boot as one JSON text."""
    plain = {
        name: getattr(boot, name) for name in Boot.__dataclass_fields__ if name not in ("steps", "address")
    }
    steps = [[s.step, s.at, s.bytes, s.of, s.detail] for s in boot.steps]
    address = str(boot.address) if boot.address else None
    return json.dumps({**plain, "steps": steps, "address": address}, separators=(",", ":"))


def boot_of(text: str) -> Boot:
    """The boot of a JSON text; keys that a later version wrote are left out."""
    value = {k: _shared(v) for k, v in json.loads(text).items() if k in Boot.__dataclass_fields__}
    value["mac"] = Mac(value["mac"])
    value["steps"] = tuple(Step(sys.intern(step), *rest) for step, *rest in value["steps"])
    value["address"] = IPv4Address(value["address"]) if value["address"] else None
    value["quirks"] = tuple(map(sys.intern, value.get("quirks", ())))
    return Boot(**value)


def _shared(value: Any) -> Any:
    """Thousands of boots share their cluster, image and generation: one object for each text."""
    return sys.intern(value) if type(value) is str else value
