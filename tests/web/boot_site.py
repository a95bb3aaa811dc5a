"""A boot port on loopback with a store in memory, and a client that asks it from any 127.0.0.x."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from netboot.boot.key import boot_key
from netboot.boot.session import CREDENTIALS
from netboot.boot.storm import Storm
from netboot.catalog import Catalog
from netboot.errors import JoinWithheld
from netboot.events import Boots, Journal
from netboot.join import JoinMaterial, JoinRequest
from netboot.join.none import NoJoin
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory, Network
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.proc import Progress
from netboot.store.memory import MemoryStore
from netboot.web.boot import BootHttp
from netboot.web.peers import Limits
from tests.boot.conftest import MAC, OTHER, inventory, publish

SECRET = b"a secret of thirty-two bytes ..."
NODE = IPv4Address("127.0.0.20")
STRANGER = IPv4Address("127.0.0.66")
TOKEN = "abcdef.0123456789abcdef"


class FakeBulk:
    """A bulk pool that keeps what it was handed."""

    def __init__(self) -> None:
        self.on_progress: Callable[[Progress], None] = lambda progress: None
        self.on_return: Callable[[int, bytes, str], None] = lambda fd, data, client: None
        self.handed: list[tuple[int, bytes, str | None, str]] = []
        self.up = True

    def hand_over(self, fd: int, head: bytes, *, boot_id: str | None, client: str) -> bool:
        if self.up:
            self.handed.append((os.dup(fd), head, boot_id, client))
        return self.up

    def held(self, client: str) -> int:
        """Everything that was handed over stays open."""
        return len([each for each in self.handed if each[3] == client])


class FakeJoin:
    """A join method whose material is one canary, and that counts it as the real one does."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.made: list[str] = []
        self.asked: list[JoinRequest] = []
        self.revoked: list[str] = []
        self.withheld: JoinWithheld | None = None
        self.meanwhile: Callable[[], None] = lambda: None

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        if self.withheld is not None:
            raise self.withheld
        if not await self.store.count_credential(request.boot_id, CREDENTIALS):
            raise JoinWithheld("this boot was given five credentials", None)
        self.made.append(request.boot_id)
        self.asked.append(request)
        self.meanwhile()
        configuration = f"token: {TOKEN}\n".encode()
        files = {"join/method": (b"kubeadm\n", 0o644), "join/kubeadm.yaml": (configuration, 0o600)}
        return JoinMaterial("kubeadm", files, (TOKEN[:6],))

    async def revoke(self, boot_id: str) -> None:
        self.revoked.append(boot_id)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.body)
        return found


@dataclass
class World:
    """Everything around one boot port; `now` is its clock."""

    http: BootHttp
    store: MemoryStore
    boots: Boots
    journal: Journal
    bulk: FakeBulk
    join: FakeJoin
    inventory: Inventory
    neighbours: dict[IPv4Address, Mac] = field(default_factory=dict)
    now: float = 1_800_000_000.0
    handed_out: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.http.listen_addrs[0][1]

    async def lease(self, *, mac: Mac = MAC, address: IPv4Address = NODE, seconds: float = 300.0) -> Boot:
        """What DHCP does: open a boot, and put its id and the address on record."""
        name = "m1c29" if mac == MAC else f"node-{mac.digits}"
        boot = self.boots.discovered(mac, node=name, cluster="blue", now=self.now)
        seen = await self.store.lease_of(name, "lab")
        expires = self.now + seconds
        lease = Lease(name, mac, address, "lab", name, expires, self.now, boot.id)
        assert await self.store.claim_lease(lease, seen)
        self.boots.step(boot.id, "ack")
        self.neighbours[address] = mac
        return boot

    async def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | dict[str, object] = b"",
        source: IPv4Address = NODE,
        session: str | None = None,
        headers: str = "",
    ) -> Answer:
        """One request on a connection of its own."""
        raw = json.dumps(body).encode() if isinstance(body, dict) else body
        head = f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{headers}"
        if session is not None:
            head += f"Authorization: Bearer {session}\r\n"
        if raw or method == "POST":
            head += f"Content-Length: {len(raw)}\r\n"
        return await self.send(f"{head}\r\n".encode() + raw, source=source)

    async def send(self, raw: bytes, *, source: IPv4Address = NODE) -> Answer:
        """These very bytes, and the answer up to the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(str(source), 0))
        try:
            writer.write(raw)
            return parse(await asyncio.wait_for(reader.read(), 10))
        finally:
            writer.close()

    async def script(self, *, mac: Mac = MAC, source: IPv4Address = NODE) -> Answer:
        """The machine's script."""
        return await self.ask(f"/ipxe?mac={mac.dashed}&uuid=&arch=x86_64-efi", source=source)

    def key(self, boot: Boot) -> str:
        return boot_key(SECRET, boot.id)

    def refusals(self) -> int:
        return self.journal.counters["boot_refused"] + self.journal.counters["script_refused"]


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0]:
        return Answer(0, {}, b"")
    pairs = [line.split(": ", 1) for line in lines[1:]]
    return Answer(int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}, body)


def loopback(found: Inventory) -> Inventory:
    """The inventory on 127.0.0.0/24."""
    network: Network = replace(
        found.networks["lab"],
        subnet=IPv4Network("127.0.0.0/24"),
        address=IPv4Address("127.0.0.1"),
        gateway=None,
        interface="lo",
    )
    node = replace(found.nodes[0], address=NODE)
    return replace(found, networks={"lab": network}, nodes=(node,))


@asynccontextmanager
async def running(
    tmp_path: Path,
    *,
    limits: Limits | None = None,
    method: str = "kubeadm",
    store: MemoryStore | None = None,
    storm: Storm | None = None,
    steady: Callable[[], float] | None = None,
    admitted: Callable[[Mac], bool] = lambda mac: False,
    **changes: object,
) -> AsyncIterator[World]:
    """A boot port that listens on a free port of 127.0.0.1."""
    publish(tmp_path)
    found = loopback(inventory(method=method, **changes))  # type: ignore[arg-type]
    store, bulk = store or MemoryStore(), FakeBulk()
    join = FakeJoin(store)
    world: World
    clock = lambda: world.now  # noqa: E731
    ids = iter(f"boot{n:04d}" for n in range(10_000))
    world = World.__new__(World)
    world.now = 1_800_000_000.0
    journal = Journal(clock)
    boots = Boots(store, journal, clock, lambda: next(ids))
    http = BootHttp(
        inventory=lambda: world.inventory,
        catalog=Catalog(tmp_path),
        store=store,
        boots=boots,
        journal=journal,
        bulk=bulk,
        joins={"kubeadm": join, "certificate": join, "static": join, "none": NoJoin()},
        admitted=admitted,
        secret=SECRET,
        neighbour=lambda network, address: world.neighbours.get(address),
        clock=clock,
        boot_port=80,
        limits=limits,
        storm=storm,
        steady=steady,
        names=lambda: b"127.0.0.20 m1c29\n",
    )
    world.__init__(http, store, boots, journal, bulk, join, found)  # type: ignore[misc]
    http.on_material.append(lambda boot, material: world.handed_out.append(boot.id))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    await http.start([listener])
    try:
        yield world
    finally:
        await http.stop()
        for fd, *_ in bulk.handed:
            os.close(fd)


__all__ = ["MAC", "NODE", "OTHER", "STRANGER", "TOKEN", "World", "running"]
