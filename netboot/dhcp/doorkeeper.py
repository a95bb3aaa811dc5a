"""The door of networks with `admit` or `limits`: facts for `admission`, and what an operator is told."""

from __future__ import annotations

from netboot.dhcp.admission import Limiter, refusal
from netboot.dhcp.profile import Profile
from netboot.events import Journal
from netboot.model.inventory import Network
from netboot.model.machine import Client, Speaker
from netboot.model.manners import Admit
from netboot.store import LeaseStore


class Doorkeeper:
    """Who is turned away. Asks the store's memory only, never its disk."""

    def __init__(self, leases: LeaseStore, journal: Journal) -> None:
        self._leases = leases
        self._journal = journal
        self._limiters: dict[str, Limiter] = {}

    async def turns_away(self, client: Client, profile: Profile, now: float) -> bool:
        """Whether this request is not answered; counted, and told the operator once in a while."""
        network, name = profile.network, profile.assignment.name
        if network.admit is not None and (why := await self._refusal(network.admit, client, profile, now)):
            text = f"{name} ({client.mac}) is not answered in network {network.name}: {why}"
            self._journal.refused("dhcp_not_admitted", text, source=client.mac)
            return True
        return network.limits is not None and await self._too_many(client, profile, now)

    async def _refusal(self, admit: Admit, client: Client, profile: Profile, now: float) -> str:
        """Why it is not admitted. Who was let in as firmware goes on as a system, of another class."""
        why = refusal(admit, client)
        if why and admit.vendors and client.speaker is Speaker.SYSTEM and await self._leased(profile, now):
            return ""
        return why

    async def _too_many(self, client: Client, profile: Profile, now: float) -> bool:
        network = profile.network
        limiter = self._limiter(network, now)
        if not limiter.allows(client.mac, now):
            text = f"{profile.assignment.name} ({client.mac}) asks more often than limits.per_client allows"
            self._journal.refused("dhcp_client_limited", text, source=client.mac)
            return True
        if profile.assignment.node is not None or await self._leased(profile, now):
            return False
        if limiter.lets_in(client.mac, now):
            return False
        text = f"network {network.name} sees more new machines than limits.new_macs allows; they are dropped"
        self._journal.refused("dhcp_new_macs_limited", text, source=network.name)
        return True

    async def _leased(self, profile: Profile, now: float) -> bool:
        lease = await self._leases.lease_of(profile.holder, profile.network.name)
        return lease is not None and lease.live(now)

    def _limiter(self, network: Network, now: float) -> Limiter:
        """The counts of a network; a reload that changes its limits starts them again."""
        assert network.limits is not None
        limiter = self._limiters.get(network.name)
        if limiter is None or limiter.limits != network.limits:
            limiter = self._limiters[network.name] = Limiter(network.limits, now)
        return limiter
