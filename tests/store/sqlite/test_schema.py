"""Files of other versions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from netboot.errors import StoreError
from netboot.store.sqlite import SqliteStore
from netboot.store.sqlite.schema import MIGRATIONS
from tests.store.values import NOW, lease


async def test_a_file_of_the_first_version_is_taken_over(path: Path) -> None:
    """Its leases are as they were, none of them given back."""
    with sqlite3.connect(path) as connection:
        connection.executescript(f"CREATE TABLE schema (version INTEGER NOT NULL); {MIGRATIONS[0]}")
        connection.execute("INSERT INTO schema VALUES (1)")
        row = ("compute", "n1", int(lease(1).address), str(lease(1).mac), "n1", NOW + 60, NOW, "boot1")
        connection.execute("INSERT INTO leases VALUES (?,?,?,?,?,?,?,?)", row)
    connection.close()
    made = await SqliteStore.open(path)
    assert list(await made.leases()) == [lease(1)] and list(await made.rests()) == []
    await made.close()


async def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    """Going back a version must not lose what the newer one wrote."""
    await (await SqliteStore.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema SET version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"newer netboot .schema 99"):
        await SqliteStore.open(path)
