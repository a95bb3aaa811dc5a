"""One transaction of the store, and what it does to the things that are kept in memory too."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar, cast

Statement = tuple[str, Sequence[object]]
"""A statement of SQL and its values."""


class Draft(Protocol):
    """What one transaction does to something that is kept in memory too."""

    def statements(self) -> Iterable[Statement]:
        """What has to be written for it, at the end of the transaction."""

    def apply(self) -> None:
        """After the commit: let the readers see it."""


D = TypeVar("D", bound=Draft)
D_co = TypeVar("D_co", bound=Draft, covariant=True)


class Kept(Protocol[D_co]):
    """Rows that are kept in memory too: readers see what is on disk, never more."""

    def load(self, connection: sqlite3.Connection) -> None:
        """Read them when the store opens."""

    def restore(self) -> Iterable[Statement]:
        """What puts them, acknowledged as they are, into a file that was opened again."""

    def draft(self, batch: Batch) -> D_co:
        """Begin to change them within a transaction."""


class Batch:
    """One transaction on a connection."""

    __slots__ = ("_begun", "_connection", "_drafts")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._begun = False
        self._drafts: dict[Kept[Draft], Draft] = {}

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, in a transaction from the first call on."""
        if not self._begun:
            self._connection.execute("BEGIN IMMEDIATE")
            self._begun = True
        return self._connection

    def execute(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in the transaction; its rows."""
        return self.connection.execute(query, values).fetchall()

    def draft(self, kept: Kept[D]) -> D:
        """What this batch has done so far to something that is kept in memory."""
        found = self._drafts.get(kept)
        if found is None:
            found = self._drafts[kept] = kept.draft(self)
        return cast(D, found)

    def commit(self) -> None:
        """Write the drafts as decided, and have everything on disk.

        Where all is one statement, it commits by itself: with each statement the writer waits for the
        interpreter's lock again, which a busy event loop gives away once in a millisecond (33 ms instead of
        1 for 30 leases).
        """
        statements = [statement for draft in self._drafts.values() for statement in draft.statements()]
        connection = self._connection if len(statements) == 1 else self.connection
        for query, values in statements:
            connection.execute(query, values)
        if self._begun:
            self._connection.execute("COMMIT")

    def show(self) -> None:
        """After the commit: let the readers see it."""
        for draft in self._drafts.values():
            draft.apply()
