"""What is kept in memory for boots that were claimed: their assignment, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TypeVar
from weakref import WeakValueDictionary

from netboot.errors import Refused
from netboot.model.boot import Boot, Claim
from netboot.model.inventory import Assignment, NoMatch
from netboot.web.boot.site import Site

_MAX_REMEMBERED = 20_000
_Kept = TypeVar("_Kept")


class Assigned:
    """What boots belong to: a claimed boot keeps its assignment over a reload and a restart."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._kept: OrderedDict[str, Assignment] = OrderedDict()

    def keep(self, boot: Boot, assignment: Assignment) -> None:
        """This boot was claimed, and belongs to this from now on."""
        remember(self._kept, boot.id, assignment)

    def forget(self, boot: Boot) -> None:
        """Its session is over."""
        self._kept.pop(boot.id, None)

    def of(self, boot: Boot, network: str) -> Assignment:
        """As it was when the boot was claimed, else as the inventory has it now. Raises Refused."""
        if kept := self._kept.get(boot.id):
            return kept
        found = self._site.askers.match(boot.mac, network, boot.node)
        if isinstance(found, NoMatch):
            raise Refused(404, f"{boot.mac} belongs to nothing any more: {found.reason}")
        return found

    def of_claimed(self, boot: Boot, claim: Claim) -> Assignment:
        """The same after a restart: its claim tells its network, and what it belonged to. Raises Refused."""
        if kept := self._kept.get(boot.id):
            return kept
        inventory = self._site.inventory()
        networks = inventory.networks.values()
        found = self.of(boot, next((n.name for n in networks if claim.address in n.subnet), ""))
        if claim.kept is not None:
            try:
                found = inventory.as_claimed(found, claim.kept)
            except LookupError as error:
                raise Refused(404, f"{boot.node}'s boot belongs to {error}, which is gone") from None
        self.keep(boot, found)
        return found


class Turns:
    """One request of a boot at a time, where the order of writes matters."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, boot_id: str) -> asyncio.Lock:
        """The lock of this boot."""
        lock = self._locks.get(boot_id)
        if lock is None:
            lock = self._locks[boot_id] = asyncio.Lock()
        return lock


def remember(memory: OrderedDict[str, _Kept], key: str, value: _Kept) -> None:
    """Keep the newest, a bounded number of them."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _MAX_REMEMBERED:
        memory.popitem(last=False)
