"""Every ACK that reached the clients' card, read from tcpdump's capture by a reader of our own.

Nothing of the product is imported here: what the daemon said is to be judged by others' eyes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_MICROSECONDS, _NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
_ETHERNET = 1
_COOKIE = b"\x63\x82\x53\x63"
REQUEST, ACK = 3, 5


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledged lease as its machine saw it. Times in seconds, `at` since the epoch.

    `at` is when the machine asked: from there it counts its lease (RFC 2131 section 4.4.1), however long
    the answer was on its way. Where the question was not seen, when the ACK was.
    """

    mac: str
    address: IPv4Address
    at: float
    duration: int


class Capture:
    """A pcap file that tcpdump still writes; `new()` reads on from where it stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""
        self._asked: dict[bytes, float] = {}
        self._unit = 0.0  # of the fractions of a second; 0 until the file's head was read

    def new(self) -> list[Ack]:
        """The ACKs since the last call. Raises ValueError for a file that tcpdump did not write."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        self._rest += data
        return list(self._acks())

    def _acks(self) -> Iterator[Ack]:
        if not self._unit:
            if len(self._rest) < _FILE.size:
                return
            magic, *_, link = _FILE.unpack_from(self._rest)
            if magic not in (_MICROSECONDS, _NANOSECONDS) or link != _ETHERNET:
                raise ValueError(f"{self._path} is no capture of an Ethernet card")
            self._unit = 1e-6 if magic == _MICROSECONDS else 1e-9
            self._rest = self._rest[_FILE.size :]
        at = 0
        while at + _RECORD.size <= len(self._rest):
            seconds, fraction, size, _ = _RECORD.unpack_from(self._rest, at)
            if at + _RECORD.size + size > len(self._rest):
                break
            frame = self._rest[at + _RECORD.size : at + _RECORD.size + size]
            at += _RECORD.size + size
            when = seconds + fraction * self._unit
            if question := request_of(frame):
                self._asked[question] = when
            elif ack := ack_of(frame, when):
                yield replace(ack, at=self._asked.get(exchange_of(frame), when))
        self._rest = self._rest[at:]


def _message(frame: bytes, op: int) -> bytes:
    """The DHCP message in an Ethernet frame, empty where there is none of this direction."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return b""
    message = frame[14 + (frame[14] & 0x0F) * 4 + 8 :]
    whole = len(message) >= 240 and message[0] == op and message[236:240] == _COOKIE
    return message if whole else b""


def exchange_of(frame: bytes) -> bytes:
    """What a question and its answer have in common: transaction id and card."""
    message = frame[14 + (frame[14] & 0x0F) * 4 + 8 :]
    return message[4:8] + message[28:34]


def request_of(frame: bytes) -> bytes | None:
    """The exchange of the REQUEST that a frame carries; None for any other frame."""
    message = _message(frame, 1)
    if not message or _options(message[240:]).get(53) != bytes([REQUEST]):
        return None
    return exchange_of(frame)


def ack_of(frame: bytes, at: float) -> Ack | None:
    """The ACK with a lease that an Ethernet frame carries; None for any other frame."""
    message = _message(frame, 2)
    if not message:
        return None
    found = _options(message[240:])
    if found.get(53) != bytes([ACK]) or len(found.get(51, b"")) != 4:
        return None
    mac = message[28:34].hex(":")
    return Ack(mac, IPv4Address(message[16:20]), at, int.from_bytes(found[51], "big"))


def _options(raw: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(raw) and raw[at] != 255:
        if raw[at] == 0:
            at += 1
            continue
        found[raw[at]] = raw[at + 2 : at + 2 + raw[at + 1]]
        at += 2 + raw[at + 1]
    return found
