"""Link headers, tags, IPv4 and UDP down to the DHCP message."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import IP, UDP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback, fragment  # type: ignore[attr-defined]

from netboot.dhcp.wire import encode
from netboot.shadow.frame import Datagram, LeftOut, datagram
from netboot.shadow.pcap import Frame
from tests.dhcp.world import discover
from tests.shadow.talk import NODE, ethernet

PAYLOAD = encode(discover(NODE))
INNER = IP(src="10.77.0.3", dst="10.77.0.1") / UDP(sport=68, dport=67) / PAYLOAD
ETHER = Ether(src=NODE, dst="ff:ff:ff:ff:ff:ff", type=0x0800)


def frame(link: int, data: bytes, size: int | None = None) -> Frame:
    """A captured frame."""
    return Frame(5.0, link, data, len(data) if size is None else size, "eth1")


@pytest.mark.parametrize(
    ("link", "data", "vlans"),
    [
        (1, bytes(ETHER / INNER), ()),
        (1, bytes(Ether(src=NODE) / Dot1Q(vlan=12) / INNER), (12,)),
        (1, bytes(Ether(src=NODE) / Dot1AD(vlan=7) / Dot1Q(vlan=12) / INNER), (7, 12)),
        (113, bytes(CookedLinux(proto=0x0800) / INNER), ()),
        (113, bytes(CookedLinux(proto=0x8100) / Dot1Q(vlan=9) / INNER), (9,)),
        (276, bytes(CookedLinuxV2(proto=0x0800) / INNER), ()),
        (276, bytes(CookedLinuxV2(proto=0x8100) / Dot1Q(vlan=9) / INNER), (9,)),
        (101, bytes(INNER), ()),
        (228, bytes(INNER), ()),
        (12, bytes(INNER), ()),
        (0, bytes(Loopback(type=2) / INNER), ()),
        (0, struct.pack("<I", 2) + bytes(INNER), ()),
        (108, struct.pack(">I", 2) + bytes(INNER), ()),
    ],
)
def test_each_link_type_leads_to_the_same_message(link: int, data: bytes, vlans: tuple[int, ...]) -> None:
    """Ethernet with and without tags, cooked captures, raw IP, loopback: as scapy builds them."""
    found = datagram(frame(link, data))
    assert isinstance(found, Datagram)
    assert (found.payload, found.vlans, found.interface) == (PAYLOAD, vlans, "eth1")
    assert (str(found.source), found.source_port, str(found.to), found.port) == (
        "10.77.0.3",
        68,
        "10.77.0.1",
        67,
    )


def test_padding_after_the_datagram_is_not_part_of_it() -> None:
    """UDP's own length counts."""
    found = datagram(frame(1, ethernet(discover(NODE)) + b"padding"))
    assert isinstance(found, Datagram) and found.payload == PAYLOAD


def test_checksums_are_not_looked_at() -> None:
    """A host that captures its own packets sees them before its card computed them."""
    data = bytearray(ethernet(discover(NODE)))
    data[40:42] = b"\xde\xad"
    assert isinstance(datagram(frame(1, bytes(data))), Datagram)


def test_other_traffic_is_left_out_without_a_word() -> None:
    """Other ports and protocols, ARP, IPv6."""
    others = [IP() / UDP(sport=53, dport=5353) / b"dns", IP(proto=6) / bytes(20)]
    for data in (*(bytes(ETHER / other) for other in others), bytes(Ether(type=0x0806)) + bytes(28)):
        assert datagram(frame(1, data)) == LeftOut("")


def test_what_cannot_be_read_is_left_out_for_a_reason() -> None:
    """Fragments, frames that the capture cut, unknown link types."""
    whole = bytes(ETHER / INNER)
    pieces = [bytes(ETHER / piece) for piece in fragment(INNER, fragsize=200)]
    assert isinstance(datagram(frame(147, whole)), LeftOut)
    found = [datagram(frame(1, piece)) for piece in pieces]
    assert [f.reason for f in found if isinstance(f, LeftOut) and f.reason] == [
        "DHCP messages in IP fragments"
    ]
    cut = datagram(frame(1, whole[:100], len(whole)))
    assert isinstance(cut, LeftOut) and "capture cut" in cut.reason
    broken = bytes(ETHER / IP() / UDP(sport=68, dport=67, len=4) / b"abcdefgh")
    assert datagram(frame(1, broken)) == LeftOut("broken UDP")


@given(st.sampled_from([0, 1, 12, 101, 108, 113, 276]), st.binary(max_size=120))
def test_no_frame_raises(link: int, data: bytes) -> None:
    """Whatever is in it."""
    assert isinstance(datagram(frame(link, data)), Datagram | LeftOut)
