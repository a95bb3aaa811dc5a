"""TFTP's packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.errors import MalformedPacket
from netboot.tftp import wire
from netboot.tftp.wire import Opcode


def test_a_request_is_read_with_its_options() -> None:
    """Mode and option names without case, name as it stands."""
    packet = wire.parse(b"\0\1A/b.EFI\0OcTet\0BlkSize\x001468\0tsize\x000\0")
    assert packet == wire.Request(Opcode.RRQ, "A/b.EFI", "octet", {"blksize": "1468", "tsize": "0"})


def test_the_first_of_equal_options_counts() -> None:
    """RFC 2347: an option may stand there once."""
    packet = wire.parse(b"\0\1a\0octet\0tsize\x000\0TSIZE\x009\0")
    assert isinstance(packet, wire.Request)
    assert packet.options == {"tsize": "0"}


def test_padding_behind_a_request_is_forgiven() -> None:
    """Old ROMs send a whole buffer."""
    packet = wire.parse(b"\0\1a\0octet\0" + bytes(400))
    assert packet == wire.Request(Opcode.RRQ, "a", "octet", {})


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\0\0",
        b"\0\1a\0",
        b"\0\1a\0octet",
        b"\0\1\0octet\0",
        b"\0\1a\0\0\0",
        b"\0\7ab",
        b"\1\1a\0b\0",
        b"\0\1" + b"a" * 1100 + b"\0octet\0",
    ],
)
def test_what_is_no_packet_is_malformed(datagram: bytes) -> None:
    """Too short, no end, no name, no mode, unknown opcode, too long."""
    with pytest.raises(MalformedPacket):
        wire.parse(datagram)


def test_an_acknowledgement_and_an_error_are_read() -> None:
    """Some clients leave the NUL behind the error text out."""
    assert wire.parse(b"\0\4\xff\xff") == wire.Ack(65535)
    assert wire.parse(b"\0\5\0\x08no more") == wire.Error(8, "no more")
    assert wire.parse(b"\0\3\0\1data") == wire.Other(Opcode.DATA)


def test_what_is_sent_has_the_form_of_the_rfcs() -> None:
    """DATA with a wrapped number, OACK with texts, ERROR with a bounded text."""
    assert wire.data(65536, b"x") == b"\0\3\0\0x"
    assert wire.oack([("blksize", 1468)]) == b"\0\6blksize\x001468\0"
    assert wire.error(wire.ErrorCode.NOT_FOUND, "é" * 500) == b"\0\5\0\1" + b"?" * 200 + b"\0"


@given(st.binary(max_size=1100))
def test_parse_raises_nothing_but_malformed(datagram: bytes) -> None:
    """Arbitrary bytes: a packet or MalformedPacket."""
    try:
        wire.parse(datagram)
    except MalformedPacket:
        pass


@given(st.binary(max_size=600))
def test_parse_of_odd_requests_raises_nothing_but_malformed(rest: bytes) -> None:
    """The same behind the opcode of a request."""
    try:
        packet = wire.parse(b"\0\1" + rest + b"\0")
    except MalformedPacket:
        return
    assert isinstance(packet, wire.Request)
    assert len(packet.options) <= wire.MAX_OPTIONS
