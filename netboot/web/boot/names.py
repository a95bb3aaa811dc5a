"""The names and addresses of all nodes, for name servers: no secret, but nobody's business elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from netboot.errors import Refused
from netboot.web.boot.site import Site
from netboot.web.exchange import Request, Response


class Names:
    """`/hosts`: what hosts(5) and CoreDNS's plugin of that name read."""

    def __init__(self, site: Site, content: Callable[[], bytes | None]) -> None:
        self._site = site
        self._content = content

    async def hosts(self, request: Request) -> Response:
        """The file, for clients in declared networks. Raises Refused."""
        networks = self._site.inventory().networks.values()
        if not any(request.client in network.subnet for network in networks):
            raise Refused(404, "the names of nodes, asked for from outside of every declared network")
        content = self._content()
        if content is None:  # an empty list would take the place of the last one that a name server fetched
            raise Refused(503, "the names of nodes are not known yet: the appliance has just started")
        return Response(200, content, "text/plain; charset=us-ascii")
