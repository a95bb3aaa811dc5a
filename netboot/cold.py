"""Cold files: what is not in the page cache is read by threads, so that a loop never waits for a disk.

`sendfile` and `read` of cold bytes stop a whole process, and with it everybody else's download. A loop asks
`is_cached` first (no byte is copied) and leaves the rest to a `Warmer`.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

_AHEAD: Final = 16 << 20
"""Bytes that the kernel is told to fetch with the ones that are needed now."""
_PIECE: Final = 256 << 10
_SAMPLES: Final = 4
_THREADS: Final = 4
_UNKNOWN: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_Key = TypeVar("_Key")


def is_cached(fd: int, offset: int, length: int) -> bool:
    """Whether `length` bytes from `offset` can be read without waiting, as far as a few samples tell.

    preadv2(2) with RWF_NOWAIT says so. True where the file system cannot tell (it is in memory, or old).
    """
    last = offset + max(0, length - 1)
    step = max(1, (last - offset) // (_SAMPLES - 1))
    one = bytearray(1)
    try:
        return all(
            os.preadv(fd, [one], position, os.RWF_NOWAIT) == 1
            for position in {last, *range(offset, last, step)}
        )
    except BlockingIOError:
        return False
    except OSError as error:
        return error.errno in _UNKNOWN


class Warmer(Generic[_Key]):
    """Threads that read cold parts of files into the page cache; its descriptor says when one is there."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "cold")
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._warm: deque[_Key] = deque()

    def fileno(self) -> int:
        """Readable when `done` has news."""
        return self._event

    def warm(self, key: _Key, fd: int, offset: int, length: int) -> None:
        """Read these bytes in a thread; `done` then names `key`. Raises OSError (no descriptor left)."""
        self._threads.submit(self._read, key, os.dup(fd), offset, length)

    def done(self) -> list[_Key]:
        """Whose bytes are there now (or cannot be read: the reader will find out)."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return []
        return [self._warm.popleft() for _ in range(len(self._warm))]

    def _read(self, key: _Key, fd: int, offset: int, length: int) -> None:
        try:
            os.posix_fadvise(fd, offset, max(length, _AHEAD), os.POSIX_FADV_WILLNEED)
            _touch(fd, offset, offset + length)
        except OSError:
            pass  # a bad disk: whoever sends meets the same error and reports it
        finally:
            os.close(fd)
            self._warm.append(key)
            os.eventfd_write(self._event, 1)


def _touch(fd: int, offset: int, stop: int) -> None:
    scratch = bytearray(_PIECE)
    while offset < stop and (got := os.preadv(fd, [scratch], offset)):
        offset += got
