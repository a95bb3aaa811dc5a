"""A house with two clusters, and one machine that an operator moves between them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from netboot.cluster.client import ClusterClients
from netboot.events import Boots, Journal
from netboot.fleet.operations import Operations
from netboot.fleet.reassign import Patience
from netboot.fleet.roster import Roster
from netboot.join import JoinRequest, request_of
from netboot.join.kubeadm import KubeadmJoin
from netboot.join.minting import Mint
from netboot.join.naming import Naming
from netboot.join.presence import Presence
from netboot.join.turns import Turns
from netboot.model.boot import Boot, Claim, Kept
from netboot.model.inventory import (
    AddressRange,
    Assignment,
    Cluster,
    Inventory,
    JoinSettings,
    Network,
    Node,
    NodeActions,
    Pool,
    Tag,
)
from netboot.model.machine import Client, Mac
from netboot.model.operation import Operation, Order
from netboot.store import Store
from netboot.store.memory import MemoryStore
from tests.kube.cluster import Kube, until
from tests.kube.fixtures import opened

CARD, STRANGER = Mac("52:54:00:12:34:56"), Mac("52:54:00:00:00:99")
UUID = "4c4c4544-0042-3510-8054-b4c04f564232"
ALL = NodeActions(cordon=True, drain=True, delete=True)

OWNER = {"apiVersion": "apps.example.test/v1", "uid": "1", "controller": True}
"""Of an API that no server has: a garbage collector leaves its pods alone, and so does every controller."""
OWNED = [{**OWNER, "kind": "ReplicaSet", "name": "web"}]
DAEMON = [{**OWNER, "kind": "DaemonSet", "name": "cni"}]
OTHER = "00000000-1111-2222-3333-444444444444"
"""Another machine's UUID."""

TO_RED = Order(cluster="red")

MIRROR = {"kubernetes.io/config.mirror": "x"}


def quick(times: float = 1.0) -> Patience:
    """Of an appliance that gives up soon, or some times as late."""
    limits = {"target": 0.3, "old": 0.4, "drain": 0.6, "delete": 0.5}
    return Patience(**{k: v * times for k, v in limits.items()}, look=0.01, retry=0.05, held=0.05)


def house_inventory(blue: Path, red: Path, *, node: str = "m1", actions: NodeActions = ALL) -> Inventory:
    """Two clusters by their kubeconfigs, one without an API, one declared machine, a catch-all pool."""

    def cluster(name: str, kubeconfig: Path) -> Cluster:
        join = JoinSettings("kubeadm", kubeconfig, bind="cluster")
        return Cluster(name, f"{name}.example.test:6443", f"of-{name}", (), join, actions)

    ranges = (AddressRange(IPv4Address("10.0.0.100"), IPv4Address("10.0.0.200")),)
    network = Network("lab", IPv4Network("10.0.0.0/24"), "eth1", IPv4Address("10.0.0.1"), ranges=ranges)
    return Inventory(
        networks={"lab": network},
        clusters={
            "blue": cluster("blue", blue),
            "red": cluster("red", red),
            "bare": Cluster("bare", "bare.example.test:6443"),
        },
        pools={
            "blades": Pool("blades", "blue", "lab"),
            "racks": Pool("racks", "red", "lab", ("gpu",), image="of-racks"),
            "unknown": Pool("unknown", "bare", "lab", catch_all=True),
        },
        nodes=(Node(node, "blades", (CARD,), IPv4Address("10.0.0.5"), uuid=UUID),),
        tags={"gpu": Tag("gpu")},
    )


@dataclass
class House:
    """The appliance, as far as moving a machine needs it; `restart` is a new one on the same store."""

    store: Store
    inventory: Inventory
    patience: Patience = field(default_factory=quick)
    clock: Callable[[], float] = time.time
    clients: ClusterClients = field(default_factory=ClusterClients)
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.journal = Journal(self.clock)
        self.boots = Boots(self.store, self.journal, self.clock, lambda: f"b{next(self.numbers)}")
        self.roster = Roster(self.inventory)
        presence = Presence(self.clients, clock=time.monotonic, quiet=0.1, interval=0.02)
        self.presence = presence
        self.mint = Mint(self.clients, self.store, random=secrets, clock=self.clock)
        naming = Naming(presence, self.store, alarm=lambda request, text: logging.error(text))
        self.method = KubeadmJoin(self.clients, Turns(self.store), naming, self.mint)
        self.operations = Operations(
            roster=self.roster,
            clusters=self.clients,
            boots=self.boots,
            store=self.store,
            revoke=self.method.revoke,
            journal=self.journal,
            clock=self.clock,
            new_id=lambda: f"o{next(self.numbers)}",
            patience=self.patience,
        )

    async def start(self) -> None:
        """As the daemon does: what is remembered first, then what goes on."""
        await self.clients.update(self.inventory.clusters.values())
        await self.roster.start(self.store)
        await self.boots.start()
        await self.mint.start()
        await self.operations.start()

    def assigned(self, card: Mac = CARD) -> Assignment:
        """What the machine belongs to at this moment."""
        inventory = self.roster.inventory()
        found = inventory.match(Client(card), inventory.networks.values())
        assert isinstance(found, Assignment), found
        return found

    def powers_on(self, card: Mac = CARD) -> Boot:
        """Its firmware asks."""
        to = self.assigned(card)
        declared = to.node is not None
        return self.boots.discovered(
            card, node=to.name, cluster=to.cluster.name, now=self.clock(), declared=declared
        )

    async def claims(self, boot: Boot, card: Mac = CARD, uuid: str = UUID) -> Assignment:
        """Its initrd claims the boot: from here on it belongs to what it was assigned to."""
        to = self.assigned(card)
        tags = to.node.tags if to.node else ()
        kept = Kept(to.name, to.cluster.name, to.pool.name, tags)
        address = IPv4Address("10.0.0.5")
        await self.store.burn(Claim(boot.id, address, boot.id, "", boot.id, self.clock(), kept=kept))
        self.boots.annotate(boot.id, node=to.name, cluster=to.cluster.name, address=address, system_uuid=uuid)
        self.boots.claimed(boot.id)
        return to

    def request(self, boot: Boot, to: Assignment) -> JoinRequest:
        """What it asks for then."""
        return request_of(to, boot_id=boot.id, mac=boot.mac, uuid=UUID, address=IPv4Address("10.0.0.5"))

    async def boot(self, card: Mac = CARD, uuid: str = UUID) -> Boot:
        """A boot up to its claim, with a credential where its cluster has an API."""
        boot = self.powers_on(card)
        to = await self.claims(boot, card, uuid)
        if to.cluster.join.has_api:
            await self.method.material(self.request(boot, to), self.clock())
        return boot

    def joined(self, boot: Boot) -> None:
        """It is Ready."""
        self.boots.joined(boot.id)


def web_pod(number: int, **more: Any) -> dict[str, Any]:
    """Metadata of a pod that somebody would make again."""
    return {"labels": {"app": "web"}, "ownerReferences": OWNED, **more}


def with_actions(inventory: Inventory, **switches: bool) -> Inventory:
    """The same with other switches."""
    clusters = {
        name: replace(c, node_actions=replace(c.node_actions, **switches))
        for name, c in inventory.clusters.items()
    }
    return replace(inventory, clusters=clusters)


@dataclass
class Move:
    """Two clusters, and the appliance between them."""

    blue: Kube
    red: Kube
    house: House
    running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The daemon runs."""
        await self.house.start()
        self.running = asyncio.get_running_loop().create_task(self.house.operations.run())
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """The daemon ends."""
        if self.running is not None:
            self.running.cancel()
            with suppress(asyncio.CancelledError):
                await self.running

    async def restart(self) -> None:
        """Another one on the same store."""
        await self.stop()
        await self.house.boots.flush()
        old = self.house
        self.house = House(old.store, old.inventory, old.patience, clients=old.clients, numbers=old.numbers)
        await self.start()

    async def lives_in_blue(self, uuid: str = UUID) -> None:
        """The machine joined blue some time ago, and its credential is not taken back yet."""
        boot = await self.house.boot()
        self.blue_node(uuid)
        self.house.joined(boot)

    def blue_node(self, uuid: str = UUID) -> None:
        """Its Node object."""
        self.blue.create("nodes", "m1", node_object("m1", uuid))

    async def joins_red(self, name: str = "m1") -> None:
        """It boots again, and becomes Ready in red."""
        boot = await self.house.boot()
        self.red.create("nodes", name, node_object(name, UUID))
        self.house.joined(boot)

    async def at(self, operation: Operation, step: str, text: str = "") -> Operation:
        """The operation once it is at a step, for a reason."""
        await until(lambda: (o := self.now(operation)).step == step and text in o.reason)
        return self.now(operation)

    async def ended(self, operation: Operation) -> Operation:
        """The operation once it has ended."""
        await until(lambda: self.now(operation).ended is not None)
        return self.now(operation)

    def now(self, operation: Operation) -> Operation:
        """The operation as it stands."""
        found = self.house.operations.operation(operation.id)
        assert found is not None
        return found

    async def assign(self, order: Order = TO_RED, **more: Any) -> Operation:
        """An operator's word."""
        return await self.house.operations.assign(CARD, order, **more)

    def cordoned(self) -> bool:
        """Whether the Node object in blue is."""
        node = self.blue.node("m1")
        return node is not None and bool(node["spec"].get("unschedulable"))


def node_object(name: str, uuid: str) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {},
        "status": {"conditions": [ready], "nodeInfo": {"bootID": "b", "systemUUID": uuid}},
    }


@pytest.fixture
async def clusters(tmp_path: Path) -> AsyncIterator[tuple[Kube, Kube]]:
    """Blue and red."""
    async with AsyncExitStack() as stack:
        blue, red = [
            await stack.enter_async_context(opened(tmp_path / name, name, sign_delay=(0.0, 0.01)))
            for name in ("blue", "red")
        ]
        await blue.end_pods()
        yield blue, red


@pytest.fixture
async def move(clusters: tuple[Kube, Kube]) -> AsyncIterator[Move]:
    """Everything started, the machine in blue."""
    blue, red = clusters
    inventory = house_inventory(blue.kubeconfig(), red.kubeconfig())
    made = Move(blue, red, House(MemoryStore(), inventory, quick(max(blue.patience, red.patience))))
    await made.start()
    await made.lives_in_blue()
    yield made
    await made.stop()
    await made.house.clients.close()


def texts(operation: Operation, step: str) -> str:
    """What its timeline says of a step."""
    return "; ".join(line.text for line in operation.timeline if line.step == step)


async def with_inventory(move: Move, **switches: bool) -> None:
    """The operator changes node_actions."""
    move.house.inventory = with_actions(move.house.inventory, **switches)
    move.house.roster.declare(move.house.inventory)
