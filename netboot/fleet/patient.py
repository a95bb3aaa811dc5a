"""The calls of a reassignment, each made once more where a server failed at it: that is no outage yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from netboot.cluster import Access, ClusterApi, Evicted, NodeObject, Pod
from netboot.errors import ClusterUnavailable

T = TypeVar("T")

TRIES = 2


class Patient:
    """The part of `cluster.ClusterApi` that moving a machine needs."""

    def __init__(self, api: ClusterApi) -> None:
        self._api = api

    async def may(self, access: Access) -> bool:
        """See `cluster.TokensApi`."""
        return await _tried(lambda: self._api.may(access))

    async def node(self, name: str) -> NodeObject | None:
        """See `cluster.NodesApi`."""
        return await _tried(lambda: self._api.node(name))

    async def schedule(self, node: NodeObject, annotations: Mapping[str, str | None], on: bool) -> None:
        """Cordon or uncordon a Node object, and note who did."""
        await _tried(lambda: self._api.patch_node(node, annotations=annotations, unschedulable=not on))

    async def delete_node(self, node: NodeObject) -> bool:
        """See `cluster.NodesApi`."""
        return await _tried(lambda: self._api.delete_node(node))

    async def pods_on(self, node: str) -> Sequence[Pod]:
        """See `cluster.PodsApi`."""
        return await _tried(lambda: self._api.pods_on(node))

    async def evict(self, pod: Pod) -> Evicted:
        """See `cluster.PodsApi`."""
        return await _tried(lambda: self._api.evict(pod))


async def _tried(ask: Callable[[], Awaitable[T]]) -> T:
    for _ in range(TRIES - 1):
        try:
            return await ask()
        except ClusterUnavailable as error:
            if error.status < 500:
                raise
    return await ask()
