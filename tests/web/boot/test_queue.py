"""Boot storms at the boot port: who finds no place is told to wait, by script and by status."""

from __future__ import annotations

import asyncio
import math
import random
from ipaddress import IPv4Address
from pathlib import Path

from netboot.boot.storm import BEGIN, LATE, LONGEST, Storm
from netboot.proc import Progress
from tests.web.boot_site import NODE, Answer, World, parse, running

ELSEWHERE = IPv4Address("127.0.0.21")
ROOT = "/images/debian-12/aa/root.squashfs"


def one_at_a_time() -> Storm:
    return Storm(1, math.inf, random.Random(1).uniform)


def loaded(world: World, client: IPv4Address, path: str = ROOT, sent: int = 100, done: bool = True) -> None:
    assert world.bulk.on_progress
    world.bulk.on_progress(Progress(None, str(client), path, sent, 100, done))


async def download(
    world: World, path: str = ROOT, *, source: IPv4Address = NODE, method: str = "GET"
) -> Answer | None:
    """Ask for a file: the refusal, or None where the connection was handed to a worker."""
    before = len(world.bulk.handed)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port, local_addr=(str(source), 0))
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answered = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(10):
        while len(world.bulk.handed) == before and not answered.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    answered.cancel()
    writer.close()
    return parse(answered.result()) if len(world.bulk.handed) == before else None


async def test_a_machine_without_a_place_gets_a_script_that_waits(tmp_path: Path) -> None:
    """It says how many come first, sleeps, asks DHCP again and then us; its boot shows why it waits."""
    async with running(tmp_path, storm=one_at_a_time()) as world:
        boot = await world.lease()
        loaded(world, ELSEWHERE, done=False)
        waiting = (await world.script()).text
        assert "kernel http" not in waiting and "seed.cpio" not in waiting
        assert "waiting for its turn to download, next in line" in waiting
        assert "sleep " in waiting and "dhcp" in waiting
        shown = world.boots.get(boot.id)
        assert shown is not None and "waiting for its turn" in shown.step("script").detail
        loaded(world, ELSEWHERE)
        assert "kernel http" in (await world.script()).text
        shown = world.boots.get(boot.id)
        assert shown is not None and shown.step("script").detail == "its turn to download came"


async def test_a_download_without_a_place_is_told_when_to_ask_again(tmp_path: Path) -> None:
    """503 with Retry-After for /images; files and programs are never held up."""
    async with running(tmp_path, storm=one_at_a_time()) as world:
        boot = await world.lease()
        assert await download(world, source=ELSEWHERE) is None
        answer = await download(world)
        assert answer is not None and answer.status == 503
        assert 1 <= int(answer.headers["retry-after"]) <= 1.5 * LONGEST
        assert "waiting for its turn" in answer.text
        shown = world.boots.get(boot.id)
        assert shown is not None and "waiting for its turn" in shown.step("squashfs").detail
        for path in ("/files/tool", "/programs/snponly.efi"):
            assert await download(world, path) is None
        assert await download(world, method="HEAD") is None
        assert world.journal.counters["downloads_queued"] == 1
        assert len(world.bulk.handed) == 4


async def test_a_machine_that_vanished_gives_its_place_up(tmp_path: Path) -> None:
    """Its download stands still: the next one waits for seconds, not for ever."""
    async with running(tmp_path, storm=one_at_a_time()) as world:
        await world.lease()
        await download(world, source=ELSEWHERE)
        loaded(world, ELSEWHERE, sent=10, done=False)
        world.now += BEGIN - 1
        loaded(world, ELSEWHERE, sent=10, done=False)
        assert await download(world) is not None
        world.now += min(LATE, BEGIN)
        assert await download(world) is None


async def test_a_clock_that_is_set_back_keeps_nobody_waiting(tmp_path: Path) -> None:
    """After a power cut the time of day jumps; a seat whose machine vanished is still given on in seconds."""
    steady = [50.0]
    async with running(tmp_path, storm=one_at_a_time(), steady=lambda: steady[0]) as world:
        assert await download(world, source=ELSEWHERE) is None
        world.now -= 3600
        await world.lease()
        assert await download(world) is not None
        steady[0] += BEGIN + 1
        assert await download(world) is None


async def test_without_a_limit_nobody_waits(tmp_path: Path) -> None:
    """The default: every download is handed over at once."""
    async with running(tmp_path) as world:
        for last in range(2, 12):
            assert await download(world, source=IPv4Address(f"127.0.0.{last}")) is None


async def test_progress_of_workers_becomes_steps(tmp_path: Path) -> None:
    """What a worker sent of a kernel, an initrd, a squashfs or a program is a step of the boot."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        paths = (
            "/programs/snponly.efi",
            "/images/a/b/vmlinuz",
            "/images/a/b/root.squashfs",
            "/files/vmlinuz",
        )
        for path in paths:
            world.http.progress(Progress(boot.id, str(NODE), path, 5, 10, False))
        world.http.progress(Progress(None, str(NODE), "/images/a/b/initrd.img", 5, 10, False))
        current = world.boots.get(boot.id)
        assert current is not None
        steps = {s.step: (s.bytes, s.of) for s in current.steps if s.bytes}
        assert steps == {"program": (5, 10), "kernel": (5, 10), "squashfs": (5, 10)}
