"""Files as datagrams: each block behind its header, so that a whole window is one piece of memory.

Nothing here waits for a disk: bytes that are not in the page cache raise `Cold`, and whoever asked lets a
thread read them first (`netboot.cold`).
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

from netboot.tftp import wire
from netboot.tftp.transfer import DEFAULT_BLKSIZE
from netboot.tftp.wire import HEADER, Opcode
from netboot.tree import Opened

CACHE_BYTES: Final = 32 << 20
CACHED_FILE: Final = 8 << 20
_IOV: Final = 512
_FILL: Final = 64  # blocks that are read into a wire image at once
_CANNOT_TELL: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Cold(Exception):
    """These bytes of a file come from the disk, not from memory."""

    def __init__(self, fd: int, offset: int, length: int) -> None:
        super().__init__(fd, offset, length)
        self.fd, self.offset, self.length = fd, offset, length


class Source(Protocol):
    """A file as datagrams."""

    stride: int
    """Bytes of a whole datagram."""
    blocks: Sequence[memoryview] | None
    """Every datagram by itself, where all of them are in memory: the fastest way to a single one."""

    def datagrams(self, first: int, count: int, wait: bool = False) -> memoryview:
        """Blocks `first` and on, each behind its header, in one piece: valid until any source is asked again.

        Raises OSError, and Cold where the disk would have to be waited for, unless `wait`.
        """
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class Text:
    """Bytes in memory: a machine's own script."""

    def __init__(self, content: bytes, blksize: int) -> None:
        starts = range(0, len(content) + 1, blksize)
        blocks = (wire.data(i + 1, content[start : start + blksize]) for i, start in enumerate(starts))
        self._view = memoryview(b"".join(blocks))
        self.stride = blksize + HEADER.size
        self.blocks: Sequence[memoryview] | None = None

    def datagrams(self, first: int, count: int, wait: bool = False) -> memoryview:
        """See Source."""
        return self._view[(first - 1) * self.stride : (first - 1 + count) * self.stride]

    def close(self) -> None:
        """See Source."""


class WireImage:
    """A file as it goes over the wire, kept for all who ask with this block size, and read as it is asked."""

    def __init__(self, opened: Opened, blksize: int) -> None:
        self._opened = opened
        self._blksize = blksize
        self._blocks = opened.size // blksize + 1
        self._filled = 0
        self._buffer = bytearray(opened.size + self._blocks * HEADER.size)
        self._view = memoryview(self._buffer)
        self.stride = blksize + HEADER.size
        self.size = len(self._buffer)
        self.blocks: Sequence[memoryview] | None = None
        self.users = 0
        self.broken = False

    def datagrams(self, first: int, count: int, wait: bool = False) -> memoryview:
        """See Source."""
        start, stop = first - 1, first - 1 + count
        if stop > self._filled:
            self._fill(stop, wait)
        return self._view[start * self.stride : stop * self.stride]

    def _fill(self, stop: int, wait: bool) -> None:
        count = min(max(stop - self._filled, _FILL), self._blocks - self._filled)
        try:
            at = self._filled * self.stride
            fill(self._opened, self._view[at:], self._filled + 1, count, self._blksize, wait=wait)
        except OSError:
            self.broken = True
            raise
        self._filled += count
        if self._filled == self._blocks:
            os.close(self._opened.fd)
            starts = range(0, self.size, self.stride)
            self.blocks = [self._view[start : start + self.stride] for start in starts]

    def close(self) -> None:
        """One user less; the cache may let go of an image without users."""
        self.users -= 1

    def drop(self) -> None:
        """Nobody gets it any more."""
        if self._filled < self._blocks:
            os.close(self._opened.fd)


class Scratch:
    """One buffer for all transfers that read their windows as they send them."""

    def __init__(self) -> None:
        self._buffer = bytearray(128 * 1024)

    def room(self, size: int) -> memoryview:
        """The buffer, at least this long."""
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return memoryview(self._buffer)


class FileWindows:
    """A file too big to be kept: each window is read when it is sent, into one buffer for all."""

    def __init__(self, opened: Opened, blksize: int, scratch: Scratch) -> None:
        self._opened = opened
        self._scratch = scratch
        self.stride = blksize + HEADER.size
        self.blocks: Sequence[memoryview] | None = None

    def datagrams(self, first: int, count: int, wait: bool = False) -> memoryview:
        """See Source."""
        room = self._scratch.room(count * self.stride)
        return room[: fill(self._opened, room, first, count, self.stride - HEADER.size, wait=wait)]

    def close(self) -> None:
        """Close the file."""
        os.close(self._opened.fd)


class Cache:
    """Wire images of hot files, the least recently asked first. What is in use is never dropped."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._images: OrderedDict[tuple[tuple[int, int, int, int], int], WireImage] = OrderedDict()

    def image(self, opened: Opened, blksize: int) -> WireImage | None:
        """The image of this file with one user more, made if need be; None: no room, or too costly.

        An image that is given takes the file's descriptor over.
        """
        key = (opened.identity, blksize)
        image = self._images.get(key)
        if image is not None and not image.broken:
            os.close(opened.fd)
        else:
            image = self._make(opened, blksize)
            if image is None:
                return None
            self._images[key] = image
        self._images.move_to_end(key)
        image.users += 1
        return image

    def _make(self, opened: Opened, blksize: int) -> WireImage | None:
        if opened.size > CACHED_FILE or blksize < DEFAULT_BLKSIZE or not self._make_room(opened.size):
            return None
        return WireImage(opened, blksize)

    def _make_room(self, size: int) -> bool:
        held = sum(image.size for image in self._images.values())
        for key in [key for key, image in self._images.items() if image.users == 0]:
            if held + size <= self._limit:
                break
            image = self._images.pop(key)
            image.drop()
            held -= image.size
        return held + size <= self._limit


def fill(opened: Opened, view: memoryview, first: int, count: int, blksize: int, *, wait: bool) -> int:
    """Lay blocks `first` and on into `view`, each behind its header; the bytes laid.

    Raises OSError when the file has become shorter, and Cold.
    """
    at, pieces = 0, []
    for block in range(first, first + count):
        offset = (block - 1) * blksize
        size = min(blksize, opened.size - offset)
        HEADER.pack_into(view, at, Opcode.DATA, block & 0xFFFF)
        at += HEADER.size
        pieces.append(view[at : at + size])
        at += size
        if len(pieces) == _IOV or block == first + count - 1:
            _read(opened.fd, pieces, offset + size, wait)
            pieces = []
    return at


def _read(fd: int, pieces: list[memoryview], end: int, wait: bool) -> None:
    """Read what lies before `end` in the file into these pieces, in one system call."""
    wanted = sum(map(len, pieces))
    if wanted and not (wait or _read_now(fd, pieces, end - wanted, wanted)):
        raise Cold(fd, end - wanted, wanted)
    if wanted and wait and os.preadv(fd, pieces, end - wanted) != wanted:
        raise OSError(errno.EIO, "the file became shorter while it was sent")


def _read_now(fd: int, pieces: list[memoryview], offset: int, wanted: int) -> bool:
    """Whether all of it was in memory; a file system that cannot tell is waited for."""
    try:
        return os.preadv(fd, pieces, offset, os.RWF_NOWAIT) == wanted
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT_TELL:
            raise
        return os.preadv(fd, pieces, offset) == wanted
