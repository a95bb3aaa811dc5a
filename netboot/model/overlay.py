"""Run-time assignments laid over what the file declares: another immutable snapshot of the same kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from netboot.model.inventory import Indexes, Inventory, Network, Node
from netboot.model.placement import Placement


@dataclass(frozen=True, slots=True)
class Overlay:
    """The inventory in force, and why some assignments are not."""

    inventory: Inventory
    broken: Mapping[str, str]
    """By machine: why its assignment does not count, so that it is treated as the file declares it."""


def overlaid(declared: Inventory, placements: Iterable[Placement]) -> Overlay:
    """The declared inventory with these assignments in force; of two that collide the earlier one counts.

    The indexes are copies with a few entries changed, what is merged of tags is shared: some milliseconds
    for ten thousand nodes, however many assignments there are.
    """
    broken: dict[str, str] = {}
    indexes = declared.indexes()
    present = declared.sharing(declared.nodes, indexes)
    changed: dict[int, Node] = {}
    added: list[Node] = []
    for placement in sorted(placements, key=lambda p: (p.since, p.machine)):
        if (why := problem(present, placement)) is not None:
            broken[placement.machine] = why
            continue
        former = node_of(present, placement)
        node = _effective(present, former, placement)
        if former is None:
            added.append(node)
        else:
            changed[id(former)] = node
        _enter(indexes, present, former, node)
    nodes = (*(changed.get(id(each), each) for each in declared.nodes), *added)
    return Overlay(declared.sharing(nodes, indexes), broken)


def problem(inventory: Inventory, placement: Placement) -> str | None:
    """Why this assignment cannot count in this inventory, in an operator's words; None where it can."""
    p = placement
    if p.pool is not None and p.pool not in inventory.pools:
        return f"there is no pool {p.pool}"
    if p.cluster is not None and p.cluster not in inventory.clusters:
        return f"there is no cluster {p.cluster}"
    unknown = [tag for tag in p.tags or () if tag not in inventory.tags]
    if unknown:
        return f"there is no tag {', '.join(unknown)}"
    node = node_of(inventory, p)
    if node is None and p.home is None:
        return f"no node {p.machine} is declared any more"
    home = inventory.pools.get(node.pool if node else p.home or "")
    if home is None or (node is None and not home.catch_all):
        return f"the catch-all pool {p.home} that it was found in is gone"
    return _name_taken(inventory, p, node) or _address_taken(
        inventory, p, node, inventory.networks[home.network]
    )


def node_of(inventory: Inventory, placement: Placement) -> Node | None:
    """The declared node that an assignment is of: by its name then, else by its cards."""
    by_name = inventory.by_name.get(placement.machine)
    if by_name is not None:
        return by_name
    found = (inventory.by_mac.get(mac) for mac in placement.macs)
    return next((node for node in found if node is not None), None)


def _name_taken(inventory: Inventory, placement: Placement, node: Node | None) -> str | None:
    other = inventory.by_name.get(placement.name) if placement.name else None
    if other is None or other is node:
        return None
    return f"the name {placement.name} belongs to another machine ({', '.join(other.macs) or other.holder})"


def _address_taken(
    inventory: Inventory, placement: Placement, node: Node | None, network: Network
) -> str | None:
    address = placement.address
    if address is None:
        return None
    if not network.has_host(address):
        return f"{address} is no machine's address in network {network.name} ({network.subnet})"
    if address in (network.address, network.gateway):
        return f"{address} is this appliance's own address, or the gateway's"
    other = inventory.reserved.get(address)
    return f"{address} belongs to {other.name}" if other is not None and other is not node else None


def _effective(inventory: Inventory, node: Node | None, placement: Placement) -> Node:
    """The machine as it is with the assignment; one that nobody declared becomes a node by it."""
    p = placement
    if node is None:
        assert p.home is not None
        name = p.name or inventory.free_name(p.macs[0], inventory.pools[p.home])
        return Node(name, p.home, p.macs, p.address, p.tags or (), placed=p)
    return replace(
        node,
        name=p.name or node.name,
        address=p.address or node.address,
        tags=node.tags if p.tags is None else p.tags,
        placed=replace(p, home=None),  # declared by now, wherever it was found then
    )


def _enter(indexes: Indexes, inventory: Inventory, former: Node | None, node: Node) -> None:
    """Have the indexes find a node in place of what it was; None for a machine that nobody declared."""
    if former is not None and former.address is not None:
        del indexes["reserved"][former.address]
    for name, entries in inventory.entries_of(node).items():
        indexes[name].update(entries)
    if former is not None:
        indexes["by_name"][former.name] = node  # it answers to the declared name, too
