"""Capture files as scapy and libpcap write them, and as nobody should."""

from __future__ import annotations

import struct
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import PcapNgReader, PcapReader, wrpcap  # type: ignore[attr-defined]

from netboot.errors import CaptureError
from netboot.shadow.pcap import CUT, MAX_FRAME, Frame, frames
from tests.captures import CAPTURES
from tests.shadow.talk import pcap

DATA = [b"one frame", b"another, longer frame", b""]


def read(raw: bytes) -> tuple[list[Frame], Counter[str]]:
    """The frames of a capture and what was left out."""
    skipped: Counter[str] = Counter()
    return list(frames(BytesIO(raw), skipped)), skipped


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nano", [False, True])
def test_a_pcap_reads_the_same_in_each_byte_order_and_resolution(order: str, nano: bool) -> None:
    """Data, time and link type come out whatever machine wrote the file."""
    found, skipped = read(pcap(DATA, order=order, nano=nano, link=113))
    assert [f.data for f in found] == DATA and not skipped
    assert {f.link for f in found} == {113}
    assert [f.at for f in found] == pytest.approx([1000 + 5e-9 * (1 if nano else 1000) + i for i in range(3)])


def test_scapy_reads_what_it_wrote_as_we_do(tmp_path: Path) -> None:
    """A foreign writer and a foreign reader agree with ours."""
    wrpcap(str(tmp_path / "a.pcap"), [bytes(60), bytes(61)])
    found, _ = read((tmp_path / "a.pcap").read_bytes())
    with PcapReader(str(tmp_path / "a.pcap")) as reader:
        assert [bytes(p) for p in reader] == [f.data for f in found]


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_captures_of_real_clients_read_as_scapy_reads_them(capture: Path) -> None:
    """pcapng with its interfaces and time stamps."""
    found, skipped = read(capture.read_bytes())
    with PcapNgReader(str(capture)) as reader:
        theirs = [(float(p.time), bytes(p)) for p in reader]
    assert [f.data for f in found] == [data for _, data in theirs] and not skipped
    assert [f.at for f in found] == pytest.approx([at for at, _ in theirs])


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of pcapng."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    """A section's head."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str) -> bytes:
    """An option of a block."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order: str = "<", resolution: int = 6, offset: int = 0, snap: int = 0) -> bytes:
    """An interface named eth7."""
    options = option(2, b"eth7", order) + option(9, bytes([resolution]), order)
    options += option(14, struct.pack(order + "q", offset), order) + option(0, b"", order)
    return block(1, struct.pack(order + "HHI", 1, 0, snap) + options, order)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("resolution", "ticks"), [(3, 10**3), (6, 10**6), (9, 10**9), (0x8A, 1 << 10)])
def test_pcapng_tells_interface_time_and_offset(order: str, resolution: int, ticks: int) -> None:
    """Enhanced packet blocks in either byte order, with powers of ten and of two."""
    time = 5 * ticks
    packet = struct.pack(order + "IIIII", 0, time >> 32, time & 0xFFFFFFFF, 5, 99) + b"frame"
    found, _ = read(section(order) + interface(order, resolution, offset=100) + block(6, packet, order))
    assert found == [Frame(105.0, 1, b"frame", 99, "eth7")]


def test_simple_and_old_packet_blocks_and_foreign_blocks_are_read_over() -> None:
    """Packets without a time, of pcapng's first draft, and blocks that we know nothing of."""
    simple = block(3, struct.pack("<I", 90) + b"simple--")
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 3_000_000, 3, 3) + b"old")
    found, skipped = read(section() + interface(snap=6) + block(5, bytes(200_000)) + simple + old)
    assert [f.data for f in found] == [b"simple", b"old"] and not skipped
    assert [f.at for f in found] == [0.0, 3.0] and found[0].size == 90


def test_a_second_section_forgets_the_interfaces_of_the_first() -> None:
    """A packet of an interface that its section does not have is left out and counted."""
    packet = block(6, struct.pack("<IIIII", 0, 0, 0, 1, 1) + b"x")
    found, skipped = read(section() + interface() + packet + section() + packet)
    assert len(found) == 1 and skipped.total() == 1


def test_a_file_that_ends_within_a_packet_gives_what_was_whole() -> None:
    """As tcpdump leaves it when it is killed."""
    for whole in (
        pcap(DATA),
        (section() + interface() + block(6, struct.pack("<5I", 0, 0, 0, 4, 4) + b"last")),
    ):
        for cut in (1, 3, 7):
            found, skipped = read(whole[:-cut] if whole[:1] == b"\x0a" else whole[: -16 - cut])
            assert skipped == {CUT: 1} and len(found) < 3


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xd4\xc3",
        b"#!/bin/sh\nexit 0\n",
        pcap([])[:20],
        pcap([]) + struct.pack("<IIII", 0, 0, MAX_FRAME + 1, 5),
        section()[:9],
        b"\x0a\x0d\x0d\x0a" + bytes(24),
        section() + struct.pack("<II", 6, 7),
        section() + struct.pack("<II", 6, 0xFFFFFFF0),
        section() + block(1, b"\1\0"),
        section() + interface() * 5000,
    ],
)
def test_what_is_no_capture_ends_in_our_own_error(raw: bytes) -> None:
    """The text says what is wrong; nothing is read into memory on a file's word."""
    with pytest.raises(CaptureError):
        read(raw)


@given(st.binary(max_size=400), st.sampled_from([pcap(DATA), section() + interface()]))
def test_no_file_raises_anything_else(junk: bytes, head: bytes) -> None:
    """Frames, a count, or CaptureError."""
    for raw in (junk, head + junk, head[: len(junk)] + junk):
        try:
            read(raw)
        except CaptureError:
            pass
