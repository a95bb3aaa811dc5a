"""The boot port: scripts, seeds, claims, configurations and reports of booting machines.

Decisions stand in `netboot.boot` (plan, session) and in the join methods; the files beside this one gather
facts, ask the store and record what happened; here stands which path leads to whom. Nothing that a machine
sent comes back in an answer.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address

from netboot.askers import Askers, Neighbour
from netboot.boot import session
from netboot.boot.plan import Images
from netboot.boot.storm import Storm, Wait
from netboot.errors import Refused, StoreError, TooLate
from netboot.events import Boots, Journal
from netboot.join import JoinMaterial, JoinMethod
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory
from netboot.model.machine import Mac
from netboot.proc import BulkPool, Place, Progress
from netboot.store import Store
from netboot.web.accept import Acceptor
from netboot.web.boot.answers import Handler, only, unavailable
from netboot.web.boot.claimed import Assigned, Turns
from netboot.web.boot.claims import Claims
from netboot.web.boot.names import Names
from netboot.web.boot.queue import DownloadQueue
from netboot.web.boot.scripts import Scripts
from netboot.web.boot.sessions import Sessions
from netboot.web.boot.site import Https, Site
from netboot.web.exchange import Request, Response
from netboot.web.http1 import Head
from netboot.web.peers import Limits

__all__ = ["BootHttp", "Https"]

_KEYED = re.compile(r"/boot/([0-9a-f]{32})/(seed\.cpio|claim)")
_STORE_RETRY = 5


class BootHttp:
    """The node side of HTTP. `on_material` is called with each boot that was given join material, and it.

    `clock`: seconds since the epoch. `steady`: seconds that nobody sets, for the queue of downloads.
    """

    def __init__(
        self,
        *,
        inventory: Callable[[], Inventory],
        catalog: Images,
        store: Store,
        boots: Boots,
        journal: Journal,
        bulk: BulkPool,
        joins: Mapping[str, JoinMethod],
        admitted: Callable[[Mac], bool] = lambda mac: False,
        secret: bytes,
        neighbour: Neighbour,
        clock: Callable[[], float],
        boot_port: int,
        limits: Limits | None = None,
        storm: Storm | None = None,
        steady: Callable[[], float] | None = None,
        rng: random.Random | None = None,
        https: Https | None = None,
        names: Callable[[], bytes | None] = bytes,
    ) -> None:
        """`names` is what `/hosts` shows."""
        self._store = store
        self._boots = boots
        self._journal = journal
        self._bulk = bulk
        site = Site(
            inventory=inventory,
            catalog=catalog,
            store=store,
            boots=boots,
            journal=journal,
            askers=Askers(inventory=inventory, store=store, neighbour=neighbour, clock=clock),
            clock=clock,
            secret=secret,
            boot_port=boot_port,
            https=https,
        )
        assigned, turns = Assigned(site), Turns()
        self._queue = DownloadQueue(site, storm, steady or clock)
        self._scripts = Scripts(site, self._queue)
        self._claims = Claims(site, assigned, turns)
        self._sessions = Sessions(site, assigned, turns, joins, admitted, rng)
        self._routes: dict[str, tuple[str, Handler]] = {
            "/hosts": ("GET", Names(site, names).hosts),
            "/boot.ipxe": ("GET", self._scripts.boot_script),
            "/boot.ipxe.0": ("GET", self._scripts.boot_script),  # dnsmasq's pxe-service appends a layer
            "/programs/autoexec.ipxe": ("GET", self._scripts.autoexec),
            "/ipxe": ("GET", self._scripts.script),
            "/boot/claim": ("POST", lambda r: self._claims.claim(r, None)),
            "/boot/config": ("GET", self._sessions.config),
            "/boot/report": ("POST", self._sessions.report),
            "/boot/log": ("POST", self._sessions.log),
        }
        self._acceptor = Acceptor(self, bulk=bulk, journal=journal, clock=clock, limits=limits or Limits())

    # life

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on sockets that are bound already, and take the bulk pool's callbacks."""
        self._bulk.on_progress = self.progress
        self._bulk.on_return = lambda fd, data, client: self._acceptor.adopt(fd, data)
        self._boots.on_end.append(self._ended)
        await self._acceptor.start(sockets)

    async def stop(self) -> None:
        """Stop listening and close every connection; downloads in bulk workers go on."""
        await self._acceptor.stop()
        if self._ended in self._boots.on_end:
            self._boots.on_end.remove(self._ended)

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._acceptor.is_running

    @property
    def listen_addrs(self) -> list[tuple[str, int]]:
        """The addresses and ports that it listens on."""
        return self._acceptor.listen_addrs

    @property
    def on_material(self) -> list[Callable[[Boot, JoinMaterial], None]]:
        """Called with each boot that was given join material, and it."""
        return self._sessions.on_material

    # what the accept point asks

    def body_limit(self, head: Head) -> int:
        """Bytes of body that a request may have: claims, reports and logs have one, nothing else."""
        if head.method != "POST":
            return 0
        if head.path.endswith("/claim"):
            return session.MAX_CLAIM
        return {"/boot/report": session.MAX_REPORT, "/boot/log": session.MAX_LOG}.get(head.path, 0)

    async def boot_at(self, client: IPv4Address) -> str | None:
        """The boot of the machine that this address is leased to."""
        lease = await self._store.lease_at(client)
        return lease.boot_id if lease else None

    def admit(self, method: str, path: str, client: IPv4Address, boot_id: str | None) -> Wait | None:
        """Why this download has to wait, None where it may begin."""
        return self._queue.admit(method, path, client, boot_id)

    def known(self, head: Head, client: IPv4Address) -> Response | None:
        """The script of a machine that asked for it before, while nothing that it says has changed."""
        return self._scripts.known(head, client)

    async def answer(self, request: Request) -> Response:
        """Answer one request; refusals are counted and told to the journal, not to the machine."""
        source = str(request.client)
        try:
            return await self._route(request)
        except TooLate:
            self._journal.counters["boot_too_late"] += 1
            return Response(404, session.NOT_YOURS.encode())
        except Refused as error:
            self._journal.refused("boot_refused", error.reason, source=source)
            told = session.NOT_YOURS if error.status == 404 else f"{error.reason}\n"
            return Response(error.status, told.encode())
        except StoreError as error:
            self._journal.refused("boot_store_failed", f"the store fails: {error}", source=source)
            return unavailable("the appliance cannot write to its disk now", _STORE_RETRY)

    async def _route(self, request: Request) -> Response:
        path, method = request.head.path, request.head.method
        if route := self._routes.get(path):
            return await only(route[0], request, route[1])
        if keyed := _KEYED.fullmatch(path):
            key, what = keyed.groups()
            if what == "claim":
                return await only("POST", request, lambda r: self._claims.claim(r, key))
            return await only("GET", request, lambda r: self._claims.seed(r, key))
        if method not in ("GET", "HEAD", "POST"):
            return Response(501, b"only GET, HEAD and POST are understood\n")
        self._journal.counters["http_not_found"] += 1
        return Response(404, b"there is nothing here\n")

    # what happens elsewhere

    async def place(self, method: str, path: str, client: str) -> Place:
        """Where a download of the HTTPS listener's worker belongs. Raises StoreError and ValueError."""
        address = IPv4Address(client)
        if not self._acceptor.may_ask(client):
            return Place(None, 1, "too many requests")
        boot_id = await self.boot_at(address)
        wait = self.admit(method, path, address, boot_id)
        return Place(boot_id, wait.seconds, str(wait)) if wait else Place(boot_id)

    def relayed(self, fd: int, client: str, local: str) -> None:
        """A request that came over HTTPS; see `proc.HttpsSide.on_relay`."""
        self._acceptor.relayed(fd, client, local)

    def progress(self, progress: Progress) -> None:
        """A bulk worker's word on a download."""
        self._queue.progress(progress)

    def _ended(self, boot: Boot) -> None:
        """A boot is over: its session ends where it joined or was superseded."""
        if self._sessions.over(boot):
            self._acceptor.spawn(self._sessions.end(boot))
