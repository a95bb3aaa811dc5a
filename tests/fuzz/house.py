"""A small DHCP server in memory for fuzzing, and a witness that checks its promises after every datagram.

Three networks: "lab" on eth1 with five dynamic addresses for seven machines, "far" behind a relay agent, and
"rest", whose range is empty. The witness knows only what clients saw and what the store holds.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from netboot.dhcp.origin import Origin
from netboot.dhcp.wire import Kind, Op, Packet, decode
from netboot.errors import MalformedPacket
from netboot.model.inventory import AddressRange, Cluster, Inventory, Network, Node, Pool, Tag
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from tests.dhcp.world import World

FOREVER = 0xFFFFFFFF
SERVER, FAR_SERVER, RELAY = (int(IPv4Address(a)) for a in ("10.77.0.1", "10.77.0.9", "10.78.0.1"))
OURS = frozenset({SERVER, FAR_SERVER})
ELSEWHERE = int(IPv4Address("192.0.2.9"))
ONE = Origin("0.0.0.0", 68)
"""Said to the server alone, as a renewal is."""
LEASE, BOOT_LEASE = 1000.0, 60.0

CARDS = (Mac("52:54:00:77:00:00"), Mac("52:54:00:77:00:01"))
NODE_M2, NODE_M3 = Mac("52:54:00:77:00:02"), Mac("52:54:00:77:00:03")
STRANGERS = tuple(Mac(f"52:54:00:99:00:0{i}") for i in range(7))
MACHINES = (*CARDS, NODE_M2, NODE_M3, *STRANGERS)
RESERVED: Mapping[int, tuple[Mac, ...]] = {
    int(IPv4Address("10.77.0.20")): CARDS,
    int(IPv4Address("10.78.0.30")): (NODE_M3,),
}
"""Declared addresses and who may have them; after a reload `MOVED` is declared, too."""
MOVED = int(IPv4Address("10.77.0.102"))


def networks() -> dict[str, Network]:
    """The networks of the house."""

    def span(first: str, last: str) -> tuple[AddressRange, ...]:
        return (AddressRange(IPv4Address(first), IPv4Address(last)),)

    lab = Network(
        "lab", IPv4Network("10.77.0.0/24"), "eth1", IPv4Address(SERVER),
        ranges=span("10.77.0.100", "10.77.0.104"), lease=LEASE, boot_lease=BOOT_LEASE,
        gateway=IPv4Address("10.77.0.254"), dns=(IPv4Address("10.77.0.253"),), domain="lab.test",
    )  # fmt: skip
    far = replace(
        lab, name="far", subnet=IPv4Network("10.78.0.0/24"), interface=None, address=IPv4Address(FAR_SERVER),
        ranges=span("10.78.0.100", "10.78.0.102"), gateway=IPv4Address(RELAY), dns=(),
    )  # fmt: skip
    rest = replace(lab, name="rest", subnet=IPv4Network("10.79.0.0/24"), interface="eth2", ranges=(),
                   gateway=None, dns=(), address=IPv4Address("10.79.0.1"))  # fmt: skip
    return {net.name: net for net in (lab, far, rest)}


def inventory(*, reloaded: bool = False) -> Inventory:
    """What the operator declared; a reload gives m2, who had none, an address that others may hold."""
    pools = {name: Pool(name, "blue", name) for name in ("lab", "far")}
    pools |= {f"all-{name}": Pool(f"all-{name}", "blue", name, catch_all=True) for name in ("lab", "far")}
    nodes = (
        Node("m1", "lab", CARDS, IPv4Address("10.77.0.20")),
        Node("m2", "lab", (NODE_M2,), IPv4Address(MOVED) if reloaded else None),
        Node("m3", "far", (NODE_M3,), IPv4Address("10.78.0.30")),
    )
    clusters = {"blue": Cluster("blue", "10.77.0.1:6443")}
    return Inventory(networks(), clusters, pools, nodes, {"all": Tag("all")})


BOTH = inventory(), inventory(reloaded=True)
FAR = IPv4Network("10.78.0.0/24")
DYNAMIC = frozenset(
    number
    for network in networks().values()
    for span in network.ranges
    for number in range(int(span.first), int(span.last) + 1)
)


@dataclass(frozen=True, slots=True)
class Held:
    """What a client was told in an ACK: `until` its lease ends, `kept` it is nobody else's."""

    mac: Mac
    network: str
    until: float
    kept: float


class House:
    """The server, and what its clients believe. Every broken promise is an AssertionError."""

    def __init__(self) -> None:
        self.world = World(BOTH[0])
        self.held: dict[int, Held] = {}
        self.offers: dict[Mac, Packet] = {}
        self.reloaded = False

    # What may happen

    def say(self, data: bytes, origin: Origin = ONE) -> Packet | None:
        """Hand the server a datagram and check all promises; its reply, None for silence."""
        port, before = self.world.port, len(self.world.port.sent)
        settle(self.world.server.handle(data, origin, port))
        sent = port.sent[before:]
        errors = self.world.reported("dhcp_internal_error")
        assert not errors, f"an exception that is not ours: {errors[-1]}"
        assert len(sent) <= 1, f"{len(sent)} replies to one request"
        reply = sent[0][1] if sent else None
        self._witness(request_of(data), reply, sent[0][0] if sent else "")
        return reply

    def pass_time(self, seconds: float) -> None:
        """Let time go on."""
        self.world.now += seconds

    def restart(self) -> None:
        """A new process on the same store."""
        self.world.restart()

    def reload(self) -> None:
        """The other one of the two operator's files."""
        self.reloaded = not self.reloaded
        self.world.inventory = BOTH[self.reloaded]

    def break_disk(self, full: bool) -> None:
        """From now on nothing can be written, or all again."""
        self.world.store.full = full

    # What has to hold

    def _witness(self, request: Packet | None, reply: Packet | None, way: str) -> None:
        if request is None:
            assert reply is None, "a reply to what is no request"
            return
        if request.kind in (Kind.RELEASE, Kind.DECLINE):
            assert reply is None, f"{request.kind} was answered"
        else:
            self._witness_reply(request, reply, way)
        self._forget_what_was_given_back(request)
        self._holders_are_in_the_store()

    def _witness_reply(self, request: Packet, reply: Packet | None, way: str) -> None:
        server = request.u32(54)
        if reply is None:
            return
        if 82 not in request.options and request.kind is Kind.REQUEST:
            assert server is None or server in OURS, "an answer to who chose another server"
        expect_mirrored(request, reply, way)
        mac = Mac.from_bytes(request.chaddr)
        if reply.kind is Kind.OFFER:
            assert request.kind is Kind.DISCOVER
            self._may_have(mac, reply.yiaddr)
            self.offers[mac] = reply
        elif reply.kind is Kind.ACK and request.kind is Kind.REQUEST:
            self._may_have(mac, reply.yiaddr)
            self._acknowledged(mac, reply)
        elif reply.kind is Kind.ACK:
            assert request.kind is Kind.INFORM
            assert not reply.yiaddr and not {51, 58, 59} & reply.options.keys(), "a lease for an INFORM"
        else:
            assert (reply.kind, request.kind) == (Kind.NAK, Kind.REQUEST)
            assert not reply.yiaddr and not reply.siaddr and not {1, 3, 51, 67} & reply.options.keys()

    def _reserved_for(self, address: int) -> tuple[Mac, ...] | None:
        if self.reloaded and address == MOVED:
            return (NODE_M2,)
        return RESERVED.get(address)

    def _may_have(self, mac: Mac, address: int) -> None:
        """An address of ours, nobody else's reservation, and no living machine's."""
        owners, text = self._reserved_for(address), IPv4Address(address)
        assert owners is None or mac in owners, f"{text} is reserved, but not for {mac}"
        assert owners is not None or address in DYNAMIC, f"{text} is no address to give"
        held = self.held.get(address)
        if held is not None and not same_machine(held.mac, mac):
            now = self.world.now
            assert now >= held.kept, f"{mac} gets {text}, which {held.mac} has for {held.kept - now} s more"

    def _acknowledged(self, mac: Mac, reply: Packet) -> None:
        """The lease stands in the store, at least for as long as the client was told."""
        now, duration = self.world.now, reply.u32(51)
        assert duration, "an ACK without a lease time"
        t1, t2 = reply.u32(58), reply.u32(59)
        assert t1 is not None and t2 is not None and t1 <= t2 <= duration, (t1, t2, duration)
        lease = self.world.store.by_address.get(IPv4Address(reply.yiaddr))
        unwritten = self.world.store.full and self._reserved_for(reply.yiaddr) is not None
        if not unwritten:
            assert lease is not None and same_machine(lease.mac, mac), f"an ACK without its claim: {lease}"
            assert lease.expires >= now + duration - 1, "a shorter lease in the store than on the wire"
        network = "far" if IPv4Address(reply.yiaddr) in FAR else "lab"
        for address, held in list(self.held.items()):
            if same_machine(held.mac, mac) and held.network == network:
                del self.held[address]  # who takes another address leaves the first
        until = float("inf") if duration == FOREVER else now + duration
        if not unwritten:
            self.held[reply.yiaddr] = Held(mac, network, until, max(until, now + LEASE))

    def _forget_what_was_given_back(self, request: Packet) -> None:
        """The holder's own RELEASE or DECLINE ends its hold, where the server believed it."""
        if request.kind not in (Kind.RELEASE, Kind.DECLINE) or len(request.chaddr) != 6:
            return
        mac = Mac.from_bytes(request.chaddr)
        for address, held in list(self.held.items()):
            lease = self._stored(address)
            if same_machine(held.mac, mac) and (lease is None or not lease.live(self.world.now)):
                del self.held[address]

    def _holders_are_in_the_store(self) -> None:
        """Whoever was told that it has an address has it in the store, until its time is over."""
        now = self.world.now
        for address, held in self.held.items():
            lease = self._stored(address)
            if now < held.until - 1:
                mine = lease is not None and same_machine(lease.mac, held.mac)
                assert lease is not None and mine, f"{IPv4Address(address)} of {held.mac}: stored is {lease}"
                assert lease.live(now), f"the lease of {held.mac} ended early"

    def _stored(self, address: int) -> Lease | None:
        return self.world.store.by_address.get(IPv4Address(address))


def same_machine(one: Mac, other: Mac) -> bool:
    """Whether two cards are one machine's: a declared node may have several."""
    return one == other or (one in CARDS and other in CARDS)


def request_of(data: bytes) -> Packet | None:
    """A message that a server may answer; None for anything else."""
    try:
        packet = decode(data)
    except MalformedPacket:
        return None
    return packet if packet.op == Op.REQUEST and packet.kind is not None else None


def expect_mirrored(request: Packet, reply: Packet, way: str) -> None:
    """What RFC 2131 table 3 has copied, and where section 4.1 has it sent."""
    assert reply.op == Op.REPLY and reply.hops == 0
    for name in ("htype", "hlen", "xid", "giaddr", "chaddr"):
        assert getattr(reply, name) == getattr(request, name), f"{name} of the reply is another"
    if 82 not in request.options:
        assert reply.u32(54) in OURS | {int(IPv4Address("10.79.0.1"))}
    else:
        assert not request.giaddr or reply.options.get(82) == request.options[82]
    if request.giaddr:
        assert way == f"udp {IPv4Address(request.giaddr)}:67", way
    elif reply.kind is Kind.NAK:
        past_its_relay = f"udp {IPv4Address(request.ciaddr)}:68"  # where no broadcast of ours is heard
        assert way == "broadcast" or (way == past_its_relay and IPv4Address(request.ciaddr) in FAR), way


def settle(work: Coroutine[Any, None, None]) -> None:
    """Run what waits for nothing but a store in memory, without an event loop."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise AssertionError("the server waited for something that no store in memory needs")
