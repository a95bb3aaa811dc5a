"""Does somebody live under a node's name? Its Lease tells, by being renewed or not (R19).

A machine that restarts fast finds its old Node object still Ready, and kubeadm refuses to join. Nobody
renews the Lease of a dead machine: the same resourceVersion over two renew intervals proves it. Clocks
prove nothing, for they are the machine's own. A Lease that is renewed *after* the machine asked for its
configuration belongs to another machine: an impostor asks, or the name is taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from netboot.cluster import Clusters
from netboot.errors import ClusterError
from netboot.join.rounds import in_rounds

log = logging.getLogger("netboot.join")

QUIET = 20.0
"""Seconds without a renewal that prove death: two renew intervals of a kubelet."""

INTERVAL = 5.0
"""Seconds between two looks at a Lease."""

YOUNG = 600.0
"""Seconds after its DISCOVER for which a boot's Lease is looked at."""

PER_ROUND = 500
"""Leases of one cluster that are looked at in one round."""

MOST = 4096
"""Names watched at a time; forged DISCOVERs must not cost more."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Nobody renews that Lease, or there is none."""


@dataclass(frozen=True, slots=True)
class Living:
    """The Lease was renewed while this machine, which runs no kubelet yet, asked for its configuration."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Not known before so many seconds."""

    seconds: float


Verdict = Gone | Living | Undecided


@dataclass(slots=True)
class Watch:
    """What was seen of one Lease. Times are the event loop's, in seconds."""

    opened: float
    version: str | None = None
    """uid and resourceVersion at the last look; empty: there was no Lease; None: not looked yet."""
    unchanged_since: float = 0.0
    asked_by: str = ""
    """The boot that asked last."""
    renewed_since_asked: bool = False

    def saw(self, version: str, now: float) -> None:
        """One look."""
        if version == self.version:
            return
        if self.version is not None and version and self.asked_by:
            self.renewed_since_asked = True
        self.version, self.unchanged_since = version, now

    def verdict(self, now: float, quiet: float = QUIET) -> Verdict:
        """What these looks prove."""
        if self.version == "":
            return Gone()
        if self.renewed_since_asked:
            return Living()
        left = self.unchanged_since + quiet - now if self.version is not None else quiet
        return Gone() if left <= 0 else Undecided(left)


class Presence:
    """Looks at the Leases of nodes whose boots are young."""

    def __init__(
        self,
        clusters: Clusters,
        *,
        clock: Callable[[], float],
        quiet: float = QUIET,
        interval: float = INTERVAL,
    ) -> None:
        self._clusters = clusters
        self._clock = clock
        self._quiet = quiet
        self._interval = interval
        self._watches: dict[tuple[str, str], Watch] = {}

    def observe(self, cluster: str, node: str) -> None:
        """A boot of this node opened just now: begin to look at its Lease."""
        self._watches.pop((cluster, node), None)
        self._watch(cluster, node)

    async def verdict(self, cluster: str, node: str, boot_id: str) -> Verdict:
        """Look now, for a boot that asks for its configuration. Raises ClusterError."""
        watch = self._watch(cluster, node)
        await self._look(cluster, node, watch)
        if watch.asked_by != boot_id:
            watch.asked_by, watch.renewed_since_asked = boot_id, False
        return watch.verdict(self._clock(), self._quiet)

    async def run(self) -> None:
        """Look again and again at every Lease that proves nothing yet."""
        await in_rounds(self._clusters_due, self._round, self._interval)

    def _clusters_due(self) -> list[str]:
        now = self._clock()
        for key in [key for key, watch in self._watches.items() if now - watch.opened > YOUNG]:
            del self._watches[key]
        return [cluster for cluster, _ in self._due()]

    def _due(self) -> dict[tuple[str, str], Watch]:
        now = self._clock()
        watches = self._watches.items()
        return {key: w for key, w in watches if isinstance(w.verdict(now, self._quiet), Undecided)}

    async def _round(self, cluster: str) -> None:
        due = [(node, watch) for (name, node), watch in self._due().items() if name == cluster]
        await asyncio.gather(*(self._try(cluster, node, watch) for node, watch in due[:PER_ROUND]))

    async def _try(self, cluster: str, node: str, watch: Watch) -> None:
        try:
            await self._look(cluster, node, watch)
        except ClusterError as error:
            log.debug("the Lease of %s cannot be read: %s", node, error)

    async def _look(self, cluster: str, node: str, watch: Watch) -> None:
        lease = await self._clusters.api(cluster).node_lease(node)
        watch.saw(f"{lease.uid}/{lease.resource_version}" if lease else "", self._clock())

    def _watch(self, cluster: str, node: str) -> Watch:
        key = (cluster, node)
        if key not in self._watches:
            while len(self._watches) >= MOST:
                del self._watches[next(iter(self._watches))]
            self._watches[key] = Watch(self._clock())
        return self._watches[key]
