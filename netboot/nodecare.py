"""The part of the composition root that minds the clusters' nodes: watch, health, queue, labels and taints.

`clusters` makes one `NodeCare` and tells it of what happens; see there.
"""

from __future__ import annotations

import hmac
import random
import time
from collections.abc import Callable, Collection, Coroutine
from hashlib import sha256

from netboot.cluster.client import ClusterClients
from netboot.cluster.drift import ANNOTATION
from netboot.events import Boots, Journal
from netboot.fleet.belonging import Belonging
from netboot.fleet.gate import Gate
from netboot.fleet.health import Health
from netboot.fleet.reconciling import Reconciler
from netboot.fleet.room import Room
from netboot.fleet.watching import NodeWatch
from netboot.model.health import ClusterState
from netboot.model.inventory import Inventory

Task = Coroutine[None, None, None]


class NodeCare:
    """What stands in the clusters, how they are, and who may join now."""

    def __init__(
        self,
        clients: ClusterClients,
        *,
        inventory: Callable[[], Inventory],
        boots: Boots,
        journal: Journal,
        secret: bytes,
        follows: Callable[[str, str], bool],
    ) -> None:
        """`follows` says of a cluster and a name whether a boot of that node is on its way there."""
        belonging = Belonging(inventory, boots)
        self.watch = NodeWatch(
            clients,
            lambda cluster, name: follows(cluster, name) or belonging.assignment(cluster, name) is not None,
            uniform=random.uniform,
            annotations=(ANNOTATION,),
        )
        self.health = Health(clients, clock=time.time, uniform=random.uniform)
        room = Room(clients, self.watch, clock=time.monotonic)
        self.gate = Gate(self.health, room, clock=time.monotonic)
        self.reconciler = Reconciler(
            clients,
            self.watch,
            belonging.declared,
            belonging.names,
            journal.note,
            secret=hmac.digest(secret, b"what we declared on Node objects", sha256),
            uniform=random.uniform,
        )
        self.watch.on_change.append(self.reconciler.changed)
        self.watch.on_lost.append(self.health.suspect)

    def reloaded(self, clusters: Collection[str]) -> None:
        """These are the clusters that have an API, as the file that is in force has it."""
        self.health.update(clusters)
        self.gate.update(clusters)
        self.watch.update(clusters)
        self.reconciler.update(clusters)

    def state(self, cluster: str) -> ClusterState:
        """How a cluster is, for operators."""
        found = self.health.condition(cluster)
        return ClusterState(
            state=found.state,
            since=found.since or None,
            next_try=found.next_try if found.state == "down" else None,
            nodes=self.watch.count(cluster),
            unwatched=self.watch.trouble(cluster) or None,
            waiting=self.gate.waiting(cluster),
        )

    def tasks(self) -> tuple[Task, ...]:
        """Whatever has to run beside the servers."""
        return (self.watch.run(), self.health.run(), self.reconciler.run())
