"""Leases: all of them in memory, which answers every read, and on disk before a claim is won."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import Any

from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.store.sqlite.batch import Batch, Statement
from netboot.store.sqlite.writer import Part, Writer
from netboot.store.table import Changes, LeaseTable

ROWS = 64
"""Leases in one statement at most."""

_COLUMNS = "network, holder, address, mac, name, expires, last_seen, boot_id, released"


class Leases(Part):
    """The leases of the store."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer)
        self._leases = writer.keep(_KeptLeases())

    async def lease_of(self, holder: str, network: str) -> Lease | None:
        """The lease of a holder in a network, expired or not; from memory."""
        return self._leases.table.lease_of(holder, network)

    async def lease_at(self, address: IPv4Address) -> Lease | None:
        """Who was last given an address; from memory."""
        return self._leases.table.lease_at(address)

    async def claim_lease(self, lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        """Write `lease` if the holder's lease still is `seen`; on disk when it returns. Raises StoreError."""
        return await self._writer.do(lambda batch: batch.draft(self._leases).claim(lease, seen, displaced))

    async def release_lease(self, lease: Lease, now: float) -> bool:
        """Mark `lease` as given back at `now`; False where it has changed since. Raises StoreError."""
        return await self._writer.do(lambda batch: batch.draft(self._leases).release(lease, now))

    async def drop_lease(self, lease: Lease) -> bool:
        """Forget `lease`; False where it has changed since. Raises StoreError."""
        return await self._writer.do(lambda batch: batch.draft(self._leases).drop(lease))

    async def leases(self) -> Sequence[Lease]:
        """Every lease, from memory."""
        return list(self._leases.table.by_key.values())


class _LeaseDraft(Changes):
    """The changes of one transaction; the final state has each address once, so rows may replace rows."""

    __slots__ = ()

    def statements(self) -> Iterator[Statement]:
        """First what goes, then what comes."""
        yield from (("DELETE FROM leases WHERE network = ? AND holder = ?", key) for key in self.gone())
        yield from _put(self.written())


class _KeptLeases:
    """Every lease in memory."""

    def __init__(self) -> None:
        self.table = LeaseTable()

    def load(self, connection: sqlite3.Connection) -> None:
        """Read all."""
        self.table = LeaseTable(map(_lease, connection.execute(f"SELECT {_COLUMNS} FROM leases")))

    def restore(self) -> Iterator[Statement]:
        """The acknowledged leases in place of what the file has."""
        yield "DELETE FROM leases", ()
        yield from _put(list(self.table.by_key.values()))

    def draft(self, batch: Batch) -> _LeaseDraft:
        """Begin to change them."""
        return _LeaseDraft(self.table)


def _put(leases: Sequence[Lease]) -> Iterator[Statement]:
    for at in range(0, len(leases), ROWS):
        some = leases[at : at + ROWS]
        yield _put_statement(len(some)), [value for lease in some for value in _row(lease)]


@functools.cache
def _put_statement(rows: int) -> str:
    values = ",".join([f"({','.join('?' * len(_COLUMNS.split()))})"] * rows)
    return f"INSERT OR REPLACE INTO leases ({_COLUMNS}) VALUES {values}"


def _row(lease: Lease) -> tuple[object, ...]:
    return (
        lease.network,
        lease.holder,
        int(lease.address),
        str(lease.mac),
        lease.name,
        lease.expires,
        lease.last_seen,
        lease.boot_id,
        lease.released,
    )


def _lease(row: tuple[Any, ...]) -> Lease:
    network, holder, address, mac, name, expires, last_seen, boot_id, released = row
    at = IPv4Address(address)
    return Lease(holder, Mac(mac), at, network, name, expires, last_seen, boot_id, bool(released))
