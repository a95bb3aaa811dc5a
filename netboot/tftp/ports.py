"""The server's end of a transfer: a port of its own (RFC 1350), or port 69 for all (`tftp.single_port`)."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from netboot.tftp.transfer import ETHERNET_BLKSIZE
from netboot.tftp.wire import HEADER

Peer = tuple[str, int]
RECEIVED: Final = 256
"""Bytes read of a datagram in a transfer: an ACK has four, of an ERROR's text the beginning is enough."""
_SOL_UDP, _UDP_SEGMENT, _UDP_PAYLOAD = 17, 103, 65507
_SEGMENTS: Final = 64  # that one UDP_SEGMENT send may hold in every kernel (UDP_MAX_SEGMENTS)
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT, _IP_MTU = 10, 0, 14
_NO_SEGMENTS: Final = frozenset(
    {errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
)


class Port(Protocol):
    """Where a transfer's packets leave from. Its methods raise OSError."""

    send: Callable[[bytes | memoryview], object]
    """Send one datagram to the client."""
    recv: Callable[[int], bytes]
    """Read the client's next datagram."""

    def fileno(self) -> int | None:
        """What to poll; None where the listener hears for it."""
        ...

    def send_window(self, datagrams: memoryview, stride: int) -> None:
        """Send datagrams that lie in one piece, each of `stride` bytes and the last of the rest."""
        ...

    def max_blksize(self) -> int:
        """The biggest block that leaves towards this client unfragmented."""
        ...

    def close(self) -> None:
        """The transfer is over."""
        ...


class _Sending:
    """A window in one system call where the kernel cuts it into datagrams (UDP_SEGMENT), else singly."""

    def __init__(self, sock: socket.socket, to: Peer | None) -> None:
        self._sock = sock
        self._to: tuple[int, Peer] | tuple[()] = () if to is None else (0, to)
        self._segment = True
        self.send: Callable[[bytes | memoryview], object] = (
            sock.send if to is None else lambda datagram: sock.sendto(datagram, to)
        )

    def send_window(self, datagrams: memoryview, stride: int) -> None:
        """See Port."""
        if self._segment:
            try:
                self._send_segments(datagrams, stride)
                return
            except OSError as error:
                if error.errno not in _NO_SEGMENTS:
                    raise
                self._segment = False
        for at in range(0, len(datagrams), stride):
            self.send(datagrams[at : at + stride])

    def _send_segments(self, datagrams: memoryview, stride: int) -> None:
        piece = min(_SEGMENTS, _UDP_PAYLOAD // stride) * stride
        segments = [(_SOL_UDP, _UDP_SEGMENT, struct.pack("H", stride))]
        for at in range(0, len(datagrams), piece):
            self._sock.sendmsg([datagrams[at : at + piece]], segments, *self._to)


class OwnPort(_Sending):
    """A socket from the address that was asked, on a port of its own (its TID), to this client alone."""

    def __init__(self, listener: socket.socket, peer: Peer) -> None:
        sock = connected(listener, peer)
        super().__init__(sock, None)
        self.recv: Callable[[int], bytes] = sock.recv

    def fileno(self) -> int | None:
        """See Port."""
        return self._sock.fileno()

    def max_blksize(self) -> int:
        """See Port."""
        return _route_blksize(self._sock)

    def close(self) -> None:
        """See Port."""
        self._sock.close()


class SharedPort(_Sending):
    """The listening socket itself: its owner tells transfers apart by the client's address and port."""

    def __init__(self, listener: socket.socket, peer: Peer) -> None:
        super().__init__(listener, peer)
        self._peer = peer
        self.recv: Callable[[int], bytes] = _heard_elsewhere

    def fileno(self) -> int | None:
        """See Port."""
        return None

    def max_blksize(self) -> int:
        """See Port."""
        try:
            with connected(self._sock, self._peer) as sock:
                return _route_blksize(sock)
        except OSError:
            return ETHERNET_BLKSIZE

    def close(self) -> None:
        """See Port: the listener stays."""


def _heard_elsewhere(_: int) -> bytes:
    """The listener reads for all transfers on its port."""
    raise BlockingIOError


def connected(listener: socket.socket, peer: Peer) -> socket.socket:
    """A non-blocking socket from the listener's address to this client; raises OSError."""
    sock = socket.socket(listener.family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        allow_fragments(sock)
        sock.bind((listener.getsockname()[0], 0))
        sock.connect(peer)
    except OSError:
        sock.close()
        raise
    return sock


def allow_fragments(sock: socket.socket) -> None:
    """Let routers on the way fragment: a TFTP client cannot be asked for smaller blocks half way."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)


def _route_blksize(sock: socket.socket) -> int:
    """The biggest block that leaves a connected socket unfragmented; Ethernet's where nobody knows."""
    try:
        mtu = sock.getsockopt(socket.IPPROTO_IP, _IP_MTU)
    except OSError:
        return ETHERNET_BLKSIZE
    return max(512, mtu - 20 - 8 - HEADER.size)
