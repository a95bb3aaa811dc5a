"""Rounds of work for each cluster."""

from __future__ import annotations

import asyncio

from netboot.join.rounds import in_rounds


async def test_a_cluster_that_hangs_delays_no_other_and_is_not_begun_twice() -> None:
    """The others have round after round meanwhile."""
    begun: list[str] = []
    enough = asyncio.Event()

    async def work(cluster: str) -> None:
        begun.append(cluster)
        if begun.count("well") == 3:
            enough.set()
        if cluster == "silent":
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(in_rounds(lambda: ["silent", "silent", "well"], work, 0.0))
    async with asyncio.timeout(10):
        await enough.wait()
    task.cancel()
    assert begun.count("silent") == 1
