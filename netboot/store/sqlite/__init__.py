"""The embedded store: one SQLite file, one writer thread, one commit per batch.

Each kind of thing that is remembered is a file of its own and a base of `SqliteStore`; its table is an entry
of `schema.MIGRATIONS`. How a batch reaches the disk stands in `writer`, the file itself in `file`.
"""

from __future__ import annotations

from pathlib import Path

from netboot.store.sqlite.audit import Audit
from netboot.store.sqlite.bindings import Bindings
from netboot.store.sqlite.boots import Boots
from netboot.store.sqlite.claims import Claims
from netboot.store.sqlite.leases import Leases
from netboot.store.sqlite.operations import Operations
from netboot.store.sqlite.rests import Rests
from netboot.store.sqlite.tokens import Tokens
from netboot.store.sqlite.writer import Writer


class SqliteStore(Operations, Bindings, Audit, Tokens, Claims, Boots, Rests, Leases):
    """The door's promises on one SQLite file of mode 0600."""

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open or make the file; raises StoreError for a damaged one, a newer one, or one that is in use.

        Its writer is the only thread that is started (`privileges.leave_the_rest_ordinary`).
        """
        writer = Writer(path)
        store = cls(writer)
        writer.open()
        return store

    async def close(self) -> None:
        """Finish what was asked for and close."""
        await self._writer.close()
