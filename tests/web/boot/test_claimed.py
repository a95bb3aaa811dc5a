"""What a claimed boot keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netboot.model.settings import Settings
from tests.boot.identity import Identity
from tests.web.boot.machine import claimed, members
from tests.web.boot_site import running


async def test_a_claimed_boot_keeps_its_assignment_over_a_reload(tmp_path: Path, node: Identity) -> None:
    """A reload changes boots that are not claimed yet, not this one."""
    async with running(tmp_path, timezone="Europe/Prague") as world:
        _, session = await claimed(world, node)
        changed = replace(world.inventory.nodes[0], settings=Settings(timezone="UTC"))
        world.inventory = replace(world.inventory, nodes=(changed,))
        found = members((await world.ask("/boot/config", session=session)).body, node)
        assert found["netboot/timezone"] == "Europe/Prague\n"
