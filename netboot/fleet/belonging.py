"""Whose a Node object is: which machine of the operator's file, and what the file declares for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from netboot.cluster.drift import Declared
from netboot.events import Boots
from netboot.model.inventory import Assignment, Inventory


class Belonging:
    """Node objects by cluster and name, as the file that is in force and the boots have it."""

    def __init__(self, inventory: Callable[[], Inventory], boots: Boots) -> None:
        self._inventory = inventory
        self._boots = boots

    def assignment(self, cluster: str, name: str) -> Assignment | None:
        """What the machine of that name belongs to, if it belongs to that cluster.

        A machine that nobody declared is known by its boots.
        """
        inventory = self._inventory()
        node = inventory.by_name.get(name)
        if node is not None:
            found = inventory.assign(node)
            return found if found.cluster.name == cluster else None
        boot = self._boots.of_node(name)
        if boot is None or boot.cluster != cluster:
            return None
        pools = (p for p in inventory.pools.values() if p.catch_all and p.cluster == cluster)
        caught = (inventory.catch(boot.mac, pool) for pool in pools)
        return next((found for found in caught if found.name == name), None)

    def declared(self, cluster: str, name: str) -> Declared | None:
        """What its Node object shall have; None where it is not ours."""
        found = self.assignment(cluster, name)
        if found is None:
            return None
        said = (boot.system_uuid for boot in self._boots.of_machine(name) if boot.system_uuid)
        uuid = (found.node.uuid if found.node else None) or next(said, "")
        actions = found.cluster.node_actions
        return Declared(
            labels=found.settings.labels,
            taints=found.settings.taints,
            corrects_labels=actions.labels,
            corrects_taints=actions.taints,
            uuids=(uuid,) if uuid else (),
        )

    def names(self, cluster: str) -> Iterator[str]:
        """The declared nodes of a cluster."""
        inventory = self._inventory()
        for node in inventory.nodes:
            if inventory.assign(node).cluster.name == cluster:
                yield node.name
