"""What DHCP tests share: a small inventory, a store in memory that can fail, ports that only record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from netboot.dhcp.origin import Origin
from netboot.dhcp.server import DhcpServer
from netboot.dhcp.wire import Kind, Op, Packet, decode, encode
from netboot.errors import StoreError
from netboot.events import Boots, Journal
from netboot.model.boot import Boot
from netboot.model.inventory import (
    AddressRange,
    BootOverride,
    Cluster,
    Inventory,
    Network,
    Node,
    Options,
    OptionValue,
    Pool,
    Tag,
)
from netboot.model.lease import Lease, Rest
from netboot.model.machine import Mac

SERVER = IPv4Address("10.77.0.1")
NODE_MACS = (Mac("52:54:00:77:00:00"), Mac("52:54:00:77:00:01"))
NODE_ADDRESS = IPv4Address("10.77.0.20")
STRANGER = Mac("52:54:00:99:00:01")
OTHER_STRANGER = Mac("52:54:00:99:00:02")
START = 1_000_000.0
EVERYBODY = Origin("0.0.0.0", 68, to_all=True)
"""How firmware asks: by broadcast, without an address."""


def address(text: str) -> IPv4Address:
    """Short for IPv4Address."""
    return IPv4Address(text)


def network(
    *,
    first: str = "10.77.0.100",
    last: str = "10.77.0.199",
    subnet: str = "10.77.0.0/24",
    name: str = "lab",
    interface: str | None = "eth1",
    server: str = "10.77.0.1",
    options: Options | None = None,
) -> Network:
    """A network with one dynamic range, gateway .254, one name server."""
    return Network(
        name=name,
        subnet=IPv4Network(subnet),
        interface=interface,
        address=IPv4Address(server),
        ranges=(AddressRange(IPv4Address(first), IPv4Address(last)),),
        gateway=IPv4Network(subnet)[254],
        dns=(IPv4Network(subnet)[253],),
        domain="lab.test",
        options=options or {},
    )


def inventory(
    networks: Sequence[Network] | None = None,
    *,
    catch_all: bool = True,
    nodes: Sequence[Node] | None = None,
    boot: BootOverride | None = None,
    node_options: dict[int, OptionValue] | None = None,
    tag_options: dict[int, OptionValue] | None = None,
) -> Inventory:
    """One declared node m1 with two cards, and a catch-all pool for the first network."""
    networks = networks if networks is not None else [network()]
    first = networks[0].name
    pools = {"lab": Pool("lab", "blue", first)}
    if catch_all:
        pools["unknown"] = Pool("unknown", "blue", first, catch_all=True)
    declared = Node(
        "m1", "lab", NODE_MACS, NODE_ADDRESS, boot=boot or BootOverride(), options=node_options or {}
    )
    return Inventory(
        networks={n.name: n for n in networks},
        clusters={"blue": Cluster("blue", "10.77.0.1:6443")},
        pools=pools,
        nodes=tuple(nodes) if nodes is not None else (declared,),
        tags={"all": Tag("all", dhcp_options=tag_options or {})},
    )


class Leases:
    """A LeaseStore in memory that can be told to fail, or to be slower than somebody else."""

    def __init__(self) -> None:
        self.by_holder: dict[tuple[str, str], Lease] = {}
        self.by_address: dict[IPv4Address, Lease] = {}
        self.resting: dict[IPv4Address, Rest] = {}
        self.broken = False
        self.full = False
        self.lost_claims = 0
        self.log: list[str] = []

    async def lease_of(self, holder: str, network: str) -> Lease | None:
        """See LeaseStore."""
        if self.broken:
            raise StoreError("disk full")
        return self.by_holder.get((holder, network))

    async def lease_at(self, address: IPv4Address) -> Lease | None:
        """See LeaseStore."""
        return self.by_address.get(address)

    async def claim_lease(self, lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        """See LeaseStore."""
        if self.broken or self.full:
            raise StoreError("disk full")
        if self.lost_claims:
            self.lost_claims -= 1
            return False
        if self.by_holder.get((lease.holder, lease.network)) != seen:
            return False
        there = self.by_address.get(lease.address)
        if there is not None and there not in (seen, displaced):
            return False
        self.log.append(f"claimed {lease.address}")
        for old in (seen, displaced):
            if old is not None:
                self.by_holder.pop((old.holder, old.network), None)
                self.by_address.pop(old.address, None)
        self.put(lease)
        return True

    async def release_lease(self, lease: Lease, now: float) -> bool:
        """See LeaseStore."""
        if self.by_holder.get((lease.holder, lease.network)) != lease:
            return False
        self.put(replace(lease, expires=now, released=True))
        return True

    async def drop_lease(self, lease: Lease) -> bool:
        """See LeaseStore."""
        if self.broken or self.full:
            raise StoreError("disk full")
        if self.by_holder.get((lease.holder, lease.network)) != lease:
            return False
        del self.by_holder[lease.holder, lease.network], self.by_address[lease.address]
        return True

    async def rest(self, rest: Rest) -> None:
        """See LeaseStore."""
        if self.broken or self.full:
            raise StoreError("disk full")
        self.resting[rest.address] = rest

    async def end_rests(self, addresses: Sequence[IPv4Address]) -> None:
        """See LeaseStore."""
        for each in addresses:
            self.resting.pop(each, None)

    async def rests(self) -> Sequence[Rest]:
        """See LeaseStore."""
        return list(self.resting.values())

    async def leases(self) -> Sequence[Lease]:
        """See LeaseStore."""
        return list(self.by_holder.values())

    def put(self, lease: Lease) -> None:
        """Have a lease without asking."""
        self.by_holder[lease.holder, lease.network] = lease
        self.by_address[lease.address] = lease


class BootMemory:
    """A BootStore that forgets."""

    async def save_boots(self, boots: Sequence[Boot]) -> None:
        """See BootStore."""

    async def boots(self, *, limit: int = 1000) -> Sequence[Boot]:
        """See BootStore."""
        return []


class RecordingPort:
    """An interface whose outgoing messages are kept, with the way they went."""

    def __init__(self, name: str = "eth1", addresses: tuple[IPv4Address, ...] = (SERVER,)) -> None:
        self.name = name
        self.addresses = addresses
        self.sent: list[tuple[str, Packet]] = []
        self.log: list[str] = []

    def fileno(self) -> int:
        """Never readable."""
        return -1

    def first(self) -> tuple[bytes, str, int, bool] | None:
        """Nothing arrives."""
        return None

    def receive(self, most: int) -> Iterator[tuple[bytes, str, int, bool]]:
        """Nothing arrives."""
        return iter(())

    def unicast(self, payload: bytes, host: str, port: int, source: IPv4Address) -> None:
        """Keep a datagram."""
        self._keep(f"udp {host}:{port}", payload)

    def unicasts(self, datagrams: Sequence[tuple[bytes, str, int]], source: IPv4Address) -> list[OSError]:
        """Keep datagrams."""
        for payload, host, port in datagrams:
            self.unicast(payload, host, port, source)
        return []

    def frame(self, payload: bytes, mac: Mac, to: IPv4Address, source: IPv4Address) -> None:
        """Keep a frame."""
        self._keep(f"frame {mac} {to}", payload)

    def broadcast(self, payload: bytes, source: IPv4Address) -> None:
        """Keep a broadcast."""
        self._keep("broadcast", payload)

    def _keep(self, way: str, payload: bytes) -> None:
        packet = decode(payload)
        self.log.append(f"sent {packet.kind.name if packet.kind else '?'}")
        self.sent.append((way, packet))


class World:
    """A server with everything around it that can be turned by hand."""

    def __init__(self, stock: Inventory | None = None) -> None:
        self.now = START
        self.inventory = stock or inventory()
        self.store = Leases()
        self.journal = Journal(lambda: self.now)
        self._ids = iter(range(1, 1_000_000))
        self.boots = self.new_boots()
        self.port = RecordingPort()
        self.store.log = self.port.log
        self.server = self.new_server()

    def new_boots(self) -> Boots:
        """The boots of a process that has just started."""
        return Boots(BootMemory(), self.journal, lambda: self.now, lambda: f"boot-{next(self._ids)}")  # type: ignore[arg-type]

    def new_server(self) -> DhcpServer:
        """The server of a process that has just started, on the same store."""
        return DhcpServer(
            inventory=lambda: self.inventory,
            leases=self.store,
            boots=self.boots,
            journal=self.journal,
            clock=lambda: self.now,
            boot_port=80,
        )

    def restart(self) -> None:
        """Forget all that is not in the store."""
        self.boots = self.new_boots()
        self.server = self.new_server()

    async def say(
        self, packet: Packet | bytes, source: str = "0.0.0.0", *, origin: Origin | None = None
    ) -> Packet | None:
        """Hand the server one request, as clients send it; its reply, None for silence."""
        before = len(self.port.sent)
        renews = isinstance(packet, Packet) and packet.kind is Kind.REQUEST and packet.ciaddr
        relayed = isinstance(packet, Packet) and packet.giaddr
        to_all = source == "0.0.0.0" and not renews and not relayed
        origin = origin or Origin(source, 67 if relayed else 68, to_all)
        data = packet if isinstance(packet, bytes) else encode(packet)
        await self.server.handle(data, origin, self.port)
        return self.port.sent[-1][1] if len(self.port.sent) > before else None

    @property
    def way(self) -> str:
        """How the last reply travelled."""
        return self.port.sent[-1][0]

    async def get_address(self, mac: Mac, **options: object) -> Packet:
        """DISCOVER, OFFER, REQUEST, ACK; the ACK."""
        offer = await self.say(discover(mac, **options))  # type: ignore[arg-type]
        assert offer is not None and offer.kind is Kind.OFFER, "no OFFER"
        ack = await self.say(selecting(mac, offer, **options))  # type: ignore[arg-type]
        assert ack is not None and ack.kind is Kind.ACK, "no ACK"
        return ack

    def reported(self, kind: str) -> list[str]:
        """The texts of the events of a kind."""
        return [event.text for event in self.journal.events() if event.kind == kind]


class Feed:
    """The world's port with datagrams that wait."""

    def __init__(self, world: World, waiting: list[bytes]) -> None:
        self._port = world.port
        self._waiting = waiting

    def __getattr__(self, name: str) -> object:
        return getattr(self._port, name)

    def first(self) -> tuple[bytes, str, int, bool] | None:
        """What waits longest."""
        return next(iter(self.receive(1)), None)

    def receive(self, most: int) -> list[tuple[bytes, str, int, bool]]:
        """What waits."""
        taken, self._waiting = self._waiting[:most], self._waiting[most:]
        return [(data, "0.0.0.0", 68, False) for data in taken]


def message(
    mac: Mac,
    kind: Kind,
    options: dict[int, bytes] | None = None,
    *,
    flags: int = 0,
    ciaddr: str = "0.0.0.0",
    giaddr: str = "0.0.0.0",
    xid: int = 0x01020304,
) -> Packet:
    """A request of one card."""
    return Packet(
        op=Op.REQUEST,
        htype=1,
        hlen=6,
        hops=1 if giaddr != "0.0.0.0" else 0,
        xid=xid,
        secs=4,
        flags=flags,
        ciaddr=int(IPv4Address(ciaddr)),
        yiaddr=0,
        siaddr=0,
        giaddr=int(IPv4Address(giaddr)),
        chaddr=mac.packed(),
        sname=b"",
        file=b"",
        options={53: bytes([kind]), **(options or {})},
    )


def packed(text: str | IPv4Address) -> bytes:
    """Four octets of an address."""
    return IPv4Address(text).packed


PXE_BIOS = {60: b"PXEClient:Arch:00000:UNDI:002001", 93: b"\0\0", 94: b"\x01\x02\x01"}
PXE_X64 = {60: b"PXEClient:Arch:00007:UNDI:003000", 93: b"\0\7", 94: b"\x01\x03\x00"}
HTTP_X64 = {60: b"HTTPClient:Arch:00016:UNDI:003000", 93: b"\0\x10", 94: b"\x01\x03\x00"}
IPXE = {**PXE_BIOS, 77: b"iPXE", 175: b"\x13\x01\x01\x22\x01\x01"}
SYSTEM = {60: b"udhcp 1.35.0", 55: bytes([1, 3, 6, 12, 15, 26, 42])}


def discover(mac: Mac, options: dict[int, bytes] | None = None, **fields: object) -> Packet:
    """A DISCOVER."""
    return message(mac, Kind.DISCOVER, options, **fields)  # type: ignore[arg-type]


def selecting(mac: Mac, offer: Packet, options: dict[int, bytes] | None = None, **fields: object) -> Packet:
    """The REQUEST that takes an OFFER."""
    chosen = {50: offer.yiaddr.to_bytes(4, "big"), 54: offer.options[54]}
    return message(mac, Kind.REQUEST, {**chosen, **(options or {})}, **fields)  # type: ignore[arg-type]


Clock = Callable[[], float]
