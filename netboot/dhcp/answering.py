"""One request on its way to its answer: gather facts, let the engine decide, claim the lease, send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from ipaddress import IPv4Address
from typing import Protocol

from netboot.boot.stall import DISK
from netboot.dhcp import engine
from netboot.dhcp.allocation import Allocation
from netboot.dhcp.burst import Burst, Way
from netboot.dhcp.chronicle import RECEIVED, Chronicle
from netboot.dhcp.doorkeeper import Doorkeeper
from netboot.dhcp.engine import Facts, Reply, Silence
from netboot.dhcp.identity import is_second, without_claims
from netboot.dhcp.options import client_of
from netboot.dhcp.origin import Origin, forgeable
from netboot.dhcp.present import Present
from netboot.dhcp.profile import Profile
from netboot.dhcp.proxying import Beside
from netboot.dhcp.route import Unicast
from netboot.dhcp.site import Interface
from netboot.dhcp.twins import Twins
from netboot.dhcp.unmoved import as_it_runs, may_differ
from netboot.dhcp.watching import Watch
from netboot.dhcp.wire import Kind, Op, Packet, decode
from netboot.errors import MalformedPacket, StoreError
from netboot.events import Boots, Journal
from netboot.model.boot import Boot
from netboot.model.inventory import Network, NoMatch
from netboot.model.lease import Lease
from netboot.model.machine import Client, Speaker
from netboot.store import LeaseStore

ATTEMPTS = 4
"""How often facts are gathered for one request when others are faster at its lease."""


class Port(Way, Interface, Protocol):
    """Where a request came in, and the ways out of there."""


class Answering:
    """Answers requests, as far as they are for us."""

    def __init__(
        self,
        present: Present,
        leases: LeaseStore,
        boots: Boots,
        journal: Journal,
        clock: Callable[[], float],
        *,
        allocation: Allocation,
        chronicle: Chronicle,
        watch: Watch,
        burst: Burst,
    ) -> None:
        self._present = present
        self._leases = leases
        self._boots = boots
        self._journal = journal
        self._clock = clock
        self._allocation = allocation
        self._chronicle = chronicle
        self._watch = watch
        self._burst = burst
        self._twins = Twins(present, leases, boots, journal)
        self._door = Doorkeeper(leases, journal)
        self._beside = Beside(leases, boots, journal, chronicle, burst)

    async def answer(self, data: bytes, origin: Origin, port: Port, sender: Unicast | None) -> None:
        """Answer one datagram; `sender` is who asked on port 4011, None for port 67.

        Raises MalformedPacket, StoreError and OSError.
        """
        packet, now = decode(data), self._clock()
        kind = packet.kind
        if packet.op != Op.REQUEST:
            raise MalformedPacket("a server's reply on the server's port")
        if kind is None:
            self._journal.counters["dhcp_ignored"] += 1  # BOOTP, and messages that are not for us
            return
        self._journal.counters[RECEIVED[kind]] += 1
        site = self._present.site()
        _check_relay(packet, site.ours)
        client = client_of(packet)
        if kind is Kind.REQUEST and 54 in packet.options:
            self._watch.chosen(packet, client, port.name, site.ours)
        held_as = self._present.cards.node_of(client.mac) if site.further else ""
        found = site.profile(packet, kind, client, port, held_as, origin.to_all)
        if isinstance(found, Profile) and found.contested:
            apart = await self._twins.told_apart(packet, kind, client, found, port, now)
            if apart is None or isinstance(apart, Reply):
                self._refuse(apart, client, found, port)
                return
            found = apart
        if isinstance(found, NoMatch):
            self._nobody(client, found, port)
            return
        if kind is Kind.DISCOVER and found.assignment.node is None and (near := site.choice(client, port)):
            found = await self._where_held(packet, client, found, port, near, now)
        if client.mac in site.moved and await self._twins.elsewhere(packet, client, found, port, now):
            return
        if may_differ(found, client):
            found = await self._unmoved(found)
        network = found.network
        if (network.admit or network.limits) and await self._door.turns_away(client, found, now):
            return
        beside = network.mode == "proxy"
        if not beside and sender is not None:
            return
        firmware = client.speaker is not Speaker.SYSTEM
        doubt = await self._forgeable(client, origin, network) if firmware else ""
        boot = self._chronicle.boot(kind, client, found, now, doubt)
        if beside:
            await self._beside.answer(packet, client, found, port, sender, boot, now)
        else:
            await self._converse(packet, kind, client, found, port, site.ours, boot, now)

    async def _forgeable(self, client: Client, origin: Origin, network: Network) -> str:
        """How a program on a running machine may have sent this in its firmware's name; empty for no way."""
        relayed = client.giaddr is not None
        leased = relayed and await self._leases.lease_at(IPv4Address(origin.host)) is not None
        return forgeable(origin, client.giaddr, network.relays, leased=leased)

    def whose(self, packet: Packet, port: Port) -> Profile | NoMatch:
        """Whose machine a request comes from, as `answer` finds it. Raises MalformedPacket."""
        return self._present.profile(packet, packet.kind or Kind.DISCOVER, client_of(packet), port)

    async def _unmoved(self, profile: Profile) -> Profile:
        """The machine as its lease has it, where it was assigned something else since it booted."""
        lease = await self._leases.lease_of(profile.holder, profile.network.name)
        boot = self._boots.get(lease.boot_id) if lease is not None and lease.boot_id else None
        return as_it_runs(profile, lease, boot)

    async def _converse(
        self,
        packet: Packet,
        kind: Kind,
        client: Client,
        profile: Profile,
        port: Port,
        ours: Set[int],
        boot: Boot | None,
        now: float,
    ) -> None:
        """Gather, decide, claim, send; a lost claim gathers again."""
        for _ in range(ATTEMPTS):
            facts = await self._gather(packet, kind, client, profile, boot, ours, now)
            outcome = engine.respond(packet, client, profile, facts, now)
            if not isinstance(outcome, Reply):
                await self._no_reply(outcome, client, profile, now)
                return
            claim, unwritten = outcome.claim, ""
            if claim is not None:
                try:
                    written = await self._allocation.claim(claim, profile)
                except StoreError as error:
                    self._chronicle.step(boot, client, "offer", f"{DISK}: {error}")
                    raise
                if written is None:
                    continue
                unwritten = written
            self._burst.send(outcome, profile.server, port)
            if claim is not None and profile.contested:
                self._present.cards.leased(client.mac, profile)
            self._chronicle.sent(outcome, client, profile, boot, unwritten)
            return
        text = f"{profile.assignment.name}: others were faster at its lease {ATTEMPTS} times"
        self._journal.refused("dhcp_claim_lost", text, source=client.mac)

    async def _where_held(
        self,
        packet: Packet,
        client: Client,
        found: Profile,
        port: Port,
        networks: Iterable[Network],
        now: float,
    ) -> Profile:
        """An undeclared machine in that network of its link where it has an address, or had one last.

        RFC 2131 section 4.3.1: that comes before what it asks for. Raises StoreError.
        """
        site, leases = self._present.site(), []
        for network in networks:
            lease = await self._leases.lease_of(found.holder, network.name)
            if lease is not None and int(lease.address) in site.addresses(network):
                leases.append(lease)
        if not leases:
            return found
        last = max(leases, key=lambda lease: (lease.live(now), lease.last_seen))
        there = site.profile(packet, Kind.DISCOVER, without_claims(client), port, held=int(last.address))
        return there if isinstance(there, Profile) else found

    async def _gather(
        self,
        packet: Packet,
        kind: Kind,
        client: Client,
        profile: Profile,
        boot: Boot | None,
        ours: Set[int],
        now: float,
    ) -> Facts:
        """Everything the engine wants to know. Raises StoreError, but not for a declared address."""
        allocation = self._allocation
        address: IPv4Address | None
        occupant: Lease | None
        try:
            lease = await self._leases.lease_of(profile.holder, profile.network.name)
            if lease is not None and int(lease.address) == profile.reserved:
                address, occupant = lease.address, lease  # as nearly always
            else:
                address, occupant = await allocation.address(packet, kind, client, profile, lease, now)
        except StoreError:
            if profile.reserved is None:
                raise
            return Facts(IPv4Address(profile.reserved), None, None, False, boot, ours)
        if occupant is not lease:
            occupied = allocation.occupied(occupant, profile, now)
        elif lease is None or lease.mac == client.mac or not is_second(client.mac, profile, lease, boot, now):
            occupied = False
        else:
            occupied = await allocation.kept_by_former_card(lease, client.mac, profile)
        return Facts(address, lease, occupant, occupied, boot, ours)

    # Where nothing is given

    async def _no_reply(
        self,
        outcome: Silence | engine.Released | engine.Declined,
        client: Client,
        profile: Profile,
        now: float,
    ) -> None:
        if isinstance(outcome, engine.Released):
            await self._allocation.release(outcome.lease, now)
            text = f"{profile.assignment.name} gave {outcome.lease.address} back"
            self._journal.note("dhcp_release", text, mac=client.mac, address=str(outcome.lease.address))
        elif isinstance(outcome, engine.Declined):
            await self._allocation.declined(outcome.lease, client, profile, now)
        elif outcome.event:
            source = profile.network.name if outcome.event == "dhcp_pool_exhausted" else client.mac
            self._journal.refused(outcome.event, outcome.reason, source=source)

    def _refuse(self, reply: Reply | None, client: Client, profile: Profile, port: Port) -> None:
        if reply is not None:
            self._burst.send(reply, profile.server, port)
            self._chronicle.sent(reply, client, profile, None)

    def _nobody(self, client: Client, found: NoMatch, port: Port) -> None:
        if client.speaker is Speaker.SYSTEM and self._only_beside(client, port):
            self._journal.counters["dhcp_ignored"] += 1  # its DHCP server's affair, and no news
            return
        relay = f" through the relay agent {client.giaddr}" if client.giaddr else ""
        text = f"{client.mac} on {port.name}{relay} is not answered: {found.reason}"
        self._journal.refused("dhcp_no_match", text, source=client.mac)

    def _only_beside(self, client: Client, port: Port) -> bool:
        """Whether other DHCP servers give all addresses where this client is."""
        interface = port.name if client.giaddr is None else None
        here = self._present.inventory().network_of(interface=interface, giaddr=client.giaddr)
        return bool(here) and all(network.proxy for network in here)


def _check_relay(packet: Packet, ours: Set[int]) -> None:
    """Raises MalformedPacket for a relay agent that cannot be."""
    if not packet.giaddr:
        if 82 in packet.options:
            what = "relay agent information (option 82) without a relay agent"
            raise MalformedPacket(f"{what}: let the switch that snoops DHCP leave it out")
    elif packet.giaddr in ours:
        raise MalformedPacket("giaddr, the relay agent's address, is our own")
