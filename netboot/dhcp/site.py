"""One snapshot of the inventory, and all that was made of it for the machines that spoke since."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Protocol

from netboot.dhcp.engine import asked_address
from netboot.dhcp.identity import claims_of
from netboot.dhcp.places import Place
from netboot.dhcp.pool import Addresses, addresses_of
from netboot.dhcp.profile import Group, Profile, group_of, profile_of, shared
from netboot.dhcp.wire import Kind, Packet
from netboot.model.inventory import Assignment, Inventory, Network, Node, NoMatch
from netboot.model.machine import Client, Mac

KEPT_MACHINES = 50_000
"""Profiles that are kept of declared machines; all are made anew where there are more."""

KEPT_STRANGERS = 2048
"""The same for machines that nobody declared: a flood invents them, and what lives long costs the collector
of garbage a pause in which nobody is answered."""


_Key = tuple[Mac, *tuple[object, ...]]
"""The card, and everything else that a profile depends on."""


class Interface(Protocol):
    """Where a packet came in."""

    @property
    def name(self) -> str:
        """The interface's name."""

    @property
    def addresses(self) -> tuple[IPv4Address, ...]:
        """Our addresses there."""


class Site:
    """Whose machine a packet is from and what that machine is told; a reload makes another site."""

    def __init__(
        self,
        inventory: Inventory,
        ours: frozenset[int],
        boot_port: int,
        provided: frozenset[str],
        skipped: Callable[[str, str], None],
        doubted: Callable[[Mac, str, Node], None],
    ) -> None:
        """`ours`: our addresses as numbers. `skipped` hears whose option cannot be written, and why;
        `doubted` of a declared card and its node, and which other node it says to be.
        """
        self.inventory = inventory
        self.ours = ours
        self._boot_port = boot_port
        self._provided = provided
        self._skipped = skipped
        self._doubted = doubted
        self._pools: dict[str, Addresses] = {}
        self._profiles: dict[_Key, Profile] = {}
        self._strangers: dict[_Key, Profile | NoMatch] = {}
        self._groups: dict[tuple[int, IPv4Address, IPv4Address], Group] = {}
        self._kept: list[Assignment] = []  # whose options are keys of `_groups` by identity
        self.further = inventory.known_further
        """Whether some node is known by more than its MACs."""
        links = Counter(network.interface for network in inventory.networks.values())
        self._shared = frozenset(link for link, count in links.items() if link and count > 1)
        """Interfaces with several networks: the address that a client asks for tells which it means."""
        self.first: dict[Mac, tuple[Place, int]] = {}
        """Where each card was heard first, with the transaction id of that message."""
        self.moved: set[Mac] = set()
        """Cards that were heard at more than one place."""

    def __len__(self) -> int:
        """How many different sets of options there are for machines that share them."""
        return len(self._groups)

    def addresses(self, network: Network) -> Addresses:
        """The dynamic addresses of a network, made once."""
        if network.name not in self._pools:
            self._pools[network.name] = addresses_of(network, self.ours, self.inventory.reserved)
        return self._pools[network.name]

    def choice(self, client: Client, port: Interface) -> tuple[Network, ...]:
        """The networks of a link that an undeclared machine may be of; none where it has no choice."""
        if port.name not in self._shared or client.giaddr is not None:
            return ()
        here = self.inventory.network_of(interface=port.name, giaddr=None, subnet=client.subnet)
        return here if len(here) > 1 else ()

    def profile(
        self,
        packet: Packet,
        kind: Kind,
        client: Client,
        port: Interface,
        held_as: str = "",
        to_all: bool = False,
        held: int | None = None,
    ) -> Profile | NoMatch:
        """The machine's profile as seen from where its packet came from, made once.

        `held_as`: see `Inventory.match`. `to_all`: a broadcast, which no router brought here. `held`: the
        address that it has a lease of, which tells its network more surely than what it asks for.
        """
        routed = 0 if kind is Kind.DISCOVER or packet.giaddr or to_all else packet.ciaddr
        said = (*claims_of(client), held_as) if self.further else None
        wish = held or (asked_address(packet, kind) if port.name in self._shared else None)
        key: _Key = (client.mac, port.name)
        if packet.giaddr or routed or said or wish or client.subnet is not None:
            key += (packet.giaddr, routed, packet.options.get(82), client.subnet, said, wish)
        found = self._profiles.get(key) or self._strangers.get(key)
        if found is None:
            found = self._made(client, port, routed, held_as, wish)
            self._keep(key, found)
            if isinstance(found, Profile) and not routed:
                self._note(client.mac, Place(port.name, packet.giaddr, found.network.name), packet.xid)
        return found

    def _keep(self, key: _Key, found: Profile | NoMatch) -> None:
        if isinstance(found, Profile) and found.assignment.node is not None:
            if len(self._profiles) >= KEPT_MACHINES:
                self._profiles.clear()
                self.first.clear()
            self._profiles[key] = found
            return
        if len(self._strangers) >= KEPT_STRANGERS:
            for mac, *_ in self._strangers:
                self.first.pop(mac, None)
            self._strangers.clear()
        self._strangers[key] = found

    def _note(self, mac: Mac, place: Place, xid: int) -> None:
        if self.first.setdefault(mac, (place, xid))[0] != place:
            if len(self.moved) >= KEPT_MACHINES:
                self.moved.clear()
            self.moved.add(mac)

    def _made(
        self, client: Client, port: Interface, routed: int, held_as: str, wish: int | None
    ) -> Profile | NoMatch:
        networks = self._networks(client, routed, port.name, wish)
        found = self.inventory.match(client, networks, held_as=held_as)
        if isinstance(found, NoMatch):
            return found
        if self.further and found.known_by == "MAC" and found.node is not None:
            other = self.inventory.named_by(client)
            if other is not None and other is not found.node:
                self._doubted(client.mac, found.name, other)
        server = _server_address(found.network, port.addresses)
        if server is None:
            return NoMatch(f"{port.name} has no IPv4 address to answer from")
        identifier = server
        if client.server_id is not None and client.giaddr in found.network.relays:
            identifier = client.server_id
        group = self._group_of(found, server, identifier)
        return profile_of(found, client.mac, self.addresses(found.network), group)

    def _group_of(self, found: Assignment, server: IPv4Address, identifier: IPv4Address) -> Group:
        """What the machine is told; made once for all that share its options."""
        key = (id(found.options), server, identifier)
        group = self._groups.get(key) if shared(found) else None
        if group is None:
            group = group_of(found, server, self._boot_port, self._provided, identifier)
            for reason in group.skipped:
                self._skipped(found.name, reason)
            if shared(found):
                self._groups[key] = group
                self._kept.append(found)
        return group

    def _networks(self, client: Client, routed: int, interface: str, wish: int | None) -> tuple[Network, ...]:
        """Where a packet may belong to; a renewal may come routed, without its relay agent, from afar.

        Of several networks on the link that one comes first whose address is asked for (`wish`).
        """
        inventory, subnet = self.inventory, client.subnet
        if client.giaddr is not None:
            return inventory.network_of(interface=None, giaddr=client.giaddr, link=client.link, subnet=subnet)
        here = inventory.network_of(interface=interface, giaddr=None, subnet=subnet)
        if wish is not None:
            here = tuple(sorted(here, key=lambda network: IPv4Address(wish) not in network.subnet))
        if not routed:
            return here
        there = inventory.network_of(interface=None, giaddr=IPv4Address(routed))
        return (*there, *(network for network in here if network not in there))


def _server_address(network: Network, own: tuple[IPv4Address, ...]) -> IPv4Address | None:
    """Where the network's nodes reach us: as declared, else by the interface's address in the subnet."""
    if network.address is not None:
        return network.address
    inside = (address for address in own if address in network.subnet)
    return next(itertools.chain(inside, own), None)
