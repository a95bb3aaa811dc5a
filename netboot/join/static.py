"""Join method `static`: for clusters built by hand, certificates and all that a node needs to be Ready.

They are signed by the authority that the operator's file names, new for each boot, or taken from the
operator's folder. Both are read at each use, so a renewed file counts at once.
"""

from __future__ import annotations

import asyncio

from netboot.cluster import Clusters, NodeObject
from netboot.errors import ConfigError
from netboot.join import JoinMaterial, JoinRequest, JoinWithheld
from netboot.join.naming import Naming
from netboot.join.static_files import static_files
from netboot.join.turns import Turns

LOOK_AGAIN = 15.0
"""Seconds after which a node asks again where the operator's files are wrong."""


class StaticJoin:
    """Hands out certificates that no API was asked for."""

    def __init__(self, clusters: Clusters, turns: Turns, naming: Naming) -> None:
        self._clusters = clusters
        self._turns = turns
        self._naming = naming

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """Certificates for this boot. Raises JoinWithheld."""
        async with self._turns.asking(request, now):
            before = await self._free(request, now)
            self._turns.check(request.boot_id)
            try:
                files = await asyncio.to_thread(static_files, request, now)
            except ConfigError as error:
                raise JoinWithheld("; ".join(error.problems), LOOK_AGAIN) from None
            await self._turns.count(request.boot_id)
            return JoinMaterial("static", files, (), before.incarnation if before else "")

    async def revoke(self, boot_id: str) -> None:
        """Nothing can be taken back: a certificate is good until it expires."""
        async with self._turns.alone(boot_id):
            self._turns.forget(boot_id)

    async def _free(self, request: JoinRequest, now: float) -> NodeObject | None:
        """R19 where there is an API to ask: without a kubeconfig nobody can tell who lives under a name."""
        if not request.cluster.join.has_api:
            return None
        return await self._naming.free(self._clusters.api(request.cluster.name), request, now)
