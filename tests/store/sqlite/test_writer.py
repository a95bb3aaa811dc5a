"""The one writer: durable before the answer, unharmed by full disks and broken connections."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from netboot.errors import StoreError
from netboot.store.sqlite import SqliteStore, writer
from netboot.store.sqlite.batch import Batch
from tests.store.values import boot, claim, lease


async def test_no_answer_leaves_before_its_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the commit is on its way, neither the caller nor any reader knows of the lease or the claim."""
    reached, go_on = threading.Event(), threading.Event()
    commit = store._writer._commit

    def slow(batch: Batch) -> None:
        reached.set()
        assert go_on.wait(10)
        commit(batch)

    monkeypatch.setattr(store._writer, "_commit", slow)
    lease_claim = asyncio.ensure_future(store.claim_lease(lease(1), None))
    key_claim = asyncio.ensure_future(store.burn(claim()))
    assert await asyncio.to_thread(reached.wait, 10), "answered without a commit"
    done, _ = await asyncio.wait([lease_claim, key_claim], timeout=0.2)
    assert not done
    assert await store.lease_of("n1", "compute") is None
    go_on.set()
    assert await lease_claim and await key_claim == claim()
    assert await store.lease_of("n1", "compute") == lease(1)


async def test_who_waits_without_a_task_is_woken_once_for_all_and_gets_its_own_answer(
    store: SqliteStore,
) -> None:
    """As DHCP waits: one future for all claims of a turn, and each is won or lost for itself."""
    claims = [
        store.claim_lease(lease(1), None),
        store.claim_lease(lease(2), lease(3)),
        store.claim_lease(lease(4), None),
    ]
    futures: list[asyncio.Future[object]] = []

    def ask() -> None:
        for each in claims:
            futures.append(each.send(None))  # type: ignore[attr-defined]
            futures[-1]._asyncio_future_blocking = False

    asyncio.get_running_loop().call_soon(ask)
    await asyncio.sleep(0)
    assert futures[0] is futures[1] is futures[2]
    await futures[0]
    answers = []
    for each in claims:
        with pytest.raises(StopIteration) as ended:
            each.send(None)  # type: ignore[attr-defined]
        answers.append(ended.value.value)
    assert answers == [True, False, True]


async def test_a_task_that_is_cancelled_keeps_no_other_from_its_answer(store: SqliteStore) -> None:
    """Two of one turn; what was asked for is done all the same."""
    one, other = (asyncio.ensure_future(store.claim_lease(lease(n), None)) for n in (1, 2))
    await asyncio.sleep(0)
    one.cancel()
    assert await other
    assert one.cancelled() and await store.lease_of("n1", "compute") == lease(1)


async def test_a_failed_commit_is_no_lease(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets StoreError, nothing of the batch is in memory or on disk, and the next claim heals."""
    monkeypatch.setattr(writer, "REOPEN_EVERY", 0.0)
    await store.claim_lease(lease(1), None)

    def fails(_: Batch) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store._writer, "_commit", fails)
    with pytest.raises(StoreError, match="disk I/O error"):
        await store.claim_lease(lease(2), None)
    assert await store.lease_of("n2", "compute") is None
    monkeypatch.undo()
    assert await store.claim_lease(lease(2), None)
    assert await store.lease_of("n1", "compute") == lease(1)


async def test_a_full_disk_refuses_and_heals(store: SqliteStore) -> None:
    """SQLite says "full": StoreError for that batch; once there is room the same store works on."""
    connection = store._writer._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        await store.save_boots([boot(n) for n in range(500)])
    assert list(await store.boots()) == []
    connection.execute("PRAGMA max_page_count = 1000000")
    await store.save_boots([boot(n) for n in range(500)])
    assert len(await store.boots()) == 500


async def test_a_broken_connection_is_opened_again_with_every_lease(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the file is gone with it, every acknowledged lease and every live claim is written anew."""
    monkeypatch.setattr(writer, "REOPEN_EVERY", 0.0)
    await store.claim_lease(lease(1), None)
    await store.burn(claim())
    assert store._writer._connection is not None
    store._writer._connection.close()
    for file in path.parent.glob("netboot.db*"):
        if not file.name.endswith("lock"):
            file.unlink()
    for _ in range(2):
        try:
            await store.claim_lease(lease(2), None)
        except StoreError:
            pass
    assert {x.holder for x in await store.leases()} == {"n1", "n2"}
    await store.close()
    again = await SqliteStore.open(path)
    assert {x.holder for x in await again.leases()} == {"n1", "n2"}
    assert await again.claim_of("b1") == claim()
    await again.close()


async def test_a_value_that_cannot_be_stored_fails_alone(store: SqliteStore) -> None:
    """Others of the same batch are written."""
    bad = store._writer.execute("INSERT INTO tokens VALUES (?,?,?,?,?)", (2**70, "x", "x", "x", 1.0))
    answers = await asyncio.gather(store.claim_lease(lease(1), None), bad, return_exceptions=True)
    assert answers[0] is True
    assert isinstance(answers[1], StoreError)


async def test_close_finishes_what_was_asked_for(path: Path) -> None:
    """A claim that waits when the store closes is still written; later ones are refused."""
    made = await SqliteStore.open(path)
    waiting = asyncio.ensure_future(made.claim_lease(lease(1), None))
    await asyncio.sleep(0)
    await made.close()
    assert await waiting
    with pytest.raises(StoreError, match="closed"):
        await made.claim_lease(lease(2), None)
