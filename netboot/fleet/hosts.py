"""The file with all node names and addresses, kept current for name servers, and the same over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from netboot.boot.hosts import HEAD, Host, leased, lines, reserved
from netboot.errors import StoreError
from netboot.model.inventory import Inventory, Node
from netboot.store import LeaseStore

log = logging.getLogger("netboot.fleet")

INTERVAL = 3.0
"""Seconds between two looks at what has changed; CoreDNS looks at its file every five."""

TURN = 200
"""Machines after which others have their turn: a hundred thousand may be declared."""

MODE = 0o644
"""Names are no secret; whoever may enter the folder may read the file."""


class HostsFile:
    """Writes the file whenever a machine came, went or moved; `run` has to run beside it."""

    def __init__(
        self,
        path: Path,
        inventory: Callable[[], Inventory],
        leases: LeaseStore,
        *,
        clock: Callable[[], float],
        interval: float = INTERVAL,
    ) -> None:
        self._path = path
        self._inventory = inventory
        self._store = leases
        self._clock = clock
        self._interval = interval
        self._declared: Inventory | None = None
        self._reserved = b""
        self._holders: dict[str, Node] = {}
        self._leased: list[Host] = []
        self._content: bytes | None = None
        self._written: bytes | None = None
        self._trouble = ""

    def content(self) -> bytes | None:
        """The file's content as it should be; None until the first look after a start is through."""
        return self._content

    async def run(self) -> None:
        """Keep it current, for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._interval)

    async def refresh(self) -> None:
        """Look at what has changed, once. A file that cannot be written is told once, and tried again."""
        try:
            await self._look()
            if self._content is not None and self._content != self._written:
                await asyncio.to_thread(replace_file, self._path, self._content)
                self._written = self._content
            self._trouble = ""
        except (OSError, StoreError) as error:
            why = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
            if why != self._trouble:
                log.warning(
                    "the names of nodes are not written to %s: %s; give server.user that folder, or write "
                    "another server.hosts_file",
                    self._path,
                    why,
                )
            self._trouble = why

    async def _look(self) -> None:
        """First the reserved addresses, worked out once for an inventory; then those that come and go."""
        inventory = self._inventory()
        changed = inventory is not self._declared
        if changed:
            await self._read(inventory)
        found: list[Host] = []
        leases, now = await self._store.leases(), self._clock()
        for start in range(0, len(leases), TURN):
            found += leased(inventory, self._holders, leases[start : start + TURN], now)
            await asyncio.sleep(0)
        if changed or found != self._leased:
            self._leased = found
            self._content = HEAD + self._reserved + await asyncio.to_thread(lines, found)
        self._declared = inventory  # only now: leases that cannot be read leave the whole to the next look

    async def _read(self, inventory: Inventory) -> None:
        holders: dict[str, Node] = {}
        found: list[Host] = []
        for start in range(0, len(inventory.nodes), TURN):
            nodes = inventory.nodes[start : start + TURN]
            holders.update((node.holder, node) for node in nodes)
            found += reserved(inventory, nodes)
            await asyncio.sleep(0)
        self._holders, self._reserved = holders, await asyncio.to_thread(lines, found)


def replace_file(path: Path, content: bytes) -> None:
    """Put a whole new file in the place of the old one: no reader ever sees half of it. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)  # what a crash left behind; and nobody's link is written through
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, MODE)
        file.write(content)
    draft.replace(path)
