"""A disk under the daemon that fails at a word, forgets at a power cut, and tells the order of its work."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("disk.c")
FAULTS = ("eio", "erofs", "enospc", "sync")
"""Writes that fail by an I/O error, a read-only disk, a full one; and syncs alone that fail."""


class Disk:
    """The state of the disk, in a folder that the daemon's account may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        folder.chmod(0o777)
        self._log = folder / "log"
        self._log.touch()
        self._log.chmod(0o666)
        self._library = folder / "disk.so"
        command = ["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process use this disk."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_DISK": str(self.folder)}

    @contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        """Fail as one of FAULTS, until the end of the block."""
        (self.folder / fault).touch()
        try:
            yield
        finally:
            (self.folder / fault).unlink()

    def order(self) -> str:
        """S for each sync of the store's log, R and a message type for each DHCP reply, in their order."""
        return self._log.read_text().replace("\n", " ")

    def power_cut(self, data_dir: Path) -> None:
        """Leave of the store what was synced, and nothing else; nobody may have it open."""
        for path in data_dir.glob("netboot.db*"):
            if path.name.endswith(".lock"):
                continue
            facts = path.stat()
            kept = self.folder / f"{path.name}.durable"
            path.unlink()
            if kept.exists() and not path.name.endswith("-shm"):
                shutil.copyfile(kept, path)
                os.chown(path, facts.st_uid, facts.st_gid)
                path.chmod(0o600)

    def forget(self) -> None:
        """Begin anew, for another data_dir."""
        for path in self.folder.glob("*.durable"):
            path.unlink()
