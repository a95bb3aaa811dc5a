"""ARP and ICMP: the bytes that ask, and whose bytes count as an answer (scapy is the judge)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import ARP, ICMP, IP, Ether, Raw  # type: ignore[attr-defined]

from netboot.alive import arp_answer, arp_probe, echo_answer, echo_request
from netboot.model.machine import Mac

MAC = Mac("52:54:00:77:ff:01")
OTHER = Mac("52:54:00:00:00:aa")
ASKED = IPv4Address("10.77.0.100")
COOKIE = b"12345678"


def test_the_question_is_an_arp_probe() -> None:
    """RFC 5227: a broadcast request without a sender's address, so that nobody learns a wrong one."""
    frame = Ether(arp_probe(MAC.packed(), ASKED))
    assert (frame.dst, frame.src, frame[ARP].op) == ("ff:ff:ff:ff:ff:ff", MAC, 1)
    assert (frame[ARP].hwsrc, frame[ARP].psrc, frame[ARP].pdst) == (MAC, "0.0.0.0", str(ASKED))
    assert frame[ARP].hwdst == "00:00:00:00:00:00"


def reply(**fields: object) -> bytes:
    """An ARP reply as a machine with that address sends it."""
    has = {"op": 2, "hwsrc": OTHER, "psrc": str(ASKED), "hwdst": MAC, "pdst": "0.0.0.0", **fields}
    return bytes(Ether(src=OTHER, dst=MAC) / ARP(**has)) + bytes(18)


def test_a_reply_names_address_and_card() -> None:
    """Padding and all."""
    assert arp_answer(reply()) == (ASKED, OTHER)


@pytest.mark.parametrize(
    "frame", [b"", reply()[:41], reply(op=1), reply(hwtype=6), reply(ptype=0x86DD), reply(plen=16)]
)
def test_no_other_frame_is_an_answer(frame: bytes) -> None:
    """Requests, other protocols and cut frames are nothing."""
    assert arp_answer(frame) is None


def test_the_echo_is_one_and_its_checksum_is_right() -> None:
    """As scapy computes it."""
    packet = ICMP(echo_request(COOKIE, 7))
    assert (packet.type, packet.code, packet.seq, bytes(packet[Raw])) == (8, 0, 7, COOKIE)
    claimed = packet.chksum
    del packet.chksum
    assert ICMP(bytes(packet)).chksum == claimed


def echo(**fields: object) -> bytes:
    """An echo reply with its IPv4 header, as a raw socket gives it."""
    icmp = {"type": 0, "seq": 7, **fields}
    return bytes(IP(src=str(ASKED), dst="10.77.0.1", options=[]) / ICMP(**icmp) / Raw(COOKIE))


def test_an_echo_reply_names_its_sender() -> None:
    """With or without IP options."""
    assert echo_answer(echo(), COOKIE) == ASKED
    header = bytearray(echo()[:20])
    header[0] = 0x46
    assert echo_answer(bytes(header) + bytes(4) + echo()[20:], COOKIE) == ASKED


@pytest.mark.parametrize(
    "packet", [b"", b"\x45", echo()[:30], echo(type=8), echo(type=3), b"\x40" + echo()[1:]]
)
def test_no_other_packet_is_an_echo_of_ours(packet: bytes) -> None:
    """Requests, errors and cut packets are nothing; nor is a reply to somebody else's cookie."""
    assert echo_answer(packet, COOKIE) is None
    assert echo_answer(echo(), b"somebody") is None


@given(st.binary(max_size=120))
def test_no_bytes_break_the_readers(junk: bytes) -> None:
    """A value or None."""
    arp_answer(junk)
    echo_answer(junk, COOKIE)
