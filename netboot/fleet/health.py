"""How each cluster's API is, by its last answers, so that an operator hears of it before a node does.

Each cluster is asked by a task of its own: every half minute while it answers, after ever longer pauses while
it does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from netboot.cluster import Clusters
from netboot.errors import ClusterError, ClusterRefused
from netboot.fleet.each import Backoff, Each, Uniform, woken

log = logging.getLogger("netboot.fleet")

INTERVAL = 30.0
"""Seconds between two questions to one cluster; also the longest pause while it does not answer."""

FIRST = 1.0
"""Seconds until a cluster that did not answer is asked again; doubled each time."""

SUSPECTED = 0.5
"""Seconds until a cluster is asked of which somebody heard bad news: many hear the same."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How one cluster's API is. Times are seconds since the epoch."""

    state: str = "unknown"
    """`unknown` before its first answer, `up`, `down`."""
    since: float = 0.0
    reason: str = ""
    """Why it is down."""
    refused: bool = False
    """It answers, but not to our account: waiting mends nothing."""
    next_try: float = 0.0


class Health:
    """The condition of each cluster; `run` has to run beside it."""

    def __init__(
        self,
        clusters: Clusters,
        *,
        clock: Callable[[], float],
        uniform: Uniform,
        interval: float = INTERVAL,
        first: float = FIRST,
    ) -> None:
        self._clusters = clusters
        self._clock = clock
        self._uniform = uniform
        self._interval = interval
        self._first = first
        self._conditions: dict[str, Condition] = {}
        self._suspected: dict[str, asyncio.Event] = {}
        self._each = Each(self._keep_asking)

    def condition(self, cluster: str) -> Condition:
        """How a cluster is."""
        return self._conditions.get(cluster, Condition())

    def problem(self, cluster: str) -> str | None:
        """Why the nodes of this cluster get no credential now; None where nothing is known to be wrong."""
        return self.condition(cluster).reason or None

    def next_in(self, cluster: str) -> float:
        """Seconds until this cluster is asked again."""
        return max(0.0, self.condition(cluster).next_try - self._clock())

    def suspect(self, cluster: str) -> None:
        """A call to a cluster failed just now: ask it soon. One that is down has its own pauses."""
        if self.condition(cluster).state != "down" and (event := self._suspected.get(cluster)):
            event.set()

    def update(self, clusters: Iterable[str]) -> None:
        """Ask these clusters, those that have an API to ask, and no other."""
        names = tuple(clusters)
        for gone in set(self._conditions) - set(names):
            del self._conditions[gone]
        self._each.keep(names)

    async def run(self) -> None:
        """Ask for ever; a cluster that does not answer keeps no other one waiting."""
        await self._each.run()

    async def look(self, cluster: str) -> bool:
        """Ask one cluster once; whether it answers us."""
        try:
            await self._clusters.api(cluster).version()
        except ClusterError as error:
            self._is(cluster, "down", str(error), refused=isinstance(error, ClusterRefused))
            return False
        self._is(cluster, "up", "", refused=False)
        return True

    async def _keep_asking(self, cluster: str) -> None:
        backoff = Backoff(self._uniform, first=self._first, most=self._interval)
        suspected = self._suspected.setdefault(cluster, asyncio.Event())
        while True:
            if await self.look(cluster):
                backoff.reset()
                pause = self._interval * self._uniform(0.8, 1.2)
            else:
                pause = backoff.next()
            found = self.condition(cluster)
            self._conditions[cluster] = replace(found, next_try=self._clock() + pause)
            await asyncio.sleep(min(pause, SUSPECTED))
            if pause > SUSPECTED:
                await woken(suspected, pause - SUSPECTED)

    def _is(self, cluster: str, state: str, reason: str, *, refused: bool) -> None:
        """Say each change once."""
        before = self.condition(cluster)
        since = before.since if before.state == state else self._clock()
        self._conditions[cluster] = Condition(state, since, reason, refused)
        if state == "down" and before.state != "down":
            log.warning("cluster %s: %s; its nodes wait for their credentials", cluster, reason)
        elif state == "up" and before.state == "down":
            log.info("cluster %s answers again, after %.0f s", cluster, self._clock() - before.since)
