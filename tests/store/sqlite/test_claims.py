"""Claims on their disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

from netboot.store.sqlite import SqliteStore
from tests.store.values import claim


async def test_an_ended_claim_stays_burnt_after_a_restart(path: Path) -> None:
    """It is in memory no more, and the file still knows it."""
    first = await SqliteStore.open(path)
    await first.burn(claim())
    await first.end_claim("b1")
    await first.close()
    again = await SqliteStore.open(path)
    standing = await again.burn(claim(request="other"))
    assert standing.ended and standing.request_sha256 == "aa"
    await again.close()


async def test_two_claims_of_one_key_in_one_batch_have_one_winner(store: SqliteStore) -> None:
    """The second sees what the first wrote in the same transaction, as do the credentials."""
    burnt = await asyncio.gather(store.burn(claim()), store.burn(claim(request="other")))
    assert burnt[0] == burnt[1] == claim()
    counted = await asyncio.gather(*(store.count_credential("b1", 2) for _ in range(3)))
    assert counted == [True, True, False]
