"""TFTP's packets: bytes in, a value or MalformedPacket out (RFC 1350; options: RFC 2347 to 2349, 7440)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from netboot.errors import MalformedPacket

MAX_REQUEST: Final = 1024
"""Bytes of a request; RFC 2347 allows 512, some loaders send a little more."""
MAX_OPTIONS: Final = 16
HEADER: Final = struct.Struct("!HH")
"""Opcode and block number (or error code): what stands before every block's data."""


class Opcode(IntEnum):
    """RFC 1350 section 5, RFC 2347."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class ErrorCode(IntEnum):
    """RFC 1350 appendix, RFC 2347."""

    UNDEFINED = 0
    NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    ILLEGAL_OPERATION = 4
    UNKNOWN_TRANSFER = 5
    OPTION_REFUSED = 8


@dataclass(frozen=True, slots=True)
class Request:
    """RRQ or WRQ: `name` as it was sent, mode and option names in lower case, the first of equal ones."""

    opcode: Opcode
    name: str
    mode: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ack:
    """Block `number` (16 bits) and all before it arrived."""

    number: int


@dataclass(frozen=True, slots=True)
class Error:
    """The other side ends the transfer."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """DATA or OACK: well-formed, but nothing that a server of files is sent."""

    opcode: Opcode


Packet = Request | Ack | Error | Other


def parse(datagram: bytes) -> Packet:
    """The packet in a datagram; raises MalformedPacket and nothing else."""
    if len(datagram) < 4:
        raise MalformedPacket(f"{len(datagram)} bytes are no TFTP packet")
    opcode, number = HEADER.unpack_from(datagram)
    if opcode == Opcode.ACK:
        return Ack(number)
    if opcode in (Opcode.RRQ, Opcode.WRQ):
        return _request(Opcode(opcode), datagram)
    if opcode == Opcode.ERROR:
        return Error(number, _text(datagram[4:].partition(b"\0")[0][:256]))
    if opcode in (Opcode.DATA, Opcode.OACK):
        return Other(Opcode(opcode))
    raise MalformedPacket(f"opcode {opcode} is none of TFTP")


def ack_number(datagram: bytes) -> int | None:
    """The block that an ACK of exactly four bytes names, else None: the short way of `parse`."""
    if len(datagram) != 4:
        return None
    opcode, number = HEADER.unpack(datagram)
    return number if opcode == 4 else None


def _request(opcode: Opcode, datagram: bytes) -> Request:
    if len(datagram) > MAX_REQUEST:
        raise MalformedPacket(f"a request of more than {MAX_REQUEST} bytes")
    if not datagram.endswith(b"\0"):
        raise MalformedPacket("a request whose last text does not end")
    name, *rest = datagram[2:-1].split(b"\0")
    if not name or not rest or not rest[0]:
        raise MalformedPacket("a request without a name or a mode")
    return Request(opcode, _text(name), _text(rest[0]).lower(), _options(rest[1:]))


def _options(texts: list[bytes]) -> Mapping[str, str]:
    """Names and values in turn; padding behind them (old ROMs send it) and a name without value fall away."""
    options: dict[str, str] = {}
    for name, value in zip(texts[::2], texts[1::2], strict=False):
        if not name or len(options) == MAX_OPTIONS:
            break
        options.setdefault(_text(name).lower(), _text(value))
    return MappingProxyType(options)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def data(number: int, content: bytes) -> bytes:
    """A DATA packet; `number` wraps to 0 behind 65535."""
    return HEADER.pack(Opcode.DATA, number & 0xFFFF) + content


def oack(options: Iterable[tuple[str, int]]) -> bytes:
    """An OACK of these options and values (RFC 2347)."""
    texts = b"".join(name.encode() + b"\0%d\0" % value for name, value in options)
    return struct.pack("!H", Opcode.OACK) + texts


def error(code: ErrorCode, text: str) -> bytes:
    """An ERROR packet; the text is cut to what fits every client's buffer."""
    return HEADER.pack(Opcode.ERROR, code) + text.encode("ascii", "replace")[:200] + b"\0"
