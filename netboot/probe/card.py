"""The mouth of a simulated machine: DHCP out of one interface, or as a relay agent's datagrams.

Needs NET_RAW for an interface (a machine without an address speaks in frames of its own), and the right to
bind port 67 for a relay. Sends nowhere but there.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Protocol

from netboot.dhcp.wire import Op, Packet, decode, encode
from netboot.errors import MalformedPacket, ProbeError, StartError
from netboot.link import Ear
from netboot.model.machine import Mac
from netboot.net import MAX_DATAGRAM, interface, ipv4_udp, udp_port_holder
from netboot.probe.offers import Offer
from netboot.shadow.frame import LeftOut, datagram

EVERYBODY = IPv4Address("255.255.255.255")
_ETHERNET = struct.Struct("!6s6sH")
_BROADCAST = b"\xff" * 6


class Mouth(Protocol):
    """What a course needs of either."""

    def say(self, packet: Packet) -> None:
        """Send a client's message to port 67."""

    def hear(self, packet: Packet, until: float) -> Iterator[Offer]:
        """The answers to `packet` that come until that time (monotonic)."""

    def ask(self, packet: Packet, server: IPv4Address) -> None:
        """Send to a boot server's port 4011. Raises ProbeError."""

    def close(self) -> None:
        """Be silent."""


class Card:
    """A machine on the link of one interface, with a MAC of its own."""

    def __init__(self, name: str, mac: Mac) -> None:
        """Raises StartError."""
        self._mac = mac
        self._ear = Ear(name)
        self._out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._out.bind((name, 0))
        self._asked = time.monotonic()
        self._boot: socket.socket | None = None
        self._macs: dict[IPv4Address, bytes] = {}
        self._id = 0

    def say(self, packet: Packet) -> None:
        """Broadcast it; a RELEASE goes to its server, from the address that it gives back."""
        server = packet.u32(54)
        to = IPv4Address(server) if packet.ciaddr and server else EVERYBODY
        self._id += 1
        self._asked = time.monotonic()
        source = IPv4Address(packet.ciaddr)
        payload = ipv4_udp(encode(packet), int(source), 68, int(to), 67, self._id)
        card = self._macs.get(to, _BROADCAST)
        try:
            self._out.send(_ETHERNET.pack(card, self._mac.packed(), 0x0800) + payload)
        except OSError as error:
            raise StartError(
                f"nothing can be sent on {self._ear.name}: {error.strerror}", "Is it up?"
            ) from None

    def ask(self, packet: Packet, server: IPv4Address) -> None:
        """From this host's own address: it is there that the boot server answers, to ciaddr."""
        own = next(iter(interface(self._ear.name).addresses), None)
        if own is None:
            raise ProbeError(f"{self._ear.name} has no IPv4 address to ask port 4011 of {server} from")
        self._asked = time.monotonic()
        try:
            if self._boot is None:
                self._boot = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._boot.bind((str(own), 0))
            self._boot.sendto(encode(packet._replace(ciaddr=int(own))), (str(server), 4011))
        except OSError as error:
            raise ProbeError(f"port 4011 of {server} cannot be asked: {error.strerror}") from None

    def hear(self, packet: Packet, until: float) -> Iterator[Offer]:
        """The answers to this card's transaction."""
        while (left := until - time.monotonic()) > 0:
            select.select([self._ear], [], [], left)
            for frame in self._ear.hear():
                found = datagram(frame)
                if isinstance(found, LeftOut):
                    continue
                offer = _answer(found.payload, packet, found.source, time.monotonic() - self._asked)
                if offer is not None:
                    self._macs[found.source] = self._macs[offer.server] = frame.data[6:12]
                    yield offer

    def close(self) -> None:
        """Be silent."""
        for each in (self._ear, self._out, self._boot):
            if each is not None:
                each.close()


class Relay:
    """A relay agent with an address of this host, which brings a machine's messages to a server."""

    def __init__(self, giaddr: IPv4Address, server: IPv4Address) -> None:
        """Raises StartError."""
        self._server = server
        self._asked = time.monotonic()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.bind((str(giaddr), 67))
        except OSError as error:
            self._socket.close()
            raise _cannot_relay(giaddr, error) from None

    def say(self, packet: Packet) -> None:
        """To the server."""
        self._asked = time.monotonic()
        try:
            self._socket.sendto(encode(packet), (str(self._server), 67))
        except OSError as error:
            what = f"{self._server} cannot be reached: {error.strerror}"
            raise StartError(what, "Check routes and --server") from None

    def ask(self, packet: Packet, server: IPv4Address) -> None:
        """A relay agent relays no such question."""
        raise ProbeError(f"{server} wants to be asked on port 4011, which no relay agent brings it")

    def hear(self, packet: Packet, until: float) -> Iterator[Offer]:
        """The answers that come back to the relay agent."""
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with suppress(OSError):  # time is up, or an ICMP error came for an earlier message
                data, (source, _) = self._socket.recvfrom(MAX_DATAGRAM)
                took = time.monotonic() - self._asked
                if offer := _answer(data, packet, IPv4Address(source), took):
                    yield offer

    def close(self) -> None:
        """Be silent."""
        self._socket.close()


def _cannot_relay(giaddr: IPv4Address, error: OSError) -> StartError:
    what = f"UDP {giaddr}:67 cannot be opened: {error.strerror}"
    if isinstance(error, PermissionError):
        return StartError(what, "Start as root (sudo), or with CAP_NET_BIND_SERVICE")
    holder = udp_port_holder(67)
    remedy = f"stop {holder} meanwhile" if holder else "name an address of this host after --relay"
    return StartError(what, f"A server answers a relay agent at its address and port 67: {remedy}")


def _answer(data: bytes, asked: Packet, source: IPv4Address, took: float) -> Offer | None:
    """A server's answer to this very transaction of this card."""
    try:
        packet = decode(data)
    except MalformedPacket:
        return None
    if packet.op != Op.REPLY or packet.xid != asked.xid or packet.chaddr != asked.chaddr:
        return None
    named = packet.u32(54)
    return Offer(IPv4Address(named) if named else source, source, packet, took)
