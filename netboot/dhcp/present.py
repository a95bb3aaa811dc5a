"""The site as it is at this moment: made anew when a reload has swapped the inventory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address

from netboot.dhcp.identity import Cards
from netboot.dhcp.profile import Profile
from netboot.dhcp.site import Interface, Site
from netboot.dhcp.wire import Kind, Packet
from netboot.events import Journal
from netboot.model.inventory import Inventory, Node, NoMatch
from netboot.model.lease import Lease
from netboot.model.machine import Client, Mac


class Present:
    """Whose machine each packet is from, by the inventory that is in force."""

    def __init__(self, inventory: Callable[[], Inventory], journal: Journal, boot_port: int) -> None:
        self.inventory = inventory
        self.provided: Callable[[], frozenset[str]] = frozenset
        """Which first-stage programs the operator has put into `files_dir`; asked once per snapshot."""
        self.cards = Cards()
        self._journal = journal
        self._boot_port = boot_port
        self._interfaces: Sequence[Interface] = ()
        self._site: Site | None = None

    def look_at(self, interfaces: Sequence[Interface]) -> None:
        """These are our interfaces from now on."""
        self._interfaces = interfaces
        self._site = None

    def site(self) -> Site:
        """The site of the inventory that is in force."""
        inventory = self.inventory()
        if self._site is None or self._site.inventory is not inventory:
            ours = frozenset(map(int, self._own_addresses(inventory)))
            self._site = Site(
                inventory, ours, self._boot_port, self.provided(), self._bad_option, self._doubted
            )
        return self._site

    def profile(self, packet: Packet, kind: Kind, client: Client, port: Interface) -> Profile | NoMatch:
        """The machine as seen from where its packet came from."""
        site = self.site()
        return site.profile(
            packet, kind, client, port, self.cards.node_of(client.mac) if site.further else ""
        )

    def remember(self, leases: Iterable[Lease], now: float) -> None:
        """Cards that nobody listed keep the node that they were found to be before we were restarted."""
        self.cards.learn(leases, self.inventory(), now)

    def _own_addresses(self, inventory: Inventory) -> Iterable[IPv4Address]:
        own = (address for each in self._interfaces for address in each.addresses)
        named = (n.address for n in inventory.networks.values() if n.address is not None)
        return itertools.chain(own, named)

    def _doubted(self, mac: Mac, name: str, other: Node) -> None:
        text = f"{mac} is {name} by its MAC, but says that it is {other.name} ({', '.join(other.macs)})"
        remedy = f"it is answered as {name}; give each machine a UUID and a client identifier of its own"
        self._journal.refused("dhcp_identity_twice", f"{text}: {remedy}", source=mac)

    def _bad_option(self, name: str, reason: str) -> None:
        self._journal.refused("dhcp_bad_option", f"{name}: {reason}", source=reason)
