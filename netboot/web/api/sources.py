"""What the API is made of: the same objects that the other shells work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netboot.catalog import Catalog
from netboot.events import Boots, Journal
from netboot.model.access import ApiToken
from netboot.model.inventory import Inventory, Network
from netboot.model.lease import Lease, Rest, Usage
from netboot.proc import ProcessInfo
from netboot.store import AuditStore, LeaseStore


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


def _nothing(_: str) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the answers come from: the same objects that the other shells work with."""

    boots: Boots
    journal: Journal
    leases: LeaseStore
    addresses: Addresses
    catalog: Catalog
    inventory: Callable[[], Inventory]
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
