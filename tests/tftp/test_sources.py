"""Files as datagrams."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.tftp import sources
from netboot.tftp.sources import Cache, Cold, FileWindows, Scratch, Source, Text, WireImage
from netboot.tree import Opened, open_below


def opened(path: Path) -> Opened:
    return open_below(str(path.parent), (path.name,))


def blocks(content: bytes, blksize: int, first: int, count: int) -> bytes:
    """Blocks as RFC 1350 has them."""
    out = b""
    for number in range(first, first + count):
        out += (
            b"\0\3"
            + (number & 0xFFFF).to_bytes(2, "big")
            + content[(number - 1) * blksize : number * blksize]
        )
    return out


def kinds(path: Path, content: bytes, blksize: int) -> list[Source]:
    return [
        Text(content, blksize),
        WireImage(opened(path), blksize),
        FileWindows(opened(path), blksize, Scratch()),
    ]


@given(st.binary(max_size=5000), st.sampled_from([8, 16, 512, 1468]), st.data())
def test_every_source_gives_the_same_datagrams(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, blksize: int, data: st.DataObject
) -> None:
    """Text, image and windows agree with the RFC, whatever is asked in which order."""
    path = tmp_path_factory.mktemp("source") / "file"
    path.write_bytes(content)
    total = len(content) // blksize + 1
    for source in kinds(path, content, blksize):
        for _ in range(4):
            first = data.draw(st.integers(1, total))
            count = data.draw(st.integers(1, total - first + 1))
            assert bytes(source.datagrams(first, count)) == blocks(content, blksize, first, count)
        source.datagrams(total, 1)
        source.close()


def test_block_numbers_wrap_in_every_source(tmp_path: Path) -> None:
    """Block 65536 is number 0 on the wire."""
    content = os.urandom(8 * 65_540 + 3)
    path = tmp_path / "file"
    path.write_bytes(content)
    for source in kinds(path, content, 8):
        assert bytes(source.datagrams(65_530, 11)) == blocks(content, 8, 65_530, 11)
        source.close()


@pytest.mark.parametrize("kind", [WireImage, FileWindows])
def test_what_lies_on_the_disk_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    """Bytes outside of the page cache raise Cold with their place; with `wait` they are read."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(250)) * 40)
    real = os.preadv

    def cold(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError
        return real(fd, buffers, offset)

    monkeypatch.setattr(sources.os, "preadv", cold)
    source: Source = (
        WireImage(opened(path), 512) if kind is WireImage else FileWindows(opened(path), 512, Scratch())
    )
    with pytest.raises(Cold) as raised:
        source.datagrams(1, 4)
    assert raised.value.offset == 0 and raised.value.length >= 2048
    assert bytes(source.datagrams(1, 4, True)) == blocks(path.read_bytes(), 512, 1, 4)


def test_a_file_system_that_cannot_tell_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where RWF_NOWAIT is unknown, reading goes on as ever."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 600)
    real = os.preadv

    def old(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(95, "Operation not supported")
        return real(fd, buffers, offset)

    monkeypatch.setattr(sources.os, "preadv", old)
    assert bytes(WireImage(opened(path), 512).datagrams(1, 2)) == blocks(b"x" * 600, 512, 1, 2)


def test_a_file_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    """Nobody gets a block of the wrong length in silence."""
    path = tmp_path / "file"
    path.write_bytes(bytes(4000))
    for source in (WireImage(opened(path), 512), FileWindows(opened(path), 512, Scratch())):
        path.write_bytes(bytes(1000))
        with pytest.raises(Cold):
            source.datagrams(1, 7)
        with pytest.raises(OSError, match="shorter"):
            source.datagrams(1, 7, True)
        path.write_bytes(bytes(4000))


def test_the_cache_keeps_what_is_in_use_and_drops_the_least_recently_asked(tmp_path: Path) -> None:
    """Its memory is bounded; a changed file is another image."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(bytes(30_000))
    cache = Cache(limit=70_000)
    first, second = (cache.image(opened(path), 1468) for path in paths[:2])
    assert first is not None and second is not None
    waiting = opened(paths[2])
    assert cache.image(waiting, 1468) is None
    os.close(waiting.fd)
    first.close()
    third = cache.image(opened(paths[2]), 1468)
    assert third is not None
    assert cache.image(opened(paths[1]), 1468) is second
    paths[1].write_bytes(bytes(30_001))
    second.close(), second.close(), third.close()
    assert cache.image(opened(paths[1]), 1468) not in (None, second)


def test_small_blocks_of_a_file_are_not_kept(tmp_path: Path) -> None:
    """Their headers would cost more than the file."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    asked = opened(path)
    assert Cache().image(asked, 8) is None
    os.close(asked.fd)
