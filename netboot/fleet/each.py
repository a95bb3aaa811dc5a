"""One task for each cluster, so that one that is down slows no other; how long to wait after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable

Work = Callable[[str], Coroutine[None, None, None]]
Uniform = Callable[[float, float], float]
"""A random number between two: `random.uniform`."""


class Each:
    """Tasks by cluster; what is started before `run` begins with it."""

    def __init__(self, work: Work) -> None:
        """`work` is called with a cluster's name; where it ends by itself, `start` begins it anew."""
        self._work = work
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, None] = {}
        self._group: asyncio.TaskGroup | None = None

    def start(self, cluster: str) -> None:
        """Have a task for this cluster."""
        if self._group is None:
            self._waiting[cluster] = None
        elif (task := self._tasks.get(cluster)) is None or task.done():
            self._tasks[cluster] = self._group.create_task(self._work(cluster))

    def stop(self, cluster: str) -> None:
        """Have none."""
        self._waiting.pop(cluster, None)
        if task := self._tasks.pop(cluster, None):
            task.cancel()

    def keep(self, clusters: Iterable[str]) -> None:
        """Have a task for each of these, and no other."""
        wanted = dict.fromkeys(clusters)
        for cluster in [*self._tasks, *self._waiting]:
            if cluster not in wanted:
                self.stop(cluster)
        for cluster in wanted:
            self.start(cluster)

    async def run(self) -> None:
        """Run them, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for cluster in self._waiting:
                    self.start(cluster)
                self._waiting.clear()
                await asyncio.Event().wait()
        finally:
            self._group = None


class Backoff:
    """Seconds to wait after each failure in a row: doubled, bounded, and never the same for two clusters."""

    def __init__(self, uniform: Uniform, *, first: float = 0.5, most: float = 30.0) -> None:
        self._uniform = uniform
        self._first = first
        self._most = most
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many there were in a row."""
        return self._failures

    def next(self) -> float:
        """One more failure: wait so long."""
        whole = min(self._most, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return self._uniform(0.5, 1.0) * whole

    def reset(self) -> None:
        """It works again."""
        self._failures = 0


async def woken(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, at most so long; it is cleared then."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
