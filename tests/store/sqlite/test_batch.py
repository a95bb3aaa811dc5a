"""One transaction for what was asked at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from netboot.store.sqlite import SqliteStore
from netboot.store.sqlite.leases import ROWS
from tests.store.values import lease


async def test_what_is_asked_at_once_is_one_commit(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred claims of one turn of the loop share one transaction."""
    commits = []
    commit = store._writer._commit
    monkeypatch.setattr(store._writer, "_commit", lambda batch: (commits.append(1), commit(batch)))
    won = await asyncio.gather(*(store.claim_lease(lease(n), None) for n in range(1, 101)))
    assert all(won) and len(commits) == 1


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
