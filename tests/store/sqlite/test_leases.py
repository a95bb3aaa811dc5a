"""Leases on their disk."""

from __future__ import annotations

import asyncio

from netboot.store.sqlite import SqliteStore
from tests.store.values import lease


async def test_racing_claims_of_one_address_have_one_winner(store: SqliteStore) -> None:
    """Decided in the writer's order."""
    won = await asyncio.gather(*(store.claim_lease(lease(n, address=500), None) for n in range(1, 20)))
    assert won.count(True) == 1
    holder = await store.lease_at(lease(1, address=500).address)
    assert holder is not None and holder.holder == "n1"
