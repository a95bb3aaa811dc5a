"""Which address a machine gets: its own while it can, else a free one, else the one unused for longest.

The part of the DHCP server that asks the store for leases and claims them. What is free is looked up in a
`Stock` per network, and every choice is checked against the store, which alone knows what is leased.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from netboot.boot.stall import DISK
from netboot.dhcp import engine
from netboot.dhcp.conflict import Answer
from netboot.dhcp.engine import Claim
from netboot.dhcp.pool import Addresses
from netboot.dhcp.profile import Profile
from netboot.dhcp.stock import LOOKS, Stock
from netboot.dhcp.wire import Kind, Packet
from netboot.errors import StoreError
from netboot.events import Boots, Journal
from netboot.model.inventory import Network
from netboot.model.lease import Lease, Rest, Usage
from netboot.model.machine import Client, Mac
from netboot.store import LeaseStore

Ask = Callable[[IPv4Address, str | None], "asyncio.Future[Answer | None] | None"]
"""Who uses an address, on the link of an interface or (None) behind a router: see `conflict.Prober.ask`."""

TRIES = 8
"""Addresses that are found in use for one request at most, before its machine has to ask again."""

RESTS = 3600.0
"""Seconds for which an address that somebody else uses is given to nobody."""

MOST_RESTS = 65536
"""Addresses that rest at once; beyond it one that is in use is passed over and not remembered."""

DECLINES = 3
"""Declines believed per machine and `RESTS`."""

_KEPT_DECLINERS = 4096


def nobody_is_asked(_: IPv4Address, __: str | None) -> None:
    """Offers leave unasked."""


class Allocation:
    """The addresses of all networks: who holds one, who may have it, which rest."""

    def __init__(
        self, leases: LeaseStore, boots: Boots, journal: Journal, ask: Ask = nobody_is_asked
    ) -> None:
        self.signs_of_life: list[Callable[[Lease], bool]] = []
        """Further reasons not to give an address away: a Node object of that name."""
        self._leases = leases
        self._boots = boots
        self._journal = journal
        self._ask = ask
        self._stocks: dict[str, Stock] = {}
        self._resting: OrderedDict[int, Rest] | None = None
        """In the order in which they end; None: not read from the store yet."""
        self._decliners: OrderedDict[str, tuple[float, int]] = OrderedDict()

    # Which address a request is about

    async def address(
        self,
        packet: Packet,
        kind: Kind,
        client: Client,
        profile: Profile,
        lease: Lease | None,
        now: float,
    ) -> tuple[IPv4Address | None, Lease | None]:
        """The address that the request is about, and who was last given it. Raises StoreError."""
        number = engine.subject(packet, kind, profile, lease)
        if profile.reserved is None:
            await self._know_rests(now)
            if kind is Kind.DISCOVER:
                return await self._offer(number, client.mac, profile, lease, now)
            if kind is Kind.REQUEST and number is not None and self._rests(number, now):
                return None, None
        if number is None:
            return None, None
        if lease is not None and int(lease.address) == number:
            return lease.address, lease
        address = IPv4Address(number)
        return address, await self._leases.lease_at(address)

    async def _offer(
        self, number: int | None, mac: Mac, profile: Profile, lease: Lease | None, now: float
    ) -> tuple[IPv4Address | None, Lease | None]:
        """A dynamic address that nobody else has or uses; nobody else is offered it while we ask who does."""
        stock = await self._stock(profile.network.name, profile.pool)
        found_in_use = 0
        for each in self._candidates(stock, number, mac, profile, now):
            if self._rests(each, now):
                continue
            address = IPv4Address(each)
            occupant = lease if lease and lease.address == address else await self._leases.lease_at(address)
            if self.occupied(occupant, profile, now):
                stock.noticed(occupant)
                continue
            if not self._recent(occupant, profile, now):
                stock.promise(each, profile.holder, now)
                if await self._in_use(address, occupant, mac, profile, now):
                    found_in_use += 1
                    if found_in_use == TRIES:
                        return None, None
                    continue
                occupant = await self._leases.lease_at(address)
                if self.occupied(occupant, profile, now):
                    continue  # it was faster while we asked
            stock.exhausted_since = None
            return address, occupant
        if stock.exhausted_since is None:
            stock.exhausted_since = now
        return None, None

    def _candidates(
        self, stock: Stock, number: int | None, mac: Mac, profile: Profile, now: float
    ) -> Iterator[int]:
        """What to try for a machine, the best first: what it had or would like, free ones, gone ones."""
        if number is not None and not stock.promised_to_another(number, profile.holder, now):
            yield number
        promised = stock.promised_to(profile.holder, now)
        if promised is not None and promised != number:
            yield promised
        for _ in range(LOOKS):
            if (unused := stock.pick(mac, now)) is None:
                break
            yield unused
        yield from stock.gone(now - profile.network.lease, now)
        if (last := stock.oldest_promise()) is not None:
            yield last

    def _recent(self, occupant: Lease | None, profile: Profile, now: float) -> bool:
        """Whether the machine itself had the address until a moment ago, so that nobody needs to be asked."""
        own = occupant is not None and occupant.holder == profile.holder
        return own and occupant is not None and now - occupant.last_seen < profile.network.lease

    async def _stock(self, network: str, addresses: Addresses) -> Stock:
        """The state of a network's ranges; made anew where a reload changed them."""
        stock = self._stocks.get(network)
        if stock is None or not stock.fits(addresses):
            stock = self._stocks[network] = Stock(addresses, await self._leases.leases())
            for number in self._resting or ():
                stock.rest(number)
        return stock

    # Signs of life

    def occupied(self, occupant: Lease | None, profile: Profile, now: float) -> bool:
        """Whether another machine that shows life holds the address (architecture 4)."""
        if occupant is None or occupant.holder == profile.holder:
            return False
        return engine.held_by_another(occupant, profile, bool(self._alive(occupant)), now)

    def _alive(self, lease: Lease) -> str:
        """How we know that the machine of a lease lives, whatever its lease says; empty where we do not."""
        boot = self._boots.of_node(lease.name)
        if boot is not None and boot.ended is None:
            return f"{lease.name} boots (boot {boot.id})"
        if any(sign(lease) for sign in self.signs_of_life):
            return f"a Node object {lease.name} exists, or its cluster does not tell"
        return ""

    async def kept_by_former_card(self, lease: Lease, mac: Mac, profile: Profile) -> bool:
        """Whether a card that a reload took away from its node still uses the node's address: it is asked.

        Its machine hears of the change at its next renewal; a card that was replaced is silent at once.
        """
        asked = self._ask(lease.address, profile.network.interface)
        answer = await asked if asked is not None else None
        return answer is not None and answer.mac not in (mac, *profile.macs)

    async def life(self, lease: Lease, network: Network | None, now: float) -> str:
        """Why an address is not to be given away yet; empty where its holder shows no sign of life."""
        if reason := self._alive(lease):
            return reason
        if not lease.released:
            if lease.live(now):
                return f"the lease of {lease.name} runs"
            if network is not None and now - lease.last_seen < network.lease:
                return f"{lease.name} was heard less than one lease ago"
        asked = self._ask(lease.address, network.interface) if network is not None else None
        if asked is not None and await asked is not None:
            return f"{lease.address} answers"
        return ""

    async def _in_use(
        self, address: IPv4Address, occupant: Lease | None, mac: Mac, profile: Profile, now: float
    ) -> bool:
        """Ask who uses an address; whoever answers keeps it. The machine itself may answer."""
        asked = self._ask(address, profile.network.interface)
        answer = await asked if asked is not None else None
        if answer is None or answer.mac in (mac, *profile.macs):
            return False
        other = occupant if occupant is not None and occupant.holder != profile.holder else None
        if other is not None and answer.mac in (None, other.mac):
            await self._lives(other, now)
        else:
            await self._conflict(address, answer.mac, profile.network.name, now)
        return True

    async def _lives(self, lease: Lease, now: float) -> None:
        """The last holder answered: that is as good as a packet of its own."""
        seen = replace(lease, last_seen=now, released=False)
        text = f"{lease.name} ({lease.mac}) still uses {lease.address} after its lease: it keeps it"
        self._journal.refused("dhcp_holder_lives", text, source=str(lease.address))
        if await self._leases.claim_lease(seen, lease):
            self._stocks[lease.network].leased(seen)

    async def _conflict(self, address: IPv4Address, mac: Mac | None, network: str, now: float) -> None:
        who = f"the card {mac}" if mac else "a machine behind the router"
        text = f"{address} in network {network} is used by {who} without a lease: it rests for an hour"
        self._journal.refused("dhcp_conflict", text, source=str(address))
        await self._rest(Rest(address, network, now, now + RESTS, "conflict", mac))

    # Claims

    async def claim(self, claim: Claim, profile: Profile) -> str | None:
        """Have the lease on disk: what went wrong with it, empty for nothing; None where somebody was faster.

        A declared node's address stands in the operator's file, so that it is acknowledged even where
        the disk refuses. Raises StoreError for all others.
        """
        try:
            if not await self._leases.claim_lease(claim.lease, claim.seen, claim.displaced):
                return None
        except StoreError as error:
            if profile.reserved is None:
                raise
            text = f"{profile.assignment.name} gets its declared address, but no lease is written: {error}"
            self._journal.refused("dhcp_lease_unwritten", text, source=profile.holder)
            return f"{DISK}: {error}"
        self._claimed(claim)
        return ""

    def _claimed(self, claim: Claim) -> None:
        stock = self._stocks.get(claim.lease.network)
        if stock is None:
            return
        stock.leased(claim.lease)
        if claim.seen is not None and claim.seen.address != claim.lease.address:
            stock.freed(int(claim.seen.address))

    async def release(self, lease: Lease, now: float) -> None:
        """The holder gave its address back. Raises StoreError."""
        if await self._leases.release_lease(lease, now) and (stock := self._stocks.get(lease.network)):
            stock.leased(replace(lease, released=True))

    async def drop(self, lease: Lease) -> bool:
        """Forget a lease at an operator's word; False where it has changed since. Raises StoreError."""
        dropped = await self._leases.drop_lease(lease)
        if dropped and (stock := self._stocks.get(lease.network)):
            stock.freed(int(lease.address))
        return dropped

    # Rests

    async def declined(self, lease: Lease, client: Client, profile: Profile, now: float) -> None:
        """A dynamic address rests; a reservation stays what it is. Both are reported."""
        text = f"{profile.assignment.name} found {lease.address} in use by another machine (DECLINE)"
        self._journal.refused("dhcp_decline", text, source=client.mac)
        if profile.reserved is not None or not self._may_decline(client.mac, now):
            return
        await self._know_rests(now)
        await self._rest(Rest(lease.address, lease.network, now, now + RESTS, "declined", client.mac))
        await self.release(lease, now)

    def _may_decline(self, mac: Mac, now: float) -> bool:
        began, count = self._decliners.pop(mac, (now, 0))
        if now - began >= RESTS:
            began, count = now, 0
        self._decliners[mac] = (began, count + 1)
        if len(self._decliners) > _KEPT_DECLINERS:
            self._decliners.popitem(last=False)
        return count < DECLINES

    async def _rest(self, rest: Rest) -> None:
        """Give an address to nobody, also after a restart; where the disk refuses, until then."""
        assert self._resting is not None
        number = int(rest.address)
        if len(self._resting) >= MOST_RESTS and number not in self._resting:
            return
        self._resting[number] = rest
        self._resting.move_to_end(number)
        if stock := self._stocks.get(rest.network):
            stock.rest(number)
        try:
            await self._leases.rest(rest)
        except StoreError as error:
            text = f"{rest.address} rests, but a restart will forget it: {error}"
            self._journal.refused("dhcp_rest_unwritten", text, source="")

    def _rests(self, number: int, now: float) -> bool:
        rest = self._resting.get(number) if self._resting else None
        return rest is not None and now < rest.until

    async def _know_rests(self, now: float) -> None:
        """Read the rests where that was not done yet, and end those that are over. Raises StoreError."""
        if self._resting is None:
            stored = sorted(await self._leases.rests(), key=lambda rest: rest.until)
            if self._resting is None:
                self._resting = OrderedDict((int(rest.address), rest) for rest in stored)
        over: list[IPv4Address] = []
        while self._resting and next(iter(self._resting.values())).until <= now:
            number, rest = self._resting.popitem(last=False)
            over.append(rest.address)
            if stock := self._stocks.get(rest.network):
                stock.rested(number)
        if over:
            try:
                await self._leases.end_rests(over)
            except StoreError:
                pass  # they are over all the same, and the next start ends them again

    # What operators are shown

    async def resting(self, now: float) -> list[Rest]:
        """The addresses that rest. Raises StoreError."""
        await self._know_rests(now)
        return list((self._resting or {}).values())

    async def usage(self, network: Network, addresses: Addresses, now: float) -> Usage:
        """How full a network's ranges are. Raises StoreError."""
        await self._know_rests(now)
        stock = await self._stock(network.name, addresses)
        held = (
            int(lease.address) for lease in await self._leases.leases() if self._held(lease, network, now)
        )
        used = {number for number in held if number in stock and not self._rests(number, now)}
        free = stock.size - len(used) - stock.resting
        since = stock.exhausted_since if free <= 0 else None
        return Usage(stock.size, len(used), max(free, 0), stock.resting, since)

    def _held(self, lease: Lease, network: Network, now: float) -> bool:
        if not lease.released and (lease.live(now) or now - lease.last_seen < network.lease):
            return True
        boot = self._boots.of_node(lease.name)
        return boot is not None and boot.ended is None
