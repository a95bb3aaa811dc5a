"""Two machines that are one by what they say: told apart by the store's leases, and reported."""

from __future__ import annotations

import math

from netboot.dhcp import engine
from netboot.dhcp.engine import Facts, Reply
from netboot.dhcp.identity import is_second, said_twice, without_claims
from netboot.dhcp.places import Place, Places
from netboot.dhcp.present import Present
from netboot.dhcp.profile import Profile
from netboot.dhcp.site import Interface
from netboot.dhcp.wire import Kind, Packet
from netboot.errors import StoreError
from netboot.events import Boots, Journal
from netboot.model.inventory import NoMatch
from netboot.model.machine import Client, Mac, Speaker
from netboot.store import LeaseStore


class Twins:
    """One identity of two machines, and one card at two places."""

    def __init__(self, present: Present, leases: LeaseStore, boots: Boots, journal: Journal) -> None:
        self._present = present
        self._leases = leases
        self._boots = boots
        self._journal = journal
        self._places = Places()

    async def told_apart(
        self, packet: Packet, kind: Kind, client: Client, profile: Profile, port: Interface, now: float
    ) -> Profile | NoMatch | Reply | None:
        """Whom a machine is treated as that says it is a node.

        That node; or, where another machine is it and lives, one that nobody declared. A declared card has
        to wait then: it gets a refusal, or None, nothing. Raises StoreError for a card that is not declared.
        """
        try:
            lease = await self._leases.lease_of(profile.holder, profile.network.name)
        except StoreError:
            if client.mac not in profile.macs:
                raise
            return profile
        site, alone = self._present.site(), without_claims(client)
        if profile.assignment.known_by == "lease" and (lease is None or lease.mac != client.mac):
            return site.profile(packet, kind, alone, port)  # it went to another, or was let go
        boot = self._boots.of_node(profile.assignment.name)
        if lease is None or not is_second(client.mac, profile, lease, boot, now):
            return profile
        text = said_twice(client.mac, profile, lease)
        self._journal.refused("dhcp_identity_twice", text, source=client.mac)
        if client.mac not in profile.macs:
            return site.profile(packet, kind, alone, port)
        if profile.network.mode != "server":
            return None
        facts = Facts(lease.address, None, lease, True, None, site.ours)
        outcome = engine.respond(packet, client, profile, facts, now)
        return outcome if isinstance(outcome, Reply) and outcome.kind is Kind.NAK else None

    async def elsewhere(
        self, packet: Packet, client: Client, profile: Profile, port: Interface, now: float
    ) -> bool:
        """Whether a card is at another place at this moment, so that this is another machine: it is reported.

        A system with several VLANs may speak in several networks with one MAC; what boots does not.
        """
        if packet.ciaddr and not packet.giaddr:
            return False  # past its relay agent: no place
        mac = client.mac
        here = Place(port.name, packet.giaddr, profile.network.name)
        whereabouts = self._places.of(mac)
        if whereabouts is None:
            first, xid = self._present.site().first.get(mac, (here, packet.xid))
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
