"""Cold files: told from cached ones, and brought into the page cache beside the loop."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from netboot.cold import Warmer, is_cached

SIZE = 4 << 20


@pytest.fixture
def cold(tmp_path: Path):
    """A file whose pages were dropped from the page cache."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    yield fd
    os.close(fd)


def test_a_file_that_was_just_read_is_cached(cold: int) -> None:
    """Whatever the file system: after a read nothing has to be waited for."""
    assert len(os.pread(cold, SIZE, 0)) == SIZE
    assert is_cached(cold, 0, SIZE)
    assert is_cached(cold, SIZE - 1, 1)


def test_a_warmer_brings_cold_bytes_and_says_whose(cold: int) -> None:
    """The descriptor becomes readable once, `done` names the key, and the bytes are there."""
    if is_cached(cold, 0, SIZE):
        pytest.skip("this file system keeps everything in memory")
    warmer: Warmer[str] = Warmer()
    assert warmer.done() == []
    warmer.warm("mine", cold, 0, SIZE)
    assert select.select([warmer.fileno()], [], [], 10)[0]
    assert warmer.done() == ["mine"]
    assert is_cached(cold, 0, SIZE)
    assert warmer.done() == []


def test_a_file_that_cannot_be_read_is_named_all_the_same(tmp_path: Path) -> None:
    """A directory's descriptor: the sender meets the error, nobody waits for ever."""
    fd = os.open(tmp_path, os.O_RDONLY)
    warmer: Warmer[int] = Warmer()
    warmer.warm(7, fd, 0, 10)
    assert select.select([warmer.fileno()], [], [], 10)[0]
    assert warmer.done() == [7]
    os.close(fd)
