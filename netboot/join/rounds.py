"""Work that is done in rounds for each cluster: one whose API is slow or silent delays no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable


async def in_rounds(
    due: Callable[[], Iterable[str]], work: Callable[[str], Coroutine[None, None, None]], interval: float
) -> None:
    """Every so many seconds, work for each cluster that has something due and whose last round is through."""
    rounds: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as group:
        while True:
            rounds = {cluster: task for cluster, task in rounds.items() if not task.done()}
            for cluster in dict.fromkeys(due()):
                if cluster not in rounds:
                    rounds[cluster] = group.create_task(work(cluster))
            await asyncio.sleep(interval)
