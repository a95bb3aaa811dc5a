"""Tokens on their disk."""

from __future__ import annotations

from pathlib import Path

from netboot.store.sqlite import SqliteStore
from tests.store.values import token


async def test_a_forgotten_token_is_forgotten_after_a_restart(path: Path) -> None:
    """And its neighbours are not."""
    first = await SqliteStore.open(path)
    await first.record_token(token(1))
    await first.record_token(token(2))
    await first.forget_token(token(1).cluster, token(1).token_id)
    await first.close()
    again = await SqliteStore.open(path)
    assert list(await again.tokens()) == [token(2)]
    await again.close()
