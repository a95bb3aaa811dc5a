"""What the join methods that hand a token out share: one at a time for a boot, and taken back for certain."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from netboot.cluster import BootstrapToken, ClusterApi, Clusters
from netboot.errors import StoreError
from netboot.join import JoinMaterial, JoinRequest
from netboot.join.minting import Mint
from netboot.join.naming import Naming
from netboot.join.turns import Turns

log = logging.getLogger("netboot.join")


class TokenJoin(ABC):
    """A join method whose material has a token in it; a variant says what `_material` is."""

    def __init__(self, clusters: Clusters, turns: Turns, naming: Naming, mint: Mint) -> None:
        self._clusters = clusters
        self._turns = turns
        self._naming = naming
        self._mint = mint

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """A new token for this boot. Raises JoinWithheld."""
        async with self._turns.asking(request, now):
            return await self._material(request, now)

    async def revoke(self, boot_id: str) -> None:
        """Delete the tokens of this boot (R10); what cannot be deleted now is tried again until it is gone.

        A deleted token may pass as a bearer for ten more seconds: the API server remembers it (R11).
        """
        async with self._turns.alone(boot_id):
            self._turns.forget(boot_id)
            try:
                await self._mint.revoke(boot_id)
            except StoreError as error:
                log.warning("the tokens of boot %s cannot be looked up: %s", boot_id, error)

    @abstractmethod
    async def _material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """The variant's material, within its turn."""

    @asynccontextmanager
    async def _minted(
        self, api: ClusterApi, request: JoinRequest, now: float
    ) -> AsyncIterator[BootstrapToken]:
        """A new token in place of this boot's former one (R6); gone again where it cannot be handed out.

        It counts against the boot's limit when the block is through.
        """
        await self._mint.revoke(request.boot_id)
        self._turns.check(request.boot_id)
        token = await self._mint.mint(api, request, now)
        try:
            yield token
            await self._turns.count(request.boot_id)
        except BaseException:
            await self._mint.revoke(request.boot_id)
            raise
