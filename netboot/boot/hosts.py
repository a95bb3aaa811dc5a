"""Names and addresses of nodes, as /etc/hosts and CoreDNS's plugin `hosts` write them. Pure.

Two readers: a file for name servers holds every machine with an address, dynamic ones too, and is kept
current. A node's own /etc/hosts is written at its boot and never after it, so it holds reserved addresses
only, and of clusters that are not large: a thousand nodes ask a name server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.model.inventory import Inventory, Node, Pool
from netboot.model.lease import Lease

NEIGHBOURS = 256
"""Nodes of one cluster up to which each has all the others in its /etc/hosts."""

HEAD = b"# Names of nodes, kept current by the netboot appliance, for CoreDNS's plugin hosts.\n"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Host:
    """One machine: the name with its network's domain first, where that has one."""

    address: IPv4Address
    names: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join([str(self.address), *self.names])


def reserved(inventory: Inventory, nodes: Iterable[Node]) -> Iterator[Host]:
    """Of these nodes those with a reserved address."""
    for node in nodes:
        if node.address is not None:
            yield _host(inventory, node.address, node.name, inventory.pools[node.pool].network)


def leased(
    inventory: Inventory, holders: Mapping[str, Node], leases: Iterable[Lease], now: float
) -> Iterator[Host]:
    """Of these leases those whose machines have no other address; `holders` are all nodes by `holder`."""
    for lease in leases:
        node = holders.get(lease.holder)
        if node is not None and node.address is not None:
            continue
        if not lease.live(now) or lease.released:
            continue
        if node is not None:
            if inventory.pools[node.pool].network == lease.network:
                yield _host(inventory, lease.address, node.name, lease.network)
        elif lease.name not in inventory.by_name and _NAME.fullmatch(lease.name):
            yield _host(inventory, lease.address, lease.name, lease.network)


def lines(found: Iterable[Host]) -> bytes:
    """Their lines, by address, so that they change only when a machine does."""
    return "".join(f"{host}\n" for host in sorted(found, key=_by_address)).encode("ascii")


def _by_address(host: Host) -> int:
    return int(host.address)


class Neighbours:
    """The nodes with reserved addresses by cluster, worked out once for an inventory."""

    def __init__(self) -> None:
        self._inventory: Inventory | None = None
        self._by_cluster: Mapping[str, tuple[Host, ...]] = {}

    def of(self, inventory: Inventory, cluster: str, name: str) -> tuple[Host, ...]:
        """What this node's /etc/hosts has of the other nodes of its cluster; nothing in a large one."""
        if self._inventory is not inventory:
            self._inventory, self._by_cluster = inventory, _by_cluster(inventory)
        found = self._by_cluster.get(cluster, ())
        return tuple(host for host in found if host.names[-1] != name) if len(found) <= NEIGHBOURS else ()


def _by_cluster(inventory: Inventory) -> Mapping[str, tuple[Host, ...]]:
    found: dict[str, list[Host]] = {}
    for node in inventory.nodes:
        if node.address is not None and (pool := _pool_of(inventory, node)):
            host = _host(inventory, node.address, node.name, inventory.pools[node.pool].network)
            cluster = (node.placed.cluster if node.placed else None) or pool.cluster
            found.setdefault(cluster, []).append(host)
    return {cluster: tuple(each) for cluster, each in found.items()}


def _pool_of(inventory: Inventory, node: Node) -> Pool | None:
    """The pool that a node belongs to now; None in an inventory that lost its pools."""
    home, now = inventory.pools.get(node.pool), (node.placed.pool if node.placed else None) or node.pool
    return inventory.pools.get(now) if home else None


def _host(inventory: Inventory, address: IPv4Address, name: str, network: str) -> Host:
    domain = inventory.networks[network].domain if network in inventory.networks else None
    return Host(address, (f"{name}.{domain}", name) if domain else (name,))
