"""Plain files that the operator's file names: read whole, or refused; nothing is waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST = 1 << 20
"""Bytes of one file."""


def read(path: Path, most: int = MOST) -> bytes:
    """What a file holds, `most` bytes and one more of it. Raises OSError, for what is no plain file too.

    To open a pipe would wait for its writer, and a device has no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        return file.read(most + 1)
