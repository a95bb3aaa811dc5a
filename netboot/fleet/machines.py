"""What we know of our own machines when a certificate is asked for: their boots, names and addresses."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Protocol

from netboot.cluster import ClusterApi
from netboot.cluster.approval import Known, known_as
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory
from netboot.store import LeaseStore


class BootsByName(Protocol):
    """The part of `events.Boots` that is looked at."""

    def get(self, boot_id: str) -> Boot | None:
        """A boot by its id."""

    def of_node(self, node: str) -> Boot | None:
        """The newest boot of a node."""


class OurMachines:
    """Machines of the inventory, and those that booted from us."""

    def __init__(self, inventory: Callable[[], Inventory], leases: LeaseStore, boots: BootsByName) -> None:
        self._inventory = inventory
        self._leases = leases
        self._boots = boots

    def over(self, boot_id: str) -> bool:
        """Whether a boot has ended, or was never ours."""
        boot = self._boots.get(boot_id)
        return boot is None or boot.state != "booting"

    async def known(self, api: ClusterApi, cluster: str, node: str) -> Known | None:
        """Names and addresses of a node of ours in that cluster: the inventory's, the lease's, the Node's."""
        if self._cluster_of(node) != cluster:
            return None
        leases = [lease for lease in await self._leases.leases() if lease.name == node]
        declared = self._inventory().by_name.get(node)
        addresses = [str(lease.address) for lease in leases]
        networks = {lease.network for lease in leases}
        if declared is not None:
            addresses += [str(declared.address)] if declared.address else []
            networks.add(self._inventory().pools[declared.pool].network)
        found = await api.node(node)
        domains = (self._inventory().networks[n].domain for n in networks & self._inventory().networks.keys())
        names = [node, *(f"{node}.{domain}" for domain in domains if domain)]
        return known_as(names, [*addresses, *(found.addresses if found else ())])

    def owner(self, text: str, node: str) -> str | None:
        """Which machine but this node is declared with a name or an address."""
        inventory = self._inventory()
        try:
            other = inventory.reserved.get(IPv4Address(text))
        except ValueError:
            other = inventory.by_name.get(text)
        return other.name if other is not None and other.name != node else None

    def _cluster_of(self, node: str) -> str | None:
        """The cluster that a machine booted into last, else the one that it is declared in."""
        boot, inventory = self._boots.of_node(node), self._inventory()
        if boot is not None:
            return boot.cluster
        declared = inventory.by_name.get(node)
        return inventory.assign(declared).cluster.name if declared else None
