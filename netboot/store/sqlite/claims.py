"""Claims of boots' keys: burnt on disk before the answer; those of live sessions also in memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, replace
from ipaddress import IPv4Address
from typing import Any

from netboot.model.boot import Claim, Kept
from netboot.store.sqlite.batch import Batch, Statement
from netboot.store.sqlite.writer import Part, Writer


class Claims(Part):
    """The claims of the store."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer)
        self._claims = writer.keep(_LiveClaims())

    async def burn(self, claim: Claim) -> Claim:
        """Burn a boot's key: the claim that stands, ours or an earlier one. Raises StoreError."""

        def work(batch: Batch) -> Claim:
            claims = batch.draft(self._claims)
            standing = claims.of(claim.boot_id)
            if standing is None:
                claims.put(claim)
            return standing or claim

        return await self._writer.do(work)

    async def claim_of(self, boot_id: str) -> Claim | None:
        """The claim of a boot: a live one from memory, an ended one from the file. Raises StoreError."""
        live = self._claims.live.get(boot_id)
        if live is not None:
            return live
        return await self._writer.do(lambda batch: batch.draft(self._claims).of(boot_id))

    async def count_credential(self, boot_id: str, limit: int) -> bool:
        """Count one more credential; False where `limit` were given, or no claim lives. Raises StoreError."""

        def work(batch: Batch) -> bool:
            claims = batch.draft(self._claims)
            claim = claims.of(boot_id)
            if claim is None or claim.ended or claim.credentials >= limit:
                return False
            claims.put(replace(claim, credentials=claim.credentials + 1))
            return True

        return await self._writer.do(work)

    async def end_claim(self, boot_id: str) -> None:
        """End the session of a boot; no error where there is none. Raises StoreError."""

        def work(batch: Batch) -> None:
            claims = batch.draft(self._claims)
            claim = claims.of(boot_id)
            if claim is not None and not claim.ended:
                claims.put(replace(claim, ended=True))

        await self._writer.do(work)


class _ClaimDraft:
    """The claims as one transaction has left them so far."""

    __slots__ = ("_batch", "_live", "_put")

    def __init__(self, batch: Batch, live: dict[str, Claim]) -> None:
        self._batch = batch
        self._live = live
        self._put: dict[str, Claim] = {}

    def of(self, boot_id: str) -> Claim | None:
        """The claim of a boot."""
        claim = self._put.get(boot_id) or self._live.get(boot_id)
        if claim is None:
            rows = self._batch.execute("SELECT * FROM claims WHERE boot_id = ?", (boot_id,))
            claim = _claim(rows[0]) if rows else None
        return claim

    def put(self, claim: Claim) -> None:
        """Write a claim."""
        self._put[claim.boot_id] = claim

    def statements(self) -> Iterator[Statement]:
        """One for each claim that is new or changed."""
        return map(_put_statement, self._put.values())

    def apply(self) -> None:
        """A live claim stays in memory, an ended one leaves it."""
        for boot_id, claim in self._put.items():
            if claim.ended:
                self._live.pop(boot_id, None)
            else:
                self._live[boot_id] = claim


class _LiveClaims:
    """The claims of live sessions in memory."""

    def __init__(self) -> None:
        self.live: dict[str, Claim] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        """Read those whose session has not ended."""
        live = connection.execute("SELECT * FROM claims WHERE ended = 0")
        self.live.update({claim.boot_id: claim for claim in map(_claim, live)})

    def restore(self) -> Iterator[Statement]:
        """Those beside what the file has."""
        return map(_put_statement, list(self.live.values()))

    def draft(self, batch: Batch) -> _ClaimDraft:
        """Begin to change them."""
        return _ClaimDraft(batch, self.live)


def _put_statement(claim: Claim) -> Statement:
    return "INSERT OR REPLACE INTO claims VALUES (?,?,?,?,?,?,?,?,?,?)", (
        claim.boot_id,
        int(claim.address),
        claim.request_sha256,
        claim.certificate,
        claim.certificate_sha256,
        claim.claimed,
        claim.credentials,
        int(claim.ended),
        json.dumps(asdict(claim.kept), separators=(",", ":")) if claim.kept else "",
        claim.csr,
    )


def _claim(row: tuple[Any, ...]) -> Claim:
    boot_id, address, request, certificate, digest, claimed, credentials, ended, kept, csr = row
    at = IPv4Address(address)
    over = bool(ended)
    return Claim(boot_id, at, request, certificate, digest, claimed, credentials, over, _kept(kept), csr)


def _kept(text: str) -> Kept | None:
    if not text:
        return None
    said = json.loads(text)
    return Kept(said["node"], said["cluster"], said["pool"], tuple(said["tags"]))
