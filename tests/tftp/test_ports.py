"""The server's end of a transfer over loopback."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from netboot.tftp.ports import OwnPort, Port, SharedPort
from tests.support.udp import udp

STRIDE = 1472


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The listener and a client."""
    with udp() as listener, udp() as client:
        yield listener, client


def ports(listener: socket.socket, client: socket.socket) -> Iterator[Port]:
    for kind in (OwnPort, SharedPort):
        port = kind(listener, client.getsockname())
        yield port
        port.close()


def test_a_window_arrives_as_its_datagrams(ends: tuple[socket.socket, socket.socket]) -> None:
    """Sixty-four blocks and a short last one, by one call for each 64 KB, from either kind of port."""
    window = os.urandom(STRIDE * 63 + 100)
    for port in ports(*ends):
        port.send_window(memoryview(window), STRIDE)
        assert [len(ends[1].recv(2000)) for _ in range(64)] == [STRIDE] * 63 + [100]


class Counting:
    """A socket of an old kernel: it knows no UDP_SEGMENT. Counts what is asked of it."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.segments = self.singles = 0

    def sendmsg(self, *_: object) -> int:
        self.segments += 1
        raise OSError(errno.EINVAL, "Invalid argument")

    def send(self, datagram: bytes) -> int:
        self.singles += 1
        return self._real.send(datagram)

    def close(self) -> None:
        self._real.close()


def test_a_kernel_without_segmentation_gets_single_datagrams(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The first window finds out, all datagrams arrive, and nobody asks again."""
    port = OwnPort(ends[0], ends[1].getsockname())
    counting = port._sock = Counting(port._sock)  # type: ignore[assignment]
    port.send = counting.send
    window = os.urandom(STRIDE * 3 + 1)
    for _ in range(2):
        port.send_window(memoryview(window), STRIDE)
        assert b"".join(ends[1].recv(2000) for _ in range(4)) == window
    assert (counting.segments, counting.singles) == (1, 8)
    port.close()


def test_segments_are_asked_for_by_their_size(ends: tuple[socket.socket, socket.socket]) -> None:
    """One sendmsg for the whole window, with the stride as its segment size."""
    asked: list[tuple[int, object]] = []

    class Noting:
        def sendmsg(self, buffers: list[memoryview], ancillary: object, *_: object) -> int:
            asked.append((len(buffers[0]), ancillary))
            return 0

    port = SharedPort(*_named(ends))
    port._sock = Noting()  # type: ignore[assignment]
    port.send_window(memoryview(bytes(STRIDE * 16)), STRIDE)
    assert asked == [(STRIDE * 16, [(17, 103, struct.pack("H", STRIDE))])]


def _named(ends: tuple[socket.socket, socket.socket]) -> tuple[socket.socket, tuple[str, int]]:
    return ends[0], ends[1].getsockname()


def test_an_own_port_hears_its_client_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    """A datagram from another port never reaches the transfer (RFC 1350 section 4)."""
    listener, client = ends
    port = OwnPort(listener, client.getsockname())
    port.send(b"here I am")
    _, ours = client.recvfrom(100)
    with udp() as other:
        other.sendto(b"\0\4\0\1", ours)
        client.sendto(b"\0\4\0\2", ours)
        assert port.recv(100) == b"\0\4\0\2"
        with pytest.raises(BlockingIOError):
            port.recv(100)
    port.close()


def test_blocks_are_as_big_as_the_way_carries(ends: tuple[socket.socket, socket.socket]) -> None:
    """Loopback carries 64 KB; both kinds know."""
    for port in ports(*ends):
        assert port.max_blksize() > 60_000


def test_only_an_own_port_is_polled(ends: tuple[socket.socket, socket.socket]) -> None:
    """What comes for a shared one is read by its listener."""
    own, shared = (kind(*_named(ends)) for kind in (OwnPort, SharedPort))
    assert own.fileno() is not None and shared.fileno() is None
    with pytest.raises(BlockingIOError):
        shared.recv(100)
    own.close()
