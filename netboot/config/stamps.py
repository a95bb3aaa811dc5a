"""Whether a file that is read again when it changes has changed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def stamps_of(files: Iterable[Path]) -> tuple[tuple[int, int, int], ...]:
    """What changes when a file is written or replaced; zeros for one that is missing."""
    return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0)
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns)
