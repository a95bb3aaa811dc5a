"""The store's file: ours alone, whole, and in step with the disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from netboot.errors import StoreError
from netboot.store.sqlite import SqliteStore
from tests.store.values import boot, lease


async def test_a_commit_waits_for_the_disk(store: SqliteStore) -> None:
    """A write-ahead log with a sync per commit: an acknowledged lease survives a power cut too."""
    assert store._writer._connection is not None
    assert store._writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_the_file_is_its_owners_alone(store: SqliteStore, path: Path) -> None:
    """Mode 0600 for the file and its log."""
    await store.claim_lease(lease(1), None)
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in path.parent.glob("netboot.db*")}
    assert set(modes.values()) == {0o600}, modes


async def test_a_second_daemon_is_refused(store: SqliteStore, path: Path) -> None:
    """Two writers would hand one address to two machines."""
    with pytest.raises(StoreError, match="in use by another netboot"):
        await SqliteStore.open(path)


async def test_a_damaged_file_is_refused_with_its_remedy(path: Path) -> None:
    """Garbage, and a file whose pages were overwritten."""
    path.write_bytes(b"this is no database" * 300)
    with pytest.raises(StoreError, match=r"damaged .*move it away"):
        await SqliteStore.open(path)


async def test_pages_that_were_overwritten_are_found_when_it_opens(path: Path) -> None:
    """The head is sound, what follows is not."""
    made = await SqliteStore.open(path)
    await made.save_boots([boot(n) for n in range(300)])
    await made.close()
    raw = bytearray(path.read_bytes())
    raw[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(raw)
    with pytest.raises(StoreError, match="damaged"):
        await SqliteStore.open(path)


async def test_an_emptied_file_is_no_new_store(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was used before is refused when it is empty; where it was moved away, one line says so."""
    made = await SqliteStore.open(path)
    await made.claim_lease(lease(1), None)
    await made.close()
    path.write_bytes(b"")
    with pytest.raises(StoreError, match=r"damaged .it is empty, and was used before.*move it away"):
        await SqliteStore.open(path)
    path.unlink()
    await (await SqliteStore.open(path)).close()
    assert "is gone: dynamic leases" in caplog.text


async def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    """No stack trace, the path instead."""
    with pytest.raises(StoreError, match="nowhere"):
        await SqliteStore.open(tmp_path / "nowhere" / "netboot.db")
