from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netboot.config import load
from netboot.config.child import load_in_child
from netboot.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent


async def test_a_child_reads_what_we_would_read() -> None:
    """The configuration that comes back is the same value."""
    paths = [ROOT / "config" / "netboot.yaml"]
    assert await load_in_child(paths) == load(paths)


async def test_a_childs_report_is_ours(tmp_path: Path) -> None:
    """A refused file is refused with the same problems, a missing nodes file with them."""
    file = tmp_path / "f.yaml"
    file.write_text(f"server: {{workers: 0}}\npools: [{{nodes_file: {tmp_path}/none.csv}}]\n")
    with pytest.raises(ConfigError) as ours:
        load([file])
    with pytest.raises(ConfigError) as theirs:
        await load_in_child([file])
    assert theirs.value.problems == ours.value.problems
    assert len(ours.value.problems) == 4


async def test_a_farm_comes_over_in_pieces(tmp_path: Path) -> None:
    """Thousands of nodes arrive in their order, while the event loop goes on."""
    rows = "".join(
        f"n{i},52:54:00:00:{i >> 8:02x}:{i & 255:02x},10.77.{i >> 8}.{i & 255}\n" for i in range(1, 3001)
    )
    (tmp_path / "farm.csv").write_text("name,macs,address\n" + rows)
    file = tmp_path / "f.yaml"
    file.write_text(
        "networks: [{name: lab, subnet: 10.77.0.0/16, interface: br0}]\n"
        "clusters: [{name: blue, endpoint: '10.77.0.1:6443'}]\n"
        f"pools: [{{nodes_file: {tmp_path}/farm.csv}}]\n"
    )
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    async with asyncio.TaskGroup() as tasks:
        beating = tasks.create_task(beat())
        config = await load_in_child([file])
        beating.cancel()
    assert [node.name for node in config.inventory.nodes] == [f"n{i}" for i in range(1, 3001)]
    assert beats > 30


async def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """A file that never ends keeps the old configuration in force."""
    fifo = tmp_path / "endless.yaml"
    import os

    os.mkfifo(fifo)
    with pytest.raises(ConfigError, match=r"took longer than 0\.5 s"):
        await load_in_child([fifo], time_limit=0.5)


async def test_a_child_that_dies_is_a_refused_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed for want of memory, or unable to start: a report, not a traceback."""
    monkeypatch.setattr("netboot.config.child.PYTHON", "/bin/false")
    with pytest.raises(ConfigError, match="died"):
        await load_in_child([ROOT / "config" / "netboot.yaml"])


async def test_a_program_that_cannot_be_started_again_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed where the dropped account cannot go, a reload is refused and the daemon lives on."""
    monkeypatch.setattr("netboot.config.child.PYTHON", str(tmp_path / "python"))
    with pytest.raises(ConfigError, match="install the program where"):
        await load_in_child([ROOT / "config" / "netboot.yaml"])
