"""The audit on disk: durable, bounded, and no refusal pushes a change out."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.model.access import AuditEntry
from netboot.store.sqlite import SqliteStore, audit


def entry(number: int, refused: bool = False) -> AuditEntry:
    """The try of a number."""
    return AuditEntry(float(number), None, None, "10.0.0.1", "PUT", f"/{number}", refused=refused)


async def test_changes_survive_refusals_and_both_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest of each kind stay, across a restart too."""
    monkeypatch.setattr(audit, "CHANGES_KEPT", 3)
    monkeypatch.setattr(audit, "REFUSALS_KEPT", 2)
    store = await SqliteStore.open(tmp_path / "n.db")
    for number in range(5):
        await store.record_audit(entry(number))
    for number in range(10, 20):
        await store.record_audit(entry(number, refused=True))
    await store.close()
    store = await SqliteStore.open(tmp_path / "n.db")
    found = [e.path for e in await store.audit()]
    await store.close()
    assert found == ["/19", "/18", "/4", "/3", "/2"]
