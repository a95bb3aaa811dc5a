"""Who answers at an address: ARP on a link of ours, ICMP echo through a router.

The only room that knows these sockets. They are made as root (or with NET_RAW) and used after root is
dropped; they never block.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

from netboot.errors import StartError
from netboot.model.machine import Mac
from netboot.net import Interface, internet_checksum

_ETHERTYPE_ARP = 0x0806
_SO_ATTACH_FILTER = 26
_SIOCGIFHWADDR = 0x8927
_SOL_RAW, _ICMP_FILTER = 255, 1
_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_REPLY = 2
_BROADCAST_MAC = b"\xff" * 6
_NOBODY = bytes(6)

_FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")
"""Ethernet header and ARP packet for IPv4 (RFC 826)."""

_ECHO = struct.Struct("!BBHHH8s")
_REPLIES_ONLY = (
    (0x28, 0, 0, 12),  # load the Ethernet type
    (0x15, 0, 3, _ETHERTYPE_ARP),
    (0x28, 0, 0, 20),  # load ARP's operation
    (0x15, 0, 1, _REPLY),
    (0x06, 0, 0, 128),  # take the frame
    (0x06, 0, 0, 0),  # drop it
)
"""A classic BPF program: what a link's machines ask one another must not wake us."""


class ArpSocket:
    """Asks one link who has an address, as RFC 5227 section 2.1.1 does: with no address of our own."""

    def __init__(self, name: str, packet: socket.socket) -> None:
        self._name = struct.pack("256s", name.encode())
        self._packet = packet

    def fileno(self) -> int:
        """The socket that becomes readable when somebody answers."""
        return self._packet.fileno()

    def ask(self, address: IPv4Address) -> None:
        """Ask once. Raises OSError."""
        facts = fcntl.ioctl(self._packet, _SIOCGIFHWADDR, self._name)  # a bridge's changes with its ports
        self._packet.send(arp_probe(facts[18:24], address))

    def answers(self, most: int) -> Iterator[tuple[IPv4Address, Mac | None]]:
        """At most `most` answers that wait: the address and the card that has it."""
        for frame in _received(self._packet, most):
            if answer := arp_answer(frame):
                yield answer

    def close(self) -> None:
        """Close the socket."""
        self._packet.close()


class EchoSocket:
    """Asks through the routers whether an address answers; which card does, nobody can tell from here."""

    def __init__(self, raw: socket.socket, cookie: bytes) -> None:
        self._raw = raw
        self._cookie = cookie
        self._number = 0

    def fileno(self) -> int:
        """The socket that becomes readable when somebody answers."""
        return self._raw.fileno()

    def ask(self, address: IPv4Address) -> None:
        """Ask once. Raises OSError, also where no route leads there."""
        self._number = (self._number + 1) & 0xFFFF
        self._raw.sendto(echo_request(self._cookie, self._number), (str(address), 0))

    def answers(self, most: int) -> Iterator[tuple[IPv4Address, Mac | None]]:
        """At most `most` answers that wait; the card is never known."""
        for packet in _received(self._raw, most):
            if (address := echo_answer(packet, self._cookie)) is not None:
                yield address, None

    def close(self) -> None:
        """Close the socket."""
        self._raw.close()


def open_arp(facts: Interface) -> ArpSocket | None:
    """A socket for the link of an interface; None where it has no Ethernet address.

    Raises StartError where we may not open it.
    """
    if facts.mac is None:
        return None
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with contextlib.ExitStack() as undo:
        try:
            packet = undo.enter_context(socket.socket(socket.AF_PACKET, kind, 0))
            _attach(packet, _REPLIES_ONLY)
            packet.bind((facts.name, _ETHERTYPE_ARP))
        except OSError as error:
            raise _refused(f"ARP on interface {facts.name}", error) from None
        undo.pop_all()
    return ArpSocket(facts.name, packet)


def open_echo(cookie: bytes) -> EchoSocket:
    """A socket for ICMP echo; `cookie` are eight random octets. Raises StartError where we may not."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        raw = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
    except OSError as error:
        raise _refused("ICMP echo", error) from None
    raw.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF ^ 1 << _ECHO_REPLY))
    return EchoSocket(raw, cookie)


def _refused(what: str, error: OSError) -> StartError:
    return StartError(
        f"{what} cannot be asked whether an address is in use: {error.strerror}",
        "Start as root, or with the capability CAP_NET_RAW",
    )


def _attach(packet: socket.socket, program: tuple[tuple[int, int, int, int], ...]) -> None:
    """Have the kernel drop what we do not want (struct sock_fprog of linux/filter.h)."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    pointer = struct.pack("HP", len(program), ctypes.addressof(code))
    packet.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)


def _received(sock: socket.socket, most: int) -> Iterator[bytes]:
    for _ in range(most):
        try:
            yield sock.recv(512)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the link went down; the next packet shows that it is back
            return


def arp_probe(mac: bytes, address: IPv4Address) -> bytes:
    """The frame that asks for an address without telling one of ours, so that no cache learns from it."""
    head = (_BROADCAST_MAC, mac, _ETHERTYPE_ARP, 1, 0x0800, 6, 4, 1)
    return _FRAME.pack(*head, mac, bytes(4), _NOBODY, address.packed)


def arp_answer(frame: bytes) -> tuple[IPv4Address, Mac | None] | None:
    """Who says in an ARP reply that it has which address; None for any other frame."""
    if len(frame) < _FRAME.size:
        return None
    *_, kind, hardware, protocol, size, length, operation, mac, has, _, _ = _FRAME.unpack_from(frame)
    if (kind, hardware, protocol, size, length, operation) != (_ETHERTYPE_ARP, 1, 0x0800, 6, 4, _REPLY):
        return None
    return IPv4Address(has), Mac.from_bytes(mac)


def echo_request(cookie: bytes, number: int) -> bytes:
    """An echo request (RFC 792) that carries our cookie."""
    fields = (int.from_bytes(cookie[:2], "big"), number, cookie)
    blank = _ECHO.pack(_ECHO_REQUEST, 0, 0, *fields)
    return _ECHO.pack(_ECHO_REQUEST, 0, internet_checksum(blank), *fields)


def echo_answer(packet: bytes, cookie: bytes) -> IPv4Address | None:
    """Which address answers our echo request; None for any other packet. Begins with the IPv4 header."""
    start = (packet[0] & 0x0F) * 4 if packet else 0
    if start < 20 or len(packet) < start + _ECHO.size:
        return None
    kind, _, _, _, _, returned = _ECHO.unpack_from(packet, start)
    if kind != _ECHO_REPLY or returned != cookie:
        return None
    return IPv4Address(packet[12:16])
