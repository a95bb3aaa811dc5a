"""Whether a Node object of a machine's name exists: then its address is not given away (architecture 4).

Where the cluster is watched, the answer is there. Elsewhere it has to be asked for: the question comes while
a DHCP request is answered, so it is answered from memory at once. What is not known yet counts as alive, and
is looked up meanwhile: the machine that wants the address asks again in a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from netboot.cluster import Clusters
from netboot.errors import ClusterError
from netboot.fleet.each import Each
from netboot.model.lease import Lease

log = logging.getLogger("netboot.fleet")

KNOWN_FOR = 30.0
"""Seconds for which an answer counts."""

AT_ONCE = 4
"""Node objects of one cluster that are asked for at the same time."""

MOST = 4096
"""Answers that are remembered, and questions that wait for one cluster."""

Exists = Callable[[str, str], bool | None]
"""Whether a cluster has a Node object of that name; None where that is not known now."""

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
        exists: Exists = lambda cluster, name: None,
    ) -> None:
        """`cluster_of` names the cluster whose API can be asked for a lease's machine, None for none.

        `exists` knows it at once where that cluster is watched.
        """
        self._clusters = clusters
        self._cluster_of = cluster_of
        self._clock = clock
        self._known: OrderedDict[Name, tuple[bool, float]] = OrderedDict()
        self._exists = exists
        self._wanted: dict[str, OrderedDict[Name, None]] = {}
        self._each = Each(self._ask)

    def sign(self, lease: Lease) -> bool:
        """Whether the machine of a lease has a Node object, or may have one for all we know."""
        cluster = self._cluster_of(lease)
        if cluster is None:
            return False
        if (watched := self._exists(cluster, lease.name)) is not None:
            return watched
        name = (cluster, lease.name)
        exists, until = self._known.get(name, (True, 0.0))
        if until <= self._clock():
            self._want(name)
            return True
        return exists

    async def run(self) -> None:
        """Look up what is wanted, for ever."""
        await self._each.run()

    def _want(self, name: Name) -> None:
        wanted = self._wanted.setdefault(name[0], OrderedDict())
        if len(wanted) < MOST:
            wanted[name] = None
            self._each.start(name[0])

    async def _ask(self, cluster: str) -> None:
        """Look up what is wanted of one cluster; another one may be down."""
        wanted = self._wanted[cluster]
        while wanted:
            some = [wanted.popitem(last=False)[0] for _ in range(min(AT_ONCE, len(wanted)))]
            await asyncio.gather(*map(self._look, some))

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
