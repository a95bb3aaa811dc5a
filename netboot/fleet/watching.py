"""What stands in each cluster: one list and one watch of its Node objects, for everybody who asks about them.

Of most Node objects only the name is kept; the objects themselves only where somebody looks at them: the
nodes that are declared, and those that join. Where the account may not list or watch, nothing is known here
and everybody asks the API for single Node objects, as slowly as that is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from netboot.cluster import ClusterApi, Clusters, NodeChange, NodeObject
from netboot.errors import ClusterError, ClusterRefused
from netboot.fleet.each import Backoff, Each, Uniform

log = logging.getLogger("netboot.fleet")

FORBIDDEN_PAUSE = 300.0
"""Seconds until a list that was forbidden is tried again: somebody may have granted it."""

POLL = 30.0
"""Seconds between two lists where a list is allowed and a watch is not."""

LASTED = 10.0
"""Seconds after which the end of a watch is no failure: API servers end each one after some minutes."""

TURN = 50
"""Node objects of a list that are looked through before others have their turn."""

Listener = Callable[[str, str, NodeObject | None], None]
"""Told the cluster, the Node object's name, and the object; None where it is gone."""


@dataclass(slots=True)
class View:
    """What is known of one cluster."""

    names: set[str] = field(default_factory=set)
    nodes: dict[str, NodeObject] = field(default_factory=dict)
    live: bool = False
    """Whether the watch stands: what is not here does not exist."""
    trouble: str = ""
    """Why it does not."""


class NodeWatch:
    """The Node objects of all clusters as they stand; `run` has to run beside it."""

    def __init__(
        self,
        clusters: Clusters,
        kept: Callable[[str, str], bool],
        *,
        uniform: Uniform,
        annotations: Collection[str] = (),
    ) -> None:
        """`kept` says of a cluster and a name whether that Node object is looked at by anybody.

        Of annotations only those named are kept: others write kilobytes there.
        """
        self.on_change: list[Listener] = []
        self.on_lost: list[Callable[[str], None]] = []
        """Told the cluster whose list or watch failed just now."""
        self._clusters = clusters
        self._kept = kept
        self._uniform = uniform
        self._annotations = frozenset(annotations)
        self._views: dict[str, View] = {}
        self._each = Each(self._follow)

    def live(self, cluster: str) -> bool:
        """Whether changes in this cluster are told as they happen."""
        return self._view(cluster).live

    def exists(self, cluster: str, name: str) -> bool | None:
        """Whether there is such a Node object; None where that is not known now."""
        view = self._view(cluster)
        return name in view.names if view.live else None

    def find(self, cluster: str, name: str) -> NodeObject | None:
        """A Node object that is looked at, as it was seen last; None where none is known."""
        return self._view(cluster).nodes.get(name)

    def looked_at(self, cluster: str) -> tuple[str, ...]:
        """The names of the Node objects that `find` finds."""
        return tuple(self._view(cluster).nodes)

    def count(self, cluster: str) -> int | None:
        """How many Node objects the cluster has; None where that is not known now."""
        view = self._view(cluster)
        return len(view.names) if view.live else None

    def trouble(self, cluster: str) -> str:
        """Why the Node objects of a cluster are not watched; empty where they are."""
        view = self._view(cluster)
        return "" if view.live else view.trouble

    def saw(self, cluster: str, node: NodeObject, *, after: NodeObject) -> None:
        """The Node object `after` was just changed into this one.

        The answer to a patch may come behind the watch's own news of it and of somebody's next change: then
        the watch counts.
        """
        known = self._view(cluster).nodes.get(node.name)
        if known is not None and known.resource_version == after.resource_version:
            self._view(cluster).nodes[node.name] = self._slim(node)

    def update(self, clusters: Iterable[str]) -> None:
        """Watch these clusters; the operator's file may have changed, and with it who is looked at."""
        names = tuple(clusters)
        for gone in set(self._views) - set(names):
            del self._views[gone]
        self._each.keep(names)
        for name in names:
            if self._forgets(name):
                self._each.stop(name)
                self._each.start(name)

    async def run(self) -> None:
        """Watch, for ever."""
        await self._each.run()

    def _view(self, cluster: str) -> View:
        return self._views.get(cluster) or View()

    def _forgets(self, cluster: str) -> bool:
        """Drop whom nobody looks at any more; whether somebody is looked at now whose object is not here."""
        view = self._view(cluster)
        for name in [name for name in view.nodes if not self._kept(cluster, name)]:
            del view.nodes[name]
        return any(self._kept(cluster, name) for name in view.names - view.nodes.keys())

    async def _follow(self, cluster: str) -> None:
        """List, then watch from there; again from where it broke off, or from a new list."""
        view = self._views.setdefault(cluster, View())
        backoff = Backoff(self._uniform)
        following: tuple[ClusterApi | None, str] = (None, "")
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            pause = 0.0
            try:
                api = self._clusters.api(cluster)
                version = following[1] if following[0] is api else await self._list(cluster, view, api)
                following = (api, version)
                async with aclosing(api.watch_nodes(version)) as changes:
                    async for change in changes:
                        self._apply(cluster, view, change)
                        following = (api, change.node.resource_version or following[1])
            except ClusterRefused as error:
                pause = self._refused(cluster, view, error, listed=following[0] is not None)
                following = (None, "")  # 410: too old to go on from; anything else: begin anew as well
            except ClusterError as error:
                self._lost(cluster, view, str(error))
            finally:
                view.live = False
            if loop.time() - began >= LASTED:
                backoff.reset()
            await asyncio.sleep(max(backoff.next(), pause * self._uniform(0.8, 1.2)))

    def _refused(self, cluster: str, view: View, error: ClusterRefused, *, listed: bool) -> float:
        """Seconds to wait at least."""
        if error.status == 410:
            return 0.0
        self._lost(cluster, view, str(error))
        if error.status != 403:
            return 0.0
        return POLL if listed else FORBIDDEN_PAUSE

    def _lost(self, cluster: str, view: View, why: str) -> None:
        if view.trouble != why:
            log.info("the Node objects of cluster %s are not watched now: %s", cluster, why)
        view.trouble = why
        for listener in self.on_lost:
            listener(cluster)

    async def _list(self, cluster: str, view: View, api: ClusterApi) -> str:
        """Take a whole list in, and tell what is different from before."""
        nodes, version = await api.nodes()
        found = {node.name: node for node in nodes}
        for at, node in enumerate(nodes):
            self._take(cluster, view, node)
            if at % TURN == TURN - 1:
                await asyncio.sleep(0)
        for name in view.names - found.keys():
            self._drop(cluster, view, name)
        return version

    def _apply(self, cluster: str, view: View, change: NodeChange) -> None:
        if change.kind == "DELETED":
            self._drop(cluster, view, change.node.name)
        elif change.kind != "BOOKMARK":
            self._take(cluster, view, change.node)
        if not view.live:
            view.live, view.trouble = True, ""

    def _take(self, cluster: str, view: View, node: NodeObject) -> None:
        view.names.add(node.name)
        if not self._kept(cluster, node.name):
            view.nodes.pop(node.name, None)
            return
        slim = self._slim(node)
        if view.nodes.get(node.name) != slim:
            view.nodes[node.name] = slim
            self._tell(cluster, node.name, slim)

    def _drop(self, cluster: str, view: View, name: str) -> None:
        view.names.discard(name)
        if view.nodes.pop(name, None) is not None:
            self._tell(cluster, name, None)

    def _tell(self, cluster: str, name: str, node: NodeObject | None) -> None:
        for listener in self.on_change:
            listener(cluster, name, node)

    def _slim(self, node: NodeObject) -> NodeObject:
        ours = {k: v for k, v in node.annotations.items() if k in self._annotations}
        return replace(node, annotations=ours)
