"""Clusters by the API: the doctor, and names that are held."""

from __future__ import annotations

from aiohttp import web

from netboot.errors import Refused
from netboot.web.api import answers
from netboot.web.api.cluster_shapes import examination, hold
from netboot.web.api.openapi import Route
from netboot.web.api.sources import Sources


class ClusterViews:
    """The routes of the doctor and of held names."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    def routes(self) -> tuple[Route, ...]:
        """Everything that is answered here."""
        v1 = "/api/v1"
        return (
            Route(
                f"{v1}/clusters/{{name}}/doctor",
                self.doctor,
                "what is missing in a cluster, or too much; takes some seconds, for a token is made that "
                "lives so long",
                "Examination",
            ),
            Route(f"{v1}/holds", self.holds, "names that nobody is given a credential for", "Hold", True),
            Route(
                f"{v1}/holds/{{name}}",
                self.release,
                "hold a node's name no longer",
                "Hold",
                True,
                method="DELETE",
            ),
        )

    async def doctor(self, request: web.Request) -> web.Response:
        """Examine a cluster now."""
        cluster = self._from.inventory().clusters.get(request.match_info["name"])
        if cluster is None:
            raise Refused(404, "there is no such cluster")
        if not cluster.join.has_api:
            raise Refused(409, f"{cluster.name} has no API to ask: join method {cluster.join.method}")
        return web.json_response(examination(cluster.name, await self._from.examine(cluster)))

    async def holds(self, _: web.Request) -> web.Response:
        """Every held name."""
        return answers.everything([hold(binding) for binding in await self._from.bindings.holds()])

    async def release(self, request: web.Request) -> web.Response:
        """Let a name go, in each cluster that it is held in."""
        name, bindings = request.match_info["name"], self._from.bindings
        found = [binding for binding in await bindings.holds() if binding.node == name]
        if not found:
            raise Refused(404, f"the name {name} is not held")
        for cluster in {binding.cluster for binding in found}:
            await bindings.let_go(cluster, name)
        self._from.journal.note("name_released", f"{name} is held no longer", mac=found[0].mac)
        return answers.everything([hold(binding) for binding in found])
