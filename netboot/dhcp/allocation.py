"""Which address a machine gets: its own while it can, else a free one, else the one unused for longest.

The part of the DHCP server that asks the store for leases and claims them.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address

from netboot.boot.stall import DISK
from netboot.dhcp import engine
from netboot.dhcp.engine import Claim, Reply
from netboot.dhcp.profile import Profile
from netboot.dhcp.wire import Kind, Packet
from netboot.errors import StoreError
from netboot.events import Boots, Journal
from netboot.model.lease import Lease
from netboot.model.machine import Client, Mac
from netboot.store import LeaseStore

PROBES = 4096
"""Addresses looked at for one new machine at most; where one was found that may be taken over, fewer."""

PROBES_FOR_UNUSED = 256

OFFER_STANDS = 10.0
"""Seconds for which an offered address is offered to nobody else, where there is another one."""

DECLINE_RESTS = 3600.0
"""Seconds for which a declined dynamic address is given to nobody."""

DECLINES = 3
"""Declines believed per machine and `DECLINE_RESTS`."""

_KEPT_OFFERS = 4096
_KEPT_DECLINERS = 4096


class Allocation:
    """The addresses of all networks: who holds one, who may have it, which rest."""

    def __init__(self, leases: LeaseStore, boots: Boots, journal: Journal) -> None:
        self.signs_of_life: list[Callable[[Lease], bool]] = []
        """Further reasons not to give an address away: a Node object of that name, an answer to a probe."""
        self._leases = leases
        self._boots = boots
        self._journal = journal
        self._offered: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._resting: dict[int, float] = {}
        self._decliners: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._exhausted: dict[str, float] = {}
        """Networks without a free address, until when nobody looks again."""

    def reloaded(self) -> None:
        """The ranges may have changed: look at every network again."""
        self._exhausted.clear()

    async def address(
        self, packet: Packet, kind: Kind, client: Client, profile: Profile, lease: Lease | None, now: float
    ) -> tuple[IPv4Address | None, Lease | None]:
        """The address that the request is about, and who was last given it."""
        number = engine.subject(packet, kind, profile, lease)
        if number is not None and lease is not None and int(lease.address) == number:
            if profile.reserved is not None or kind is not Kind.DISCOVER or not self._rests(number, now):
                return lease.address, lease
            number = None
        if number is not None:
            address = IPv4Address(number)
            occupant = await self._leases.lease_at(address)
            if profile.reserved is not None or kind is not Kind.DISCOVER:
                return address, occupant
            if not self._rests(number, now) and not self.occupied(occupant, profile, now):
                return address, occupant
        if kind is not Kind.DISCOVER or profile.reserved is not None:
            return None, None
        return await self._choose(client.mac, profile, now)

    async def _choose(
        self, mac: Mac, profile: Profile, now: float
    ) -> tuple[IPv4Address | None, Lease | None]:
        """A dynamic address for a new machine: unused, else the one whose holder is gone longest."""
        network = profile.network.name
        if now < self._exhausted.get(network, 0.0):
            return None, None
        offered: IPv4Address | None = None
        gone: Lease | None = None
        for count, number in enumerate(itertools.islice(profile.pool.candidates(mac), PROBES)):
            if self._rests(number, now):
                continue
            address = IPv4Address(number)
            occupant = await self._leases.lease_at(address)
            if occupant is None and not self._offered_to_another(number, profile.holder, now):
                return address, None
            if occupant is None:
                offered = offered or address
            elif (gone is None or occupant.last_seen < gone.last_seen) and not self.occupied(
                occupant, profile, now
            ):
                gone = occupant
            if gone is not None and count >= PROBES_FOR_UNUSED:
                break
        if gone is not None:
            return gone.address, gone
        if offered is None:
            self._exhausted[network] = now + 1.0
        return offered, None

    def occupied(self, occupant: Lease | None, profile: Profile, now: float) -> bool:
        """Whether another machine that shows life holds the address (architecture 4)."""
        return engine.held_by_another(occupant, profile, occupant is not None and self._alive(occupant), now)

    def _alive(self, lease: Lease) -> bool:
        """Whether the machine of a lease boots, or somebody else knows that it lives."""
        boot = self._boots.of_node(lease.name)
        return (boot is not None and boot.ended is None) or any(sign(lease) for sign in self.signs_of_life)

    def _rests(self, number: int, now: float) -> bool:
        until = self._resting.get(number)
        return until is not None and now < until

    def _offered_to_another(self, number: int, holder: str, now: float) -> bool:
        other, until = self._offered.get(number, (holder, 0.0))
        return other != holder and now < until

    async def claim(self, claim: Claim, profile: Profile) -> str | None:
        """Have the lease on disk: what went wrong with it, empty for nothing; None where somebody was faster.

        A declared node's address stands in the operator's file, so that it is acknowledged even where
        the disk refuses. Raises StoreError for all others.
        """
        try:
            return "" if await self._leases.claim_lease(claim.lease, claim.seen, claim.displaced) else None
        except StoreError as error:
            if profile.reserved is None:
                raise
            text = f"{profile.assignment.name} gets its declared address, but no lease is written: {error}"
            self._journal.refused("dhcp_lease_unwritten", text, source=profile.holder)
            return f"{DISK}: {error}"

    def remember_offer(self, reply: Reply, profile: Profile, now: float) -> None:
        """Offer this address to nobody else for `OFFER_STANDS`."""
        assert reply.address is not None
        self._offered[int(reply.address)] = (profile.holder, now + OFFER_STANDS)
        if len(self._offered) > _KEPT_OFFERS:
            self._offered.popitem(last=False)

    async def declined(self, lease: Lease, client: Client, profile: Profile, now: float) -> None:
        """A dynamic address rests; a reservation stays what it is. Both are reported."""
        text = f"{profile.assignment.name} found {lease.address} in use by another machine (DECLINE)"
        self._journal.refused("dhcp_decline", text, source=client.mac)
        if profile.reserved is not None or not self._may_decline(client.mac, now):
            return
        self._resting = {number: until for number, until in self._resting.items() if now < until}
        self._resting[int(lease.address)] = now + DECLINE_RESTS
        await self._leases.release_lease(lease, now)

    def _may_decline(self, mac: Mac, now: float) -> bool:
        began, count = self._decliners.pop(mac, (now, 0))
        if now - began >= DECLINE_RESTS:
            began, count = now, 0
        self._decliners[mac] = (began, count + 1)
        if len(self._decliners) > _KEPT_DECLINERS:
            self._decliners.popitem(last=False)
        return count < DECLINES
