"""The DHCP server: its sockets, its parts, and what others ask of it.

Sockets are drained by `add_reader`; `intake` decides who goes first, `answering` answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import Protocol

from netboot.dhcp.allocation import Allocation, Ask, nobody_is_asked
from netboot.dhcp.answering import Answering
from netboot.dhcp.burst import Burst, Way
from netboot.dhcp.chronicle import Chronicle
from netboot.dhcp.intake import Intake, card
from netboot.dhcp.origin import Origin
from netboot.dhcp.present import Present
from netboot.dhcp.profile import Profile
from netboot.dhcp.route import Unicast
from netboot.dhcp.watching import Watch
from netboot.dhcp.wire import Packet
from netboot.errors import MalformedPacket, StoreError
from netboot.events import Boots, Journal
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory, Network, NoMatch
from netboot.model.lease import Lease, Rest, Usage
from netboot.shadow.pcap import Frame
from netboot.store import LeaseStore

BATCH = 64
"""Datagrams taken per wake-up, so that other work of the loop gets its turn."""


class Port(Way, Protocol):
    """What the server needs of an interface; `net.Endpoint` is one."""

    @property
    def addresses(self) -> tuple[IPv4Address, ...]:
        """Our addresses there."""

    def fileno(self) -> int:
        """The socket that becomes readable."""

    def first(self) -> tuple[bytes, str, int, bool] | None:
        """The datagram that waits longest, as `receive` has it; None where none does."""

    def receive(self, most: int) -> Iterable[tuple[bytes, str, int, bool]]:
        """Datagrams that wait, with their sources' addresses and ports, and whether by broadcast."""


Arrived = tuple[bytes, Origin, Port]
"""What `handle` takes of a datagram on port 67."""


class Ear(Protocol):
    """What the server needs to hear other servers' replies; `link.Ear` is one."""

    @property
    def name(self) -> str:
        """The interface's name."""

    def fileno(self) -> int:
        """The socket that becomes readable."""

    def hear(self, most: int) -> Iterator[Frame]:
        """Frames that wait."""


class DhcpServer:
    """Answers DHCP on the endpoints that `run` is given."""

    def __init__(
        self,
        *,
        inventory: Callable[[], Inventory],
        leases: LeaseStore,
        boots: Boots,
        journal: Journal,
        clock: Callable[[], float],
        boot_port: int,
        ask: Ask = nobody_is_asked,
    ) -> None:
        """`ask` tells who uses an address before it is offered: `conflict.Prober.ask`."""
        self.allocation = Allocation(leases, boots, journal, ask)
        self.signs_of_life = self.allocation.signs_of_life
        self.watch = Watch(inventory, journal, clock)
        """Which other DHCP servers are there."""
        self.present = Present(inventory, journal, boot_port)
        self._inventory = inventory
        self._leases = leases
        self._journal = journal
        self._clock = clock
        self._chronicle = Chronicle(boots, journal)
        self._burst = Burst(self._unsent)
        self._answering = Answering(
            self.present,
            leases,
            boots,
            journal,
            clock,
            allocation=self.allocation,
            chronicle=self._chronicle,
            watch=self.watch,
            burst=self._burst,
        )
        # what others are answered in a turn leaves together
        self.intake: Intake[Arrived] = Intake(
            self.handle, lambda: inventory().by_mac, journal, self._burst.hold
        )
        self._boot_servers: tuple[Port, ...] = ()

    @property
    def on_boot(self) -> list[Callable[[Boot], None]]:
        """Called with each boot that a DISCOVER opens."""
        return self._chronicle.on_boot

    async def run(
        self, endpoints: Sequence[Port], boot_servers: Sequence[Port] = (), ears: Sequence[Ear] = ()
    ) -> None:
        """Answer until cancelled; `boot_servers` are the endpoints of port 4011 at the start.

        `ears` hear what other servers reply.
        """
        loop = asyncio.get_running_loop()
        self.present.look_at(tuple(endpoints))
        await self._remember()
        await self._count_addresses()
        for endpoint in endpoints:
            loop.add_reader(endpoint.fileno(), self.drain, endpoint)
        for ear in ears:
            loop.add_reader(ear.fileno(), self._hear, ear)
        self.serve_boot(boot_servers)
        try:
            await loop.create_future()
        finally:
            for endpoint in endpoints:
                loop.remove_reader(endpoint.fileno())
            for ear in ears:
                loop.remove_reader(ear.fileno())
            self.serve_boot(())
            self.intake.close()

    def serve_boot(self, endpoints: Sequence[Port]) -> None:
        """Answer on these endpoints of port 4011 from now on, and on no others."""
        loop = asyncio.get_running_loop()
        for gone in self._boot_servers:
            loop.remove_reader(gone.fileno())
        self._boot_servers = tuple(endpoints)
        for endpoint in endpoints:
            loop.add_reader(endpoint.fileno(), self._drain_boot_server, endpoint)

    async def handle(self, data: bytes, origin: Origin, port: Port, sender: Unicast | None = None) -> None:
        """Answer one datagram. Never raises: what goes wrong with it is counted and reported.

        `sender` is who asked on port 4011, None for port 67.
        """
        try:
            await self._answering.answer(data, origin, port, sender)
        except MalformedPacket as error:
            who = origin.host if origin.host != "0.0.0.0" else card(data)
            self._journal.refused("dhcp_malformed", f"on {port.name}: {error}", source=who)
        except StoreError as error:
            text = f"no lease can be written, so that undeclared machines get no address: {error}"
            self._journal.refused("dhcp_store_failed", text, source=port.name)
        except OSError as error:
            self._unsent(port.name, error)
        except Exception as error:  # noqa: BLE001  # one datagram must not end the server
            text = f"{type(error).__name__}: {error}"
            self._journal.refused("dhcp_internal_error", text, source=origin.host)

    def whose(self, packet: Packet, port: Port) -> Profile | NoMatch:
        """Whose machine a request comes from, as `handle` finds it. Raises MalformedPacket."""
        return self._answering.whose(packet, port)

    # Sockets

    def drain(self, port: Port) -> None:
        """Take what waits at a socket; in quiet times the first is answered before we look for more."""
        if self.intake.is_quiet:
            first = port.first()
            if first is None:
                return
            data, host, own_port, to_all = first
            self.intake.start(self.handle(data, Origin(host, own_port, to_all), port))
        arrived = [
            (data, Origin(host, own_port, to_all), port)
            for data, host, own_port, to_all in port.receive(BATCH)
        ]
        if arrived:
            self.intake.arrived(arrived)

    def _drain_boot_server(self, port: Port) -> None:
        for data, source, own_port, to_all in port.receive(BATCH):
            if self.intake.has_room:
                origin = Origin(source, own_port, to_all)
                self.intake.start(self.handle(data, origin, port, Unicast(source, own_port)))

    def _hear(self, ear: Ear) -> None:
        for frame in ear.hear(BATCH):
            self.watch.hear(frame, self.present.site().ours)

    def _unsent(self, interface: str, error: OSError) -> None:
        self._journal.refused("dhcp_send_failed", f"on {interface}: {error}", source=interface)

    # What is known at the start

    async def _remember(self) -> None:
        try:
            self.present.remember(await self._leases.leases(), self._clock())
        except StoreError as error:
            self._journal.refused("dhcp_store_failed", f"no lease can be read: {error}", source="")

    async def _count_addresses(self) -> None:
        """See which addresses are taken before the first machine asks: very many leases take a while."""
        with contextlib.suppress(StoreError):  # whoever asks is told
            for network in self._inventory().networks.values():
                if network.ranges:
                    await self.usage(network)

    # What operators ask

    async def usage(self, network: Network) -> Usage:
        """How full the ranges of a network are. Raises StoreError."""
        addresses = self.present.site().addresses(network)
        return await self.allocation.usage(network, addresses, self._clock())

    async def resting(self) -> Sequence[Rest]:
        """The addresses that rest. Raises StoreError."""
        return await self.allocation.resting(self._clock())

    async def forget(self, lease: Lease, *, force: bool) -> str:
        """Forget a lease at an operator's word; empty, or why not. Raises StoreError."""
        network = self._inventory().networks.get(lease.network)
        if not force and (why := await self.allocation.life(lease, network, self._clock())):
            return why
        return "" if await self.allocation.drop(lease) else "it was renewed this very moment"
