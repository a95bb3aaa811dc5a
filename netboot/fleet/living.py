"""Whether a Node object of a machine's name exists: then its address is not given away (architecture 4).

The question comes while a DHCP request is answered, so it is answered from memory at once. What is not known
yet counts as alive, and is looked up meanwhile: the machine that wants the address asks again in a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from netboot.cluster import Clusters
from netboot.errors import ClusterError
from netboot.model.lease import Lease

log = logging.getLogger("netboot.fleet")

KNOWN_FOR = 30.0
"""Seconds for which an answer counts."""

AT_ONCE = 4
"""Node objects that are asked for at the same time."""

MOST = 4096
"""Answers that are remembered, and questions that wait."""

Name = tuple[str, str]
"""Cluster and Node object."""


class NodeObjects:
    """What the clusters' APIs said of Node objects; `run` has to run beside it."""

    def __init__(
        self,
        clusters: Clusters,
        cluster_of: Callable[[Lease], str | None],
        *,
        clock: Callable[[], float],
    ) -> None:
        """`cluster_of` names the cluster whose API can be asked for a lease's machine, None for none."""
        self._clusters = clusters
        self._cluster_of = cluster_of
        self._clock = clock
        self._known: OrderedDict[Name, tuple[bool, float]] = OrderedDict()
        self._wanted: OrderedDict[Name, None] = OrderedDict()
        self._wake = asyncio.Event()

    def sign(self, lease: Lease) -> bool:
        """Whether the machine of a lease has a Node object, or may have one for all we know."""
        cluster = self._cluster_of(lease)
        if cluster is None:
            return False
        name = (cluster, lease.name)
        exists, until = self._known.get(name, (True, 0.0))
        if until <= self._clock():
            self._want(name)
            return True
        return exists

    async def run(self) -> None:
        """Look up what is wanted, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanted:
                some = [self._wanted.popitem(last=False)[0] for _ in range(min(AT_ONCE, len(self._wanted)))]
                await asyncio.gather(*map(self._look, some))

    def _want(self, name: Name) -> None:
        if len(self._wanted) < MOST:
            self._wanted[name] = None
            self._wake.set()

    async def _look(self, name: Name) -> None:
        cluster, node = name
        try:
            exists = await self._clusters.api(cluster).node(node) is not None
        except ClusterError as error:
            log.warning("cluster %s does not tell whether Node %s exists: %s", cluster, node, error)
            exists = True
        self._known[name] = (exists, self._clock() + KNOWN_FOR)
        self._known.move_to_end(name)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
