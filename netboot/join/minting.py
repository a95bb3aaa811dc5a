"""Bootstrap tokens that are made, recorded and taken back: for `kubeadm` and `tls-bootstrap`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from netboot.cluster import BootstrapToken, ClusterApi, Clusters
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable, StoreError
from netboot.join import JoinRequest, JoinWithheld
from netboot.join import token as tokens
from netboot.join.rounds import in_rounds
from netboot.model.binding import Binding
from netboot.model.boot import TokenRecord
from netboot.store import BindingStore, TokenStore

log = logging.getLogger("netboot.join")

DRAWS = 5
"""Ids that are drawn at most, where the one before was taken (R1)."""

SWEEP_INTERVAL = 30.0
CLEANED_WITHIN = 60.0
"""Seconds past its expiry at which a token that is still there shows that no tokencleaner runs (R18)."""

FORGET_AFTER = 86400.0
"""Seconds past its expiry at which a token that could never be deleted is forgotten."""


class MintStore(TokenStore, BindingStore, Protocol):
    """The part of the store that remembers tokens."""


class Mint:
    """Makes tokens, and deletes each of them for certain; `run` has to run beside it."""

    def __init__(
        self, clusters: Clusters, store: MintStore, *, random: tokens.Random, clock: Callable[[], float]
    ) -> None:
        self._clusters = clusters
        self._store = store
        self._random = random
        self._clock = clock
        self._due: dict[tuple[str, str], TokenRecord] = {}

    async def start(self) -> frozenset[str]:
        """Take back what earlier runs left behind: the tokens that we recorded ourselves (R10).

        Returns the boots that they were made for: some of those may be joining at this moment.
        """
        records = await self._store.tokens()
        self._due = {_key(record): record for record in records}
        return frozenset(record.boot_id for record in records)

    async def run(self) -> None:
        """Delete what could not be deleted at once, for ever."""
        await in_rounds(self._clusters_due, self._sweep, SWEEP_INTERVAL)

    async def mint(self, api: ClusterApi, request: JoinRequest, now: float) -> BootstrapToken:
        """A new token for this boot, recorded before it is created (R1 to R4). Raises JoinWithheld."""
        for _ in range(DRAWS):
            token = self._draw(request, now)
            record = TokenRecord(
                token.token_id,
                request.boot_id,
                request.cluster.name,
                tokens.hash_of(token),
                now + min(request.cluster.join.token_ttl, tokens.LONGEST),
            )
            await self._store.bind(_binding(request, record))
            await self._store.record_token(record)
            try:
                await api.create_token(token)
            except ClusterRefused as error:
                await self._store.forget_token(record.cluster, record.token_id)
                if error.status != 409:
                    raise
            except BaseException:  # the POST may have arrived: the record lets it be deleted
                self._due[_key(record)] = record
                raise
            else:
                log.info("token %s made for node %s, boot %s", token.token_id, request.node, request.boot_id)
                return token
        raise JoinWithheld(f"{DRAWS} token ids in a row were taken in cluster {request.cluster.name}", 5.0)

    def _draw(self, request: JoinRequest, now: float) -> BootstrapToken:
        try:
            return tokens.draw(request, random=self._random, now=now)
        except ValueError as error:
            raise JoinWithheld(str(error), None) from None

    # R10: taking back

    async def revoke(self, boot_id: str) -> None:
        """Delete the tokens of this boot; what cannot be deleted now is tried again until it is gone.

        A deleted token may pass as a bearer for ten more seconds: the API server remembers it (R11).
        Raises StoreError.
        """
        for record in await self._store.tokens_of(boot_id):
            try:
                await self._delete(record)
            except ClusterError as error:
                self._put_off(record, error)

    async def sweep(self) -> None:
        """Try once more to delete every token that is due, in all clusters at the same time."""
        await asyncio.gather(*map(self._sweep, dict.fromkeys(self._clusters_due())))

    def _clusters_due(self) -> list[str]:
        return [record.cluster for record in self._due.values()]

    async def _sweep(self, cluster: str) -> None:
        """The tokens of one cluster; where it does not answer at all, the rest is left to the next sweep."""
        for record in [r for r in self._due.values() if r.cluster == cluster]:
            try:
                await self._delete(record)
            except ClusterError as error:
                self._put_off(record, error)
                await self._give_up(record)
                if isinstance(error, ClusterUnavailable) and error.status < 500:
                    return
            except StoreError as error:
                log.warning("token %s cannot be forgotten: %s", record.token_id, error)

    def _put_off(self, record: TokenRecord, error: ClusterError) -> None:
        """It is due for the next sweep."""
        self._due[_key(record)] = record
        log.warning("token %s of cluster %s is not deleted yet: %s", record.token_id, record.cluster, error)

    async def _give_up(self, record: TokenRecord) -> None:
        """A token that expired long ago is no longer worth a call."""
        if self._clock() <= record.expires + FORGET_AFTER:
            return
        try:
            await self._forget(record)
        except StoreError as error:
            log.warning("token %s cannot be forgotten: %s", record.token_id, error)

    async def _delete(self, record: TokenRecord) -> None:
        """Delete one token. Raises ClusterError and StoreError."""
        there = await self._clusters.api(record.cluster).delete_token(record.token_id)
        if there and self._clock() > record.expires + CLEANED_WITHIN:
            log.warning(
                "token %s of cluster %s was expired and still there: the controller tokencleaner does not "
                "run (`netboot cluster doctor %s`)",
                record.token_id, record.cluster, record.cluster,
            )  # fmt: skip
        await self._forget(record)

    async def _forget(self, record: TokenRecord) -> None:
        self._due.pop(_key(record), None)
        await self._store.forget_token(record.cluster, record.token_id)


def _key(record: TokenRecord) -> tuple[str, str]:
    return record.cluster, record.token_id


def _binding(request: JoinRequest, record: TokenRecord) -> Binding:
    """R7: whose certificate this token may be used for."""
    return Binding(
        record.cluster,
        record.token_id,
        record.boot_id,
        request.node,
        request.mac,
        record.expires,
        request.address,
        request.uuid,
    )
