"""What the API is made of: the same objects that the other shells work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netboot.catalog import Catalog
from netboot.events import Boots, Journal
from netboot.model.access import ApiToken
from netboot.model.finding import Finding
from netboot.model.health import ClusterState
from netboot.model.inventory import Cluster, Inventory, Network
from netboot.model.lease import Lease, Rest, Usage
from netboot.model.machine import Mac
from netboot.model.operation import Operation, Order
from netboot.model.placement import Admission, Placement
from netboot.proc import ProcessInfo
from netboot.store import AuditStore, BindingStore, LeaseStore


class Addresses(Protocol):
    """Who gives addresses out: the DHCP server."""

    async def usage(self, network: Network) -> Usage:
        """How full the ranges of a network are. Raises StoreError."""

    async def resting(self) -> Sequence[Rest]:
        """The addresses that rest. Raises StoreError."""

    async def forget(self, lease: Lease, *, force: bool) -> str:
        """Forget a lease, so that another machine may get its address; empty where that is done.

        Else the reason why not: without `force` a machine that shows life keeps its address. Raises
        StoreError.
        """


class Assigner(Protocol):
    """Who assigns machines at run time, and follows what comes of it."""

    async def machine(self, which: str) -> str:
        """What assignments of the machine of a MAC or name are filed under. Raises Refused and StoreError."""

    async def assign(self, which: str, order: Order, *, by: str, dry_run: bool) -> Operation:
        """Begin a reassignment; on disk when it returns. Raises Refused and StoreError."""

    async def unassign(self, which: str, order: Order, *, by: str, dry_run: bool) -> Operation:
        """Return a machine to what the file declares. Raises Refused and StoreError."""

    async def cancel(self, operation_id: str) -> Operation:
        """Roll an operation back. Raises Refused and StoreError."""

    def operations(self, *, limit: int) -> Sequence[Operation]:
        """The newest operations, newest first."""

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""

    def placements(self) -> Sequence[Placement]:
        """Every run-time assignment."""

    def placement(self, machine: str) -> Placement | None:
        """The run-time assignment of a machine."""

    def broken(self, machine: str) -> str | None:
        """Why a machine's assignment does not count; None where it does."""

    def drift(self, machine: str) -> Sequence[str]:
        """How a machine departs from what the file declares, in words."""

    def admitted(self, mac: Mac) -> bool:
        """Whether an operator let this machine in."""

    async def admit(self, mac: Mac, by: str) -> Admission:
        """Let a machine join; on disk when it returns. Raises StoreError."""

    async def end_admission(self, mac: Mac) -> Admission:
        """Let it join no longer. Raises Refused and StoreError."""


def _nothing(_: str) -> str | None:
    return None


async def _unexamined(_: Cluster) -> Sequence[Finding]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the answers come from: the same objects that the other shells work with."""

    boots: Boots
    journal: Journal
    leases: LeaseStore
    addresses: Addresses
    catalog: Catalog
    inventory: Callable[[], Inventory]
    assigner: Assigner
    bindings: BindingStore
    audit: AuditStore
    tokens: Callable[[], Sequence[ApiToken]]
    """The tokens that are let in."""
    listen: str
    """The address that the listener is bound to."""
    clock: Callable[[], float]
    names: Sequence[str] = ()
    """Further Host names that are ours."""
    processes: Callable[[], Sequence[ProcessInfo]] = tuple
    ready: Callable[[], bool] = field(default=lambda: True)
    cluster_problem: Callable[[str], str | None] = _nothing
    """Why the nodes of a cluster get no credential now."""
    cluster_state: Callable[[str], ClusterState] = lambda name: ClusterState()
    node_drift: Callable[[str, str], Sequence[str] | None] = lambda cluster, name: None
    """In what a Node object differs from what is declared; None where that is not known."""
    examine: Callable[[Cluster], Awaitable[Sequence[Finding]]] = _unexamined
    """What is missing in a cluster, or too much."""
