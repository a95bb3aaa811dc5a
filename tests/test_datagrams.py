"""Many datagrams in one system call are what one by one would have been."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from netboot.datagrams import CONTROL, IP_PKTINFO, MOST, Inbox, Outbox, is_to_all
from tests.support.udp import udp


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets."""
    with udp() as one, udp() as other:
        yield one, other


def test_what_waits_is_taken_in_order_with_its_senders(ends: tuple[socket.socket, socket.socket]) -> None:
    """Each with its octets, address and port; no more than was asked for; nothing where nothing waits."""
    one, other = ends
    inbox = Inbox(2000)
    assert inbox.receive(one.fileno(), 8) == []
    said = [bytes([i]) * i for i in range(5)]
    for each in said:
        other.sendto(each, one.getsockname())
    taken = inbox.receive(one.fileno(), 3) + inbox.receive(one.fileno(), 8)
    assert taken == [(each, *other.getsockname(), False) for each in said]


def test_a_long_datagram_is_cut(ends: tuple[socket.socket, socket.socket]) -> None:
    """At the size of the inbox, as recvfrom does; the next one is whole."""
    one, other = ends
    other.sendto(b"a" * 101, one.getsockname())
    other.sendto(b"b" * 7, one.getsockname())
    assert [data for data, *_ in Inbox(100).receive(one.fileno(), 8)] == [b"a" * 100, b"b" * 7]


def test_an_earlier_datagram_leaves_nothing_behind(ends: tuple[socket.socket, socket.socket]) -> None:
    """The same slots are used again and again."""
    one, other = ends
    inbox, outbox = Inbox(100), Outbox(100)
    for each in (b"a" * 90, b"", b"c" * 3):
        assert outbox.send(other.fileno(), [(each, *one.getsockname())]) == []
        assert inbox.receive(one.fileno(), 1) == [(each, *other.getsockname(), False)]


def test_more_than_a_call_takes_are_sent_by_several(ends: tuple[socket.socket, socket.socket]) -> None:
    """In their order, each to its own receiver."""
    one, other = ends
    many = [(i.to_bytes(2, "big"), *one.getsockname()) for i in range(2 * MOST + 5)]
    assert Outbox(100).send(other.fileno(), many) == []
    assert [one.recv(100) for _ in many] == [data for data, *_ in many]


def test_what_cannot_be_sent_keeps_nothing_back(ends: tuple[socket.socket, socket.socket]) -> None:
    """A bad receiver and a datagram that is too long are told; those before and behind leave."""
    one, other = ends
    to = one.getsockname()
    failed = Outbox(100).send(
        other.fileno(), [(b"1", *to), (b"2", "255.255.255.255", 9), (b"x" * 101, *to), (b"3", *to)]
    )
    assert sorted(error.errno or 0 for error in failed) == sorted([errno.EMSGSIZE, errno.EACCES])
    assert [one.recv(100), one.recv(100)] == [b"1", b"3"]


def test_what_is_said_to_everybody_is_known() -> None:
    """Of a socket that was told to tell; a datagram to our own address is none, whoever reads it."""
    with udp() as sender, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("0.0.0.0", 0))
        ours.settimeout(5)
        ours.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        port, inbox = ours.getsockname()[1], Inbox(100)
        for _ in range(2):
            for host in ("127.255.255.255", "127.0.0.1", "127.255.255.255"):
                sender.sendto(b"x", (host, port))
            assert [to_all for *_, to_all in inbox.receive(ours.fileno(), 8)] == [True, False, True]
        for host, to_all in (("127.255.255.255", True), ("127.0.0.1", False)):
            sender.sendto(b"x", (host, port))
            assert is_to_all(ours.recvmsg(100, CONTROL)[1]) is to_all


def test_a_socket_with_an_error_gives_nothing() -> None:
    """The reader learns of it when the next datagram shows that all is well again."""
    with udp() as one:
        number = one.fileno()
    assert Inbox(100).receive(number, 8) == []
