"""The audit of the API: who changed what, and whose tries were refused; the newest of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from netboot.model.access import AuditEntry
from netboot.store.sqlite.batch import Batch
from netboot.store.sqlite.writer import Part

CHANGES_KEPT = 20_000
REFUSALS_KEPT = 5_000
"""Kept apart, so that no stranger's knocking pushes a change out."""

_COLUMNS = "at, name, role, source, method, path, request, refused, status, operation"


class Audit(Part):
    """The audit of the store."""

    async def record_audit(self, entry: AuditEntry) -> int:
        """Remember an entry; on disk when its number is returned. Raises StoreError."""
        return await self._writer.do(lambda batch: _put(batch, entry))

    async def finish_audit(self, number: int, status: int, operation: str | None) -> None:
        """Add how the request of an entry ended; on disk when it returns. Raises StoreError."""
        query = "UPDATE audit SET status = ?, operation = ? WHERE id = ?"
        await self._writer.execute(query, (status, operation, number))

    async def audit(self, *, limit: int = 1000) -> Sequence[AuditEntry]:
        """The newest entries, newest first. Raises StoreError."""
        query = f"SELECT {_COLUMNS}, id FROM audit ORDER BY id DESC LIMIT ?"
        return [_entry(row) for row in await self._writer.execute(query, (limit,))]


def _put(batch: Batch, entry: AuditEntry) -> int:
    row = (
        entry.at,
        entry.name,
        entry.role,
        entry.source,
        entry.method,
        entry.path,
        json.dumps(dict(entry.request)),
        entry.refused,
        entry.status,
        entry.operation,
    )
    query = f"INSERT INTO audit ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?) RETURNING id"
    ((number,),) = batch.execute(query, row)
    kept = REFUSALS_KEPT if entry.refused else CHANGES_KEPT
    batch.execute(
        "DELETE FROM audit WHERE refused = ?1 AND id <= "
        "(SELECT id FROM audit WHERE refused = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (entry.refused, kept),
    )
    return int(number)


def _entry(row: tuple[Any, ...]) -> AuditEntry:
    at, name, role, source, method, path, request, refused, status, operation, number = row
    facts = json.loads(request)
    return AuditEntry(at, name, role, source, method, path, facts, bool(refused), status, operation, number)
