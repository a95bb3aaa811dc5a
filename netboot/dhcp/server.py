"""The DHCP server: gathers facts, lets the engine decide, claims the lease, sends (in this order).

Sockets are drained by `add_reader`. The work on a datagram runs at once as far as it goes without the disk;
while it waits for the store, others are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import Any, Protocol

from netboot.boot.stall import DISK, NO_ADDRESS
from netboot.dhcp import engine, proxy
from netboot.dhcp.allocation import Allocation, Ask, nobody_is_asked
from netboot.dhcp.burst import Burst, Way
from netboot.dhcp.crowd import Crowd
from netboot.dhcp.doorkeeper import Doorkeeper
from netboot.dhcp.engine import Facts, Reply, Silence
from netboot.dhcp.identity import Cards, is_second, said_twice, without_claims
from netboot.dhcp.options import client_of
from netboot.dhcp.places import Place, Places
from netboot.dhcp.profile import Profile
from netboot.dhcp.proxying import Observed
from netboot.dhcp.route import Unicast
from netboot.dhcp.site import Site
from netboot.dhcp.watching import Watch
from netboot.dhcp.wire import Kind, Op, Packet, decode
from netboot.errors import MalformedPacket, StoreError
from netboot.events import Boots, Journal
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory, Network, Node, NoMatch
from netboot.model.lease import Lease, Rest, Usage
from netboot.model.machine import Client, Mac, Speaker
from netboot.shadow.pcap import Frame
from netboot.store import LeaseStore

Work = Coroutine[asyncio.Future[Any], None, None]
"""The handling of one datagram; what it waits for are the store's futures."""

BATCH = 64
"""Datagrams taken per wake-up, so that other work of the loop gets its turn."""

IN_FLIGHT = 4096
"""Requests that may wait for the store at once; more are dropped, their clients ask again."""

ATTEMPTS = 4
"""How often facts are gathered for one request when others are faster at its lease."""

_RECEIVED = ("", *(f"dhcp_received_{kind.name.lower()}" for kind in Kind))
_SENT = ("", *(f"dhcp_sent_{kind.name.lower()}" for kind in Kind))
"""The journal's counters of messages by their kind."""


class Port(Way, Protocol):
    """What the server needs of an interface; `net.Endpoint` is one."""

    @property
    def addresses(self) -> tuple[IPv4Address, ...]:
        """Our addresses there."""

    def fileno(self) -> int:
        """The socket that becomes readable."""

    def receive(self, most: int) -> Iterable[tuple[bytes, str]]:
        """Datagrams that wait, with their sources."""

    def receive_from(self, most: int) -> Iterable[tuple[bytes, str, int]]:
        """As `receive`, with the sources' ports, too."""


Request = tuple[bytes, str, Port]
"""A datagram, its source, and where it arrived."""


class Ear(Protocol):
    """What the server needs to hear other servers' replies; `link.Ear` is one."""

    @property
    def name(self) -> str:
        """The interface's name."""

    def fileno(self) -> int:
        """The socket that becomes readable."""

    def hear(self, most: int) -> Iterator[Frame]:
        """Frames that wait."""


class DhcpServer:
    """Answers DHCP on the endpoints that `run` is given."""

    def __init__(
        self,
        *,
        inventory: Callable[[], Inventory],
        leases: LeaseStore,
        boots: Boots,
        journal: Journal,
        clock: Callable[[], float],
        boot_port: int,
        ask: Ask = nobody_is_asked,
    ) -> None:
        """`ask` tells who uses an address before it is offered: `conflict.Prober.ask`."""
        self.on_boot: list[Callable[[Boot], None]] = []
        """Called with each boot that a DISCOVER opens."""
        self.provided: Callable[[], frozenset[str]] = frozenset
        """Which first-stage programs the operator has put into `files_dir`; asked once per snapshot."""
        self.allocation = Allocation(leases, boots, journal, ask)
        self.signs_of_life = self.allocation.signs_of_life
        self.watch = Watch(inventory, journal, clock)
        """Which other DHCP servers are there."""
        self._door = Doorkeeper(leases, journal)
        self._observed = Observed(leases, boots, journal)
        self._inventory = inventory
        self._leases = leases
        self._boots = boots
        self._journal = journal
        self._clock = clock
        self._boot_port = boot_port
        self._ports: tuple[Port, ...] = ()
        self._cards = Cards()
        self._places = Places()
        self._site: Site | None = None
        self._boot_servers: tuple[Port, ...] = ()
        self._crowd: Crowd[Request] = Crowd()
        self._waiting: set[Work] = set()
        self._burst = Burst(self._unsent)

    async def run(
        self, endpoints: Sequence[Port], boot_servers: Sequence[Port] = (), ears: Sequence[Ear] = ()
    ) -> None:
        """Answer until cancelled; `boot_servers` are the endpoints of port 4011 at the start.

        `ears` hear what other servers reply.
        """
        loop = asyncio.get_running_loop()
        self._ports = tuple(endpoints)
        self._site = None
        await self._remember()
        await self._count_addresses()
        for endpoint in endpoints:
            loop.add_reader(endpoint.fileno(), self._drain, endpoint)
        for ear in ears:
            loop.add_reader(ear.fileno(), self._hear, ear)
        self.serve_boot(boot_servers)
        try:
            await loop.create_future()
        finally:
            for endpoint in endpoints:
                loop.remove_reader(endpoint.fileno())
            for ear in ears:
                loop.remove_reader(ear.fileno())
            self.serve_boot(())
            while self._waiting:
                self._waiting.pop().close()

    async def _remember(self) -> None:
        """Cards that nobody listed keep the node that they were found to be before we were restarted."""
        try:
            self._cards.learn(await self._leases.leases(), self._inventory(), self._clock())
        except StoreError as error:
            self._journal.refused("dhcp_store_failed", f"no lease can be read: {error}", source="")

    def serve_boot(self, endpoints: Sequence[Port]) -> None:
        """Answer on these endpoints of port 4011 from now on, and on no others."""
        loop = asyncio.get_running_loop()
        for gone in self._boot_servers:
            loop.remove_reader(gone.fileno())
        self._boot_servers = tuple(endpoints)
        for endpoint in endpoints:
            loop.add_reader(endpoint.fileno(), self._drain_boot_server, endpoint)

    def _drain(self, port: Port) -> None:
        arrived = [(data, source, port) for data, source in port.receive(BATCH)]
        loop, crowded = asyncio.get_running_loop(), len(self._crowd)
        for request in self._crowd.first(arrived, self._is_declared, loop.time()):
            self._take(request)
        if len(self._crowd) and not crowded:
            loop.call_soon(self._serve_crowd)

    def _serve_crowd(self) -> None:
        """Some of those who wait. While declared machines are about, then a pause three times as long.

        So a flood has a quarter of the processor at most, and neither sockets nor the store's writer wait.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        for request in self._crowd.next(began):
            self._take(request)
        if self._crowd.dropped:
            self._journal.counters["dhcp_overload"] += self._crowd.dropped - 1
            self._crowd.dropped = 0
            text = "more ask than can be answered: requests of machines that nobody declared are dropped"
            self._journal.refused("dhcp_overload", text, source="crowd")
        if len(self._crowd):
            pause = 3 * (loop.time() - began) if self._crowd.gives_way(began) else 0.0
            loop.call_later(pause, self._serve_crowd)

    def _is_declared(self, request: Request) -> bool:
        return _card(request[0]) in self._inventory().by_mac

    def _take(self, request: Request) -> None:
        if len(self._waiting) < IN_FLIGHT or self._has_room(request):
            self._start(self.handle(*request))

    def _drain_boot_server(self, port: Port) -> None:
        for data, source, own_port in port.receive_from(BATCH):
            if len(self._waiting) < IN_FLIGHT:
                self._start(self.handle(data, source, port, Unicast(source, own_port)))

    def _hear(self, ear: Ear) -> None:
        for frame in ear.hear(BATCH):
            self.watch.hear(frame, self._present_site().ours)

    def _start(self, work: Work) -> None:
        self._waiting.add(work)
        self._advance(work)

    def _has_room(self, request: Request) -> bool:
        """Whether a full house still takes this request: a declared machine's, up to twice as many."""
        if len(self._waiting) < 2 * IN_FLIGHT and self._is_declared(request):
            return True
        self._journal.refused("dhcp_overload", "the store is too slow: requests are dropped", source="")
        return False

    def _advance(self, work: Work, _: object = None) -> None:
        """Run `work` until it waits for the store, and go on when the store has answered.

        No task of its own: it would cost more than all the rest of an answer, and `handle` never raises.
        A store that needs a current task makes one.
        """
        if work not in self._waiting:
            return  # closed by the end of `run`
        try:
            future = work.send(None)
            future._asyncio_future_blocking = False  # as a task does: several may wait for one answer
            future.add_done_callback(functools.partial(self._advance, work))
        except StopIteration:
            self._waiting.discard(work)
        self._burst.hold()  # what others are answered in this turn leaves together

    async def handle(self, data: bytes, source: str, port: Port, sender: Unicast | None = None) -> None:
        """Answer one datagram. Never raises: what goes wrong with it is counted and reported.

        `sender` is who asked on port 4011, None for port 67.
        """
        try:
            await self._answer(data, source, port, sender)
        except MalformedPacket as error:
            who = source if source != "0.0.0.0" else _card(data)
            self._journal.refused("dhcp_malformed", f"on {port.name}: {error}", source=who)
        except StoreError as error:
            text = f"no lease can be written, so that undeclared machines get no address: {error}"
            self._journal.refused("dhcp_store_failed", text, source=port.name)
        except OSError as error:
            self._unsent(port.name, error)
        except Exception as error:  # noqa: BLE001  # one datagram must not end the server
            self._journal.refused("dhcp_internal_error", f"{type(error).__name__}: {error}", source=source)

    async def _answer(self, data: bytes, source: str, port: Port, sender: Unicast | None) -> None:
        packet = decode(data)
        kind = packet.kind
        if packet.op != Op.REQUEST:
            raise MalformedPacket("a server's reply on the server's port")
        if kind is None:
            self._journal.counters["dhcp_ignored"] += 1  # BOOTP, and messages that are not for us
            return
        self._journal.counters[_RECEIVED[kind]] += 1
        if 82 in packet.options and not packet.giaddr:
            what = "relay agent information (option 82) without a relay agent"
            raise MalformedPacket(f"{what}: let the switch that snoops DHCP leave it out")
        if packet.giaddr in self._present_site().ours:
            raise MalformedPacket("giaddr, the relay agent's address, is our own")
        client = client_of(packet, IPv4Address(packet.giaddr) if packet.giaddr else None)
        if kind is Kind.REQUEST and 54 in packet.options:
            self.watch.chosen(packet, client, port.name, self._present_site().ours)
        profile = self._profile(packet, kind, client, port)
        if isinstance(profile, Profile) and profile.contested:
            told = await self._told_apart(packet, kind, client, profile, port)
            if told is None:
                return
            profile = told
        if isinstance(profile, NoMatch):
            if client.speaker is Speaker.SYSTEM and self._only_beside(client, port):
                self._journal.counters["dhcp_ignored"] += 1  # its DHCP server's affair, and no news
                return
            relay = f" through the relay agent {client.giaddr}" if client.giaddr else ""
            text = f"{client.mac} on {port.name}{relay} is not answered: {profile.reason}"
            self._journal.refused("dhcp_no_match", text, source=client.mac)
            return
        if (
            self._site
            and client.mac in self._site.moved
            and await self._elsewhere(packet, client, profile, port)
        ):
            return
        network = profile.network
        if (network.admit or network.limits) and await self._door.turns_away(client, profile, self._clock()):
            return
        if network.mode == "proxy":
            await self._beside_another(packet, kind, client, profile, port, sender)
        elif sender is None:
            await self._converse(packet, kind, client, profile, port)

    def whose(self, packet: Packet, port: Port) -> Profile | NoMatch:
        """Whose machine a request comes from, as `handle` finds it. Raises MalformedPacket."""
        client = client_of(packet, IPv4Address(packet.giaddr) if packet.giaddr else None)
        return self._profile(packet, packet.kind or Kind.DISCOVER, client, port)

    def _only_beside(self, client: Client, port: Port) -> bool:
        """Whether other DHCP servers give all addresses where this client is."""
        interface = port.name if client.giaddr is None else None
        here = self._inventory().network_of(interface=interface, giaddr=client.giaddr)
        return bool(here) and all(network.proxy for network in here)

    async def _beside_another(
        self, packet: Packet, kind: Kind, client: Client, profile: Profile, port: Port, sender: Unicast | None
    ) -> None:
        """Say what to boot where another DHCP server gives the addresses, and note which it gave."""
        now = self._clock()
        boot = self._boot(kind, client, profile, now)
        outcome = proxy.respond(packet, client, profile, sender)
        if isinstance(outcome, Reply):
            self._send(outcome, profile, port)
            self._journal.counters[_SENT[outcome.kind]] += 1
            if sender is None:
                self._step(boot, client, "offer", f"{NO_ADDRESS}; {outcome.boots}")
            elif boot is not None and outcome.kind is Kind.ACK:
                taken = boot.step("ack")
                before = f"{taken.detail.partition(';')[0]}; " if taken and taken.detail else ""
                self._step(boot, client, "ack", f"{before}port 4011: {outcome.boots}")
        elif outcome.event:
            self._journal.refused(outcome.event, outcome.reason, source=client.mac)
        if sender is None:
            await self._observed.note(packet, client, profile, boot, now)

    async def _converse(
        self, packet: Packet, kind: Kind, client: Client, profile: Profile, port: Port
    ) -> None:
        """Gather, decide, claim, send; a lost claim gathers again."""
        now = self._clock()
        boot = self._boot(kind, client, profile, now)
        for _ in range(ATTEMPTS):
            facts = await self._gather(packet, kind, client, profile, boot, now)
            outcome = engine.respond(packet, client, profile, facts, now)
            if not isinstance(outcome, Reply):
                await self._no_reply(outcome, client, profile, now)
                return
            try:
                unwritten = await self.allocation.claim(outcome.claim, profile) if outcome.claim else ""
            except StoreError as error:
                self._step(boot, client, "offer", f"{DISK}: {error}")
                raise
            if unwritten is None:
                continue
            self._send(outcome, profile, port)
            self._record(outcome, client, profile, boot, now, unwritten)
            return
        text = f"{profile.assignment.name}: others were faster at its lease {ATTEMPTS} times"
        self._journal.refused("dhcp_claim_lost", text, source=client.mac)

    def _profile(self, packet: Packet, kind: Kind, client: Client, port: Port) -> Profile | NoMatch:
        site = self._present_site()
        held_as = self._cards.node_of(client.mac) if site.further else ""
        return site.profile(packet, kind, client, port, held_as)

    def _present_site(self) -> Site:
        inventory = self._inventory()
        if self._site is None or self._site.inventory is not inventory:
            own = (a for port in self._ports for a in port.addresses)
            named = (n.address for n in inventory.networks.values() if n.address is not None)
            ours = frozenset(map(int, itertools.chain(own, named)))
            self._site = Site(
                inventory, ours, self._boot_port, self.provided(), self._bad_option, self._doubted
            )
        return self._site

    def _doubted(self, mac: Mac, name: str, other: Node) -> None:
        text = f"{mac} is {name} by its MAC, but says that it is {other.name} ({', '.join(other.macs)})"
        remedy = f"it is answered as {name}; give each machine a UUID and a client identifier of its own"
        self._journal.refused("dhcp_identity_twice", f"{text}: {remedy}", source=mac)

    def _bad_option(self, name: str, reason: str) -> None:
        self._journal.refused("dhcp_bad_option", f"{name}: {reason}", source=reason)

    async def _told_apart(
        self, packet: Packet, kind: Kind, client: Client, profile: Profile, port: Port
    ) -> Profile | NoMatch | None:
        """Whom a machine is treated as that says it is a node.

        That node; or, where another machine is it and lives, one that nobody declared. None for a declared
        card, which has to wait then: it was refused. Raises StoreError for a card that is not declared.
        """
        now, node = self._clock(), profile.assignment.name
        try:
            lease = await self._leases.lease_of(profile.holder, profile.network.name)
        except StoreError:
            if client.mac not in profile.macs:
                raise
            return profile
        alone = without_claims(client)
        if profile.assignment.known_by == "lease" and (lease is None or lease.mac != client.mac):
            return self._present_site().profile(
                packet, kind, alone, port
            )  # it went to another, or was let go
        if lease is None or not is_second(client.mac, profile, lease, self._boots.of_node(node), now):
            return profile
        self._journal.refused(
            "dhcp_identity_twice", said_twice(client.mac, profile, lease), source=client.mac
        )
        if client.mac not in profile.macs:
            return self._present_site().profile(packet, kind, alone, port)
        if profile.network.mode == "server":
            facts = Facts(lease.address, None, lease, True, None, self._present_site().ours)
            outcome = engine.respond(packet, client, profile, facts, now)
            if isinstance(outcome, Reply) and outcome.kind is Kind.NAK:
                self._send(outcome, profile, port)
                self._record(outcome, client, profile, None, now, "")
        return None

    async def _elsewhere(self, packet: Packet, client: Client, profile: Profile, port: Port) -> bool:
        """Whether a card is at another place at this moment, so that this is another machine: it is reported.

        A system with several VLANs may speak in several networks with one MAC; what boots does not.
        """
        if packet.ciaddr and not packet.giaddr:
            return False  # past its relay agent: no place
        mac, now = client.mac, self._clock()
        here = Place(port.name, packet.giaddr, profile.network.name)
        whereabouts = self._places.of(mac)
        if whereabouts is None:
            first, xid = self._present_site().first.get(mac, (here, packet.xid))
            alive = await self._seen(mac, profile, first)
            whereabouts = self._places.follow(mac, first, xid, alive, now)
        there = whereabouts.heard(here, packet.xid, now)
        if there is None or (there.network != here.network and client.speaker is Speaker.SYSTEM):
            return False
        text = f"{mac} ({profile.assignment.name}) is on {there} and on {here} at once"
        remedy = "two machines have this MAC, or somebody forges it; the one at the first place is answered"
        self._journal.refused("dhcp_mac_twice", f"{text}: {remedy}", source=mac)
        return True

    async def _seen(self, mac: Mac, profile: Profile, place: Place) -> float:
        """When this card's lease at a place was last given or renewed; long ago where there is none."""
        try:
            lease = await self._leases.lease_of(profile.holder, place.network)
        except StoreError:
            return -math.inf
        return lease.last_seen if lease is not None and lease.mac == mac else -math.inf

    async def _count_addresses(self) -> None:
        """See which addresses are taken before the first machine asks: very many leases take a while."""
        with contextlib.suppress(StoreError):  # whoever asks is told
            for network in self._inventory().networks.values():
                if network.ranges:
                    await self.usage(network)

    async def usage(self, network: Network) -> Usage:
        """How full the ranges of a network are. Raises StoreError."""
        addresses = self._present_site().addresses(network)
        return await self.allocation.usage(network, addresses, self._clock())

    async def resting(self) -> Sequence[Rest]:
        """The addresses that rest. Raises StoreError."""
        return await self.allocation.resting(self._clock())

    async def forget(self, lease: Lease, *, force: bool) -> str:
        """Forget a lease at an operator's word; empty, or why not. Raises StoreError."""
        network = self._inventory().networks.get(lease.network)
        if not force and (why := await self.allocation.life(lease, network, self._clock())):
            return why
        return "" if await self.allocation.drop(lease) else "it was renewed this very moment"

    def _boot(self, kind: Kind, client: Client, profile: Profile, now: float) -> Boot | None:
        """The machine's newest boot; a DISCOVER of firmware opens one where it is time to.

        A REQUEST of firmware without any boot belongs to one that was lost when we were restarted.
        """
        assignment = profile.assignment
        current = self._boots.of_node(assignment.name)
        opens = kind is Kind.DISCOVER or (kind is Kind.REQUEST and current is None)
        if client.speaker is Speaker.SYSTEM or not opens:
            return current
        boot = self._boots.discovered(
            client.mac,
            node=assignment.name,
            cluster=assignment.cluster.name,
            now=now,
            declared=assignment.node is not None,
        )
        if current is None or boot.id != current.id:
            for observer in self.on_boot:
                observer(boot)
        return boot

    async def _gather(
        self, packet: Packet, kind: Kind, client: Client, profile: Profile, boot: Boot | None, now: float
    ) -> Facts:
        """Everything the engine wants to know. Raises StoreError, but not for a declared address."""
        ours = self._present_site().ours
        try:
            lease = await self._leases.lease_of(profile.holder, profile.network.name)
            address, occupant = await self.allocation.address(packet, kind, client, profile, lease, now)
        except StoreError:
            if profile.reserved is None:
                raise
            return Facts(IPv4Address(profile.reserved), None, None, False, boot, ours)
        if occupant is not lease:
            occupied = self.allocation.occupied(occupant, profile, now)
        elif lease is None or not is_second(client.mac, profile, lease, boot, now):
            occupied = False
        else:
            occupied = await self.allocation.kept_by_former_card(lease, client.mac, profile)
        return Facts(address, lease, occupant, occupied, boot, ours)

    def _send(self, reply: Reply, profile: Profile, port: Port) -> None:
        """Send a reply, or let it wait for the end of a turn that has others to send. Raises OSError."""
        self._burst.send(reply, profile.server, port)

    def _unsent(self, interface: str, error: OSError) -> None:
        self._journal.refused("dhcp_send_failed", f"on {interface}: {error}", source=interface)

    def _record(
        self, reply: Reply, client: Client, profile: Profile, boot: Boot | None, now: float, unwritten: str
    ) -> None:
        """Tell the boot's timeline and the journal what was sent, and that its lease is `unwritten`."""
        self._journal.counters[_SENT[reply.kind]] += 1
        name = profile.assignment.name
        if reply.kind is Kind.NAK:
            self._journal.refused(
                "dhcp_nak", f"{name} ({client.mac}) was refused: {reply.boots}", source=client.mac
            )
            return
        if boot is not None and client.speaker is not Speaker.SYSTEM and reply.address is not None:
            step = "offer" if reply.kind is Kind.OFFER else "ack"
            detail = f"{reply.address} {reply.boots}" + (f"; {unwritten}" if unwritten else "")
            self._step(boot, client, step, detail)
            self._boots.followed(boot.id, reply.quirks)
            if step == "ack":
                self._boots.annotate(boot.id, address=reply.address)
        if reply.dropped:
            codes = ", ".join(map(str, reply.dropped))
            text = f"{name} gets no option {codes}: the largest message that it takes has no room"
            self._journal.refused("dhcp_options_dropped", text, source=name)
        if profile.contested and reply.claim is not None:
            self._cards.leased(client.mac, profile)
        claim = None if unwritten else reply.claim
        if claim is not None and (claim.seen is None or claim.seen.address != claim.lease.address):
            address = str(claim.lease.address)
            self._journal.note("dhcp_lease", f"{name} has {address}", mac=client.mac, address=address)

    def _step(self, boot: Boot | None, client: Client, step: str, detail: str) -> None:
        """A step of a boot; a running system's packets are none."""
        if boot is not None and client.speaker is not Speaker.SYSTEM:
            self._boots.step(boot.id, step, detail=detail)

    async def _no_reply(
        self,
        outcome: Silence | engine.Released | engine.Declined,
        client: Client,
        profile: Profile,
        now: float,
    ) -> None:
        if isinstance(outcome, engine.Released):
            await self.allocation.release(outcome.lease, now)
            text = f"{profile.assignment.name} gave {outcome.lease.address} back"
            self._journal.note("dhcp_release", text, mac=client.mac, address=str(outcome.lease.address))
        elif isinstance(outcome, engine.Declined):
            await self.allocation.declined(outcome.lease, client, profile, now)
        elif outcome.event:
            source = profile.network.name if outcome.event == "dhcp_pool_exhausted" else client.mac
            self._journal.refused(outcome.event, outcome.reason, source=source)


def _card(data: bytes) -> str:
    """The MAC of a datagram that nobody has decoded yet."""
    return data[28:34].hex(":")
