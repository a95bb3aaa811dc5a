"""Rests on their disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netboot.model.lease import Rest
from netboot.store.sqlite import SqliteStore
from tests.store.values import NOW, lease


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
