"""The file for name servers: whole at each moment, current, readable for everybody."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.boot.hosts import HEAD
from netboot.errors import StoreError
from netboot.fleet import hosts as module
from netboot.fleet.hosts import HostsFile, replace_file
from netboot.model.inventory import Inventory
from netboot.model.lease import Lease
from netboot.store.memory import MemoryStore
from tests.boot.test_hosts import INVENTORY, lease
from tests.fleet.waiting import passed


class World:
    """One file, its store and the file of the operator."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = MemoryStore()
        self.current: Inventory = INVENTORY
        self.file = HostsFile(path, lambda: self.current, self.store, clock=lambda: 100.0, interval=0.01)

    def text(self) -> str:
        """What stands there."""
        return self.path.read_text()


async def test_it_follows_leases_and_the_operators_file(tmp_path: Path) -> None:
    """A new lease, a new declaration: there a moment later, on disk and over HTTP alike."""
    world = World(tmp_path / "hosts")
    task = asyncio.create_task(world.file.run())
    await passed(lambda: world.path.exists() and "10.0.0.20 m2.example.org m2\n" in world.text())
    assert await world.store.claim_lease(lease("m3", "10.0.1.33"), None)
    await passed(lambda: "10.0.1.33 m3\n" in world.text())
    moved = replace(INVENTORY.nodes[0], address=IPv4Address("10.0.0.21"))
    world.current = replace(INVENTORY, nodes=(moved, *INVENTORY.nodes[1:]))
    await passed(lambda: "10.0.0.21 m2.example.org m2\n" in world.text())
    assert world.file.content() == world.path.read_bytes()
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o644
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_leases_that_cannot_be_read_hide_no_change_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is told before the first look; a look that failed is made again from its beginning."""
    world = World(tmp_path / "hosts")
    assert world.file.content() is None
    await world.file.refresh()
    world.current = replace(INVENTORY, nodes=())

    async def broken() -> list[Lease]:
        raise StoreError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "leases", broken)
        await world.file.refresh()
    assert "m2" in world.text()
    await world.file.refresh()
    assert "m2" not in world.text()


async def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    """A name server that watches the file is not woken for nothing."""
    world = World(tmp_path / "hosts")
    await world.file.refresh()
    before = world.path.stat()
    await world.file.refresh()
    assert world.path.stat().st_ino == before.st_ino


async def test_a_folder_that_cannot_be_written_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Names are served over HTTP all the while."""
    world = World(tmp_path / "missing" / "hosts")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await world.file.refresh()
    assert len(caplog.records) == 1 and "server.hosts_file" in caplog.text
    assert b"m2" in (world.file.content() or b"")
    world.path.parent.mkdir()
    await world.file.refresh()
    assert "m2" in world.text()


def test_no_reader_sees_half_a_file(tmp_path: Path) -> None:
    """It is replaced as a whole; what a crash left behind is no obstacle, a link is not written through."""
    path, victim = tmp_path / "hosts", tmp_path / "victim"
    victim.write_text("keep")
    (tmp_path / ".hosts.new").symlink_to(victim)
    old, new = b"a" * 100_000, b"b" * 200_000
    replace_file(path, old)
    seen: set[bytes] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for content in (new, old) * 50:
        replace_file(path, content)
    stop.set()
    reader.join()
    assert seen <= {old, new} and victim.read_text() == "keep"
    assert os.listdir(tmp_path) and not (tmp_path / ".hosts.new").exists()


async def test_an_empty_house_has_a_file_all_the_same(tmp_path: Path) -> None:
    """With its head, so that a name server does not complain of a missing file."""
    world = World(tmp_path / "hosts")
    world.current = replace(INVENTORY, nodes=())
    await world.file.refresh()
    assert world.path.read_bytes() == HEAD and HEAD.startswith(b"# Names of nodes")


async def test_a_renewal_costs_no_rendering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand nodes renew all day: nothing is written anew but what a machine has changed."""
    world = World(tmp_path / "hosts")
    held = lease("m3", "10.0.1.33")
    assert await world.store.claim_lease(held, None)
    await world.file.refresh()
    rendered: list[object] = []
    monkeypatch.setattr(module, "lines", lambda found: rendered.append(found) or b"")
    assert await world.store.claim_lease(replace(held, expires=300.0), held)
    await world.file.refresh()
    assert rendered == []
