"""Who asks from an address: the facts that every answer to a booting machine rests on, HTTP or TFTP."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address

from netboot.boot import session
from netboot.boot.session import Asker
from netboot.model.boot import Boot
from netboot.model.inventory import Assignment, Inventory, Network, NoMatch
from netboot.model.lease import Lease
from netboot.model.machine import Client, Mac
from netboot.store import Store

Neighbour = Callable[[Network, IPv4Address], Mac | None]
"""The MAC that the kernel has for an address of an on-link network (`netboot.net`)."""


class Askers:
    """Leases, links and the inventory, asked together."""

    def __init__(
        self,
        *,
        inventory: Callable[[], Inventory],
        store: Store,
        neighbour: Neighbour,
        clock: Callable[[], float],
    ) -> None:
        self._inventory = inventory
        self._store = store
        self._neighbour = neighbour
        self._clock = clock

    async def at(self, client: IPv4Address) -> Asker:
        """Who has this address, as far as its lease and the link prove it. Raises StoreError."""
        lease = await self._store.lease_at(client)
        network = self._inventory().networks.get(lease.network) if lease else None
        on_link = network is not None and network.interface is not None and client in network.subnet
        seen = self._neighbour(network, client) if on_link and network is not None else None
        return Asker(client, lease, on_link, seen, observed=network is not None and network.proxy)

    def held(self, lease: Lease, boot: Boot | None) -> bool:
        """Whether an address is still its holder's: its lease runs, or its boot (firmware never renews)."""
        now = self._clock()
        booting = boot is not None and boot.ended is None and now - boot.started <= session.LIFE
        return lease.live(now) or booting

    def match(self, mac: Mac, network: str, held_as: str) -> Assignment | NoMatch:
        """What a machine on this network belongs to; `held_as` is the name that its lease or boot is under.

        DHCP may have known it by what it says nowhere else: its UUID, or its place at a relay agent.
        """
        inventory = self._inventory()
        found = inventory.networks.get(network)
        return inventory.match(Client(mac), [found] if found else [], held_as=held_as)

    def network_of(self, client: IPv4Address) -> Network | None:
        """The network whose subnet holds this address."""
        return next((n for n in self._inventory().networks.values() if client in n.subnet), None)
