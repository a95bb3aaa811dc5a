"""Follow each join from the credential to Ready, and take credentials back when a boot is through.

A change that the watch tells is a hint to look at once; what counts is what the API says then, for a watch
that comes back after a while also tells what happened before. Without a watch each Node object is looked at
once a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from netboot.cluster import ClusterApi, Clusters, NodeLease, NodeObject
from netboot.errors import ClusterError, ClusterRefused
from netboot.fleet.each import Each, woken
from netboot.join import JoinMaterial
from netboot.model.boot import Boot

log = logging.getLogger("netboot.fleet")

INTERVAL = 1.0
"""Seconds between two looks at one Node object, where no watch tells of it."""

SELDOM = 15.0
"""The same where one does: a connection may be dead without anybody's knowing."""

REGISTERED_WITHIN = 900.0
"""Seconds from the credential to the Node object; five credentials of one boot take 300 of them."""

READY_WITHIN = 900.0
"""Seconds from the Node object to Ready: the cluster's CNI plugin is pulled and started in them."""

AT_ONCE = 16
"""Node objects of one cluster that are looked at at the same time, and credentials that are taken back."""


class Watched(Protocol):
    """The part of `watching.NodeWatch` that following needs."""

    def live(self, cluster: str) -> bool:
        """Whether changes in this cluster are told as they happen."""


class Timeline(Protocol):
    """The part of `events.Boots` that following needs."""

    def step(self, boot_id: str, step: str, *, detail: str = "") -> None:
        """The boot reached a step."""

    def stop(self, boot_id: str, step: str, cause: str) -> None:
        """The boot is over without success."""

    def joined(self, boot_id: str) -> None:
        """The boot is over with success."""


class Revoking(Protocol):
    """Takes credentials back: a join method, or all of them."""

    async def revoke(self, boot_id: str) -> None:
        """Take back whatever this boot was given."""


@dataclass(frozen=True, slots=True)
class Following:
    """One boot on its way from credential to Ready. Times are the event loop's, in seconds."""

    boot_id: str
    node: str
    cluster: str
    since: float
    replaces: str | None
    """Incarnation of the Node object before this join; None where we were not there to see it."""
    created_after: float = 0.0
    """Where `replaces` is None: a Node object made later (seconds since the epoch) is this boot's."""
    lease: NodeLease | None = None
    registered: float | None = None
    trouble: str = ""
    """Why the last look failed."""
    looked: float = float("-inf")
    """When the last look ended."""


class Joining:
    """Looks at the Node objects of boots that were given a credential; `run` has to run beside it."""

    def __init__(
        self,
        clusters: Clusters,
        method: Revoking,
        timeline: Timeline,
        *,
        clock: Callable[[], float],
        watch: Watched | None = None,
        interval: float = INTERVAL,
        registered_within: float = REGISTERED_WITHIN,
        ready_within: float = READY_WITHIN,
    ) -> None:
        self._clusters = clusters
        self._method = method
        self._timeline = timeline
        self._clock = clock
        self._watch = watch
        self._interval = interval
        self._registered_within = registered_within
        self._ready_within = ready_within
        self._followed: dict[str, Following] = {}
        self._hinted: set[str] = set()
        self._hints: dict[str, asyncio.Event] = {}
        self._to_revoke: dict[str, asyncio.Queue[str]] = {}
        self._looking = Each(self._look_at)
        self._revoking = Each(self._revoke_of)

    def follow(self, boot: Boot, material: JoinMaterial) -> None:
        """This boot was given this credential: follow it. A method that joins nothing is not followed."""
        if material.method == "none":
            return
        self._follow(Following(boot.id, boot.node, boot.cluster, self._clock(), material.replaces))

    def resume(self, boot: Boot) -> None:
        """After a restart: follow a boot that our predecessor gave a credential."""
        now = self._clock()
        self._follow(Following(boot.id, boot.node, boot.cluster, now, None, created_after=boot.started))

    def ended(self, boot: Boot) -> None:
        """This boot is over, by success, failure, abort or a new boot: nothing of its credential may stay."""
        self._followed.pop(boot.id, None)
        self._take_back(boot.cluster, boot.id)

    def follows(self, cluster: str, name: str) -> bool:
        """Whether a boot of that node is on its way into that cluster."""
        return any(f.node == name and f.cluster == cluster for f in self._followed.values())

    def changed(self, cluster: str, name: str, node: NodeObject | None) -> None:
        """The watch told of a Node object: look at once, if that may be a step of a boot."""
        for followed in self._followed.values():
            if followed.node == name and followed.cluster == cluster and _hints_at(followed, node):
                self._hinted.add(followed.boot_id)
                self._hints[cluster].set()

    async def run(self) -> None:
        """Look and take back, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._looking.run())
            group.create_task(self._revoking.run())

    def _follow(self, followed: Following) -> None:
        self._followed[followed.boot_id] = followed
        self._hints.setdefault(followed.cluster, asyncio.Event())
        self._looking.start(followed.cluster)

    def _take_back(self, cluster: str, boot_id: str) -> None:
        self._to_revoke.setdefault(cluster, asyncio.Queue()).put_nowait(boot_id)
        self._revoking.start(cluster)

    async def _look_at(self, cluster: str) -> None:
        """Look at the nodes of one cluster as long as any is followed."""
        places = asyncio.Semaphore(AT_ONCE)
        while any(f.cluster == cluster for f in self._followed.values()):
            async with asyncio.TaskGroup() as group:
                for followed in self._due(cluster):
                    group.create_task(self._look_in_turn(followed, places))
            await woken(self._hints[cluster], self._interval)

    def _due(self, cluster: str) -> list[Following]:
        """Those whose turn it is: all where nothing tells of changes, else those with a hint."""
        now = self._clock()
        live = self._watch is not None and self._watch.live(cluster)
        every = [f for f in self._followed.values() if f.cluster == cluster]
        due = [f for f in every if f.boot_id in self._hinted or now - f.looked >= _rest(f, live)]
        self._hinted.difference_update(f.boot_id for f in every)
        return due

    async def _look_in_turn(self, followed: Following, places: asyncio.Semaphore) -> None:
        async with places:
            await self.look(followed)

    async def look(self, followed: Following) -> None:
        """One look at one Node object, and what follows from it."""
        try:
            api = self._clusters.api(followed.cluster)
            node = await api.node(followed.node)
            lease = await self._lease(api, followed, node)
            seen = replace(followed, lease=lease or followed.lease, trouble="")
        except ClusterError as error:
            node, lease, seen = None, None, replace(followed, trouble=str(error))
        if self._followed.get(followed.boot_id) is not followed:
            return  # it ended, or was given another credential, while we looked
        seen = replace(seen, looked=self._clock())
        if node is not None and (followed.registered is not None or _of_this_boot(followed, node, lease)):
            self._advance(seen, node)
        else:
            self._missing(seen)

    async def _lease(self, api: ClusterApi, followed: Following, node: NodeObject | None) -> NodeLease | None:
        """Only where we do not know what stood there before: is somebody alive?"""
        if followed.replaces is not None or followed.registered is not None or node is None:
            return None
        try:
            return await api.node_lease(followed.node)
        except ClusterRefused:
            return None

    def _advance(self, seen: Following, node: NodeObject) -> None:
        if seen.registered is None:
            seen = replace(seen, registered=self._clock())
            self._timeline.step(seen.boot_id, "registered", detail=f"Node {node.name}")
            self._take_back(seen.cluster, seen.boot_id)
        self._followed[seen.boot_id] = seen
        if node.ready == "True":
            del self._followed[seen.boot_id]
            self._timeline.joined(seen.boot_id)
        elif self._clock() - (seen.registered or 0.0) > self._ready_within:
            why = node.ready_message or f"its Ready condition is {node.ready}"
            self._give_up(seen, "ready", f"Node {node.name} is registered but not Ready: {why}")

    def _missing(self, seen: Following) -> None:
        self._followed[seen.boot_id] = seen
        waited = self._clock() - (seen.registered or seen.since)
        limit = self._registered_within if seen.registered is None else self._ready_within
        if waited <= limit:
            return
        what = "no Node object of this boot" if seen.registered is None else "the Node object is gone again"
        why = seen.trouble or f"{what} after {waited:.0f} s: look at the node's console and the kubelet's log"
        self._give_up(seen, "registered", f"Node {seen.node} in cluster {seen.cluster}: {why}")

    def _give_up(self, seen: Following, step: str, cause: str) -> None:
        del self._followed[seen.boot_id]
        self._timeline.stop(seen.boot_id, step, cause)

    async def _revoke_of(self, cluster: str) -> None:
        """Take back what is due in one cluster; another one may be down."""
        due = self._to_revoke[cluster]
        while not due.empty():
            some = [due.get_nowait() for _ in range(min(AT_ONCE, due.qsize()))]
            await asyncio.gather(*map(self._method.revoke, some))


def _rest(followed: Following, live: bool) -> float:
    """Seconds from one look to the next; only looks can tell of a boot that we met on its way."""
    return SELDOM if live and (followed.replaces is not None or followed.registered is not None) else 0.0


def _hints_at(followed: Following, node: NodeObject | None) -> bool:
    """Whether a change may be the next step of a boot."""
    if node is None:
        return False
    if followed.registered is not None:
        return node.ready == "True"
    return followed.replaces is None or node.incarnation != followed.replaces


def _of_this_boot(followed: Following, node: NodeObject, lease: NodeLease | None) -> bool:
    """Whether a Node object was registered by this boot and not by one before."""
    if followed.replaces is not None:
        return node.incarnation != followed.replaces
    renewed = lease is not None and followed.lease is not None and lease != followed.lease
    return node.created > followed.created_after or renewed
