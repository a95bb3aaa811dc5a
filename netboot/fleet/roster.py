"""The inventory in force: what the file declares, with run-time assignments laid over it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from netboot.model.inventory import Assignment, Inventory, Node
from netboot.model.overlay import node_of, overlaid
from netboot.model.placement import Placement
from netboot.store import OperationStore

log = logging.getLogger("netboot.fleet")


class Roster:
    """One immutable snapshot at a time; a reload and each assignment make another one."""

    def __init__(self, declared: Inventory) -> None:
        self._placements: dict[str, Placement] = {}
        self._broken: Mapping[str, str] = {}
        self.declared = declared
        """As the file has it."""
        self._inventory = declared

    def inventory(self) -> Inventory:
        """The snapshot in force."""
        return self._inventory

    async def start(self, store: OperationStore) -> None:
        """Lay over what was assigned in earlier runs. Raises StoreError."""
        self._placements = {p.machine: p for p in await store.placements()}
        self._lay()

    def declare(self, inventory: Inventory) -> None:
        """Follow a reload of the operator's file: assignments stay, as far as it still has their targets."""
        self.declared = inventory
        self._lay()

    def place(self, placement: Placement) -> None:
        """Put an assignment into force that is on disk."""
        self._placements[placement.machine] = placement
        self._lay()

    def remove(self, machine: str) -> None:
        """Treat a machine as declared again; no error where it is treated so."""
        if self._placements.pop(machine, None) is not None:
            self._lay()

    def placements(self) -> tuple[Placement, ...]:
        """Every assignment, in force or broken."""
        return tuple(self._placements.values())

    def placement(self, machine: str) -> Placement | None:
        """The assignment of a machine."""
        return self._placements.get(machine)

    def broken(self, machine: str) -> str | None:
        """Why a machine's assignment does not count; None where it does, or where there is none."""
        return self._broken.get(machine)

    def drift(self, machine: str) -> list[str]:
        """How a machine departs from what the file declares, in words; empty where it does not."""
        node = self._inventory.by_name.get(machine) or next(
            (n for n in self._inventory.nodes if n.holder == machine), None
        )
        placement = self._placements.get(machine)
        if node is None or placement is None or node.placed is None:
            return []
        present, declared = self._inventory.assign(node), self._as_declared(node, placement)
        pairs = [
            ("cluster", declared.cluster.name, present.cluster.name),
            ("pool", declared.pool.name, present.pool.name),
            ("name", declared.name, present.name),
            ("address", declared.address or "dynamic", present.address or "dynamic"),
            ("image", declared.image, present.image),
        ]
        return [f"{what}: {here} instead of {there}" for what, there, here in pairs if here != there]

    def _as_declared(self, node: Node, placement: Placement) -> Assignment:
        declared = node_of(self.declared, placement)
        if declared is not None:
            return self.declared.assign(declared)
        return self.declared.catch(node.macs[0], self.declared.pools[node.pool])

    def with_(self, placement: Placement) -> tuple[Inventory, str | None]:
        """What would be in force with this assignment, and why it could not be."""
        others = [p for p in self._placements.values() if p.machine != placement.machine]
        overlay = overlaid(self.declared, [*others, placement])
        return overlay.inventory, overlay.broken.get(placement.machine)

    def _lay(self) -> None:
        if not self._placements:
            self._inventory, self._broken = self.declared, {}
            return
        overlay = overlaid(self.declared, self._placements.values())
        for machine, why in overlay.broken.items():
            if self._broken.get(machine) != why:
                log.warning("%s is treated as declared: its run-time assignment is broken: %s", machine, why)
        self._inventory, self._broken = overlay.inventory, overlay.broken
