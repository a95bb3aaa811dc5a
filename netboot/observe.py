"""Shadow mode's composition root: the server of `serve`, on books of its own, heard by nobody.

`Rehearsal` is that server with a port that keeps what it is told to send, a store in memory and a journal
that only remembers the last word. `watch` asks it about the wire, `replay` about a capture. No socket in here
can send, and nothing but the proposal is written.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import BinaryIO, Protocol

from netboot import config as configuration
from netboot.config import Config, here
from netboot.dhcp.origin import Origin
from netboot.dhcp.profile import Profile
from netboot.dhcp.route import Unicast
from netboot.dhcp.server import DhcpServer
from netboot.dhcp.wire import Packet, decode
from netboot.errors import StartError
from netboot.events import Boots, Journal
from netboot.link import Ear
from netboot.model.inventory import Inventory, Network, NoMatch
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.net import interface
from netboot.proc import privileges
from netboot.shadow.assess import US, Finding, Handed, Ours, Request, assess
from netboot.shadow.exchange import Exchange, Exchanges
from netboot.shadow.frame import LeftOut, datagram
from netboot.shadow.pcap import Frame, frames
from netboot.shadow.propose import Machines
from netboot.shadow.propose import text as proposal
from netboot.shadow.report import Summary
from netboot.store.memory import MemoryStore
from netboot.store.table import LeaseTable

LEASES = 200_000
"""Leases on our books at once."""

TICK = 0.5
"""Seconds between looks for exchanges that are over."""


Propose = Callable[[str, int], None]
"""Takes the proposed nodes as text, and how many machines they are."""


class Display(Protocol):
    """Where findings go: a terminal, or lines of JSON."""

    def opened(self, what: str) -> None:
        """It begins."""

    def finding(self, finding: Finding) -> None:
        """One exchange."""

    def closed(self, summary: Summary, skipped: Counter[str], proposed: int) -> None:
        """It is over."""


@dataclass(slots=True)
class _Kept:
    """An interface whose outgoing messages are kept: `dhcp.server.Port` without a way out."""

    name: str
    addresses: tuple[IPv4Address, ...]
    sent: list[bytes] = field(default_factory=list)

    def fileno(self) -> int:
        """There is no socket."""
        return -1

    def first(self) -> tuple[bytes, str, int, bool] | None:
        """Nothing arrives by itself."""
        return None

    def receive(self, most: int) -> Iterator[tuple[bytes, str, int, bool]]:
        """Nothing arrives by itself."""
        return iter(())

    def unicast(self, payload: bytes, host: str, port: int, source: IPv4Address) -> None:
        """Keep it."""
        self.sent.append(payload)

    def unicasts(self, datagrams: Sequence[tuple[bytes, str, int]], source: IPv4Address) -> list[OSError]:
        """Keep them."""
        self.sent += [payload for payload, _, _ in datagrams]
        return []

    def frame(self, payload: bytes, mac: Mac, to: IPv4Address, source: IPv4Address) -> None:
        """Keep it."""
        self.sent.append(payload)

    def broadcast(self, payload: bytes, source: IPv4Address) -> None:
        """Keep it."""
        self.sent.append(payload)


class _LastWord(Journal):
    """A journal that logs nothing and remembers what was reported last."""

    said = ""

    def note(self, kind: str, text: str, **_: object) -> None:
        """Remember it."""
        self.said = text

    def refused(self, kind: str, text: str, *, source: str) -> None:
        """Remember it."""
        self.said = text


class _Books(MemoryStore):
    """Leases in memory, with what the other server handed out on them: its word counts, not our guess."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: Handed | None = None
        self.now = 0.0

    def forget_some(self) -> None:
        """Stay small, whatever a network invents: the books begin anew."""
        if len(self._table.by_key) > LEASES:
            self._table = LeaseTable()

    async def lease_of(self, holder: str, network: str) -> Lease | None:
        """The machine's lease, after the other server's answer to it was entered."""
        known = await super().lease_of(holder, network)
        handed, self.handed = self.handed, None
        if handed is None or (known is not None and known.address == handed.address):
            return known
        expires = self.now + handed.seconds
        lease = Lease(holder, handed.mac, handed.address, network, "", expires, last_seen=self.now)
        await self.claim_lease(lease, known, await self.lease_at(handed.address))
        return await super().lease_of(holder, network)


class Rehearsal:
    """What our server would answer. Raises nothing for what stands in a packet."""

    def __init__(self, inventory: Inventory, boot_port: int) -> None:
        self._inventory = inventory
        self._books = _Books()
        self._journal = _LastWord(self._clock)
        ids = itertools.count(1)
        boots = Boots(self._books, self._journal, self._clock, lambda: f"{next(ids):016x}")
        self._server = DhcpServer(
            inventory=lambda: inventory,
            leases=self._books,
            boots=boots,
            journal=self._journal,
            clock=self._clock,
            boot_port=boot_port,
        )

    def _clock(self) -> float:
        return self._books.now

    def whose(self, packet: Packet, interface: str) -> Profile | NoMatch:
        """Whose machine a request comes from, as the server finds it. Raises MalformedPacket."""
        return self._server.whose(packet, self._port(interface))

    async def answer(self, data: bytes, request: Request) -> Ours:
        """What it would have sent to this request at that time."""
        self._books.now, self._books.handed, self._journal.said = request.at, request.handed, ""
        self._books.forget_some()
        port = self._port(request.interface)
        sender = Unicast(str(request.source), request.source_port) if request.boot_server else None
        # without an address nothing goes to one server alone
        origin = Origin(str(request.source), request.source_port, to_all=not int(request.source))
        await self._server.handle(data, origin, port, sender)
        return Ours(decode(port.sent[0]) if port.sent else None, self._journal.said)

    def _port(self, interface: str) -> _Kept:
        networks = self._inventory.networks.values()
        own = tuple(n.address for n in networks if n.interface == interface and n.address)
        return _Kept(interface, own)


class Observer:
    """Frames in, findings out: to the display, into the summary and the proposal."""

    def __init__(self, config: Config, display: Display) -> None:
        self._inventory = stand_in(config)
        self._rehearsal = Rehearsal(self._inventory, config.server.boot_port)
        self._exchanges = Exchanges()
        self._display = display
        self.skipped: Counter[str] = self._exchanges.skipped
        self.summary = Summary()
        self.machines = Machines()

    async def hear(self, frame: Frame) -> None:
        """Take in one frame."""
        found = datagram(frame)
        if not isinstance(found, LeftOut):
            await self._take(self._exchanges.hear(found))
        elif found.reason:
            self.skipped[found.reason] += 1

    async def tick(self, now: float) -> None:
        """Look for exchanges that are over."""
        await self._take(self._exchanges.over(now))

    async def end(self) -> str:
        """Close what is under way and tell the summary; the proposed nodes as text."""
        await self._take(self._exchanges.end())
        self._display.closed(self.summary, self.skipped, len(self.machines))
        return proposal(self.machines, self._inventory)

    async def _take(self, over: Iterable[Exchange]) -> None:
        for exchange in over:
            finding = await assess(exchange, self._inventory, self._rehearsal)
            if finding is None:
                self.skipped["messages of what is no Ethernet card"] += 1
                continue
            if exchange.wants_no_answer:
                continue  # our books know it now, and there is nothing to compare
            self.summary.take(finding)
            self.machines.take(finding)
            self._display.finding(finding)


def stand_in(config: Config) -> Inventory:
    """The inventory with an address and an interface for every network: a capture is read anywhere."""
    networks = {
        name: replace(n, address=_address(n, config), interface=n.interface or f"relayed:{name}")
        for name, n in config.inventory.networks.items()
    }
    return replace(config.inventory, networks=networks)


def _address(network: Network, config: Config) -> IPv4Address:
    """Where the network's nodes would reach us: as declared, else this host's own address there."""
    declared = network.address or config.server.address
    if declared is not None:
        return declared
    try:
        ours = interface(network.interface).addresses if network.interface else ()
    except (StartError, OSError):
        ours = ()
    return next((a for a in ours if a in network.subnet), US)


def replay(paths: Sequence[str], stream: BinaryIO, name: str, display: Display, propose: Propose) -> int:
    """Assess the exchanges of a capture. Raises ConfigError and CaptureError."""
    config = configuration.load(paths)
    asyncio.run(_replay(Observer(config, display), stream, name, display, propose))
    return 0


async def _replay(
    observer: Observer, stream: BinaryIO, name: str, display: Display, propose: Propose
) -> None:
    display.opened(f"reading {name}")
    for frame in frames(stream, observer.skipped):
        await observer.hear(frame)
    propose(await observer.end(), len(observer.machines))


def watch(paths: Sequence[str], display: Display, propose: Propose) -> int:
    """Assess what passes on the networks' interfaces until SIGINT or SIGTERM. Raises StartError."""
    config = configuration.load(paths)
    names = interfaces(config)
    ears = [Ear(name) for name in names]
    try:
        observer = Observer(config, display)
        _step_down(config)
        asyncio.run(_watch(observer, ears, display, propose))
    finally:
        for ear in ears:
            ear.close()
    return 0


def interfaces(config: Config) -> list[str]:
    """Where to listen. Raises StartError where the file names no interface."""
    named = (n.interface for n in config.inventory.networks.values() if n.interface)
    found = list(dict.fromkeys((*config.server.interfaces, *named)))
    if not found:
        raise StartError(
            "no network of the file has an interface", "Give the network that you watch its `interface`"
        )
    return found


def _step_down(config: Config) -> None:
    """Give up root and every capability: the ears are open, and nothing else is needed."""
    if os.geteuid() != 0:
        return
    try:
        account = here.user(config.server)
    except LookupError as error:
        raise StartError(f"server.user: {error}", "Make it (useradd --system), or name another one") from None
    privileges.drop_to(privileges.Account(account.uid, account.gid))


async def _watch(observer: Observer, ears: Sequence[Ear], display: Display, propose: Propose) -> None:
    loop = asyncio.get_running_loop()
    stop, news = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _set, stop, news)
    for ear in ears:
        loop.add_reader(ear.fileno(), news.set)
    display.opened(f"listening on {', '.join(ear.name for ear in ears)}; nothing is sent")
    while not stop.is_set():
        try:
            async with asyncio.timeout(TICK):
                await news.wait()
        except TimeoutError:
            pass
        news.clear()
        for ear in ears:
            for frame in ear.hear():
                await observer.hear(frame)
        await observer.tick(time.time())
    for ear in ears:
        loop.remove_reader(ear.fileno())
    propose(await observer.end(), len(observer.machines))


def _set(*events: asyncio.Event) -> None:
    for event in events:
        event.set()
