"""The embedded store on its disk: durable before the answer, unharmed by kills, full disks and bad files."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from netboot.errors import StoreError
from netboot.model.lease import Rest
from netboot.store import sqlite
from netboot.store.sqlite import ROWS, SqliteStore, _Batch, boot_of, boot_text
from tests.store.values import NOW, boot, claim, lease, token

ROOT = Path(__file__).resolve().parents[2]
KILLS = 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "netboot.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """An open store."""
    made = await SqliteStore.open(path)
    yield made
    await made.close()


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    """Leases, boots, claims with their count, and tokens outlive the process."""
    first = await SqliteStore.open(path)
    await first.claim_lease(lease(1), None)
    await first.save_boots([boot(1)])
    await first.burn(claim())
    await first.count_credential("b1", 5)
    await first.record_token(token(1))
    await first.close()
    again = await SqliteStore.open(path)
    assert await again.lease_at(lease(1).address) == lease(1)
    assert list(await again.boots()) == [boot(1)]
    assert (await again.burn(claim(request="other"))).credentials == 1
    assert list(await again.tokens()) == [token(1)]
    await again.close()


async def test_no_answer_leaves_before_its_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the commit is on its way, neither the caller nor any reader knows of the lease or the claim."""
    reached, go_on = threading.Event(), threading.Event()
    commit = store._commit

    def slow(batch: _Batch) -> None:
        reached.set()
        assert go_on.wait(10)
        commit(batch)

    monkeypatch.setattr(store, "_commit", slow)
    lease_claim = asyncio.ensure_future(store.claim_lease(lease(1), None))
    key_claim = asyncio.ensure_future(store.burn(claim()))
    assert await asyncio.to_thread(reached.wait, 10), "answered without a commit"
    done, _ = await asyncio.wait([lease_claim, key_claim], timeout=0.2)
    assert not done
    assert await store.lease_of("n1", "compute") is None
    go_on.set()
    assert await lease_claim and await key_claim == claim()
    assert await store.lease_of("n1", "compute") == lease(1)


async def test_a_failed_commit_is_no_lease(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets StoreError, nothing of the batch is in memory or on disk, and the next claim heals."""
    monkeypatch.setattr(sqlite, "REOPEN_EVERY", 0.0)
    await store.claim_lease(lease(1), None)

    def fails(_: _Batch) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store, "_commit", fails)
    with pytest.raises(StoreError, match="disk I/O error"):
        await store.claim_lease(lease(2), None)
    assert await store.lease_of("n2", "compute") is None
    monkeypatch.undo()
    assert await store.claim_lease(lease(2), None)
    assert await store.lease_of("n1", "compute") == lease(1)


async def test_a_full_disk_refuses_and_heals(store: SqliteStore) -> None:
    """SQLite says "full": StoreError for that batch; once there is room the same store works on."""
    connection = store._connection
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
    monkeypatch.setattr(sqlite, "REOPEN_EVERY", 0.0)
    await store.claim_lease(lease(1), None)
    await store.burn(claim())
    assert store._connection is not None
    store._connection.close()
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
    bad = store._execute("INSERT INTO tokens VALUES (?,?,?,?,?)", (2**70, "x", "x", "x", 1.0))
    answers = await asyncio.gather(store.claim_lease(lease(1), None), bad, return_exceptions=True)
    assert answers[0] is True
    assert isinstance(answers[1], StoreError)


async def test_what_is_asked_at_once_is_one_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred claims of one turn of the loop share one transaction."""
    commits = []
    commit = store._commit
    monkeypatch.setattr(store, "_commit", lambda batch: (commits.append(1), commit(batch)))
    won = await asyncio.gather(*(store.claim_lease(lease(n), None) for n in range(1, 101)))
    assert all(won) and len(commits) == 1


async def test_racing_claims_of_one_address_have_one_winner(store: SqliteStore) -> None:
    """Decided in the writer's order."""
    won = await asyncio.gather(*(store.claim_lease(lease(n, address=500), None) for n in range(1, 20)))
    assert won.count(True) == 1
    holder = await store.lease_at(lease(1, address=500).address)
    assert holder is not None and holder.holder == "n1"


async def test_close_finishes_what_was_asked_for(path: Path) -> None:
    """A claim that waits when the store closes is still written; later ones are refused."""
    made = await SqliteStore.open(path)
    waiting = asyncio.ensure_future(made.claim_lease(lease(1), None))
    await asyncio.sleep(0)
    await made.close()
    assert await waiting
    with pytest.raises(StoreError, match="closed"):
        await made.claim_lease(lease(2), None)


async def test_a_commit_waits_for_the_disk(store: SqliteStore) -> None:
    """A write-ahead log with a sync per commit: an acknowledged lease survives a power cut too."""
    assert store._connection is not None
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


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


async def test_rests_and_goodbyes_are_there_after_a_restart(path: Path) -> None:
    """A rest is on disk when it is told, and a released lease is still a released one."""
    first = await SqliteStore.open(path)
    rests = [Rest(lease(n).address, "compute", NOW, NOW + n, "declined", lease(n).mac) for n in (1, 2, 3)]
    rests[2] = replace(rests[2], cause="conflict", mac=None)
    for rest in rests:
        await first.rest(rest)
    await first.end_rests([rests[0].address, lease(9).address])
    await first.claim_lease(lease(1), None)
    await first.release_lease(lease(1), NOW + 1)
    await first.close()
    again = await SqliteStore.open(path)
    assert list(await again.rests()) == rests[1:]
    (found,) = await again.leases()
    assert found.released and not found.live(NOW + 1) and found.last_seen == NOW
    assert await again.drop_lease(found) and not await again.drop_lease(found)
    await again.close()
    last = await SqliteStore.open(path)
    assert list(await last.leases()) == []
    await last.close()


async def test_a_file_of_the_first_version_is_taken_over(path: Path) -> None:
    """Its leases are as they were, none of them given back."""
    with sqlite3.connect(path) as connection:
        connection.executescript(f"CREATE TABLE schema (version INTEGER NOT NULL); {sqlite.MIGRATIONS[0]}")
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


async def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    """No stack trace, the path instead."""
    with pytest.raises(StoreError, match="nowhere"):
        await SqliteStore.open(tmp_path / "nowhere" / "netboot.db")


async def test_old_boots_are_pruned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history is bounded: the oldest boots go with their claims."""
    monkeypatch.setattr(sqlite, "BOOTS_KEPT", 10)
    made = await SqliteStore.open(path)
    await made.burn(claim("b0"))
    await made.save_boots([boot(n, NOW + n) for n in range(30)])
    await made.close()
    again = await SqliteStore.open(path)
    assert [b.id for b in await again.boots()] == [f"b{n}" for n in range(29, 19, -1)]
    assert await again.claim_of("b0") is None
    await again.close()


def test_a_boot_survives_keys_of_a_later_version() -> None:
    """What we do not know is left out, the rest is read."""
    text = boot_text(boot(1)).replace("{", '{"invented_later": 1, ', 1)
    assert boot_of(text) == boot(1)


async def test_kill_nine_loses_no_acknowledged_lease(path: Path) -> None:
    """Killed under load again and again: what was acknowledged is there, and nothing is held twice."""
    acknowledged: dict[int, int] = {}
    chance = random.Random(7)
    for _ in range(KILLS):
        lines = hammer_until(path, chance.randint(50, 1500))
        acknowledged.update((int(number), int(turn)) for number, turn in lines)
    store = await SqliteStore.open(path)
    for number, turn in acknowledged.items():
        found = await store.lease_of(f"n{number}", "compute")
        assert found is not None and found.expires >= turn
        assert await store.lease_at(found.address) == found
        assert await store.claim_of(f"b{number}-{turn}") is not None
    everything = await store.leases()
    assert len({x.address for x in everything}) == len(everything)
    await store.close()


def hammer_until(path: Path, count: int) -> list[list[str]]:
    """Run the hammer, kill it after `count` acknowledgements; all that it wrote."""
    command = [sys.executable, "-m", "tests.store.hammer", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    whole = [line.split() for line in lines if line.endswith("\n")]
    assert len(whole) >= count, "the hammer ended by itself"
    return whole


async def test_many_claims_at_once_are_one_commit_of_several_statements(
    store: SqliteStore, path: Path
) -> None:
    """More leases than a statement takes, and one that displaces another, become durable together."""
    await store.claim_lease(lease(0), None)
    displacing = replace(lease(999), address=lease(0).address)
    wanted = [lease(n) for n in range(1, 3 * ROWS)]
    claims = [store.claim_lease(each, None) for each in wanted]
    claims.append(store.claim_lease(displacing, None, lease(0)))
    assert all(await asyncio.gather(*claims))
    await store.close()
    again = await SqliteStore.open(path)
    assert {each.holder: each for each in await again.leases()} == {
        each.holder: each for each in (*wanted, displacing)
    }
    await again.close()
