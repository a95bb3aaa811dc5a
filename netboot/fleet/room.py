"""Is there room for a machine that nobody declared? `max_nodes` of its cluster says (R20).

Counted are the Node objects, whosever they are, and the machines that were given a credential and are not
registered yet. A declared machine is never turned away, nor one whose own Node object is there already: it
adds none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netboot.cluster import Clusters
from netboot.errors import ClusterRefused
from netboot.fleet.watching import NodeWatch
from netboot.join import JoinRequest, JoinWithheld
from netboot.model.inventory import INFINITE

RETRY = 60.0
"""Seconds after which a machine that was turned away asks again: Node objects go, and limits are raised."""

PROMISED = 900.0
"""Seconds in which a machine with a credential registers, or its place is free again."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A place that is kept for a machine with a credential."""

    cluster: str
    node: str
    until: float


class Room:
    """Counts the Node objects of clusters that have a limit; `clock` is a steady one, in seconds."""

    def __init__(self, clusters: Clusters, watch: NodeWatch, *, clock: Callable[[], float]) -> None:
        self._clusters = clusters
        self._watch = watch
        self._clock = clock
        self._promises: dict[str, Promise] = {}

    async def enter(self, request: JoinRequest) -> None:
        """Keep a place for this machine. Raises JoinWithheld, ClusterUnavailable and ClusterError."""
        limit = request.cluster.join.max_nodes
        if request.declared or limit == INFINITE:
            return
        cluster = request.cluster.name
        before = self._pending(cluster, request.node)
        if await self._exists(cluster, request.node):
            return
        count = await self._count(request)
        pending = before | self._pending(cluster, request.node)  # one that registered meanwhile counts twice
        if count + len(pending) >= limit:
            raise JoinWithheld(turned_away(request, count, len(pending)), RETRY)
        self._promises[request.boot_id] = Promise(cluster, request.node, self._clock() + PROMISED)

    def leave(self, boot_id: str) -> None:
        """This boot is over, or was given nothing: no place is kept for it."""
        self._promises.pop(boot_id, None)

    def _pending(self, cluster: str, but: str) -> set[str]:
        """The machines that are on their way, except one."""
        now = self._clock()
        for boot_id in [b for b, p in self._promises.items() if p.until < now or self._there(p)]:
            del self._promises[boot_id]
        return {p.node for p in self._promises.values() if p.cluster == cluster and p.node != but}

    def _there(self, promise: Promise) -> bool:
        return bool(self._watch.exists(promise.cluster, promise.node))

    async def _exists(self, cluster: str, node: str) -> bool:
        known = self._watch.exists(cluster, node)
        return known if known is not None else await self._clusters.api(cluster).node(node) is not None

    async def _count(self, request: JoinRequest) -> int:
        cluster = request.cluster.name
        known = self._watch.count(cluster)
        if known is not None:
            return known
        try:
            return await self._clusters.api(cluster).count_nodes()
        except ClusterRefused as error:
            raise JoinWithheld(uncounted(request, error), RETRY) from None


def turned_away(request: JoinRequest, count: int, pending: int) -> str:
    """For the operator and the machine's console: the cluster is full."""
    also = f" and {pending} machines on their way" if pending else ""
    return (
        f"cluster {request.cluster.name} has {count} Node objects{also}, and its max_nodes is "
        f"{request.cluster.join.max_nodes:.0f}: {request.node}, which nobody declared, is turned away. "
        "Declare it in a pool, delete the Node objects of machines that are gone, or raise max_nodes"
    )


def uncounted(request: JoinRequest, error: ClusterRefused) -> str:
    """What cannot be counted is taken for full."""
    return (
        f"the Node objects of cluster {request.cluster.name} cannot be counted for its max_nodes: {error}. "
        f"{request.node}, which nobody declared, is turned away. Apply config/kubernetes/appliance.yaml there"
    )
