"""The API's routes and their answers. The application keeps no state of its own."""

from __future__ import annotations

import asyncio
import json
from importlib import resources
from typing import Any

from aiohttp import web

from netboot import __version__
from netboot.boot.admission import needs_approval
from netboot.catalog import Catalog
from netboot.errors import ImageError, Refused, StoreError
from netboot.events import Event, Topic
from netboot.model.image import Generation
from netboot.model.inventory import Assignment, Inventory
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.web.api import answers, guard, metrics, openapi, shapes
from netboot.web.api.addresses import AddressViews
from netboot.web.api.assignments import AssignmentViews
from netboot.web.api.audit import Auditor
from netboot.web.api.clusters import ClusterViews
from netboot.web.api.hosts import own_names
from netboot.web.api.openapi import Route
from netboot.web.api.roles import OPEN_PATHS
from netboot.web.api.sources import Sources

STREAMS = 32
"""Live streams at the same time."""
PING = 15
"""Seconds between signs of life on a silent stream."""

_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    **{
        f"/page/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("actions", "alarms", "api", "dom", "machines", "operations", "panels")
    },
    "/page.css": ("page.css", "text/css"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
    "/favicon.ico": ("favicon.svg", "image/svg+xml"),  # browsers ask for it where no page names another
}


_FOLDER = resources.files("netboot.web") / "page"
_FILES = {name: (_FOLDER / name).read_text("utf-8") for name, _ in _PAGE.values()}
"""Read with the program itself: later, as another user, we may not be able to enter its folder."""


def application(sources: Sources) -> web.Application:
    """The API as an aiohttp application; several may live in one process."""
    own = own_names(sources.listen, sources.names)
    auditor = Auditor(sources.audit, sources.journal, sources.clock)
    open_paths = OPEN_PATHS | _PAGE.keys()
    watch = guard.Guard(sources.journal, own, sources.tokens, auditor, sources.clock, open_paths)
    app = web.Application(middlewares=watch.middlewares, client_max_size=4096)
    app.on_response_prepare.append(guard.finish)
    views = Views(sources)
    for route in views.routes():
        if route.method == "GET":
            app.router.add_get(route.path, route.handler, allow_head=True)
        else:
            app.router.add_route(route.method, route.path, route.handler)
    app.on_shutdown.append(views.end_streams)
    return app


class Views:
    """One method per route."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self._addresses = AddressViews(sources)
        self._assignments = AssignmentViews(sources)
        self._cluster_views = ClusterViews(sources)
        self._streams: set[asyncio.Queue[Topic]] = set()
        self._ending = asyncio.Event()

    def routes(self) -> tuple[Route, ...]:
        """Everything that is answered."""
        v1 = "/api/v1"
        few = ("limit",)
        return (
            Route(f"{v1}/boots", self.boots, "boots, newest first", "Boot", True, ("mac", "node", *few)),
            Route(f"{v1}/boots/{{id}}", self.boot, "one boot with its timeline", "Boot"),
            Route(f"{v1}/nodes", self.nodes, "machines", "Node", True, ("pool", "cluster", *few)),
            Route(f"{v1}/nodes/{{name}}", self.node, "one machine by its name or a MAC", "Node"),
            *self._addresses.routes(),
            *self._assignments.routes(),
            *self._cluster_views.routes(),
            Route(f"{v1}/clusters", self.clusters, "clusters", "Cluster", True),
            Route(f"{v1}/clusters/{{name}}", self.cluster, "one cluster", "Cluster"),
            Route(f"{v1}/images", self.images, "images", "Image", True),
            Route(f"{v1}/images/{{name}}", self.image, "one image", "Image"),
            Route(
                f"{v1}/events",
                self.events,
                "a live stream of events `note` (an Event) and `boot` (a Boot); with "
                "`Accept: application/json` the newest events as a list",
                query=("mac", *few),
                media="text/event-stream",
                items="Event",
            ),
            Route(f"{v1}/audit", self.audit, "changes and refused tries, newest first", "Audit", True, few),
            Route(f"{v1}/self", self.self, "whose token this is, and its role", "Self"),
            Route("/api/openapi.json", self.description, "this description"),
            Route("/metrics", self.metrics, "Prometheus metrics", media="text/plain"),
            Route("/healthz", self.healthz, "the event loop turns", media="text/plain"),
            Route("/readyz", self.readyz, "machines are answered", media="text/plain", also=(503,)),
            *(
                Route(path, _file(name, media), "the status page", media=media)
                for path, (name, media) in _PAGE.items()
            ),
        )

    async def boots(self, request: web.Request) -> web.Response:
        """Boots, newest first, of all machines or of one."""
        limit = answers.limit(request, 100)
        mac, name = request.query.get("mac"), request.query.get("node")
        if mac is None and name is None:
            return answers.items([shapes.boot(b) for b in self._from.boots.all(limit=limit)], None)
        found = self._from.boots.of_machine(name) if name is not None else []
        if mac is not None:
            of_card = self._boots_of(answers.mac(mac))
            found = [b for b in of_card if name is None or b in found]
        return answers.items([shapes.boot(b) for b in found[:limit]], len(found))

    async def boot(self, request: web.Request) -> web.Response:
        """One boot."""
        boot = self._from.boots.get(request.match_info["id"])
        return answers.one(shapes.boot(boot) if boot else None, "boot")

    async def nodes(self, request: web.Request) -> web.Response:
        """Declared machines, then those that nobody declared and that hold a lease."""
        wanted = {key: request.query[key] for key in ("pool", "cluster") if key in request.query}
        found = [m for m in await self._machines() if _wanted(m[0], wanted)]
        return answers.items(
            [await self._node(*machine) for machine in found[: answers.limit(request, 1000)]], len(found)
        )

    async def node(self, request: web.Request) -> web.Response:
        """One machine."""
        name = request.match_info["name"]
        machine = await self._machine(name)
        held = await self._held(machine[0]) if machine else ""
        return answers.one(await self._node(*machine, held) if machine else None, "machine")

    async def clusters(self, _: web.Request) -> web.Response:
        """Clusters."""
        return answers.everything(self._clusters())

    async def cluster(self, request: web.Request) -> web.Response:
        """One cluster."""
        return answers.named(self._clusters(), request, "cluster")

    async def images(self, _: web.Request) -> web.Response:
        """Images."""
        return answers.everything(await asyncio.to_thread(self._images))

    async def image(self, request: web.Request) -> web.Response:
        """One image."""
        return answers.named(await asyncio.to_thread(self._images), request, "image")

    async def audit(self, request: web.Request) -> web.Response:
        """Changes and refused tries."""
        found = await self._from.audit.audit(limit=answers.limit(request, 100))
        return answers.items([shapes.audit(entry) for entry in found], None)

    async def self(self, request: web.Request) -> web.Response:
        """Whose token the request came with."""
        return web.json_response(shapes.caller(request[guard.CALLER]))

    async def description(self, _: web.Request) -> web.Response:
        """The OpenAPI document."""
        return web.json_response(openapi.document(self.routes(), __version__, OPEN_PATHS | _PAGE.keys()))

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus metrics."""
        sources = self._from
        leases = await sources.leases.leases()
        boots = sources.boots.all(limit=answers.MOST)
        counters = sources.journal.counters
        networks = [n for n in sources.inventory().networks.values() if n.ranges]
        pools = {network.name: await sources.addresses.usage(network) for network in networks}
        operations = sources.assigner.operations(limit=answers.MOST)
        text = metrics.render(
            __version__, counters, boots, leases, pools, sources.processes(), sources.clock(), operations
        )
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def healthz(self, _: web.Request) -> web.Response:
        """We answer."""
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """Whether machines are answered."""
        ready = self._from.ready()
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The live stream, or the newest events."""
        mac = answers.mac(request.query["mac"]) if "mac" in request.query else None
        if "application/json" in request.headers.get("Accept", ""):
            newest = self._from.journal.events(mac, answers.limit(request, 100))
            return answers.items([shapes.event(event) for event in newest], None)
        return await self._stream(request, mac)

    async def end_streams(self, _: web.Application) -> None:
        """Let the open streams go: a shutdown waits for nobody's browser."""
        self._ending.set()

    async def _stream(self, request: web.Request, mac: Mac | None) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(content_type="text/event-stream")
        if len(self._streams) >= STREAMS:
            raise Refused(503, f"{STREAMS} streams are open already")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        queue = self._from.journal.subscribe()
        self._streams.add(queue)
        try:
            await response.prepare(request)
            await response.write(b": netboot\n\n")
            while self._goes_on(request):
                news = await self._next(request, queue, mac)
                if self._goes_on(request):
                    await response.write(news)
        except ConnectionError:
            pass  # the reader went away
        finally:
            self._streams.discard(queue)
            self._from.journal.unsubscribe(queue)
        return response

    def _goes_on(self, request: web.Request) -> bool:
        """Whether a stream may go on: its token is in force, with the role that it had, and so are we."""
        return not self._ending.is_set() and request[guard.CALLER] in self._from.tokens()

    async def _next(self, request: web.Request, queue: asyncio.Queue[Topic], mac: Mac | None) -> bytes:
        """All that is waiting, as events; a comment where nothing came for `PING` seconds, or at the end."""
        for _ in range(PING):
            try:
                waiting = [await asyncio.wait_for(queue.get(), 1.0)]
                break
            except TimeoutError:
                if not self._goes_on(request):
                    return b":\n\n"
        else:
            return b":\n\n"
        while not queue.empty() and len(waiting) < 100:
            waiting.append(queue.get_nowait())
        return b"".join(_sse(topic) for topic in _newest(waiting) if mac is None or topic[1].mac == mac)

    def _boots_of(self, mac: Mac) -> list[Any]:
        node = self._from.inventory().by_mac.get(mac)
        return (
            self._from.boots.of_machine(node.name) if node else self._from.boots.all(mac, limit=answers.MOST)
        )

    async def _machines(self) -> list[tuple[Assignment, tuple[Mac, ...]]]:
        inventory = self._from.inventory()
        declared = [(inventory.assign(node), node.macs) for node in inventory.nodes]
        names = inventory.by_name
        strangers = [x for x in await self._from.leases.leases() if x.holder not in names]
        caught = [(found, (lease.mac,)) for lease in strangers if (found := self._caught(inventory, lease))]
        return declared + caught

    def _caught(self, inventory: Inventory, lease: Lease) -> Assignment | None:
        pools = (p for p in inventory.pools.values() if p.catch_all and p.network == lease.network)
        pool = next(pools, None)
        return inventory.catch(lease.mac, pool) if pool and lease.mac not in inventory.by_mac else None

    async def _machine(self, name: str) -> tuple[Assignment, tuple[Mac, ...]] | None:
        inventory = self._from.inventory()
        node = inventory.by_name.get(name)
        mac = None if node else answers.mac_or_none(name)
        if node is None and mac is not None:
            node = inventory.by_mac.get(mac)
        if node is not None:
            return inventory.assign(node), node.macs
        return next((m for m in await self._machines() if name == m[0].name or mac in m[1]), None)

    async def _held(self, assignment: Assignment) -> str:
        """Why its name is held; a disk that fails keeps nobody from seeing the machine."""
        wanted = (assignment.cluster.name, assignment.name)
        try:
            holds = await self._from.bindings.holds()
        except StoreError:
            return ""
        return next((hold.alarm for hold in holds if (hold.cluster, hold.node) == wanted), "")

    async def _node(self, assignment: Assignment, macs: tuple[Mac, ...], held: str = "") -> shapes.Json:
        holder = assignment.node.holder if assignment.node else str(macs[0])
        lease = await self._from.leases.lease_of(holder, assignment.network.name)
        newest = self._from.boots.of_node(assignment.name) or next(
            (boot for mac in macs if (boot := self._from.boots.current(mac))), None
        )
        placed, admission = self._assignments.shown(holder), self._admission(assignment, macs)
        drift = self._from.node_drift(assignment.cluster.name, assignment.name)
        return shapes.node(
            assignment, macs, lease, newest, placed=placed, admission=admission, drift=drift, held=held
        )

    def _admission(self, assignment: Assignment, macs: tuple[Mac, ...]) -> str:
        if not needs_approval(assignment):
            return "automatic"
        return "admitted" if any(map(self._from.assigner.admitted, macs)) else "waiting"

    def _clusters(self) -> list[shapes.Json]:
        inventory, problem, state = (
            self._from.inventory(),
            self._from.cluster_problem,
            self._from.cluster_state,
        )
        pools = {
            c: sorted(p.name for p in inventory.pools.values() if p.cluster == c) for c in inventory.clusters
        }
        return [
            shapes.cluster(c, pools[name], problem(name), state(name))
            for name, c in sorted(inventory.clusters.items())
        ]

    def _images(self) -> list[shapes.Json]:
        catalog = self._from.catalog
        return [shapes.image(n, catalog.generations(n), _latest(catalog, n)) for n in catalog.names()]


def _latest(catalog: Catalog, name: str) -> Generation | ImageError:
    try:
        return catalog.generation(name)
    except ImageError as error:
        return error


def _newest(waiting: list[Topic]) -> list[Topic]:
    """What is worth sending: of each boot only its newest state."""
    newest = {topic[1].id: topic for topic in waiting if not isinstance(topic[1], Event)}
    return [topic for topic in waiting if isinstance(topic[1], Event) or newest[topic[1].id] is topic]


def _sse(topic: Topic) -> bytes:
    _, value = topic
    if isinstance(value, Event):
        return f"id: {value.number}\nevent: note\ndata: {json.dumps(shapes.event(value))}\n\n".encode()
    return f"event: boot\ndata: {json.dumps(shapes.boot(value))}\n\n".encode()


def _file(name: str, media: str) -> guard.Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=_FILES[name], content_type=media, charset="utf-8")

    return answer


def _wanted(assignment: Assignment, wanted: dict[str, str]) -> bool:
    is_of = {"pool": assignment.pool.name, "cluster": assignment.cluster.name}
    return all(is_of[key] == value for key, value in wanted.items())
