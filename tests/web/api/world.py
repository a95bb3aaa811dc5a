"""An appliance's state behind a real API listener, for the tests of the API and of the command line."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from netboot.catalog import Catalog
from netboot.cluster import ClusterApi
from netboot.dhcp.server import DhcpServer
from netboot.errors import ClusterUnavailable
from netboot.events import Boots, Journal
from netboot.fleet.operations import Operations
from netboot.fleet.roster import Roster
from netboot.model.access import ApiToken, Role
from netboot.model.finding import Finding
from netboot.model.image import FILES
from netboot.model.inventory import AddressRange, Cluster, Inventory, JoinSettings, Network, Node, Pool
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.model.settings import File, Settings
from netboot.proc import ProcessInfo
from netboot.store import Store
from netboot.store.memory import MemoryStore
from netboot.web.api import Sources, application
from netboot.web.api.guard import token_sha256

TOKEN = "Tz1-the-administrators-token-of-these-tests"
OPERATOR, VIEWER = "o" * 40, "x" * 40
ONE, TWO, STRANGER = Mac("52:54:00:00:00:01"), Mac("52:54:00:00:00:02"), Mac("52:54:00:00:00:99")
HASH = "$6$exampleexample$I0tbDFnPmwOiz5XKoN8c4z0cAH8bEktWoVWQ80oMp9XqUMyZmnja"
SECRET_FILE = "content of a secret file"


class NoClusters:
    """No Kubernetes API answers."""

    def api(self, cluster: str) -> ClusterApi:
        """None does."""
        raise ClusterUnavailable(f"{cluster} does not answer")


class World:
    """Boots, journal, leases and inventory, with a clock that the test moves."""

    def __init__(self, images_dir: Path, store: Store | None = None) -> None:
        self.now = 1_700_000_000.0
        self.numbers = 0
        self.store: Store = store or MemoryStore()
        self.journal = Journal(lambda: self.now)
        self.boots = Boots(self.store, self.journal, lambda: self.now, self.new_id)
        self.images_dir = images_dir
        self.ready = True
        self.drift: dict[str, tuple[str, ...]] = {}
        """Of machines whose Node object is known, in what it differs from the file."""
        self.tokens = (
            ApiToken("admin.token", Role.ADMIN, token_sha256(TOKEN)),
            ApiToken("olga", Role.OPERATOR, token_sha256(OPERATOR)),
            ApiToken("vera", Role.VIEWER, token_sha256(VIEWER)),
        )
        self.inventory = inventory()
        self.roster = Roster(self.inventory)
        self.operations = Operations(
            roster=self.roster,
            clusters=NoClusters(),
            boots=self.boots,
            store=self.store,
            revoke=self.revoke,
            journal=self.journal,
            clock=lambda: self.now,
            new_id=lambda: self.new_id().replace("b", "o"),
        )
        self.dhcp = DhcpServer(
            inventory=lambda: self.inventory,
            leases=self.store,
            boots=self.boots,
            journal=self.journal,
            clock=lambda: self.now,
            boot_port=80,
        )

    def new_id(self) -> str:
        """b1, b2, ..."""
        self.numbers += 1
        return f"b{self.numbers}"

    async def revoke(self, boot_id: str) -> None:
        """Nothing was given to anybody."""

    def sources(self, **changes: Any) -> Sources:
        """What the application is made of."""
        made: dict[str, Any] = {
            "boots": self.boots,
            "journal": self.journal,
            "leases": self.store,
            "addresses": self.dhcp,
            "catalog": Catalog(self.images_dir),
            "inventory": lambda: self.inventory,
            "assigner": self.operations,
            "audit": self.store,
            "bindings": self.store,
            "examine": examined,
            "tokens": lambda: self.tokens,
            "listen": "127.0.0.1",
            "clock": lambda: self.now,
            "names": ("netboot.example.org",),
            "processes": lambda: (ProcessInfo("bulk", 0, 4242, "up", 3, 1),),
            "ready": lambda: self.ready,
            "node_drift": lambda cluster, name: self.drift.get(name),
            "cluster_problem": lambda name: "its API does not answer" if name == "blue" else None,
        }
        return Sources(**{**made, **changes})

    async def machines_boot(self) -> None:
        """A declared machine stops at its network script, an undeclared one is on its way."""
        boots = self.boots
        boots.discovered(ONE, node="n1", cluster="blue", now=self.now)
        boots.annotate("b1", image="debian-12", generation="ab" * 32)
        for step in ("offer", "ack", "script", "kernel", "claim"):
            self.now += 1
            boots.step("b1", step)
        boots.step("b1", "squashfs", bytes=104857600, of=104857600)
        boots.step("b1", "network_script", detail="exit status 3: no such device")
        boots.stop("b1", "network_script", "network.sh ended with status 3: no such device")
        self.now += 1
        boots.discovered(STRANGER, node="node-525400000099", cluster="catchall", now=self.now)
        boots.step("b2", "squashfs", bytes=25, of=100)
        await self.store.claim_lease(lease("n1", ONE, "10.0.0.5", self.now + 60), None)
        await self.store.claim_lease(lease(STRANGER, STRANGER, "10.0.0.100", float("inf")), None)
        await self.store.claim_lease(lease("old", TWO, "10.0.0.7", self.now - 60), None)


async def examined(cluster: Cluster) -> tuple[Finding, ...]:
    """What a doctor found."""
    return (
        Finding(
            "missing",
            "our account may not delete nodes, for: node_actions.delete",
            "kubectl apply -f config/kubernetes/node-delete.yaml",
        ),
        Finding("ok", "the API answers: v1.34.2"),
    )


def lease(holder: str, mac: Mac, address: str, expires: float) -> Lease:
    """A lease in the only network."""
    return Lease(holder, mac, IPv4Address(address), "compute", holder, expires, 1_700_000_000.0, None)


def inventory() -> Inventory:
    """One declared node with two cards and secrets in its settings, and a catch-all pool."""
    ranges = (AddressRange(IPv4Address("10.0.0.100"), IPv4Address("10.0.0.200")),)
    subnet = IPv4Network("10.0.0.0/24")
    network = Network("compute", subnet, "eth1", IPv4Address("10.0.0.1"), ranges=ranges)
    join = JoinSettings("kubeadm", Path("/etc/netboot/blue.kubeconfig"), bind="cluster")
    blue = Cluster("blue", "10.0.0.9:6443", "debian-12", ("gpu",), join)
    files = {"/root/secret": File(SECRET_FILE, 0o600, True)}
    node = Node(
        "n1", "compute", (ONE, TWO), IPv4Address("10.0.0.5"),
        settings=Settings(root_password_hash=HASH, files=files),
    )  # fmt: skip
    return Inventory(
        networks={"compute": network},
        clusters={"blue": blue, "catchall": Cluster("catchall", "10.0.0.8:6443")},
        pools={
            "compute": Pool("compute", "blue", "compute", ("rack-1",)),
            "unknown": Pool("unknown", "catchall", "compute", catch_all=True),
        },
        nodes=(node,),
    )


def make_image(images_dir: Path, name: str = "debian-12") -> str:
    """A tiny image in the store layout; returns its generation."""
    import hashlib

    contents = {file: f"{name} {file}".encode() for file in FILES}
    files = {f: {"size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for f, c in contents.items()}
    manifest = {
        "version": 1, "name": name, "architecture": "amd64", "kernel_parameters": [], "min_ram_mib": 512,
        "created": "2026-01-01T00:00:00Z", "files": files,
    }  # fmt: skip
    raw = json.dumps(manifest).encode()
    generation = hashlib.sha256(raw).hexdigest()
    folder = images_dir / name / generation
    folder.mkdir(parents=True)
    for file, content in {**contents, "manifest.json": raw}.items():
        (folder / file).write_bytes(content)
    (images_dir / name / "latest").symlink_to(generation)
    return generation


@asynccontextmanager
async def client_of(
    world: World, token: str | None = TOKEN, **changes: Any
) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the API that sends `token`."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with TestClient(TestServer(application(world.sources(**changes))), headers=headers) as client:
        yield client


async def items(client: TestClient[Any, Any], path: str) -> list[dict[str, Any]]:
    """The items of a list."""
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    return list((await answer.json())["items"])


@dataclass(frozen=True)
class Running:
    """An API in a thread of its own, as the command line meets it."""

    url: str
    token_file: Path
    world: World
    loop: asyncio.AbstractEventLoop

    def do(self, work: Callable[[], object]) -> None:
        """Have something happen in the API's own thread."""

        async def done() -> None:
            work()

        asyncio.run_coroutine_threadsafe(done(), self.loop).result(30)


@contextmanager
def running(world: World, folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[Running]:
    """Serve `world` until the block ends, over TLS where it is given."""
    token_file = folder / "admin.token"
    token_file.write_text(TOKEN + "\n")
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application(world.sources()), access_log=None)

    async def start() -> str:
        await world.machines_boot()
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"{'https' if tls else 'http'}://{host}:{port}"

    url = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Running(url, token_file, world, loop)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
