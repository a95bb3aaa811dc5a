"""The store's file: ours alone, whole, of mode 0600, and in step with the disk."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from pathlib import Path

from netboot.errors import StoreError
from netboot.store.sqlite.schema import migrate

log = logging.getLogger("netboot")


def lock(path: Path) -> int:
    """Hold the store for this process alone; the lock goes with the process. Raises StoreError."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(f"{path} is in use by another netboot: stop that one first") from None
    return descriptor


def look_for_loss(path: Path, lock: int) -> None:
    """A store that was used before is never taken for a new one in silence. Raises StoreError."""
    if not os.fstat(lock).st_size:
        return
    if not path.exists():
        log.warning("%s is gone: dynamic leases and the history of boots start anew", path)
    elif not path.stat().st_size:
        raise StoreError(_damaged(path, "it is empty, and was used before"))


def mark_used(lock: int) -> None:
    """Write down, beside the file, that it holds something from now on."""
    if not os.fstat(lock).st_size:
        os.write(lock, b"used\n")
        os.fsync(lock)


def connect(path: Path) -> sqlite3.Connection:
    """Open or make the file: each commit waits for the disk. Raises StoreError and sqlite3.Error."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        _check(connection, path)
        migrate(connection, path)
        _sync_directory(path.parent)
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreError(_damaged(path, str(error))) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError(_damaged(path, verdict))


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path} is damaged ({why}). Put a backup in its place, or move it away: declared nodes keep their "
        "addresses, dynamic leases and the history of boots start anew"
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
