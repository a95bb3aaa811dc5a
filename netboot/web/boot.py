"""The boot port: scripts, seeds, claims, configurations and reports of booting machines.

Decisions stand in `netboot.boot` (plan, session) and in the join methods; here facts are gathered, the store
is asked, and what happened is recorded. Nothing that a machine sent comes back in an answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import TypeVar
from weakref import WeakValueDictionary

from netboot.askers import Askers, Neighbour
from netboot.boot import ipxe, session
from netboot.boot.key import boot_key, boot_of_session, session_secret
from netboot.boot.node_config import configuration
from netboot.boot.plan import BootPlan, Images, NoBoot, decide
from netboot.boot.sealing import Recipient, recipient, seal
from netboot.boot.seed import seed_cpio
from netboot.boot.session import Asker
from netboot.boot.stall import DISK, QUEUED, last_step
from netboot.boot.storm import Storm, Wait
from netboot.errors import (
    ClusterError,
    ClusterUnavailable,
    ConfigError,
    JoinWithheld,
    Refused,
    StoreError,
    TooLate,
)
from netboot.events import Boots, Journal
from netboot.join import JoinMaterial, JoinMethod, request_of
from netboot.model.boot import Boot, Claim
from netboot.model.inventory import Assignment, Inventory, Network, NoMatch
from netboot.model.lease import Lease
from netboot.model.machine import Client, Mac, uuid_of
from netboot.proc import BulkPool, Place, Progress
from netboot.store import Store
from netboot.web.accept import Acceptor, Limits, Request, Response
from netboot.web.http1 import Head
from netboot.web.scripts import KnownScripts

_KEYED = re.compile(r"/boot/([0-9a-f]{32})/(seed\.cpio|claim)")
_BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9._~-]{16,512})")
_STEP_OF_FILE = {"vmlinuz": "kernel", "initrd.img": "initrd", "root.squashfs": "squashfs"}
_CAS_TRIES = 5
_STORE_RETRY = 5
_MAX_LOG_LINES = 2000
_MAX_REMEMBERED = 20_000
_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True)
class _Session:
    """A live session and what it belongs to."""

    claim: Claim
    boot: Boot


@dataclass(frozen=True, slots=True)
class Https:
    """HTTPS beside the boot port: its port, and the CA that a seed tells its machine to trust (PEM or empty).

    With a CA, nodes claim and report over HTTPS; without one they cannot check it and stay with HTTP.
    """

    port: int
    ca: str = ""


class BootHttp:
    """The node side of HTTP. `on_material` is called with each boot that was given join material, and it.

    `joins` holds the join methods by name; a method counts its credentials against the boot's limit itself.
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
        secret: bytes,
        neighbour: Neighbour,
        clock: Callable[[], float],
        boot_port: int,
        limits: Limits | None = None,
        storm: Storm | None = None,
        rng: random.Random | None = None,
        https: Https | None = None,
    ) -> None:
        self.on_material: list[Callable[[Boot, JoinMaterial], None]] = []
        self._inventory = inventory
        self._catalog = catalog
        self._store = store
        self._boots = boots
        self._journal = journal
        self._bulk = bulk
        self._joins = joins
        self._secret = secret
        self._askers = Askers(inventory=inventory, store=store, neighbour=neighbour, clock=clock)
        self._scripts = KnownScripts(
            inventory=inventory, catalog=catalog, boots=boots, askers=self._askers, clock=clock
        )
        self._clock = clock
        self._boot_port = boot_port
        self._rng = rng or random.Random()
        self._storm = storm
        self._https = https
        self._assigned: OrderedDict[str, Assignment] = OrderedDict()  # a claimed boot keeps it over a reload
        self._log_lines: OrderedDict[str, int] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._routes: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
            "/boot.ipxe": ("GET", self._boot_script),
            "/boot.ipxe.0": ("GET", self._boot_script),  # dnsmasq's pxe-service appends a layer
            "/programs/autoexec.ipxe": ("GET", self._autoexec),
            "/ipxe": ("GET", self._script),
            "/boot/claim": ("POST", lambda r: self._claim(r, None)),
            "/boot/config": ("GET", self._config),
            "/boot/report": ("POST", self._report),
            "/boot/log": ("POST", self._log),
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
        """Downloads of `/images` wait for their turn where `server.storm` limits them; nothing else does."""
        if method != "GET" or not path.startswith("/images/"):
            return None
        # the script has waited for kernel and initrd
        return self._queued(client, boot_id, "squashfs" if path.endswith("/root.squashfs") else None)

    async def place(self, method: str, path: str, client: str) -> Place:
        """The same question from a worker of the HTTPS listener. Raises StoreError and ValueError."""
        address = IPv4Address(client)
        if not self._acceptor.may_ask(client):
            return Place(None, 1, "too many requests")
        boot_id = await self.boot_at(address)
        wait = self.admit(method, path, address, boot_id)
        return Place(boot_id, wait.seconds, str(wait)) if wait else Place(boot_id)

    def relayed(self, fd: int, client: str, local: str) -> None:
        """A request that came over HTTPS; see `proc.HttpsSide.on_relay`."""
        self._acceptor.relayed(fd, client, local)

    def _queued(self, client: IPv4Address, boot_id: str | None, step: str | None) -> Wait | None:
        """The machine's place in the queue, shown at this step of its boot; None where it may download."""
        wait = self._storm.enter(str(client), self._clock()) if self._storm else None
        if wait is not None:
            self._journal.counters["downloads_queued"] += 1
        boot = self._boots.get(boot_id) if boot_id else None
        if boot is not None and step is not None:
            shown = boot.step(step)
            if wait is not None or (shown is not None and QUEUED in shown.detail):
                self._boots.step(boot.id, step, detail=str(wait) if wait else "its turn to download came")
        return wait

    def known(self, head: Head, client: IPv4Address) -> Response | None:
        """The script of a machine that asked for it before, while nothing that it says has changed."""
        if head.path != "/ipxe" or head.method != "GET":
            return None
        text = self._scripts.find(client, head.raw_target)
        return _script(text) if text is not None else None

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
            return _unavailable("the appliance cannot write to its disk now", _STORE_RETRY)

    async def _route(self, request: Request) -> Response:
        path, method = request.head.path, request.head.method
        if route := self._routes.get(path):
            return await _only(route[0], request, route[1])
        if keyed := _KEYED.fullmatch(path):
            key, what = keyed.groups()
            if what == "claim":
                return await _only("POST", request, lambda r: self._claim(r, key))
            return await _only("GET", request, lambda r: self._seed(r, key))
        if method not in ("GET", "HEAD", "POST"):
            return Response(501, b"only GET, HEAD and POST are understood\n")
        self._journal.counters["http_not_found"] += 1
        return Response(404, b"there is nothing here\n")

    # scripts

    async def _boot_script(self, request: Request) -> Response:
        return _script(ipxe.boot_script(self._base(request)))

    async def _autoexec(self, request: Request) -> Response:
        return _script(ipxe.autoexec_script(self._base(request)))

    async def _script(self, request: Request) -> Response:
        """The machine's script, always 200: iPXE shows a person nothing of an error's text."""
        base = self._base(request)
        try:
            return _script(await self._script_for(request, base))
        except StoreError as error:
            source = str(request.client)
            self._journal.refused("boot_store_failed", f"the store fails: {error}", source=source)
            return _script(ipxe.wait_script("the appliance cannot read what it remembers", base=base))

    async def _script_for(self, request: Request, base: str) -> str:
        try:
            mac = Mac(request.head.query.get("mac", ""))
        except ValueError:
            self._refuse_script("a script was asked for without a MAC address", request.client)
            return ipxe.wait_script("this machine did not say its MAC address", base=base)
        asker = await self._askers.at(request.client)
        lease = asker.lease
        boot = self._boots.get(lease.boot_id) if lease and lease.boot_id else None
        if lease is None or lease.mac != mac or not self._askers.held(lease, boot):
            claims = Client(mac, uuid=uuid_of(request.head.query.get("uuid", "")))
            return self._script_for_stranger(claims, request.client, base)
        if not session.proved(asker):
            reason = session.doubt(asker)
            self._refuse_script(f"{mac} asked, but {reason}", request.client)
            return ipxe.wait_script(reason, base=base, seconds=10, renew=True)
        found = self._askers.match(mac, lease.network, lease.holder)
        decision = decide(found, self._catalog, self._inventory().mirrors)
        if isinstance(decision, NoBoot):
            if boot is not None and not boot.claimed:
                self._boots.step(boot.id, "script", detail=decision.reason)
                self._boots.stop(boot.id, "script", f"{decision.reason}; {decision.remedy}")
            return ipxe.no_boot_script(decision, base=base)
        if boot is None or boot.ended is not None or await self._store.claim_of(boot.id) is not None:
            return ipxe.wait_script("that boot is over, a new one begins", base=base, seconds=2, renew=True)
        if wait := self._queued(request.client, boot.id, "script"):
            remedy = "server.storm sets how many download at once"
            return ipxe.wait_script(str(wait), base=base, remedy=remedy, seconds=wait.seconds, renew=True)
        self._planned(boot, decision, lease)
        key = boot_key(self._secret, boot.id)
        plain = self._plain_base(request)
        text = ipxe.machine_script(decision, base=base, key=key, mac=mac, address=lease.address, plain=plain)
        if self._storm is None and not request.secure:
            self._scripts.keep(request.client, request.head.raw_target, lease, boot.id, decision, text)
        return text

    def _script_for_stranger(self, claims: Client, client: IPv4Address, base: str) -> str:
        """Asked from another address than the leased one: no seed, no boot touched, an explanation."""
        networks = [n for n in self._inventory().networks.values() if client in n.subnet]
        mac, assignment = claims.mac, self._inventory().match(claims, networks)
        if isinstance(assignment, NoMatch):
            self._refuse_script(f"{mac}: {assignment.reason}", client)
            decision = decide(assignment, self._catalog)
            assert isinstance(decision, NoBoot)
            return ipxe.no_boot_script(decision, base=base)
        if self._unwritten(assignment.name, client):
            remedy = "free space on the disk of data_dir; this machine asks again by itself"
            return ipxe.wait_script(DISK, base=base, remedy=remedy, seconds=10, renew=True)
        self._refuse_script(f"{mac} asked from an address that is not leased to it", client)
        reason = f"{client} is not the address that is leased to {mac}"
        remedy = session.whose_address(assignment.network)
        return ipxe.wait_script(reason, base=base, remedy=remedy, seconds=10, renew=True)

    def _unwritten(self, node: str, client: IPv4Address) -> bool:
        """Whether DHCP acknowledged this address to the node though its lease could not be written."""
        boot = self._boots.of_node(node)
        ack = boot.step("ack") if boot else None
        return boot is not None and ack is not None and boot.address == client and DISK in ack.detail

    def _refuse_script(self, text: str, client: IPv4Address) -> None:
        self._journal.refused("script_refused", text, source=str(client))

    def _planned(self, boot: Boot, plan: BootPlan, lease: Lease) -> None:
        generation = plan.generation
        self._boots.annotate(boot.id, image=generation.name, generation=generation.id, address=lease.address)
        self._boots.step(boot.id, "script")

    # seed and claim

    async def _seed(self, request: Request, key: str) -> Response:
        asker = await self._askers.at(request.client)
        lease = session.leased_to(asker)
        boot = session.boot_of_key(key, self._candidates(lease), self._secret)
        session.check_unused(boot, await self._store.claim_of(boot.id), self._clock())
        assignment = self._assignment(boot, lease.network)
        https = self._https if self._https and self._https.ca else None
        seed = seed_cpio(
            key=key,
            node=assignment.name,
            join=assignment.cluster.join.method,
            server=self._base(request, secure=https is not None),
            ca=https.ca if https else "",
        )
        if request.head.method == "GET":
            self._boots.step(boot.id, "seed")
        return Response(200, seed, "application/octet-stream")

    async def _claim(self, request: Request, key: str | None) -> Response:
        wanted = session.parse_claim(request.body)
        asker = await self._askers.at(request.client)
        lease = session.leased_to(asker)
        boot = self._boot_to_claim(lease, key)
        async with self._lock(boot.id):
            try:
                return await self._claim_boot(wanted, asker, lease, boot)
            except StoreError as error:
                self._disk_refuses(boot.id, error)
                raise

    def _disk_refuses(self, boot_id: str, error: StoreError) -> None:
        """Let the machine's boot show what it waits for, at the step that it has reached."""
        boot = self._boots.get(boot_id)
        last = last_step(boot) if boot else None
        if last is not None and last.detail != session.BY_TFTP:  # that one decides about the next claim
            self._boots.step(boot_id, last.step, detail=f"{DISK}: {error}")

    async def _claim_boot(
        self, wanted: session.ClaimRequest, asker: Asker, lease: Lease, boot: Boot
    ) -> Response:
        now = self._clock()
        standing = await self._store.claim_of(boot.id)
        repeated = session.check_claim(wanted, asker, lease, boot, standing, now)
        if repeated is None:
            to = recipient(wanted.certificate)
            assignment = self._assignment(boot, lease.network)
            await self._lengthen(lease, assignment.network)
            repeated = await self._burn(wanted, asker, to, boot, now)
            self._claimed(boot, wanted, lease, assignment)
        secret = session_secret(self._secret, boot.id, repeated.certificate_sha256)
        self._journal.counters["claims_answered"] += 1
        return _json({"session": secret, "node": boot.node})

    def _boot_to_claim(self, lease: Lease, key: str | None) -> Boot:
        if key is not None:
            return session.boot_of_key(key, self._candidates(lease), self._secret)
        boot = self._boots.get(lease.boot_id) if lease.boot_id else None
        if boot is None:
            raise Refused(404, f"{lease.mac} claims without a key, and is in no boot")
        session.check_without_key(boot)
        return boot

    async def _burn(
        self, wanted: session.ClaimRequest, asker: Asker, to: Recipient, boot: Boot, now: float
    ) -> Claim:
        """Burn the key on disk; Refused where somebody else was faster."""
        claim = Claim(boot.id, asker.address, wanted.sha256, to.pem, to.sha256, now)
        standing = await self._store.burn(claim)
        if standing != claim and not session.repeats(wanted, asker.address, standing, now):
            raise Refused(404, f"the key of {boot.node}'s boot {boot.id} was used already")
        return standing

    async def _lengthen(self, lease: Lease, network: Network) -> None:
        """Turn the boot lease into the network's lease, on disk; a renewal by DHCP meanwhile is no harm."""
        seen: Lease | None = lease
        for _ in range(_CAS_TRIES):
            if seen is None or (seen.holder, seen.mac) != (lease.holder, lease.mac):
                raise Refused(404, f"the address of {lease.mac} went to another machine")
            now = self._clock()
            longer = replace(seen, expires=max(seen.expires, now + network.lease), last_seen=now)
            if await self._store.claim_lease(longer, seen):
                return
            seen = await self._store.lease_at(lease.address)
        raise StoreError(f"the lease of {lease.mac} changed {_CAS_TRIES} times while it was written")

    def _claimed(
        self, boot: Boot, wanted: session.ClaimRequest, lease: Lease, assignment: Assignment
    ) -> None:
        _remember(self._assigned, boot.id, assignment)
        self._boots.annotate(boot.id, address=lease.address, system_uuid=wanted.uuid)
        self._boots.step(boot.id, "claim")
        self._boots.claimed(boot.id)

    # session

    async def _config(self, request: Request) -> Response:
        boot_id = (await self._session(request)).boot.id
        async with self._lock(boot_id):
            live = await self._session(request)  # once more: the one before us may have changed it
            try:
                return await self._configure(live, self._base(request))
            except (JoinWithheld, ClusterError, ConfigError) as error:
                return self._withheld(live.boot, error)

    async def _configure(self, live: _Session, base: str) -> Response:
        boot = live.boot
        if boot.ended is not None:
            raise Refused(404, f"the configuration of a boot that is over: {boot.node}'s {boot.id}")
        assignment = self._assignment_of(live)
        method = self._joins.get(assignment.cluster.join.method)
        if method is None:
            raise JoinWithheld(f"join method {assignment.cluster.join.method} is not built in", None)
        request = request_of(
            assignment, boot_id=boot.id, mac=boot.mac, uuid=boot.system_uuid, address=live.claim.address
        )
        material = await method.material(request, self._clock())
        try:
            plain = configuration(assignment, server=base, join=material.files)
            sealed = seal(plain, recipient(live.claim.certificate))
            if (present := self._boots.get(boot.id)) is None or present.ended is not None:
                raise Refused(404, f"{boot.node}'s boot {boot.id} ended while its credential was made")
        except BaseException:
            await method.revoke(boot.id)
            raise
        self._boots.step(boot.id, "config", detail="handed over")
        for callback in self.on_material:
            callback(boot, material)
        return Response(200, sealed, "application/cms")

    def _withheld(self, boot: Boot, error: JoinWithheld | ClusterError | ConfigError) -> Response:
        """No configuration now, or never for this boot: the machine and the operator are told why."""
        reason = str(error)
        wait: float | None = None
        if isinstance(error, JoinWithheld | ClusterUnavailable):
            reason, wait = error.reason, error.retry_after
        self._boots.step(boot.id, "config", detail=reason)
        self._journal.refused("join_withheld", f"{boot.node}: {reason}", source=str(boot.address or boot.mac))
        if wait is None:
            return Response(409, f"{_one_line(reason)}\n".encode())
        return _unavailable(_one_line(reason), wait * self._rng.uniform(1.0, 1.25))

    async def _report(self, request: Request) -> Response:
        live = await self._session(request)
        report = session.parse_report(request.body)
        boot_id = live.boot.id
        self._boots.step(boot_id, report.step, bytes=report.bytes, of=report.of, detail=report.detail)
        if report.failed:
            self._boots.stop(boot_id, report.step, report.detail or "the machine gave no reason")
        elif report.step == "join" and report.detail == "none" and self._joins_nothing(live):
            self._boots.joined(boot_id)
        return Response(204)

    def _joins_nothing(self, live: _Session) -> bool:
        return self._assignment_of(live).cluster.join.method == "none"

    async def _log(self, request: Request) -> Response:
        live = await self._session(request)
        boot, said = live.boot, self._log_lines.get(live.boot.id, 0)
        lines = session.parse_log(request.body)[: max(0, _MAX_LOG_LINES - said)]
        _remember(self._log_lines, boot.id, said + len(lines))
        for line in lines:
            self._journal.note("node_log", line, mac=boot.mac, node=boot.node)
        return Response(204)

    async def _session(self, request: Request) -> _Session:
        """The live session of a request's Bearer; Refused (404) for a wrong or dead one."""
        bearer = _BEARER.fullmatch(request.head.headers.get("authorization", ""))
        boot_id = boot_of_session(bearer[1]) if bearer else None
        if bearer is None or boot_id is None:
            raise Refused(404, "a request without a session of ours")
        boot, claim = self._boots.get(boot_id), await self._store.claim_of(boot_id)
        claim = session.check_session(bearer[1], claim, boot, self._secret, self._clock())
        assert boot is not None
        newest = self._boots.of_node(boot.node)
        if newest is not None and newest.id != boot_id and await self._store.claim_of(newest.id) is not None:
            raise Refused(404, f"the session of {boot.node}'s boot {boot_id}: a newer boot was claimed")
        return _Session(claim, boot)

    # what happens elsewhere

    def progress(self, progress: Progress) -> None:
        """A bulk worker's word on a download: a step of the boot that it belongs to."""
        if self._storm is not None and progress.path.startswith("/images/"):
            now = self._clock()
            self._storm.progress(
                progress.client, progress.path, progress.sent, progress.of, progress.done, now
            )
        if progress.boot_id is None:
            return
        path = PurePosixPath(progress.path)
        step = "program" if progress.path.startswith("/programs/") else _STEP_OF_FILE.get(path.name)
        if step is None or (step != "program" and not progress.path.startswith("/images/")):
            return
        self._boots.step(progress.boot_id, step, bytes=progress.sent, of=progress.of)

    def _ended(self, boot: Boot) -> None:
        """A boot is over: its session ends where it joined or was superseded; a failed one may still log."""
        newest = self._boots.of_node(boot.node)
        superseded = newest is not None and newest.id != boot.id and newest.claimed
        if boot.claimed and (boot.state == "joined" or superseded):
            self._acceptor.spawn(self._end_session(boot))

    async def _end_session(self, boot: Boot) -> None:
        self._assigned.pop(boot.id, None)
        self._log_lines.pop(boot.id, None)
        try:
            await self._store.end_claim(boot.id)
        except StoreError as error:  # the boot's own state ends the session all the same
            self._journal.refused("boot_store_failed", f"a session's end: {error}", source=boot.id)

    # facts

    def _base(self, request: Request, *, secure: bool = False) -> str:
        """Our URL as its network has it: HTTPS where the request came so, or where `secure` asks."""
        if self._https is not None and (secure or request.secure):
            return ipxe.base_url(self._own_address(request), self._https.port, secure=True)
        return self._plain_base(request)

    def _plain_base(self, request: Request) -> str:
        return ipxe.base_url(self._own_address(request), self._boot_port)

    def _own_address(self, request: Request) -> IPv4Address:
        """Where this machine reaches us: from the file or the socket, never from Host."""
        networks = self._inventory().networks.values()
        ours = [n.address for n in networks if n.address and request.client in n.subnet]
        return ours[0] if ours else request.local

    def _candidates(self, lease: Lease) -> list[Boot]:
        """The boots that a key from this address may belong to: the lease's, then the machine's others."""
        own = self._boots.get(lease.boot_id) if lease.boot_id else None
        return [*([own] if own else []), *self._boots.all(lease.mac, limit=4)]

    def _assignment_of(self, live: _Session) -> Assignment:
        """What a claimed boot belongs to; after a restart the address of its claim tells its network."""
        networks = self._inventory().networks.values()
        network = next((n.name for n in networks if live.claim.address in n.subnet), "")
        return self._assignment(live.boot, network)

    def _assignment(self, boot: Boot, network: str) -> Assignment:
        """What a boot belongs to: as it was when it was claimed, else as the inventory has it now."""
        if kept := self._assigned.get(boot.id):
            return kept
        found = self._askers.match(boot.mac, network, boot.node)
        if isinstance(found, NoMatch):
            raise Refused(404, f"{boot.mac} belongs to nothing any more: {found.reason}")
        return found

    def _lock(self, boot_id: str) -> asyncio.Lock:
        """One request of a boot at a time, where the order of writes matters."""
        lock = self._locks.get(boot_id)
        if lock is None:
            lock = self._locks[boot_id] = asyncio.Lock()
        return lock


async def _only(method: str, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
    """Run the handler if the method fits; HEAD where GET does, but never where asking changes something."""
    asked = request.head.method
    harmless = request.head.path != "/boot/config"
    if asked == method or (asked == "HEAD" and method == "GET" and harmless):
        return await handler(request)
    return Response(405, b"another method is needed here\n", fields=(("Allow", method),))


def _script(text: str) -> Response:
    return Response(200, text.encode("ascii"), "text/plain; charset=us-ascii")


def _json(fields: Mapping[str, str]) -> Response:
    text = json.dumps(fields, separators=(",", ":"))
    return Response(200, f"{text}\n".encode("ascii"), "application/json")


def _unavailable(reason: str, seconds: float) -> Response:
    wait = str(max(1, round(seconds)))
    return Response(503, f"{reason}\n".encode(), fields=(("Retry-After", wait),))


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:500]


def _remember(memory: OrderedDict[str, _Kept], key: str, value: _Kept) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _MAX_REMEMBERED:
        memory.popitem(last=False)
