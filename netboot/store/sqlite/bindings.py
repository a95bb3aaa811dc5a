"""What each token was made for and used for; and the names that are held because one was misused."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from netboot.model.binding import SUPERSEDED, Binding
from netboot.model.machine import Mac
from netboot.store.sqlite.writer import Part

REMEMBERED = 86400.0
"""Seconds past its token's expiry for which a binding without alarm is kept."""

_COLUMNS = "cluster, token_id, boot_id, node, mac, expires, address, uuid, request, alarm"


class Bindings(Part):
    """The bindings of the store; read from the file, where they are few."""

    async def bind(self, binding: Binding) -> None:
        """Remember what a token is made for, durably; its boot's others are superseded, old ones forgotten.

        Raises StoreError.
        """
        address = None if binding.address is None else int(binding.address)
        row = (
            binding.cluster, binding.token_id, binding.boot_id, binding.node, str(binding.mac),
            binding.expires, address, binding.uuid, binding.request, binding.alarm,
        )  # fmt: skip
        old = binding.expires - 3600.0 - REMEMBERED
        await self._writer.execute("DELETE FROM bindings WHERE expires < ? AND alarm = ''", (old,))
        others = "UPDATE bindings SET request = ? WHERE boot_id = ? AND request = ''"
        await self._writer.execute(others, (SUPERSEDED, binding.boot_id))
        await self._writer.execute("INSERT OR REPLACE INTO bindings VALUES (?,?,?,?,?,?,?,?,?,?)", row)

    async def binding_of(self, cluster: str, token_id: str) -> Binding | None:
        """What a token was made for; None for one that we did not make. Raises StoreError."""
        query = f"SELECT {_COLUMNS} FROM bindings WHERE cluster = ? AND token_id = ?"
        rows = await self._writer.execute(query, (cluster, token_id))
        return _binding(rows[0]) if rows else None

    async def first_request(self, cluster: str, token_id: str, uid: str) -> str:
        """The uid of the token's first request: this one, or the one before, durably. Raises StoreError."""
        where = "WHERE cluster = ? AND token_id = ?"
        update = f"UPDATE bindings SET request = ? {where} AND request = ''"
        await self._writer.execute(update, (uid, cluster, token_id))
        query = f"SELECT request FROM bindings {where}"
        rows = await self._writer.execute(query, (cluster, token_id))
        return str(rows[0][0]) if rows else ""

    async def hold(self, cluster: str, token_id: str, why: str) -> None:
        """Hold the name that a token was made for; the first reason stays. Raises StoreError."""
        query = "UPDATE bindings SET alarm = ? WHERE cluster = ? AND token_id = ? AND alarm = ''"
        await self._writer.execute(query, (why, cluster, token_id))

    async def holds(self) -> Sequence[Binding]:
        """The bindings whose names are held. Raises StoreError."""
        query = f"SELECT {_COLUMNS} FROM bindings WHERE alarm != ''"
        return [_binding(row) for row in await self._writer.execute(query)]

    async def let_go(self, cluster: str, node: str) -> bool:
        """Hold a name no longer; False where it was not held. Raises StoreError."""
        held = any(b.cluster == cluster and b.node == node for b in await self.holds())
        query = "UPDATE bindings SET alarm = '' WHERE cluster = ? AND node = ?"
        await self._writer.execute(query, (cluster, node))
        return held


def _binding(row: tuple[Any, ...]) -> Binding:
    cluster, token_id, boot_id, node, mac, expires, address, uuid, request, alarm = row
    at = None if address is None else IPv4Address(address)
    return Binding(cluster, token_id, boot_id, node, Mac(mac), expires, at, uuid, request, alarm)
