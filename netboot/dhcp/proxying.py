"""The server's part beside another one: it says what to boot, and notes which addresses the other gives."""

from __future__ import annotations

from ipaddress import IPv4Address

from netboot.boot.stall import NO_ADDRESS
from netboot.dhcp import proxy
from netboot.dhcp.burst import Burst, Way
from netboot.dhcp.chronicle import SENT, Chronicle
from netboot.dhcp.engine import Reply
from netboot.dhcp.profile import Profile
from netboot.dhcp.route import Unicast
from netboot.dhcp.wire import Kind, Packet
from netboot.events import Boots, Journal
from netboot.model.boot import Boot
from netboot.model.lease import Lease
from netboot.model.machine import Client, Speaker
from netboot.store import LeaseStore

ATTEMPTS = 4
"""How often an address is noted where others are faster at it."""

FRESH = 0.25
"""Part of a note's time after which the same address is written down again."""


class Beside:
    """Answers in networks of mode proxy."""

    def __init__(
        self, leases: LeaseStore, boots: Boots, journal: Journal, chronicle: Chronicle, burst: Burst
    ) -> None:
        self._observed = Observed(leases, boots, journal)
        self._journal = journal
        self._chronicle = chronicle
        self._burst = burst

    async def answer(
        self,
        packet: Packet,
        client: Client,
        profile: Profile,
        port: Way,
        sender: Unicast | None,
        boot: Boot | None,
        now: float,
    ) -> None:
        """Say what to boot, and note which address the machine takes. Raises StoreError and OSError."""
        outcome = proxy.respond(packet, client, profile, sender)
        if isinstance(outcome, Reply):
            self._burst.send(outcome, profile.server, port)
            self._tell(outcome, boot, client, sender)
        elif outcome.event:
            self._journal.refused(outcome.event, outcome.reason, source=client.mac)
        if sender is None:
            await self._observed.note(packet, client, profile, boot, now)

    def _tell(self, reply: Reply, boot: Boot | None, client: Client, sender: Unicast | None) -> None:
        self._journal.counters[SENT[reply.kind]] += 1
        if sender is None:
            self._chronicle.step(boot, client, "offer", f"{NO_ADDRESS}; {reply.boots}")
        elif boot is not None and reply.kind is Kind.ACK:
            taken = boot.step("ack")
            before = f"{taken.detail.partition(';')[0]}; " if taken and taken.detail else ""
            self._chronicle.step(boot, client, "ack", f"{before}port 4011: {reply.boots}")


class Observed:
    """The addresses of networks in mode proxy, as the machines' broadcast REQUESTs tell them.

    They stand in the store as leases: who asks for a script or a seed from one of them is looked up there.
    """

    def __init__(self, leases: LeaseStore, boots: Boots, journal: Journal) -> None:
        self._leases = leases
        self._boots = boots
        self._journal = journal

    async def note(
        self, packet: Packet, client: Client, profile: Profile, boot: Boot | None, now: float
    ) -> None:
        """Note the address that a booting machine takes from its DHCP server. Raises StoreError."""
        address = proxy.address_asked_for(packet)
        if address is None or boot is None or boot.ended is not None or boot.claimed:
            return
        if address not in profile.network.subnet:
            text = f"{profile.assignment.name} takes {address}, which is outside of {profile.network.subnet}"
            remedy = f"correct the subnet of network {profile.network.name}, or the other DHCP server"
            self._journal.refused(
                "dhcp_proxy_address", f"{text}: it gets no seed; {remedy}", source=client.mac
            )
            return
        self._compare(address, profile, client)
        if await self._write(address, client, profile, boot, now) and client.speaker is not Speaker.SYSTEM:
            server = packet.u32(54)
            whose = f" of its DHCP server {IPv4Address(server)}" if server else ""
            self._boots.step(boot.id, "ack", detail=f"{address}{whose}")
            self._boots.annotate(boot.id, address=address)

    async def _write(
        self, address: IPv4Address, client: Client, profile: Profile, boot: Boot, now: float
    ) -> bool:
        """The last REQUEST counts: whoever was seen with the address before has it no more."""
        network = profile.network
        for _ in range(ATTEMPTS):
            seen = await self._leases.lease_of(profile.holder, network.name)
            there = await self._leases.lease_at(address)
            if there is not None and there.network != network.name:
                text = f"{address} of network {network.name} is leased in network {there.network}"
                self._journal.refused("dhcp_proxy_address", text, source=client.mac)
                return False
            lease = Lease(
                holder=profile.holder,
                mac=client.mac,
                address=address,
                network=network.name,
                name=profile.assignment.name,
                expires=now + network.boot_lease,
                last_seen=now,
                boot_id=boot.id,
            )
            if seen is not None and _stands(seen, lease, network.boot_lease * FRESH):
                return True
            other = there if there is not None and there.holder != profile.holder else None
            if await self._leases.claim_lease(lease, seen, other):
                return True
        return False

    def _compare(self, address: IPv4Address, profile: Profile, client: Client) -> None:
        """A declared address is what the operator expects here; tell where the other server differs."""
        if profile.reserved is not None and profile.reserved != int(address):
            name, expected = profile.assignment.name, IPv4Address(profile.reserved)
            text = f"{name} is declared with {expected}, but its DHCP server gives it {address}"
            remedy = "reserve the declared address there, or declare this one"
            self._journal.refused("dhcp_proxy_address", f"{text}; {remedy}", source=client.mac)


def _stands(seen: Lease, lease: Lease, fresh: float) -> bool:
    """Whether this is on disk already, but for a few seconds."""
    same = (seen.mac, seen.address, seen.boot_id) == (lease.mac, lease.address, lease.boot_id)
    return same and (lease.expires - seen.expires) < fresh
