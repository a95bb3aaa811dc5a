"""The composition root: the operator's file in, running servers out. Only this room names concrete variants.

`serve` is the daemon's whole life: what needs root is done by `startup.prepare`, then one TaskGroup holds
every server until SIGTERM. SIGHUP or a changed file reads the configuration again, in a child process, and
swaps one immutable inventory; a refused file leaves the old one in force.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import fields, replace
from ipaddress import IPv4Address
from pathlib import Path

from netboot import config as configuration
from netboot import net, startup
from netboot.askers import Askers
from netboot.boot.firmware import YOURS
from netboot.boot.storm import Storm
from netboot.catalog import Catalog
from netboot.clusters import Clusterwork
from netboot.config import Config, Limit, StormLimits, here
from netboot.config.child import load_in_child
from netboot.config.stamps import stamps_of
from netboot.dhcp.conflict import Prober
from netboot.dhcp.server import DhcpServer
from netboot.errors import ConfigError, NetbootError, StartError, StoreError
from netboot.events import Boots, Journal, boot_id
from netboot.fleet.hosts import HostsFile
from netboot.fleet.roster import Roster
from netboot.link import Ear
from netboot.model.inventory import INFINITE, Inventory, Network
from netboot.model.machine import Mac
from netboot.proc import Kind, privileges
from netboot.proc.supervisor import Supervisor, TftpLimits
from netboot.startup import Bound
from netboot.store.sqlite import SqliteStore
from netboot.tftp.scripts import TftpScripts
from netboot.tree import Served, files_among
from netboot.web import api
from netboot.web.boot import BootHttp, Https
from netboot.web.peers import Limits

log = logging.getLogger("netboot")

HELPERS: dict[Kind, str] = {"tftp": "netboot.tftp.server:main", "bulk": "netboot.web.bulk:main"}
HTTPS: dict[Kind, str] = {"https": "netboot.web.https:main"}
"""Started only where the operator has a certificate: TLS costs some megabytes."""
PROGRAMS = ("/usr/lib/ipxe", "/usr/share/ipxe", "/boot/ipxe")
"""Where distributions keep iPXE's programs; the first that has a name serves it."""

WATCH_EVERY = 2.0
"""Seconds between looks at the operator's files."""

COLLECT_AFTER = 10_000
"""New objects until the collector of garbage looks at them: with Python's own 700 it took a twentieth of
DHCP's time, for nothing, because a request in flight leaves no cycles behind."""

SWITCH_INTERVAL = 0.001
"""Seconds after which the store's writer thread gets its turn; with Python's own 0.005 ACKs wait longer."""


def serve(paths: Sequence[Path | str]) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns its exit status. Raises ConfigError and StartError."""
    config = configuration.load(paths)
    inventory = startup.with_addresses(config.inventory, config.server.address)
    inventory.index()
    https = {} if config.server.boot_https is None else HTTPS
    bound = startup.prepare(config, inventory, {**HELPERS, **https})
    for warning in (*config.warnings, *here.warnings(config), *bound.warnings):
        log.warning("%s", warning)
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        asyncio.run(_live(config, inventory, bound, paths))
    except ExceptionGroup as group:
        for error in group.exceptions:
            log.error("ended by: %s", error, exc_info=None if isinstance(error, NetbootError) else error)
        return 1
    return 0


async def _live(config: Config, inventory: Inventory, bound: Bound, paths: Sequence[Path | str]) -> None:
    try:
        store = await SqliteStore.open(config.server.data_dir / "netboot.db")
    except StoreError as error:
        raise StartError("what is remembered cannot be opened", str(error)) from error
    privileges.leave_the_rest_ordinary()
    try:
        await App(config, inventory, bound, paths, store).run()
    finally:
        await store.close()


class App:
    """Every server of the daemon, composed once; `run` is its life."""

    def __init__(
        self,
        config: Config,
        inventory: Inventory,
        bound: Bound,
        paths: Sequence[Path | str],
        store: SqliteStore,
    ) -> None:
        self._config = config
        self._roster = Roster(inventory)
        self._bound = bound
        self._paths = tuple(paths)
        self._stop = asyncio.Event()
        self._reload_now = asyncio.Event()
        self._boot_servers = bound.boot_servers
        self._group: asyncio.TaskGroup | None = None
        server = config.server
        self._store = store
        self._journal = Journal(time.time)
        self._access = api.Access(config.api, server.data_dir, self._journal)
        self._boots = Boots(
            self._store, self._journal, time.time, lambda: boot_id(time.time(), secrets.token_bytes(4))
        )
        self._clusters = Clusterwork(
            roster=self._roster,
            store=self._store,
            boots=self._boots,
            journal=self._journal,
            secret=bound.secret,
        )
        self._prober = Prober(bound.arp, bound.echo, self._journal)
        self._supervisor = self._helpers()
        catalog = Catalog(server.images_dir)
        self._hosts = HostsFile(
            server.hosts_file or server.data_dir / "hosts", self.inventory, self._store, clock=time.time
        )
        self._boot_http = BootHttp(
            inventory=self.inventory,
            catalog=catalog,
            store=self._store,
            boots=self._boots,
            journal=self._journal,
            bulk=self._supervisor,
            joins=self._clusters.joins,
            admitted=self._clusters.operations.admitted,
            secret=bound.secret,
            neighbour=_neighbour,
            clock=time.time,
            steady=time.monotonic,
            boot_port=server.boot_port,
            limits=Limits(
                connections=server.boot_limits.connections, requests=server.boot_limits.requests.per_second
            ),
            storm=storm_of(server.storm),
            https=Https(server.boot_https.port, server.boot_https.authority()) if server.boot_https else None,
            names=self._hosts.content,
        )
        askers = Askers(inventory=self.inventory, store=self._store, neighbour=_neighbour, clock=time.time)
        self._scripts = TftpScripts(
            inventory=self.inventory,
            catalog=catalog,
            store=self._store,
            boots=self._boots,
            journal=self._journal,
            askers=askers,
            boot_port=server.boot_port,
        )
        self._dhcp = DhcpServer(
            inventory=self.inventory,
            leases=self._store,
            boots=self._boots,
            journal=self._journal,
            clock=time.time,
            boot_port=server.boot_port,
            ask=self._prober.ask,
        )
        operators = api.application(
            api.Sources(
                inventory=self.inventory,
                leases=self._store,
                addresses=self._dhcp,
                boots=self._boots,
                journal=self._journal,
                catalog=catalog,
                processes=self._supervisor.processes,
                clock=time.time,
                ready=self._ready,
                assigner=self._clusters.operations,
                audit=self._store,
                tokens=self._access.tokens,
                listen=config.api.host,
                names=config.api.names,
                cluster_problem=self._clusters.problem,
                cluster_state=self._clusters.nodes.state,
                node_drift=self._clusters.nodes.reconciler.differences,
                examine=self._clusters.doctor.examine,
                bindings=self._store,
            )
        )
        self._door = api.Door(operators, self._access.context, self._journal, time.time)
        self._wire()

    def inventory(self) -> Inventory:
        """The snapshot in force."""
        return self._roster.inventory()

    def _helpers(self) -> Supervisor:
        server = self._config.server
        served = Served(str(server.images_dir), str(server.files_dir), PROGRAMS)
        limits = TftpLimits(
            whole(server.tftp.max_transfers), whole(server.tftp.per_client), server.tftp.single_port
        )
        workers = server.workers or os.cpu_count() or 1
        return Supervisor(
            self._bound.forker,
            served,
            workers=workers,
            tftp_sockets=self._bound.tftp,
            tftp_limits=limits,
            requests=server.boot_limits.requests.per_second,
            connections=server.boot_limits.connections,
            max_rate=server.storm.max_rate,
            https=self._bound.https,
        )

    def _wire(self) -> None:
        """Who is told of what: the only place where one server's news reach another."""
        self._dhcp.on_boot.append(self._clusters.boot_opened)
        self._dhcp.signs_of_life.append(self._clusters.sign_of_life)
        self._dhcp.present.provided = lambda: files_among(self._config.server.files_dir, YOURS.values())
        self._boot_http.on_material.append(self._clusters.given)
        self._boots.on_end.append(self._clusters.ended)
        self._supervisor.virtual = self._scripts.content
        self._supervisor.on_relay = self._boot_http.relayed
        self._supervisor.place = self._boot_http.place
        self._supervisor.on_refused = self._refused
        self._supervisor.on_transfer = lambda transfer: self._spawn(self._scripts.transferred(transfer))

    async def run(self) -> None:
        """Start in order, serve until told to stop, end in order. Raises what ended a server."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_now.set)
        try:
            await self._roster.start(self._store)
            await self._boots.start()
            await self._clusters.start()
            await self._serve()
        finally:
            await self._boots.flush()
            await self._clusters.close()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            helpers = group.create_task(self._supervisor.run())
            await self._boot_http.start(self._bound.http)
            await self._door.open(self._bound.api)
            running = [
                group.create_task(work)
                for work in (
                    self._boots.run(),
                    self._clusters.run(),
                    self._prober.run(),
                    self._hosts.run(),
                    self._dhcp.run(self._bound.endpoints, self._boot_servers, self._ears()),
                    self._watch_files(),
                )
            ]
            gc.collect()
            gc.freeze()  # what a start made lives on: no collection walks through it while machines wait
            gc.set_threshold(COLLECT_AFTER)
            log.info("serving %s", ", ".join(sorted(self.inventory().networks)))
            await self._stop.wait()
            log.info("stopping: running downloads get a little time")
            for task in running:
                task.cancel()
            await self._boot_http.stop()
            await self._door.close()
            self._supervisor.stop()
            await helpers
            self._group = None

    def _ears(self) -> tuple[Ear, ...]:
        """What hears other DHCP servers' replies; without the right to listen, clients still tell of them."""
        ears = []
        for endpoint in self._bound.endpoints:
            try:
                ears.append(Ear(endpoint.name, replies=True))
            except StartError as error:
                log.warning("replies of other DHCP servers are not heard: %s", error)
        return tuple(ears)

    def _ready(self) -> bool:
        """Whether machines are served: every helper is up and the boot port listens."""
        return self._supervisor.ready.is_set() and self._boot_http.is_running

    # news

    def _refused(self, kind: str, text: str, source: str) -> None:
        self._journal.refused(kind, text, source=source)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        if self._group is None:
            work.close()
        else:
            self._group.create_task(work)

    # reload

    async def _watch_files(self) -> None:
        """Read the operator's files again on SIGHUP, or when one of them has changed."""
        seen = stamps_of(self._config.files)
        certified = self._certificate_stamps()
        while True:
            try:
                async with asyncio.timeout(WATCH_EVERY):
                    await self._reload_now.wait()
            except TimeoutError:
                pass
            if certified != (certified := self._certificate_stamps()):
                self._renew_certificate()
            await self._access.look()
            stamps = stamps_of(self._config.files)
            if self._reload_now.is_set() or stamps != seen:
                self._reload_now.clear()
                seen = stamps
                await self._reload()

    def _certificate_stamps(self) -> tuple[tuple[int, int, int], ...]:
        https = self._config.server.boot_https
        return stamps_of([https.certificate, https.key]) if https else ()

    def _renew_certificate(self) -> None:
        """Certificate or key has changed on disk: the next connections get the new one, if it can be used."""
        assert self._config.server.boot_https is not None
        try:
            self._supervisor.certify(self._config.server.boot_https.pem())
        except StartError as error:
            self._journal.note(
                "https_certificate", f"the old certificate stays: {error}", level=logging.ERROR
            )
        else:
            self._journal.note("https_certificate", "the renewed certificate is in force")

    async def _reload(self) -> None:
        try:
            fresh = await load_in_child(self._paths)
            inventory = startup.with_addresses(fresh.inventory, fresh.server.address)
            for _ in inventory.indexing():
                await asyncio.sleep(0)  # a packet's turn
            boot_servers = self._reopened(inventory)
        except (ConfigError, StartError) as error:
            self._journal.note(
                "reload_refused", f"the changed configuration is refused, the old one stays: {error}",
                level=logging.ERROR,
            )  # fmt: skip
            return
        for warning in (*fresh.warnings, *needs_restart(self._config, fresh)):
            log.warning("%s", warning)
        await self._clusters.update(inventory.clusters.values())
        self._config = replace(fresh, server=self._config.server, api=self._config.api)
        self._roster.declare(inventory)
        self._clusters.reloaded()
        self._serve_boot(boot_servers)
        self._journal.note("reloaded", "the changed configuration is in force")

    def _reopened(self, inventory: Inventory) -> tuple[net.Endpoint, ...]:
        """Port 4011 as this inventory wants it. Raises StartError."""
        interfaces = [endpoint.name for endpoint in self._bound.endpoints]
        return startup.open_boot_servers(inventory, interfaces, self._boot_servers)

    def _serve_boot(self, endpoints: tuple[net.Endpoint, ...]) -> None:
        """Have port 4011 open where it is wanted now, and nowhere else."""
        before, self._boot_servers = self._boot_servers, endpoints
        self._dhcp.serve_boot(endpoints)
        for gone in set(before) - set(endpoints):
            gone.close()


def needs_restart(old: Config, new: Config) -> list[str]:
    """What a reload cannot change."""
    changed = [
        f.name
        for f in fields(old.server)
        if f.name != "interfaces" and getattr(old.server, f.name) != getattr(new.server, f.name)
    ]
    changed += ["api"] if old.api != new.api else []
    told = [f"server.{name} has changed: restart netboot to put that into force" for name in changed]
    return [*_interfaces_changed(old, new), *told]


def _interfaces_changed(old: Config, new: Config) -> list[str]:
    """Interfaces are opened at start, while we are root: what comes and goes meanwhile, and what to do."""
    before, after = old.server.interfaces, new.server.interfaces
    networks = new.inventory.networks.values()
    told = []
    for name in (name for name in after if name not in before):
        mute = [n.name for n in networks if n.interface == name]
        what = f"interface {name} is new: no DHCP, TFTP or HTTP is answered on it"
        where = f" (network {', '.join(mute)})" if mute else ""
        told.append(f"{what}{where} until you restart netboot (systemctl restart netboot)")
    for name in (name for name in before if name not in after):
        what = f"interface {name} is no longer named, but stays open"
        told.append(f"{what} until you restart netboot (systemctl restart netboot)")
    return told


def storm_of(limits: StormLimits) -> Storm | None:
    """Who downloads images at once; None where everybody may."""
    if limits.max_downloads == limits.max_rate == INFINITE:
        return None
    return Storm(limits.max_downloads, limits.max_rate, secrets.SystemRandom().uniform)


def whole(limit: Limit) -> int:
    """A limit as helpers take it: `unlimited` is more than ever comes."""
    return int(min(limit, 1_000_000))


def _neighbour(network: Network, address: IPv4Address) -> Mac | None:
    """The MAC that the kernel has for an address on this network's own link."""
    return net.neighbour(network.interface, address) if network.interface is not None else None
