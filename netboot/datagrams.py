"""Many datagrams in one system call: recvmmsg and sendmmsg, which the socket module has no names for.

Each call of the socket module gives the interpreter's lock away and has to get it back from the thread that
writes leases: with four calls for each exchange that was a third of DHCP's time. Received is with the lock
held, because it never waits; sent without it, because the kernel takes some microseconds for each datagram.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import socket
import struct
from collections.abc import Sequence

Datagram = tuple[bytes, str, int]
"""What is said, and the address and port of who said it or shall hear it."""

Arrival = tuple[bytes, str, int, bool]
"""The same of one that came, and whether it was said to everybody (by broadcast)."""

MOST = 64
"""Datagrams in one call."""

_NAME = 16
"""Octets of a sockaddr_in."""

IP_PKTINFO = 8  # linux/in.h; the socket module has no name for it before Python 3.12
CONTROL = socket.CMSG_SPACE(12)
"""Octets of a control message with a struct in_pktinfo: interface, our own address, whom it was sent to."""

_OWN, _TO, _WORDS = 5, 6, CONTROL // 4
"""The two addresses in it, and its end, counted in words."""


class _Part(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("size", ctypes.c_uint))


_STRIDE = ctypes.sizeof(_Message) // 4

_receive = ctypes.PyDLL(None, use_errno=True).recvmmsg
_send = ctypes.CDLL(None, use_errno=True).sendmmsg


class _Slots:
    """Room for `MOST` datagrams of at most `size` octets, with their addresses, as the kernel wants them.

    `control`: octets of a control message that comes with each, for it is always the same one.
    """

    def __init__(self, size: int, control: int = 0) -> None:
        self.size = size
        self.octets = bytearray(MOST * size)
        self.names = bytearray(MOST * _NAME)
        self.control = bytearray(MOST * control)
        self.parts = (_Part * MOST)()
        self.messages = (_Message * MOST)()
        octets, names, told = _address(self.octets), _address(self.names), _address(self.control)
        for i, (part, message) in enumerate(zip(self.parts, self.messages, strict=True)):
            part.base, part.size = octets + i * size, size
            header = message.header
            header.name, header.name_size = names + i * _NAME, _NAME
            header.parts, header.part_count = ctypes.addressof(part), 1
            if control:
                header.control, header.control_size = told + i * control, control
        self.sizes = memoryview(self.messages).cast("B").cast("I")[_Message.size.offset // 4 :: _STRIDE]
        """How long each datagram is that was received."""


def _address(buffer: bytearray) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer)) if buffer else 0


def is_to_all(control: Sequence[tuple[int, int, bytes]]) -> bool:
    """Whether a datagram that `recvmsg` brought with this control message was said to everybody."""
    if not control:
        return False
    told = control[0][2]
    return told[4:8] != told[8:12]


class Inbox:
    """Takes the datagrams that wait at a UDP socket; one longer than `size` is cut there.

    Which were said to everybody is known of a socket with IP_PKTINFO set.
    """

    def __init__(self, size: int) -> None:
        self._slots = _Slots(size, CONTROL)
        self._octets, self._names = memoryview(self._slots.octets), memoryview(self._slots.names)
        self._told = memoryview(self._slots.control).cast("I")

    def receive(self, fd: int, most: int) -> list[Arrival]:
        """At most `most` and `MOST` of those that wait; none where the socket has an error."""
        slots = self._slots
        count = _receive(fd, slots.messages, min(most, MOST), socket.MSG_DONTWAIT, None)
        octets, names, told, size = self._octets, self._names, self._told, slots.size
        return [
            (
                octets[i * size : i * size + length].tobytes(),
                *_whose(names[i * _NAME + 2 : i * _NAME + 8].tobytes()),
                told[i * _WORDS + _OWN] != told[i * _WORDS + _TO],
            )
            for i, length in enumerate(slots.sizes[: max(count, 0)])
        ]


@functools.lru_cache(maxsize=1024)
def _whose(name: bytes) -> tuple[str, int]:
    """Address and port out of a sockaddr_in, without its family."""
    return socket.inet_ntoa(name[2:]), int.from_bytes(name[:2], "big")


class Outbox:
    """Sends datagrams from a UDP socket."""

    def __init__(self, size: int) -> None:
        self._slots = _Slots(size)

    def send(self, fd: int, datagrams: Sequence[Datagram]) -> list[OSError]:
        """Send all; what went wrong with each that could not be sent, as with one longer than `size`."""
        short = [each for each in datagrams if len(each[0]) <= self._slots.size]
        failed = [OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))] * (len(datagrams) - len(short))
        for at in range(0, len(short), MOST):
            failed += self._send(fd, short[at : at + MOST])
        return failed

    def _send(self, fd: int, datagrams: Sequence[Datagram]) -> list[OSError]:
        failed: list[OSError] = []
        slots, done = self._slots, 0
        for i, (data, host, port) in enumerate(datagrams):
            slots.octets[i * slots.size : i * slots.size + len(data)] = data
            slots.parts[i].size = len(data)
            slots.names[i * _NAME : (i + 1) * _NAME] = _name(host, port)
        while done < len(datagrams):
            first = ctypes.byref(slots.messages, done * ctypes.sizeof(_Message))
            sent = _send(fd, first, len(datagrams) - done, socket.MSG_DONTWAIT)
            if sent < 0:
                code = ctypes.get_errno()
                if code == errno.EINTR:
                    continue
                failed.append(OSError(code, os.strerror(code)))
                sent = 1
            done += sent
        return failed


@functools.lru_cache(maxsize=1024)
def _name(host: str, port: int) -> bytes:
    """A sockaddr_in."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
