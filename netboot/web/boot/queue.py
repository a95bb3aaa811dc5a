"""The queue of downloads: who may begin one now, who waits, and how far each came."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import PurePosixPath

from netboot.boot.stall import QUEUED
from netboot.boot.storm import Storm, Wait
from netboot.proc import Progress
from netboot.web.boot.site import Site

_STEP_OF_FILE = {"vmlinuz": "kernel", "initrd.img": "initrd", "root.squashfs": "squashfs"}


class DownloadQueue:
    """Places among those who download at once (`server.storm`), shown at the steps of their boots."""

    def __init__(self, site: Site, storm: Storm | None, steady: Callable[[], float]) -> None:
        """`steady`: seconds that nobody sets; after a power cut the time of day may jump."""
        self._site = site
        self._storm = storm
        self._steady = steady

    @property
    def limited(self) -> bool:
        """Whether anybody may have to wait."""
        return self._storm is not None

    def admit(self, method: str, path: str, client: IPv4Address, boot_id: str | None) -> Wait | None:
        """Downloads of `/images` wait for their turn where `server.storm` limits them; nothing else does."""
        if method != "GET" or not path.startswith("/images/"):
            return None
        # the script has waited for kernel and initrd
        return self.enter(client, boot_id, "squashfs" if path.endswith("/root.squashfs") else None)

    def enter(self, client: IPv4Address, boot_id: str | None, step: str | None) -> Wait | None:
        """The machine's place in the queue, shown at this step of its boot; None where it may download."""
        site = self._site
        wait = self._storm.enter(str(client), self._steady()) if self._storm else None
        if wait is not None:
            site.journal.counters["downloads_queued"] += 1
        boot = site.boots.get(boot_id) if boot_id else None
        if boot is not None and step is not None:
            shown = boot.step(step)
            if wait is not None or (shown is not None and QUEUED in shown.detail):
                site.boots.step(boot.id, step, detail=str(wait) if wait else "its turn to download came")
        return wait

    def progress(self, progress: Progress) -> None:
        """A bulk worker's word on a download: a step of the boot that it belongs to."""
        if self._storm is not None and progress.path.startswith("/images/"):
            now = self._steady()
            self._storm.progress(
                progress.client, progress.path, progress.sent, progress.of, progress.done, now
            )
        if progress.boot_id is None:
            return
        path = PurePosixPath(progress.path)
        step = "program" if progress.path.startswith("/programs/") else _STEP_OF_FILE.get(path.name)
        if step is None or (step != "program" and not progress.path.startswith("/images/")):
            return
        self._site.boots.step(progress.boot_id, step, bytes=progress.sent, of=progress.of)
