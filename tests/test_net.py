"""Frames, checksums, and what the kernel says of interfaces (without root)."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.all import IP, UDP, Ether, Raw, raw  # type: ignore[attr-defined]

from netboot import net
from netboot.errors import StartError
from netboot.model.machine import Mac

SOURCE, TO = IPv4Address("10.77.0.1"), IPv4Address("10.77.0.20")
numbers = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=700), numbers, numbers, st.integers(0, 65535), st.integers(0, 65535))
def test_a_datagram_is_what_scapy_would_build(
    payload: bytes, source: int, to: int, port: int, identification: int
) -> None:
    """Header fields and both checksums are those that scapy computes for the same datagram."""
    ours = net.ipv4_udp(payload, source, 67, to, port, identification)
    ends = {"src": str(IPv4Address(source)), "dst": str(IPv4Address(to))}
    theirs = IP(**ends, id=identification, ttl=64) / UDP(sport=67, dport=port) / Raw(payload)
    assert ours == raw(theirs)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0xFFFF),
        (b"\0\0", 0xFFFF),
        (b"\xff\xff", 0),
        (b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 0x220D),
        (b"\x01", 0xFEFF),
    ],
)
def test_the_checksum_is_that_of_rfc_1071(data: bytes, checksum: int) -> None:
    """The example of the RFC, odd lengths, all zeros and all ones."""
    assert net.internet_checksum(data) == checksum


class Recorder:
    """A socket that only remembers what it was to send."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.datagrams: list[tuple[bytes, object, tuple[str, int]]] = []

    def send(self, data: bytes) -> None:
        """A frame."""
        self.frames.append(data)

    def sendmsg(self, buffers: list[bytes], ancillary: object, flags: int, to: tuple[str, int]) -> None:
        """A datagram with a source of ours."""
        self.datagrams.append((b"".join(buffers), ancillary, to))

    def sendto(self, data: bytes, to: tuple[str, int]) -> None:
        """A datagram whose source the kernel chooses."""
        self.datagrams.append((data, None, to))


FACTS = net.Interface("eth1", 5, Mac("02:00:00:00:00:01"), (SOURCE,))


def test_a_frame_carries_the_datagram_to_one_card() -> None:
    """Our card to the client's, our address to the one it is about to have, port 67 to 68."""
    packet = Recorder()
    endpoint = net.Endpoint(FACTS, Recorder(), packet)  # type: ignore[arg-type]
    endpoint.frame(b"payload", Mac("52:54:00:00:00:09"), TO, SOURCE)
    frame = Ether(packet.frames[0])
    assert (frame.dst, frame.src, frame[IP].src, frame[IP].dst) == (
        "52:54:00:00:00:09", "02:00:00:00:00:01", "10.77.0.1", "10.77.0.20",
    )  # fmt: skip
    assert (frame[UDP].sport, frame[UDP].dport, bytes(frame[UDP].payload)) == (67, 68, b"payload")


def test_a_broadcast_goes_to_every_card() -> None:
    """Link and IP broadcast, from our address of that network."""
    packet = Recorder()
    net.Endpoint(FACTS, Recorder(), packet).broadcast(b"x", SOURCE)  # type: ignore[arg-type]
    frame = Ether(packet.frames[0])
    assert (frame.dst, frame[IP].dst, frame[IP].src) == ("ff:ff:ff:ff:ff:ff", "255.255.255.255", "10.77.0.1")


def test_without_the_right_to_send_frames_everybody_is_told() -> None:
    """A client without an address still hears the broadcast."""
    udp = Recorder()
    net.Endpoint(FACTS, udp, None).frame(b"x", Mac("52:54:00:00:00:09"), TO, SOURCE)  # type: ignore[arg-type]
    ((data, ancillary, to),) = udp.datagrams
    assert (data, to, ancillary) == (b"x", ("255.255.255.255", 68), None)


def test_a_second_address_of_ours_is_the_source_where_it_is_the_networks() -> None:
    """The kernel would take the interface's first one."""
    udp = Recorder()
    facts = net.Interface("eth1", 5, None, (SOURCE, IPv4Address("10.88.0.1")))
    endpoint = net.Endpoint(facts, udp, None)  # type: ignore[arg-type]
    endpoint.unicast(b"x", "10.88.0.9", 68, IPv4Address("10.88.0.1"))
    endpoint.unicast(b"y", "10.77.0.9", 68, SOURCE)
    (_, pinned, _), (_, chosen, _) = udp.datagrams
    info = b"\x05\0\0\0" + IPv4Address("10.88.0.1").packed + bytes(4)
    assert pinned == [(socket.IPPROTO_IP, 8, info)] and chosen is None


def test_an_address_that_came_later_is_left_to_the_kernel() -> None:
    """Its source cannot be pinned to what the interface did not have when it was opened."""
    udp = Recorder()
    net.Endpoint(FACTS, udp, None).unicast(b"x", "10.77.0.20", 68, IPv4Address("10.9.9.9"))  # type: ignore[arg-type]
    assert udp.datagrams == [(b"x", None, ("10.77.0.20", 68))]


def test_the_loopback_interface_is_known() -> None:
    """Index and addresses come from the kernel; it has no card."""
    facts = net.interface("lo")
    assert facts.index == socket.if_nametoindex("lo") and facts.mac is None
    assert IPv4Address("127.0.0.1") in facts.addresses


def test_a_missing_interface_is_named_with_those_that_exist() -> None:
    """The remedy says which key to change, and what there is."""
    with pytest.raises(StartError, match="no interface nope0") as caught:
        net.interface("nope0")
    assert "server.interfaces" in caught.value.remedy and "lo" in caught.value.remedy


def test_an_unknown_neighbour_is_none() -> None:
    """Nobody on loopback has a card, and an interface that is gone has no neighbours."""
    assert net.neighbour("lo", IPv4Address("127.0.0.99")) is None
    assert net.neighbour("nope0", IPv4Address("10.0.0.1")) is None


def test_the_program_that_has_a_port_is_found() -> None:
    """By the inode of its socket, as far as /proc shows it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        assert f"(pid {os.getpid()})" in net.udp_port_holder(port)
    assert net.udp_port_holder(port) == ""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(1, "Operation not permitted"), "CAP_NET_RAW"),
        (OSError(98, "Address already in use"), "Stop that program"),
    ],
)
def test_a_port_that_cannot_be_opened_comes_with_a_remedy(error: OSError, says: str) -> None:
    """Missing rights and another program are told apart."""
    with (
        mock.patch.object(net.socket.socket, "setsockopt", side_effect=error),
        mock.patch.object(net, "udp_port_holder", return_value="dnsmasq (pid 9)"),
        pytest.raises(StartError, match="port 67 on interface lo") as caught,
    ):
        net.open_endpoint("lo")
    assert says in caught.value.remedy
