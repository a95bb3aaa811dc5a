"""Scripts that machines ask for again: answered without rendering, while nothing that they say has changed.

A rack that comes back asks some ten times per machine; a script that was rendered once costs a fifth of the
first one. Who asks is looked at each time all the same: the lease, the link and the boot.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, Final, TypeVar

from netboot.askers import Askers
from netboot.boot import session
from netboot.boot.plan import BootPlan, Images
from netboot.errors import ImageError, StoreError
from netboot.events import Boots
from netboot.model.image import Generation
from netboot.model.inventory import Inventory
from netboot.model.lease import Lease

MOST: Final = 20_000
IMAGES_KNOWN: Final = 1.0
"""Seconds for which a machine's image is not looked at again on disk."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Script:
    """A rendered script and all that it depends on."""

    target: str
    boot_id: str
    inventory: Inventory
    lease: Lease
    image: str
    generation: Generation
    at: float
    """When the image was last looked at, seconds since the epoch."""
    text: str = field(repr=False)


class KnownScripts:
    """What each address was given last."""

    def __init__(
        self,
        *,
        inventory: Callable[[], Inventory],
        catalog: Images,
        boots: Boots,
        askers: Askers,
        clock: Callable[[], float],
    ) -> None:
        self._inventory = inventory
        self._catalog = catalog
        self._boots = boots
        self._askers = askers
        self._clock = clock
        self._scripts: OrderedDict[int, _Script] = OrderedDict()

    def keep(
        self, client: IPv4Address, target: str, lease: Lease, boot_id: str, plan: BootPlan, text: str
    ) -> None:
        """Remember what this address was answered when it asked for `target`."""
        image = plan.assignment.image or ""
        script = _Script(
            target, boot_id, self._inventory(), lease, image, plan.generation, self._clock(), text
        )
        self._scripts[int(client)] = script
        self._scripts.move_to_end(int(client))
        if len(self._scripts) > MOST:
            self._scripts.popitem(last=False)

    def find(self, client: IPv4Address, target: str) -> str | None:
        """The same script again; None where anything may be different now."""
        known = self._scripts.get(int(client))
        if known is None or known.target != target or known.inventory is not self._inventory():
            return None
        boot = self._boots.get(known.boot_id)
        if boot is None or boot.claimed or boot.ended is not None:
            return None
        asker = at_once(self._askers.at(client))
        if asker is None or asker.lease is not known.lease or not session.proved(asker):
            return None
        if not self._askers.held(known.lease, boot):
            return None
        return known.text if self._same_image(client, known) else None

    def _same_image(self, client: IPv4Address, known: _Script) -> bool:
        now = self._clock()
        if 0 <= now - known.at < IMAGES_KNOWN:
            return True
        try:
            same = self._catalog.generation(known.image) is known.generation
        except ImageError:
            return False
        self._scripts[int(client)] = replace(known, at=now)
        return same


def at_once(work: Coroutine[Any, None, _T]) -> _T | None:
    """What a coroutine returns without waiting; None where it would have to wait, or the store fails."""
    try:
        work.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    except StoreError:
        return None
    work.close()
    return None
