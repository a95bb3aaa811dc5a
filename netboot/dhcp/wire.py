"""BOOTP and DHCP messages as bytes and as values (RFC 951, RFC 2131 section 2, RFC 2132, RFC 3396).

Addresses are plain 32-bit numbers here and options raw bytes: a message is read and answered thousands
of times a second, and most of its fields are only compared or copied.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from netboot.errors import MalformedPacket

MAGIC = b"\x63\x82\x53\x63"
"""The four octets that open the options (RFC 2132 section 2)."""

MIN_SIZE = 300
"""Replies are padded to this many octets: some boot ROMs drop shorter ones (RFC 951 section 3)."""

MAX_SIZE = 4096
"""Longer requests are refused unread; real clients send 300 to 600 octets."""

FLAG_BROADCAST = 0x8000
"""`flags`: the client cannot receive unicast before it has its address (RFC 2131 section 2)."""

PAD, OVERLOAD, END = 0, 52, 255

_HEADER = struct.Struct("!BBBBIHHIIII16s64s128s4s")
HEADER_SIZE = _HEADER.size
"""Octets before the first option, magic included."""


class Op(enum.IntEnum):
    """The direction of a message."""

    REQUEST = 1
    REPLY = 2


class Kind(enum.IntEnum):
    """DHCP message types, option 53 (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


_KINDS = {bytes([kind]): kind for kind in Kind}


class Packet(NamedTuple):
    """One message. A tuple and no dataclass, because it is made for every datagram that arrives.

    `options` maps a code to its whole value, the parts of a split option joined, in order of arrival.
    `sname` and `file` are empty where the client used them for options (option 52).
    """

    op: int
    htype: int
    hlen: int
    hops: int
    xid: int
    secs: int
    flags: int
    ciaddr: int
    yiaddr: int
    siaddr: int
    giaddr: int
    chaddr: bytes
    sname: bytes
    file: bytes
    options: Mapping[int, bytes]

    @property
    def kind(self) -> Kind | None:
        """The DHCP message type; None for BOOTP and for types that no client sends to us."""
        return _KINDS.get(self.options.get(53, b""))

    def u32(self, code: int) -> int | None:
        """An option of four octets as a number (an address, a time); None where absent or otherwise long."""
        value = self.options.get(code)
        return int.from_bytes(value, "big") if value is not None and len(value) == 4 else None


def decode(data: bytes) -> Packet:
    """A message from the payload of a UDP datagram. Raises MalformedPacket for anything that is none."""
    size = len(data)
    if size < HEADER_SIZE:
        raise MalformedPacket(f"{size} octets are too few for a DHCP message")
    if size > MAX_SIZE:
        raise MalformedPacket(f"a message of more than {MAX_SIZE} octets")
    (op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, magic) = (
        _HEADER.unpack_from(data)
    )
    if magic != MAGIC:
        raise MalformedPacket("no DHCP magic cookie")
    if op != 1 and op != 2:
        raise MalformedPacket(f"op is {op}, neither a request nor a reply")
    if hlen > 16:
        raise MalformedPacket(f"hlen is {hlen}, but chaddr has 16 octets")
    options: dict[int, bytes] = {}
    _read_options(data, HEADER_SIZE, options)
    if OVERLOAD in options:
        sname, file = _read_overloaded(options, sname, file)
    return _packet((
        op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr,
        chaddr[:hlen], sname.partition(b"\0")[0], file.partition(b"\0")[0], options,
    ))  # fmt: skip


_packet = Packet._make  # half the time of a call with 15 arguments


def _read_options(data: bytes, at: int, into: dict[int, bytes]) -> None:
    """Read options up to END or the end of the field; parts of one option are joined (RFC 3396, 7)."""
    size = len(data)
    while at < size:
        code = data[at]
        if code == END:
            return
        if code == PAD:
            at += 1
            continue
        start = at + 2
        if start > size:
            raise MalformedPacket(f"option {code} ends before its length octet")
        at = start + data[at + 1]
        if at > size:
            raise MalformedPacket(f"option {code} is longer than the message")
        value = data[start:at]
        into[code] = into[code] + value if code in into else value


def _read_overloaded(options: dict[int, bytes], sname: bytes, file: bytes) -> tuple[bytes, bytes]:
    """Read the options in `file`, then those in `sname`, as option 52 says (RFC 2132 section 9.3)."""
    overload = options[OVERLOAD]
    if len(overload) != 1 or not 1 <= overload[0] <= 3:
        raise MalformedPacket(f"option 52 is {overload[:8].hex()}, not 1, 2 or 3")
    if overload[0] & 1:
        _read_options(file, 0, options)
        file = b""
    if overload[0] & 2:
        _read_options(sname, 0, options)
        sname = b""
    return sname, file


def encode(packet: Packet) -> bytes:
    """The payload of a datagram, options in their own order, padded. Raises ValueError for a bad field."""
    return encode_with(packet, encode_options(packet.options.items()))


def encode_with(packet: Packet, options: bytes) -> bytes:
    """As `encode`, with options that are octets already (without END); those of `packet` do not count."""
    header = _HEADER.pack(
        *packet[:11], packet.chaddr, _field(packet.sname, 64), _field(packet.file, 128), MAGIC
    )
    return (header + options + b"\xff").ljust(MIN_SIZE, b"\0")


def encode_reply(
    request: Packet,
    *,
    flags: int,
    ciaddr: int,
    yiaddr: int,
    siaddr: int,
    sname: bytes,
    file: bytes,
    options: bytes,
) -> bytes:
    """The reply to a request, padded: what RFC 2131 table 3 copies is copied. `options` come without END.

    Raises ValueError for a name that does not fit.
    """
    if len(sname) >= 64 or len(file) >= 128:
        raise ValueError("a name does not fit into its header field")
    header = _HEADER.pack(
        Op.REPLY, request.htype, request.hlen, 0, request.xid, 0, flags, ciaddr, yiaddr, siaddr,
        request.giaddr, request.chaddr, sname, file, MAGIC,
    )  # fmt: skip
    return (header + options + b"\xff").ljust(MIN_SIZE, b"\0")


def _field(value: bytes, size: int) -> bytes:
    """Header fields are C strings: one octet of them is the NUL at the end."""
    if len(value) >= size:
        raise ValueError(f"{value[:16]!r}... does not fit into a header field of {size} octets")
    return value


def encode_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Options as octets, without END. Raises ValueError for a code that is no option's."""
    return b"".join([encode_option(code, value) for code, value in options])


def encode_option(code: int, value: bytes) -> bytes:
    """One option as octets; a value of more than 255 is split into consecutive parts (RFC 3396)."""
    if not PAD < code < END:
        raise ValueError(f"{code} is not the code of an option")
    size = len(value)
    if size <= 255:
        return bytes((code, size)) + value
    parts = (value[i : i + 255] for i in range(0, size, 255))
    return b"".join([bytes((code, len(part))) + part for part in parts])
