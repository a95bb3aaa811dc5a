"""What we know of our own machines when a certificate is asked for: their boots, names and addresses."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Protocol

from netboot.cluster import ClusterApi
from netboot.cluster.approval import Known, known_as, plain_address
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory
from netboot.store import LeaseStore

SERVICE = "kubernetes"
"""The service by which pods call the API server, `kubernetes.default.svc` and so on."""


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
        """Names and addresses of a node of ours in that cluster: the inventory's, the lease's, the Node's.

        A kubelet writes the addresses of its Node object itself: those of others count for nothing.
        """
        if self._cluster_of(node) != cluster:
            return None
        every = await self._leases.leases()
        leases = [lease for lease in every if lease.name == node]
        taken = {str(lease.address) for lease in every if lease.name != node}
        declared = self._inventory().by_name.get(node)
        addresses = [str(lease.address) for lease in leases]
        networks = {lease.network for lease in leases}
        if declared is not None:
            addresses += [str(declared.address)] if declared.address else []
            networks.add(self._inventory().pools[declared.pool].network)
        found = await api.node(node)
        domains = (self._inventory().networks[n].domain for n in networks & self._inventory().networks.keys())
        names = [node, *(f"{node}.{domain}" for domain in domains if domain)]
        said = known_as((), found.addresses if found else ())
        return known_as(
            [*names, *(name for name in said.names if "*" not in name and not self.owner(name, node))],
            [*addresses, *(a for a in said.addresses - taken if not self.owner(a, node))],
        )

    def owner(self, text: str, node: str) -> str | None:
        """Whose a name or an address is, where not this node's: a declared machine's, an API server's."""
        inventory = self._inventory()
        plain = plain_address(text)
        if plain is None:
            other = inventory.by_name.get(self._without_domain(text))
        else:
            other = inventory.reserved.get(IPv4Address(plain)) if "." in plain else None
        if other is not None:
            return other.name if other.name != node else None
        if text == SERVICE or text.startswith(f"{SERVICE}."):
            return "the API server"
        ends = ((c.name, c.endpoint.rpartition(":")[0].strip("[]")) for c in inventory.clusters.values())
        found = (name for name, end in ends if (plain_address(end) or end.lower()) == (plain or text))
        return next((f"cluster {name}'s API server" for name in found), None)

    def _without_domain(self, name: str) -> str:
        """A name without the domain of any of our networks."""
        domains = (network.domain for network in self._inventory().networks.values())
        return next((name.removesuffix(f".{d}") for d in domains if d and name.endswith(f".{d}")), name)

    def _cluster_of(self, node: str) -> str | None:
        """The cluster that a machine booted into last, else the one that it is declared in."""
        boot, inventory = self._boots.of_node(node), self._inventory()
        if boot is not None:
            return boot.cluster
        declared = inventory.by_name.get(node)
        return inventory.assign(declared).cluster.name if declared else None
