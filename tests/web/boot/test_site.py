"""Where machines reach us."""

from __future__ import annotations

from pathlib import Path

from tests.web.boot_site import running


async def test_scripts_come_from_the_networks_address(tmp_path: Path) -> None:
    """URLs are made of the network's address; the Host header is never looked at."""
    async with running(tmp_path) as world:
        await world.lease()
        for answer in (
            await world.ask("/boot.ipxe"),
            await world.ask("/boot.ipxe.0"),
            await world.ask("/programs/autoexec.ipxe"),
            await world.script(),
        ):
            assert answer.status == 200 and "http://127.0.0.1/" in answer.text
            assert "evil" not in answer.text and answer.text.startswith("#!ipxe\n")
