"""Machines that nobody declared, as an operator would declare them: `nodes:` for the file.

What stands in it was said by machines and servers: names are made valid, comments plain, and an address that
the file could not hold (dynamic, ours, taken) is told in a comment instead.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from uuid import UUID

from netboot.model.inventory import Inventory, Network
from netboot.model.machine import Mac, Speaker, smbios_uuid
from netboot.shadow.assess import Finding, who
from netboot.shadow.compare import is_dynamic

MOST = 10_000
"""Machines remembered; the one heard of longest ago goes for one more."""

MOST_CARDS = 8
"""Cards under one UUID that are still believed to be one machine: some boards all have the same."""


@dataclass(slots=True)
class Card:
    """One card of an undeclared machine, and what was heard of it."""

    mac: Mac
    uuid: str | None = None
    names: list[str] = field(default_factory=list)
    address: IPv4Address | None = None
    server: str = ""
    kinds: dict[str, None] = field(default_factory=dict)
    vendor: str = ""
    network: str = ""


class Machines:
    """The undeclared machines of all findings."""

    def __init__(self) -> None:
        self._cards: OrderedDict[Mac, Card] = OrderedDict()

    def __len__(self) -> int:
        return len(self._cards)

    def take(self, finding: Finding) -> None:
        """Remember the machine of a finding, where nobody declared it and somebody would answer it."""
        client = finding.client
        wanted = finding.servers or finding.handed or client.speaker is not Speaker.SYSTEM
        if finding.declared or not wanted:
            return
        card = self._cards.setdefault(client.mac, Card(client.mac))
        self._cards.move_to_end(client.mac)
        if len(self._cards) > MOST:
            self._cards.popitem(last=False)
        card.uuid = client.uuid or card.uuid
        card.names += [n for n in (client.hostname, finding.given_name) if n and n not in card.names][:4]
        if finding.handed is not None:
            card.address = finding.handed
            card.server = next(iter(finding.servers), "") or card.server
        if len(card.kinds) < 8:
            card.kinds[who(client)] = None
        card.vendor = client.vendor_class or card.vendor
        card.network = finding.network.name if finding.network else card.network

    def cards(self) -> list[list[Card]]:
        """The cards of each machine: those that say one UUID belong together."""
        together: dict[str, list[Card]] = {}
        for card in sorted(self._cards.values(), key=lambda c: c.mac):
            together.setdefault(card.uuid or card.mac, []).append(card)
        return [part for group in together.values() for part in _believable(group)]


def _believable(group: list[Card]) -> list[list[Card]]:
    """One machine, or each card for itself where they cannot be one: too many, or different host names."""
    named = {c.names[0] for c in group if c.names}
    return [group] if len(group) <= MOST_CARDS and len(named) < 2 else [[card] for card in group]


def text(machines: Machines, inventory: Inventory) -> str:
    """The proposal: pools with their nodes, ready to paste or to give as a further --config."""
    homes: dict[str, list[list[Card]]] = {}
    for cards in machines.cards():
        home = next((c.network for c in cards if c.network in inventory.networks), "")
        homes.setdefault(home if inventory.clusters else "", []).append(cards)
    writer = _Writer(inventory)
    pools = [line for home, groups in homes.items() if home for line in writer.pool(home, groups)]
    lines = [*_HEAD, "pools:" if pools else "# pools: nothing to add", *pools]
    for cards in homes.get("", []):
        lines += ["# seen in no network of the file:", *(f"#{line}" for line in writer.node(cards, None))]
    return "\n".join(lines) + "\n"


_HEAD = (
    "# Machines that nobody declared, as another DHCP server answered them. Read it, put each machine into",
    "# its pool, then paste the nodes, or give this file as a further --config.",
)


class _Writer:
    """Writes nodes whose names, addresses and UUIDs nobody else has."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._names = set(inventory.by_name)
        self._addresses = set(inventory.reserved)
        self._uuids = {_either_order(n.uuid) for n in inventory.nodes if n.uuid}
        catching = (pool.node_name for pool in inventory.pools.values() if pool.catch_all)
        self._generated = [re.compile(re.escape(n).replace(r"\{mac\}", "([0-9a-f]{12})")) for n in catching]

    def pool(self, home: str, groups: list[list[Card]]) -> Iterator[str]:
        """The nodes of one network, in the pool that they most likely belong to."""
        written = [line for cards in groups for line in self.node(cards, self._inventory.networks[home])]
        comment = "" if any(not line.lstrip().startswith("#") for line in written) else "#"
        for line in (*self._head(home), "    nodes:"):
            yield comment + line
        yield from written

    def _head(self, home: str) -> Iterator[str]:
        pools = [p for p in self._inventory.pools.values() if p.network == home]
        pools.sort(key=lambda p: p.catch_all)
        if pools:
            yield f"  - name: {pools[0].name}"
            return
        clusters = list(self._inventory.clusters)
        yield f"  - name: found-in-{home}"
        yield f"    network: {home}"
        yield f"    cluster: {clusters[0]}  # or another one of: {', '.join(clusters)}"

    def node(self, cards: list[Card], network: Network | None) -> Iterator[str]:
        """One machine; as a comment where the file could not take it."""
        lines = list(self._node(cards, network))
        addressed = any(line.lstrip().startswith("address:") for line in lines)
        yield f"      # {_plain(', '.join(dict.fromkeys(k for c in cards for k in c.kinds)))}{_vendor(cards)}"
        if network is not None and not network.ranges and not addressed:
            yield f"      # network {network.name} has no range: give it an address before it can stand here"
            lines = [f"      #{line[6:]}" for line in lines]
        yield from lines

    def _node(self, cards: list[Card], network: Network | None) -> Iterator[str]:
        yield f'      - name: "{self._name(cards)}"'
        yield f"        macs: [{', '.join(c.mac for c in cards)}]"
        addressed = [c for c in cards if c.address is not None]
        for card in addressed:
            yield from self._address(card, network, first=card is addressed[0])
        uuid = next((c.uuid for c in cards if c.uuid), None)
        if uuid and _either_order(uuid) not in self._uuids:
            self._uuids.add(_either_order(uuid))
            yield f"        uuid: {uuid}"

    def _name(self, cards: list[Card]) -> str:
        own = f"node-{cards[0].mac.digits}"
        name = next((h for c in cards for n in c.names if (h := _hostname(n))), own)
        if any(pattern.fullmatch(name) for pattern in self._generated):
            name = own
        if name in self._names:
            name = f"{name[:56].rstrip('-')}-{cards[0].mac.digits[-6:]}"
        self._names.add(name)
        return name

    def _address(self, card: Card, network: Network | None, *, first: bool) -> Iterator[str]:
        assert card.address is not None
        why = self._unfit(card.address, network) if first else f"{card.mac}; a node has one address"
        by = f" from {card.server}" if card.server else ""
        if why:
            yield f"        # had {card.address}{by}: {why}"
            return
        self._addresses.add(card.address)
        yield f"        address: {card.address}{f'  #{by}' if by else ''}"

    def _unfit(self, address: IPv4Address, network: Network | None) -> str:
        """Why the file would refuse an address, empty where it takes it."""
        if network is None or address not in network.subnet:
            return "in none of the file's networks" if network is None else f"not in network {network.name}"
        if is_dynamic(address, network):
            return f"dynamic in network {network.name}"
        ends = (network.subnet.network_address, network.subnet.broadcast_address)
        if address in (network.gateway, network.address, *network.dns, *ends):
            return "the network's own"
        return "another node's" if address in self._addresses else ""


def _either_order(text: str) -> str:
    """One text for a UUID and for the same one with its first fields in the other byte order."""
    value = UUID(text)
    return str(min(value, smbios_uuid(value)))


def _hostname(text: str) -> str:
    """The first label of a name as RFC 1123 has it, empty where nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", text.partition(".")[0].lower())[:63].strip("-")


def _vendor(cards: list[Card]) -> str:
    vendor = next((c.vendor for c in cards if c.vendor), "")
    return f"; class {_plain(vendor)}" if vendor else ""


def _plain(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text)[:80]
