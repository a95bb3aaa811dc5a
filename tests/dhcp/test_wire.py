"""The codec: against scapy in both directions, against bytes that nobody meant well."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.all import BOOTP, DHCP, IP, UDP  # type: ignore[attr-defined]

from netboot.dhcp import wire
from netboot.dhcp.wire import Kind, Op, Packet, decode, encode
from netboot.errors import MalformedPacket
from netboot.model.machine import Mac
from tests.dhcp.world import PXE_X64, discover, message

MAC = Mac("52:54:00:00:00:01")


def header(options: bytes, **fields: bytes) -> bytes:
    """A message with the given octets as its options field, all else zero but op, htype and hlen."""
    start = b"\x01\x01\x06\x00" + bytes(24) + MAC.packed() + bytes(10)
    return start + fields.get("sname", bytes(64)) + fields.get("file", bytes(128)) + wire.MAGIC + options


def test_scapy_and_we_read_the_same_message() -> None:
    """A DISCOVER built by scapy is decoded field by field as scapy meant it."""
    options = [
        ("message-type", "discover"),
        ("requested_addr", "10.0.0.9"),
        ("vendor_class_id", b"PXEClient"),
        "end",
    ]
    theirs = BOOTP(chaddr=MAC.packed(), xid=7, flags="B", secs=3, giaddr="10.1.0.1", hops=1) / DHCP(
        options=options
    )
    ours = decode(bytes(theirs))
    assert (ours.op, ours.xid, ours.secs, ours.flags, ours.hops) == (1, 7, 3, 0x8000, 1)
    assert ours.chaddr == MAC.packed() and ours.giaddr == 0x0A010001
    assert ours.kind is Kind.DISCOVER
    assert dict(ours.options) == {53: b"\x01", 50: b"\x0a\x00\x00\x09", 60: b"PXEClient"}


def test_scapy_reads_what_we_write() -> None:
    """A reply that we encode is read back by scapy with every field and option in place."""
    packet = message(MAC, Kind.ACK, {54: b"\x0a\0\0\x01", 67: b"undionly.kpxe"})._replace(
        op=Op.REPLY, yiaddr=0x0A000009, siaddr=0x0A000001, sname=b"10.0.0.1", file=b"undionly.kpxe"
    )
    theirs = BOOTP(encode(packet))
    assert (theirs.op, theirs.yiaddr, theirs.siaddr) == (2, "10.0.0.9", "10.0.0.1")
    assert theirs.file.rstrip(b"\0") == b"undionly.kpxe" and theirs.sname.rstrip(b"\0") == b"10.0.0.1"
    options = dict(o[:2] for o in theirs[DHCP].options if isinstance(o, tuple))
    assert options["message-type"] == 5 and options["server_id"] == "10.0.0.1"
    assert options["boot-file-name"] == b"undionly.kpxe"


def test_a_short_message_is_padded_to_what_old_roms_take() -> None:
    """Replies have 300 octets at least, and END comes before the padding."""
    data = encode(message(MAC, Kind.ACK))
    assert len(data) == 300
    assert data[240:244] == b"\x35\x01\x05\xff" and not any(data[244:])


def test_a_long_option_is_split_and_joined_again() -> None:
    """A value of more than 255 octets travels in consecutive parts (RFC 3396)."""
    value = bytes(range(256)) * 2 + b"tail"
    data = encode(message(MAC, Kind.ACK, {43: value}))
    assert data[243:245] == b"\x2b\xff" and data[500:502] == b"\x2b\xff" and data[757:759] == b"\x2b\x06"
    assert decode(data).options[43] == value


def test_options_go_on_in_file_and_then_in_sname() -> None:
    """Option 52 continues the options in `file`, then in `sname`; a split value is joined in that order."""
    file = b"\x0f\x03bbb\xff".ljust(128, b"\0")
    sname = b"\x0f\x02cc\xff".ljust(64, b"\0")
    packet = decode(header(b"\x34\x01\x03\x0f\x01a\xff", file=file, sname=sname))
    assert packet.options[15] == b"abbbcc"
    assert packet.file == b"" and packet.sname == b""


def test_without_overload_file_and_sname_are_text() -> None:
    """The header's fields end at their first NUL."""
    packet = decode(header(b"\xff", file=b"a/b.efi\0junk".ljust(128, b"x"), sname=b"boot".ljust(64, b"\0")))
    assert (packet.file, packet.sname) == (b"a/b.efi", b"boot")


@pytest.mark.parametrize(
    ("data", "claim"),
    [
        (b"", "too few"),
        (header(b"\xff")[:239], "too few"),
        (header(b"\xff")[:236] + b"\x63\x82\x53\x64\xff", "magic cookie"),
        (header(b"\x35"), "before its length"),
        (header(b"\x35\x02\x01"), "longer than the message"),
        (header(b"\x34\x01\x04\xff"), "option 52"),
        (header(b"\x34\x02\x01\x01\xff"), "option 52"),
        (header(b"\x34\x01\x01\xff", file=b"\x0f\x7f".ljust(128, b"x")), "longer than the message"),
        (b"\x03" + header(b"\xff")[1:], "op is 3"),
        (b"\x01\x01\x11" + header(b"\xff")[3:], "hlen is 17"),
        (header(b"\0" * 5000), "more than 4096"),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused_with_the_rule(data: bytes, claim: str) -> None:
    """Each malformed message is a MalformedPacket whose text names what it breaks."""
    with pytest.raises(MalformedPacket, match=claim):
        decode(data)


def test_options_that_just_end_are_read_without_an_end_mark() -> None:
    """Some clients send no END; what they said still counts."""
    assert decode(header(b"\x35\x01\x01")).kind is Kind.DISCOVER


def test_what_cannot_be_written_is_refused() -> None:
    """A file name that does not fit and a code that is no option's are errors of the caller."""
    with pytest.raises(ValueError, match="does not fit"):
        encode(message(MAC, Kind.ACK)._replace(file=b"x" * 128))
    with pytest.raises(ValueError, match="not the code"):
        wire.encode_option(255, b"")


octets = st.binary(max_size=600)


@settings(max_examples=300, deadline=None)
@given(octets, st.binary(max_size=400), st.binary(min_size=192, max_size=192))
def test_any_octets_are_a_value_or_malformed(raw: bytes, options: bytes, fields: bytes) -> None:
    """Nothing else than MalformedPacket comes out of decoding, whatever goes in."""
    for data in (raw, header(options, sname=fields[:64], file=fields[64:])):
        try:
            assert isinstance(decode(data), Packet)
        except MalformedPacket:
            pass


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.integers(1, 254).filter(lambda c: c != 52), st.binary(max_size=700), max_size=8),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
)
def test_what_we_write_we_read_again(options: dict[int, bytes], number: int, flags: int) -> None:
    """Encoding and decoding give the same message back."""
    packet = discover(MAC, PXE_X64)._replace(
        options=options, xid=number, ciaddr=number, flags=flags, file=b"f"
    )
    try:
        assert decode(encode(packet)) == packet
    except MalformedPacket as error:
        assert "4096" in str(error)


def test_scapy_sees_our_message_in_a_whole_datagram() -> None:
    """The codec's bytes are the payload of a UDP datagram to port 67, as scapy dissects one."""
    payload = encode(discover(MAC))
    datagram = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / payload
    seen = IP(bytes(datagram))
    assert seen[BOOTP].xid == struct.unpack("!I", payload[4:8])[0]
    assert ("message-type", 1) in seen[DHCP].options
