"""Ask each cluster now and then whether it answers, so that an operator hears of it before a node does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from netboot.cluster import Clusters
from netboot.errors import ClusterError

log = logging.getLogger("netboot.fleet")

INTERVAL = 30.0
"""Seconds between two questions to one cluster."""


class Health:
    """What is wrong with each cluster's API, by its last answer; `run` has to run beside it."""

    def __init__(
        self, clusters: Clusters, names: Callable[[], Iterable[str]], *, interval: float = INTERVAL
    ) -> None:
        """`names` gives the clusters that have an API to ask: none with join method `none`."""
        self._clusters = clusters
        self._names = names
        self._interval = interval
        self._problems: dict[str, str] = {}

    def problem(self, cluster: str) -> str | None:
        """Why the nodes of this cluster get no credential now; None where nothing is known to be wrong."""
        return self._problems.get(cluster)

    async def run(self) -> None:
        """Ask for ever; a cluster that does not answer keeps no other one waiting."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """One round."""
        names = tuple(self._names())
        found = await asyncio.gather(*(self._ask(name) for name in names))
        now = {name: problem for name, problem in zip(names, found, strict=True) if problem}
        for name in names:
            self._report(name, self._problems.get(name), now.get(name))
        self._problems = now

    async def _ask(self, name: str) -> str | None:
        try:
            await self._clusters.api(name).version()
        except ClusterError as error:
            return str(error)
        return None

    def _report(self, name: str, before: str | None, now: str | None) -> None:
        """Say each change once."""
        if now and not before:
            log.warning("cluster %s: %s; its nodes get no join credential until this is mended", name, now)
        elif before and not now:
            log.info("cluster %s answers again", name)
