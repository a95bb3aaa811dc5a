"""Capture files as frames: pcap and pcapng, both byte orders, any resolution of time.

A reader of our own, because a hostile file must cost bounded memory and end in our own error. Formats:
draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng of the IETF.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from netboot.errors import CaptureError

MAX_FRAME = 256 * 1024
"""Octets of one frame at most, as libpcap itself has it; a file that claims more is damaged."""

MAX_INTERFACES = 4096
"""Interfaces of one pcapng section at most."""

_CLASSIC = {0xA1B2C3D4: 1_000_000, 0xA1B23C4D: 1_000_000_000}
"""The magic of pcap, and how many parts its seconds have."""

_SECTION, _ORDER = 0x0A0D0D0A, 0x1A2B3C4D
_INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 1, 2, 3, 6
_NAME, _RESOLUTION, _OFFSET = 2, 9, 14
_CHUNK = 64 * 1024


class Frame(NamedTuple):
    """One frame as it was captured."""

    at: float
    """Seconds since the epoch; 0.0 where the file does not say."""
    link: int
    """The link type (LINKTYPE_* of libpcap)."""
    data: bytes
    size: int
    """Octets that it had on the wire: more than `data` where the capture cut it."""
    interface: str = ""
    """The interface's name, where a pcapng tells it."""


def frames(stream: BinaryIO, skipped: Counter[str]) -> Iterator[Frame]:
    """The frames of a capture. What has to be left out is counted in `skipped` by its reason.

    Raises CaptureError for what is no capture, or one that is damaged in its midst.
    """
    magic = stream.read(4)
    if int.from_bytes(magic, "big") == _SECTION:
        yield from _Sections(stream, skipped).frames()
        return
    for order in "<>":
        parts = _CLASSIC.get(struct.unpack(order + "I", magic)[0]) if len(magic) == 4 else None
        if parts:
            yield from _classic(stream, order, parts, skipped)
            return
    raise CaptureError("it is neither a pcap nor a pcapng file (tcpdump -w and Wireshark write such)")


def _classic(stream: BinaryIO, order: str, parts: int, skipped: Counter[str]) -> Iterator[Frame]:
    head = stream.read(20)
    if len(head) < 20:
        raise CaptureError("the file ends within its head")
    link = struct.unpack(order + "I", head[16:])[0] & 0x0FFFFFFF  # the upper bits tell of a checksum
    record = struct.Struct(order + "IIII")
    while raw := stream.read(record.size):
        if len(raw) < record.size:
            skipped[CUT] += 1
            return
        seconds, part, kept, size = record.unpack(raw)
        data = _exactly(stream, kept)
        if data is None:
            skipped[CUT] += 1
            return
        yield Frame(seconds + part / parts, link, data, size)


CUT = "the file ends within a packet"


def _exactly(stream: BinaryIO, size: int) -> bytes | None:
    """A packet's octets; None where the file ends before. Raises CaptureError for what cannot be true."""
    if size > MAX_FRAME:
        raise CaptureError(f"a packet of {size} octets: the file is damaged there")
    data = stream.read(size)
    return data if len(data) == size else None


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int
    snap: int
    name: str
    ticks: int
    """In a second."""
    offset: int
    """Seconds to add to each time."""


class _Sections:
    """A pcapng file, block by block."""

    def __init__(self, stream: BinaryIO, skipped: Counter[str]) -> None:
        self._stream = stream
        self._skipped = skipped
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._readers: dict[int, Callable[[bytes], Frame | None]] = {
            _ENHANCED: self._enhanced,
            _SIMPLE: self._simple,
            _OLD_PACKET: self._old_packet,
        }

    def frames(self) -> Iterator[Frame]:
        """The frames of all sections; the file's first four octets were read already."""
        kind: int | None = _SECTION
        while kind is not None:
            body = self._section() if kind == _SECTION else self._block(kind)
            if body is None:
                return
            if kind == _INTERFACE:
                self._add(body)
            elif kind in self._readers:
                frame = self._readers[kind](body)
                if frame is not None:
                    yield frame
            kind = self._kind()

    def _kind(self) -> int | None:
        raw = self._stream.read(4)
        if len(raw) == 4:
            return int(struct.unpack(self._order + "I", raw)[0])
        if raw:
            self._skipped[CUT] += 1
        return None

    def _section(self) -> bytes | None:
        """A section's head: it says the byte order of what follows, and forgets the interfaces."""
        raw = self._stream.read(8)
        if len(raw) < 8:
            raise CaptureError("the file ends within a section's head")
        for order in "<>":
            size, magic = struct.unpack(order + "II", raw)
            if magic == _ORDER:
                self._order, self._interfaces = order, []
                return self._rest(size, 12)
        raise CaptureError("a pcapng section without its byte order: the file is damaged there")

    def _block(self, kind: int) -> bytes | None:
        raw = self._stream.read(4)
        if len(raw) < 4:
            self._skipped[CUT] += 1
            return None
        size = struct.unpack(self._order + "I", raw)[0]
        wanted = kind in self._readers or kind == _INTERFACE
        return self._rest(size, 8, keep=wanted)

    def _rest(self, size: int, read: int, *, keep: bool = False) -> bytes | None:
        """What is left of a block of `size` octets, its second length taken off; b"" where nobody asks."""
        left = size - read
        if size < 12 or size % 4 or left < 4 or (keep and left > MAX_FRAME + 4096):
            raise CaptureError(f"a block of {size} octets: the file is damaged there")
        if keep:
            raw = self._stream.read(left)
            if len(raw) == left:
                return raw[:-4]
        else:
            while left and (part := self._stream.read(min(left, _CHUNK))):
                left -= len(part)
            if not left:
                return b""
        self._skipped[CUT] += 1
        return None

    def _add(self, body: bytes) -> None:
        if len(body) < 8 or len(self._interfaces) >= MAX_INTERFACES:
            raise CaptureError("too many interfaces, or one without its link type: the file is damaged there")
        link, _, snap = struct.unpack_from(self._order + "HHI", body)
        options = dict(self._options(body[8:]))
        self._interfaces.append(
            _Interface(
                link,
                snap or MAX_FRAME,
                options.get(_NAME, b"").rstrip(b"\0").decode("utf-8", "replace")[:64],
                _ticks(options.get(_RESOLUTION, b"\6")),
                self._seconds(options.get(_OFFSET, b"")),
            )
        )

    def _seconds(self, raw: bytes) -> int:
        return int(struct.unpack(self._order + "q", raw)[0]) if len(raw) == 8 else 0

    def _options(self, raw: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + 4 <= len(raw):
            code, size = struct.unpack_from(self._order + "HH", raw, at)
            if code == 0:
                return
            yield code, raw[at + 4 : at + 4 + size]
            at += 4 + (size + 3 & ~3)

    def _enhanced(self, body: bytes) -> Frame | None:
        return self._packet(body, "IIIII", 20)

    def _old_packet(self, body: bytes) -> Frame | None:
        return self._packet(body, "HxxIIII", 20)

    def _packet(self, body: bytes, head: str, start: int) -> Frame | None:
        if len(body) < start:
            self._skipped["a packet block without its head"] += 1
            return None
        number, high, low, kept, size = struct.unpack_from(self._order + head, body)
        if number >= len(self._interfaces) or kept > len(body) - start:
            self._skipped["a packet block that contradicts itself"] += 1
            return None
        where = self._interfaces[number]
        at = where.offset + (high << 32 | low) / where.ticks
        return Frame(at, where.link, body[start : start + kept], size, where.name)

    def _simple(self, body: bytes) -> Frame | None:
        """A packet block without time and interface: the first interface's."""
        if len(body) < 4 or not self._interfaces:
            self._skipped["a packet block that contradicts itself"] += 1
            return None
        where = self._interfaces[0]
        size = struct.unpack_from(self._order + "I", body)[0]
        kept = min(size, where.snap, len(body) - 4)
        return Frame(0.0, where.link, body[4 : 4 + kept], size, where.name)


def _ticks(raw: bytes) -> int:
    """if_tsresol: a power of ten, or of two where the upper bit is set."""
    exponent = raw[0] if raw else 6
    return 1 << min(exponent & 0x7F, 64) if exponent & 0x80 else int(10 ** min(exponent, 20))
