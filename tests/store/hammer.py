"""A process that claims leases as fast as it can and prints each one that was acknowledged, until killed."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from netboot.store.sqlite import SqliteStore
from tests.store.values import claim, lease

HOLDERS = 40


async def renew(store: SqliteStore, number: int) -> None:
    """Renew one holder's lease, moving it back and forth between two addresses, and burn a key each time."""
    turn = 0
    while True:
        seen = await store.lease_of(f"n{number}", "compute")
        turn = int(seen.expires) + 1 if seen else 1
        wanted = replace(lease(number, number + (turn % 2) * 1000), expires=float(turn))
        if await store.claim_lease(wanted, seen):
            await store.burn(claim(f"b{number}-{turn}", "own"))
            sys.stdout.write(f"{number} {turn}\n")
            sys.stdout.flush()


async def main(path: Path) -> None:
    """Many holders at once, for ever."""
    store = await SqliteStore.open(path)
    async with asyncio.TaskGroup() as group:
        for number in range(1, HOLDERS + 1):
            group.create_task(renew(store, number))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
