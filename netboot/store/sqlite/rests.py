"""Rests: addresses that are given to nobody for a while."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from netboot.model.lease import Rest
from netboot.model.machine import Mac
from netboot.store.sqlite.writer import Part


class Rests(Part):
    """The rests of the store; read from the file, where they are few."""

    async def rest(self, rest: Rest) -> None:
        """Have an address rest; on disk when it returns. Raises StoreError."""
        mac = None if rest.mac is None else str(rest.mac)
        row = (int(rest.address), rest.network, rest.since, rest.until, rest.cause, mac)
        await self._writer.execute("INSERT OR REPLACE INTO rests VALUES (?,?,?,?,?,?)", row)

    async def end_rests(self, addresses: Sequence[IPv4Address]) -> None:
        """These addresses rest no more. Raises StoreError."""
        rows = [(int(address),) for address in addresses]
        await self._writer.do(
            lambda batch: batch.connection.executemany("DELETE FROM rests WHERE address = ?", rows)
        )

    async def rests(self) -> Sequence[Rest]:
        """Every rest that was not ended. Raises StoreError."""
        return [_rest(row) for row in await self._writer.execute("SELECT * FROM rests")]


def _rest(row: tuple[Any, ...]) -> Rest:
    address, network, since, until, cause, mac = row
    return Rest(IPv4Address(address), network, since, until, cause, Mac(mac) if mac else None)
