"""Scripts that are asked for again: the same text without rendering, and never where a fact has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.model.machine import Mac
from netboot.web.boot import BootHttp
from netboot.web.boot.known import IMAGES_KNOWN, at_once
from netboot.web.http1 import parse_head
from tests.boot.conftest import MAC, OTHER, publish
from tests.web.boot_site import NODE, STRANGER, World, running


def known(world: World, *, client: IPv4Address = NODE, mac: Mac = MAC) -> str | None:
    """What the boot port answers without looking twice."""
    raw = f"GET /ipxe?mac={mac.dashed}&uuid=&arch=x86_64-efi HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    head = parse_head(raw)
    assert head is not None
    answer = world.http.known(head, client)
    return answer.body.decode() if answer else None


async def test_a_script_is_rendered_once_and_then_known(tmp_path: Path) -> None:
    """The second answer is the first one's text, to the byte; nobody else gets it."""
    async with running(tmp_path) as world:
        await world.lease()
        assert known(world) is None
        first = (await world.script()).text
        assert known(world) == first
        assert (await world.script()).text == first
        assert known(world, client=STRANGER) is None
        assert known(world, mac=OTHER) is None


async def _another_at_the_link(world: World, folder: Path) -> None:
    world.neighbours[NODE] = OTHER


async def _lease_renewed(world: World, folder: Path) -> None:
    lease = await world.store.lease_at(NODE)
    assert lease is not None
    assert await world.store.claim_lease(replace(lease, expires=lease.expires + 1), lease)


async def _next_boot(world: World, folder: Path) -> None:
    world.now += 700
    await world.lease()


async def _reload(world: World, folder: Path) -> None:
    world.inventory = replace(world.inventory)


async def _claimed(world: World, folder: Path) -> None:
    boot = world.boots.of_node("m1c29")
    assert boot is not None
    world.boots.claimed(boot.id)


async def _new_image(world: World, folder: Path) -> None:
    publish(folder, min_ram_mib=4096)
    world.now += IMAGES_KNOWN + 1


@pytest.mark.parametrize(
    "change",
    [_another_at_the_link, _lease_renewed, _next_boot, _reload, _claimed, _new_image],
    ids=lambda change: change.__name__.strip("_"),
)
async def test_a_script_is_forgotten_where_a_fact_has_changed(tmp_path: Path, change: Callable) -> None:
    """Who asks, the lease, the boot, the configuration and the image are looked at each time."""
    async with running(tmp_path) as world:
        await world.lease()
        await world.script()
        assert known(world) is not None
        await change(world, tmp_path)
        assert known(world) is None


async def test_an_image_is_looked_at_once_a_second(tmp_path: Path) -> None:
    """And when it is unchanged the script stays known."""
    async with running(tmp_path) as world:
        await world.lease()
        await world.script()
        for _ in range(3):
            world.now += IMAGES_KNOWN + 1
            assert known(world) is not None


async def test_only_a_get_of_the_script_is_known(tmp_path: Path) -> None:
    """HEAD and other paths go the long way."""
    async with running(tmp_path) as world:
        await world.lease()
        await world.script()
        for line in ("HEAD /ipxe", "GET /boot.ipxe"):
            head = parse_head(f"{line} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert head is not None and world.http.known(head, NODE) is None
    assert isinstance(world.http, BootHttp)


async def test_what_has_to_wait_is_not_known() -> None:
    """A store that asks somebody else is no reason to stop the loop."""

    async def waiting() -> int:
        await asyncio.sleep(0)
        return 1

    async def ready() -> int:
        return 2

    assert at_once(waiting()) is None
    assert at_once(ready()) == 2
