"""Target `capture`: any file is frames or CaptureError, any frame a datagram or why not, in bounded room."""

from __future__ import annotations

import io
import struct
from collections import Counter
from pathlib import Path

from netboot.dhcp.readable import text_of
from netboot.dhcp.wire import decode, encode
from netboot.errors import CaptureError, MalformedPacket
from netboot.net import ipv4_udp
from netboot.shadow.frame import Datagram, datagram
from netboot.shadow.pcap import MAX_FRAME, Frame, frames
from tests.dhcp.world import NODE_MACS, PXE_X64, discover

MAX_LENGTH = 2048


def one_input(data: bytes) -> None:
    """Read a capture to its end, and every message in it."""
    count = 0
    try:
        for frame in frames(io.BytesIO(data), Counter()):
            assert len(frame.data) <= min(MAX_FRAME, len(data))
            count += 1
            one_frame(frame)
    except CaptureError:
        pass
    assert count <= len(data)


def one_frame(frame: Frame) -> None:
    """What an operator is shown of it is one printable line each."""
    found = datagram(frame)
    if not isinstance(found, Datagram):
        return
    assert len(found.payload) <= len(frame.data)
    try:
        packet = decode(found.payload)
    except MalformedPacket:
        return
    for code, raw in packet.options.items():
        text = text_of(code, raw)
        assert text.isprintable() and len(text) < 8 * len(raw) + 64, (code, raw)


def seeds() -> list[bytes]:
    """A frame in each format and byte order, and the beginnings of real captures."""
    payload = encode(discover(NODE_MACS[0], PXE_X64))
    frame = b"\xff" * 6 + NODE_MACS[0].packed() + b"\x08\0" + ipv4_udp(payload, 0, 68, 0xFFFFFFFF, 67, 1)
    made = []
    for order in "<>":
        head = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        made.append(head + struct.pack(order + "IIII", 1, 2, len(frame), len(frame)) + frame)
    real = sorted((Path(__file__).parents[1] / "captures").glob("*.pcapng"))
    return [*made, *(path.read_bytes()[:MAX_LENGTH] for path in real)]
