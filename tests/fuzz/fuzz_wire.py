"""Target `wire`: any octets are a message or MalformedPacket; what we read we can write and read again."""

from __future__ import annotations

from netboot.dhcp.options import client_of, sub_options
from netboot.dhcp.wire import HEADER_SIZE, MAX_SIZE, Packet, decode, encode
from netboot.errors import MalformedPacket
from tests.dhcp.world import HTTP_X64, IPXE, NODE_MACS, PXE_BIOS, SYSTEM, discover

MAX_LENGTH = 1200


def one_input(data: bytes) -> None:
    """The whole of one datagram's reading."""
    try:
        packet = decode(data)
    except MalformedPacket:
        return
    expect_sound(packet, data)
    for raw in packet.options.values():
        assert sum(len(value) + 2 for value in sub_options(raw).values()) <= len(raw)
    try:
        client = client_of(packet)
    except MalformedPacket:
        return
    assert client.mac == packet.chaddr.hex(":")


def expect_sound(packet: Packet, data: bytes) -> None:
    """No more comes out than went in, and a message written again says the same."""
    assert HEADER_SIZE <= len(data) <= MAX_SIZE
    assert sum(map(len, packet.options.values())) <= len(data) - HEADER_SIZE + 192
    assert len(packet.chaddr) == packet.hlen <= 16
    kept = {code: raw for code, raw in packet.options.items() if code != 52}
    plain = packet._replace(options=kept)
    if len(plain.sname) < 64 and len(plain.file) < 128:
        assert decode(encode(plain)) == plain


def seeds() -> list[bytes]:
    """What real clients say."""
    said = [encode(discover(NODE_MACS[0], options)) for options in (PXE_BIOS, HTTP_X64, IPXE, SYSTEM)]
    long = encode(discover(NODE_MACS[0], {43: bytes(300)}))
    overloaded = bytearray(encode(discover(NODE_MACS[0], {52: b"\3"})))
    overloaded[44:48], overloaded[108:112] = b"\x0c\1a\xff", b"\x0f\1b\xff"
    return [*said, long, bytes(overloaded)]
