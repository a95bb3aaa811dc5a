"""Keep labels and taints of Node objects as the operator's file declares them (issue: being a good node).

Each change that the watch tells is compared in memory; only what differs costs a call, and no more than a few
calls a second go to one cluster. Each patch holds only for the Node object as it was read. Whoever sets back
what we set is not fought: the pauses grow, and the operator is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from netboot.cluster import ClusterApi, Clusters, NodeObject
from netboot.cluster.drift import ANNOTATION, Correction, Declared, correction, differences, is_machine
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from netboot.fleet.each import Backoff, Each, Uniform
from netboot.fleet.watching import NodeWatch

log = logging.getLogger("netboot.fleet")

PAUSE = 0.1
"""Seconds between two patches of one cluster's Node objects."""

TRIES = 3
"""How often a Node object that changes while it is patched is read again at once."""

WINDOW = 600.0
"""Seconds in which corrections of one Node object are counted."""

FREE = 3
"""Corrections of one Node object in that time before pauses begin."""

HOLD = 30.0
"""Seconds of the first pause; each further one is twice as long."""

LONGEST_HOLD = 3600.0

FORBIDDEN_PAUSE = 300.0
"""Seconds until a patch that was forbidden is tried again."""

SWEEP = 600.0
"""Seconds between two looks at all declared nodes of a cluster that is not watched."""

TURN = 50
"""Node objects that are compared before others have their turn."""

CONFLICTS = (404, 409, 422)


class Note(Protocol):
    """The part of `events.Journal` that tells of corrections."""

    def __call__(self, kind: str, text: str, *, level: int = logging.INFO) -> None:
        """Record one event."""


@dataclass(slots=True)
class Effort:
    """How often one Node object was corrected lately. Times are the event loop's, in seconds."""

    count: int = 0
    last: float = 0.0
    until: float = 0.0
    """No correction before then."""
    waiting: bool = False
    """Whether it will be looked at then anyway."""
    vain: int = 0
    """How often in a row the API took none of the tries at it."""

    def corrected(self, now: float) -> None:
        """Count one more correction; after the first few, nothing may follow for a while."""
        quiet = now - self.last > WINDOW + 2 * max(0.0, self.until - self.last)
        self.count = 1 if quiet else self.count + 1
        over = self.count - FREE
        self.last = now
        self.until = now + (min(LONGEST_HOLD, HOLD * 2.0 ** min(over - 1, 20)) if over > 0 else 0.0)


class Reconciler:
    """Corrects Node objects; `run` has to run beside it."""

    def __init__(
        self,
        clusters: Clusters,
        watch: NodeWatch,
        declared: Callable[[str, str], Declared | None],
        names: Callable[[str], Iterable[str]],
        note: Note,
        *,
        secret: bytes,
        uniform: Uniform,
        pause: float = PAUSE,
    ) -> None:
        """`declared` says of a cluster and a name what its Node object shall have, None where it is not ours.

        `names` are the declared nodes of a cluster, for one that cannot be watched.
        """
        self._clusters = clusters
        self._watch = watch
        self._declared = declared
        self._names = names
        self._note = note
        self._secret = secret
        self._uniform = uniform
        self._pause = pause
        self._due: dict[str, OrderedDict[str, None]] = {}
        self._efforts: dict[tuple[str, str], Effort] = {}
        self._forbidden: set[str] = set()
        self._kept: tuple[str, ...] = ()
        self._each = Each(self._work)

    def changed(self, cluster: str, name: str, node: NodeObject | None) -> None:
        """A Node object is there, or has changed."""
        if node is None:
            self._efforts.pop((cluster, name), None)
        elif self._ours(cluster, node) is not None:
            self._mark(cluster, name)

    def update(self, clusters: Iterable[str]) -> None:
        """The operator's file may declare something else now: look at everything, forget who fought us."""
        self._kept = tuple(clusters)
        self._efforts.clear()
        for gone in set(self._due) - set(self._kept):
            self._each.stop(gone)
            del self._due[gone]
        for cluster in self._kept:
            for name in self._watch.looked_at(cluster):
                self._mark(cluster, name)

    def redeclared(self, cluster: str, name: str) -> None:
        """An operator has just changed what is declared for one Node object."""
        self._efforts.pop((cluster, name), None)
        self._mark(cluster, name)

    def differences(self, cluster: str, name: str) -> tuple[str, ...] | None:
        """In what a Node object differs from the file; None where that is not known or not ours."""
        node = self._watch.find(cluster, name) if self._watch.live(cluster) else None
        declared = self._ours(cluster, node) if node is not None else None
        return differences(node, declared, self._secret) if node is not None and declared else None

    async def run(self) -> None:
        """Correct, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._each.run())
            group.create_task(self._sweep_forever())

    def _ours(self, cluster: str, node: NodeObject) -> Declared | None:
        """What is declared for this Node object, if it is our machine's."""
        declared = self._declared(cluster, node.name)
        return declared if declared is not None and is_machine(node, declared.uuids) else None

    def _mark(self, cluster: str, name: str) -> None:
        if cluster not in self._kept:
            return
        self._due.setdefault(cluster, OrderedDict())[name] = None
        self._each.start(cluster)

    async def _sweep_forever(self) -> None:
        """Where no watch tells of changes, look now and then."""
        while True:
            await asyncio.sleep(SWEEP * self._uniform(0.8, 1.2))
            self.sweep()

    def sweep(self) -> None:
        """Look at every declared node of the clusters that are not watched, where we may correct anything."""
        for cluster in self._kept:
            for name in self._names(cluster) if not self._watch.live(cluster) else ():
                declared = self._declared(cluster, name)
                if declared is not None and (declared.corrects_labels or declared.corrects_taints):
                    self._mark(cluster, name)

    async def _work(self, cluster: str) -> None:
        """Correct what is due in one cluster, one Node object after another."""
        due = self._due[cluster]
        backoff = Backoff(self._uniform, first=1.0)
        at = 0
        while due:
            name = due.popitem(last=False)[0]
            at += 1
            try:
                if await self._correct(cluster, name):
                    self._forbidden.discard(cluster)
                    await asyncio.sleep(self._pause)
                elif at % TURN == 0:
                    await asyncio.sleep(0)
                backoff.reset()
            except ClusterError as error:
                due[name] = None
                await asyncio.sleep(self._trouble(cluster, error, backoff))

    def _trouble(self, cluster: str, error: ClusterError, backoff: Backoff) -> float:
        """Seconds to wait until the cluster is asked again."""
        if isinstance(error, ClusterRefused):
            if cluster not in self._forbidden:
                self._forbidden.add(cluster)
                text = f"Node objects of cluster {cluster} are not corrected: {error}"
                remedy = "apply config/kubernetes/node-actions.yaml there, or switch node_actions off"
                self._note("drift_refused", f"{text}; {remedy}", level=logging.WARNING)
            return FORBIDDEN_PAUSE
        least = error.retry_after if isinstance(error, ClusterUnavailable) else 0.0
        return max(least, backoff.next())

    async def _correct(self, cluster: str, name: str) -> bool:
        """Put one Node object right; whether the API was asked. Raises ClusterError."""
        watched = self._watch.live(cluster)
        if not watched and not self._may(cluster, name):
            return False
        api = self._clusters.api(cluster)
        node = self._watch.find(cluster, name) if watched else await api.node(name)
        why: ClusterRefused | None = None
        for _ in range(TRIES):
            needed = self._needed(cluster, node) if node is not None else None
            if node is None or needed is None or self._held(cluster, name):
                return not watched
            try:
                changed = await self._patch(api, node, needed)
            except ClusterRefused as error:
                if error.status not in CONFLICTS:
                    raise
                why, node, watched = error, await api.node(name), False
            else:
                self._watch.saw(cluster, changed, after=node)
                self._corrected(cluster, name, needed)
                return True
        self._vain(cluster, name, why)
        return True

    def _vain(self, cluster: str, name: str, why: ClusterRefused | None) -> None:
        """Later again. 409: it changes all the time; 422 of one just read: the API takes no such change."""
        effort = self._effort(cluster, name)
        effort.vain += 1
        if effort.vain == 1 and why is not None and why.status == 422:
            text = f"Node {name} of cluster {cluster} is not corrected: {why}"
            remedy = "change what the file declares, or the cluster's admission policy"
            self._note("drift_refused", f"{text}; {remedy}", level=logging.WARNING)
        pause = min(LONGEST_HOLD, HOLD * 2.0 ** min(effort.vain - 1, 20))
        effort.until = asyncio.get_running_loop().time() + pause
        self._again(cluster, name, pause)

    async def _patch(self, api: ClusterApi, node: NodeObject, needed: Correction) -> NodeObject:
        note = {ANNOTATION: needed.annotation}
        return await api.patch_node(node, labels=needed.labels, taints=needed.taints, annotations=note)

    def _needed(self, cluster: str, node: NodeObject) -> Correction | None:
        declared = self._ours(cluster, node)
        return correction(node, declared, self._secret) if declared is not None else None

    def _may(self, cluster: str, name: str) -> bool:
        declared = self._declared(cluster, name)
        return declared is not None and (declared.corrects_labels or declared.corrects_taints)

    def _corrected(self, cluster: str, name: str, done: Correction) -> None:
        """Count it, and tell of it; of a Node object that somebody sets back again and again just once."""
        effort = self._effort(cluster, name)
        effort.vain = 0
        effort.corrected(asyncio.get_running_loop().time())
        if effort.count <= FREE and done.differences:
            self._note("drift_corrected", f"Node {name} of cluster {cluster}: {'; '.join(done.differences)}")
        elif effort.count == FREE + 1:
            what = "; ".join(done.differences) or f"the annotation {ANNOTATION} is gone"
            text = (
                f"Node {name} of cluster {cluster}: somebody sets back what the file declares ({what}), "
                f"{effort.count} times by now. It is corrected after ever longer pauses; find out who it is "
                f"(`kubectl get node {name} -o yaml --show-managed-fields`), or take it out of the file"
            )
            self._note("drift_fought", text, level=logging.WARNING)

    def _held(self, cluster: str, name: str) -> bool:
        """Whether this Node object was corrected too often lately; then it is looked at again later."""
        left = self._effort(cluster, name).until - asyncio.get_running_loop().time()
        if left > 0:
            self._again(cluster, name, left)
        return left > 0

    def _effort(self, cluster: str, name: str) -> Effort:
        return self._efforts.setdefault((cluster, name), Effort())

    def _again(self, cluster: str, name: str, seconds: float) -> None:
        effort = self._effort(cluster, name)
        if not effort.waiting:
            effort.waiting = True
            asyncio.get_running_loop().call_later(seconds, self._after, cluster, name, effort)

    def _after(self, cluster: str, name: str, effort: Effort) -> None:
        effort.waiting = False
        self._mark(cluster, name)
