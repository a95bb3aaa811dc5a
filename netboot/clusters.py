"""Everything that talks to Kubernetes, composed: clients, join methods, what follows a join, health.

The second half of the composition root: `app` makes one `Clusterwork` and wires it to the servers; like
`app` it names concrete variants. A join method is an entry of `joins`, a task that runs beside the others
an entry of `_tasks`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Iterable, Mapping

from netboot.cluster import CLIENT_SIGNER, SERVING_SIGNER
from netboot.cluster.client import ClusterClients
from netboot.cluster.rights import TOKEN_METHODS
from netboot.events import Boots, Journal, boot_id
from netboot.fleet.approving import Approving, Wanted
from netboot.fleet.doctor import Doctor
from netboot.fleet.joining import Joining
from netboot.fleet.living import NodeObjects
from netboot.fleet.machines import OurMachines
from netboot.fleet.operations import Operations
from netboot.fleet.roster import Roster
from netboot.join import JoinMaterial, JoinMethod, JoinRequest
from netboot.join.certificate import CertificateJoin
from netboot.join.kubeadm import KubeadmJoin
from netboot.join.minting import Mint
from netboot.join.naming import Naming
from netboot.join.none import NoJoin
from netboot.join.pins import pins_of
from netboot.join.presence import Presence
from netboot.join.static import StaticJoin
from netboot.join.tls_bootstrap import TlsBootstrapJoin
from netboot.join.token import characters
from netboot.join.turns import Turns
from netboot.model.boot import Boot
from netboot.model.inventory import Cluster
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.model.operation import Operation
from netboot.nodecare import NodeCare
from netboot.store.sqlite import SqliteStore

Task = Coroutine[None, None, None]


class Clusterwork:
    """The daemon's whole business with Kubernetes; `start`, then `run` beside the servers, then `close`."""

    def __init__(
        self, *, roster: Roster, store: SqliteStore, boots: Boots, journal: Journal, secret: bytes
    ) -> None:
        """`secret` is the one of data_dir."""
        inventory = self._inventory = roster.inventory
        self._boots = boots
        self._journal = journal
        self.clients = ClusterClients(clock=time.time)
        self._presence = Presence(self.clients, clock=time.monotonic)
        self._mint = Mint(self.clients, store, random=secrets.SystemRandom(), clock=time.time)
        turns, naming = Turns(store), Naming(self._presence, store, alarm=self._alarm)
        self._methods: Mapping[str, JoinMethod] = {
            "kubeadm": KubeadmJoin(self.clients, turns, naming, self._mint),
            "certificate": CertificateJoin(
                self.clients, turns, naming, alarm=self._alarm, random=secrets.SystemRandom()
            ),
            "tls-bootstrap": TlsBootstrapJoin(self.clients, turns, naming, self._mint),
            "static": StaticJoin(self.clients, turns, naming),
            "none": NoJoin(),
        }
        self.nodes = NodeCare(
            self.clients,
            inventory=roster.inventory,
            boots=boots,
            journal=journal,
            secret=secret,
            follows=lambda cluster, name: self._joining.follows(cluster, name),
        )
        self.joins = {name: self.nodes.gate.before(method) for name, method in self._methods.items()}
        self._joining = Joining(self.clients, self, boots, clock=time.monotonic, watch=self.nodes.watch)
        self.nodes.watch.on_change.append(self._joining.changed)
        self._approving = Approving(
            self.clients,
            store,
            OurMachines(inventory, store, boots),
            self._approved,
            revoke=self.revoke,
            report=self._report,
            clock=time.time,
        )
        self.doctor = Doctor(
            self.clients,
            self._doctored,
            pins=pins_of,
            draw=lambda count: characters(secrets.SystemRandom(), count),
            clock=time.time,
        )
        self._node_objects = NodeObjects(
            self.clients, self._cluster_of, clock=time.monotonic, exists=self.nodes.watch.exists
        )
        self.operations = Operations(
            roster=roster,
            clusters=self.clients,
            boots=boots,
            store=store,
            revoke=self.revoke,
            journal=journal,
            clock=time.time,
            new_id=lambda: boot_id(time.time(), secrets.token_bytes(4)),
            placed=self._placed,
        )
        self.sign_of_life = self._node_objects.sign

    # Life

    async def start(self) -> None:
        """Know the clusters, take back what earlier runs left behind, go on with joins under way."""
        await self.update(self._inventory().clusters.values())
        self._resume(await self._mint.start())
        await self.operations.start()
        self.reloaded()

    async def update(self, clusters: Iterable[Cluster]) -> None:
        """Follow a reload of the operator's file, just before it is in force."""
        await self.clients.update(clusters)

    def reloaded(self) -> None:
        """The operator's file that is in force may be another one than before."""
        self.nodes.reloaded(self.asked())
        self.doctor.reloaded()

    async def run(self) -> None:
        """Whatever has to run beside the servers, for ever."""
        async with asyncio.TaskGroup() as group:
            for task in self._tasks():
                group.create_task(task)

    def _tasks(self) -> tuple[Task, ...]:
        return (
            self._presence.run(),
            *self.nodes.tasks(),
            self._mint.run(),
            self._joining.run(),
            self._approving.run(),
            self.doctor.run(),
            self._node_objects.run(),
            self.operations.run(),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.clients.close()

    # News

    def boot_opened(self, boot: Boot) -> None:
        """R19: look at the Lease of that Node object from the first DISCOVER on."""
        cluster = self._inventory().clusters.get(boot.cluster)
        if cluster is not None and cluster.join.has_api:
            self._presence.observe(boot.cluster, boot.node)

    def given(self, boot: Boot, material: JoinMaterial) -> None:
        """This boot was given this credential; where there is no API to ask, its machine's word ends it."""
        if boot.cluster in self.asked():
            self._joining.follow(boot, material)

    def ended(self, boot: Boot) -> None:
        """This boot is over."""
        self._joining.ended(boot)
        self.nodes.gate.left(boot.id)

    def _placed(self, operation: Operation) -> None:
        """This machine's tags may be others now: its Node object is looked at, on either side."""
        for side in {operation.old, operation.new}:
            self.nodes.reconciler.redeclared(side.cluster, side.node)

    async def revoke(self, boot_id: str) -> None:
        """Take back what any method gave this boot: an assignment may have changed the method since."""
        for method in self._methods.values():
            await method.revoke(boot_id)

    def asked(self) -> list[str]:
        """The clusters that have an API to ask."""
        return [c.name for c in self._inventory().clusters.values() if c.join.has_api]

    def problem(self, cluster: str) -> str | None:
        """Why the nodes of a cluster get no credential, or no certificate, now; None where all is well."""
        health, doctor, approving = self.nodes.health, self.doctor, self._approving
        return health.problem(cluster) or doctor.problem(cluster) or approving.problem(cluster)

    # Inside

    def _doctored(self) -> list[Cluster]:
        """The clusters that have an API to ask, as they are declared now."""
        return [c for c in self._inventory().clusters.values() if c.join.has_api]

    def _approved(self) -> list[Wanted]:
        """Where certificate requests are ours to decide (R7, R8)."""
        wanted = []
        for cluster in self._inventory().clusters.values():
            if cluster.join.method in TOKEN_METHODS and cluster.join.bind == "node":
                wanted.append((cluster.name, CLIENT_SIGNER))
            if cluster.join.has_api and cluster.approves_serving:
                wanted.append((cluster.name, SERVING_SIGNER))
        return wanted

    def _report(self, kind: str, text: str, mac: Mac | None, alarm: bool) -> None:
        """What approving has to tell: alarms each time, the rest once in a while."""
        if alarm:
            self._journal.note(kind, text, mac=mac, level=logging.ERROR)
        else:
            self._journal.refused(kind, text, source=text)

    def _resume(self, given: frozenset[str]) -> None:
        """Follow the joins that were under way when the daemon ended; `given`: boots that held a token."""
        for boot in self._boots.all(limit=Boots.LIMIT):
            handed = boot.id in given or (boot.step("config") and boot.step("join"))
            if boot.state == "booting" and handed and boot.cluster in self.asked():
                self._joining.resume(boot)

    def _cluster_of(self, lease: Lease) -> str | None:
        """The cluster whose API knows the Node object of a lease's machine; None where none can be asked."""
        boot, inventory = self._boots.of_node(lease.name), self._inventory()
        if boot is not None and boot.cluster in inventory.clusters:
            name = boot.cluster
        else:
            node = inventory.by_name.get(lease.name)
            pools = (p for p in inventory.pools.values() if p.catch_all and p.network == lease.network)
            pool = next(pools, None)
            name = inventory.assign(node).cluster.name if node else pool.cluster if pool else ""
        return name if name in self.asked() else None

    def _alarm(self, request: JoinRequest, text: str) -> None:
        self._journal.note("impostor", text, mac=request.mac, level=logging.ERROR)
