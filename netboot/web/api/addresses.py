"""Leases and the dynamic addresses that pools share: who holds one, what is free, what rests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address

from aiohttp import web

from netboot.errors import Refused
from netboot.model.inventory import Network
from netboot.model.lease import Lease, Rest
from netboot.web.api import answers, guard, shapes
from netboot.web.api.openapi import Route
from netboot.web.api.sources import Sources

HOLDERS = 10_000
"""Holders that one pool is shown with at most; `leases` lists all."""


class AddressViews:
    """The routes of leases and pools."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    def routes(self) -> tuple[Route, ...]:
        """Everything that is answered here."""
        v1 = "/api/v1"
        one = f"{v1}/leases/{{which}}"
        return (
            Route(
                f"{v1}/leases",
                self.leases,
                "leases and resting addresses, by address",
                "Lease",
                True,
                ("network", "limit"),
            ),
            Route(one, self.lease, "one lease", "Lease"),
            Route(
                one,
                self.release,
                "forget a lease, so that another machine may get its address; 409 where its machine shows "
                "a sign of life",
                "Lease",
                query=("force",),
                method="DELETE",
            ),
            Route(f"{v1}/pools", self.pools, "pools, with the usage of their network's ranges", "Pool", True),
            Route(f"{v1}/pools/{{name}}", self.pool, "one pool, with who holds those addresses", "Pool"),
        )

    async def leases(self, request: web.Request) -> web.Response:
        """Leases and resting addresses, by address."""
        network = request.query.get("network")
        found = await self._shown(lambda _, name: network in (None, name))
        return answers.items(found[: answers.limit(request, 1000)], len(found))

    async def lease(self, request: web.Request) -> web.Response:
        """One lease, or one resting address."""
        which = request.match_info["which"]
        rests = {rest.address: rest for rest in await self._from.addresses.resting()}
        if (lease := await self._lease(which)) is not None:
            return answers.one(shapes.lease(lease, self._from.clock(), rests.get(lease.address)), "lease")
        resting = next((rest for address, rest in rests.items() if str(address) == which), None)
        return answers.one(shapes.resting(resting) if resting else None, "lease")

    async def release(self, request: web.Request) -> web.Response:
        """Forget a lease; what it was is the answer."""
        lease = await self._lease(request.match_info["which"])
        if lease is None:
            raise Refused(404, "there is no such lease")
        shown = shapes.lease(lease, self._from.clock())
        why = await self._from.addresses.forget(lease, force=answers.flag(request, "force"))
        if why:
            remedy = "Wait until it is gone, or use force=true (--force): who still has it then loses it"
            return guard.problem(409, f"{lease.address} is not released: {why}", remedy)
        text = f"{lease.address} of {lease.name} ({lease.mac}) was released by an operator"
        self._from.journal.note("lease_released", text, mac=lease.mac, address=str(lease.address))
        return web.json_response(shown)

    async def pools(self, _: web.Request) -> web.Response:
        """Pools."""
        inventory = self._from.inventory()
        used = {n.name: await self._usage(n) for n in inventory.networks.values()}
        sizes = Counter(node.present_pool for node in inventory.nodes)
        pools = sorted(inventory.pools.items())
        return answers.everything(
            [shapes.pool(pool, sizes[name], used[pool.network], None) for name, pool in pools]
        )

    async def pool(self, request: web.Request) -> web.Response:
        """One pool, with who holds the addresses of its network's ranges."""
        inventory = self._from.inventory()
        pool = inventory.pools.get(request.match_info["name"])
        if pool is None:
            raise Refused(404, "there is no such pool")
        network = inventory.networks[pool.network]
        nodes = sum(node.present_pool == pool.name for node in inventory.nodes)
        return answers.one(
            shapes.pool(pool, nodes, await self._usage(network), await self._holders(network)), "pool"
        )

    async def _usage(self, network: Network) -> shapes.Json | None:
        if not network.ranges:
            return None
        return shapes.usage(network, await self._from.addresses.usage(network))

    async def _holders(self, network: Network) -> list[shapes.Json]:
        found = await self._shown(lambda address, _: any(address in r for r in network.ranges))
        return found[:HOLDERS]

    async def _shown(self, wanted: Callable[[IPv4Address, str], bool]) -> list[shapes.Json]:
        """Leases and resting addresses by address, of those that are wanted by address and network."""
        rests: dict[IPv4Address, Rest] = {
            rest.address: rest
            for rest in await self._from.addresses.resting()
            if wanted(rest.address, rest.network)
        }
        leases = [x for x in await self._from.leases.leases() if wanted(x.address, x.network)]
        now = self._from.clock()
        rows = {lease.address: shapes.lease(lease, now, rests.get(lease.address)) for lease in leases}
        rows.update({a: shapes.resting(rest) for a, rest in rests.items() if a not in rows})
        return [rows[address] for address in sorted(rows)]

    async def _lease(self, which: str) -> Lease | None:
        try:
            return await self._from.leases.lease_at(IPv4Address(which))
        except ValueError:
            mac = answers.mac_or_none(which)
        every = await self._from.leases.leases()
        return next(
            (x for x in every if which in (x.holder, x.name) or (mac is not None and x.mac == mac)), None
        )
