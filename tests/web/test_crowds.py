"""Many clients at once before real workers: slow, silent, too many of one address; and workers that die."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from pathlib import Path

from netboot.web.peers import Limits
from tests.proc.house import House, house, make_served, until
from tests.web.front import front
from tests.web.test_bulk import Client
from tests.web.test_https import resident

BIG = 24 << 20


async def connect(address: tuple[str, int], source: str = "127.0.0.1") -> Client:
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0), limit=4096)
    return Client(reader, writer)


async def hang_up(clients: list[Client]) -> None:
    for client in clients:
        client.writer.transport.abort()
    await asyncio.sleep(0.05)


def big(folder: Path) -> bytes:
    content = os.urandom(BIG)
    (folder / "files" / "big").write_bytes(content)
    return content


async def test_two_hundred_slow_and_silent_clients_cost_the_others_nothing(tmp_path: Path) -> None:
    """Some read a byte now and then, some never ask, some never end their head: files and scripts come."""
    async with house(make_served(tmp_path), workers=2) as made, front(made) as ours:
        content = big(tmp_path)
        client = await connect(ours.address)
        assert (await client.ask("/files/big"))[2] == content
        before = [resident(pid) for pid in made.pids()]
        slow = [await connect(ours.address, f"127.0.1.{n}") for n in range(1, 101)]
        for each in slow:
            each.writer.write(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")
        silent = [await connect(ours.address, f"127.0.2.{n}") for n in range(1, 51)]
        halves = [await connect(ours.address, f"127.0.3.{n}") for n in range(1, 51)]
        for each in halves:
            each.writer.write(b"GET /files/")
        await until(lambda: made.supervisor.downloads() >= 100)
        for _ in range(3):
            for each in slow:
                await each.reader.readexactly(1)
            assert (await client.ask("/files/big"))[2] == content
            assert (await client.ask("/boot.ipxe"))[2] == b"control"
        grown = [after - once for after, once in zip(map(resident, made.pids()), before, strict=True)]
        assert max(grown) < 4 << 20
        for each in halves:
            each.writer.write(b"big HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9\r\n\r\n")
        assert [(await each.hear())[2] for each in halves] == [content[:10]] * 50
        await hang_up([client, *slow, *silent, *halves])


async def test_one_address_holds_its_share_of_connections_over_all_workers(tmp_path: Path) -> None:
    """Six, held at two workers and at control: the seventh is refused, another address is served."""
    limits = Limits(connections=6, requests=math.inf)
    async with house(make_served(tmp_path), workers=2) as made, front(made, limits) as ours:
        (tmp_path / "files" / "a").write_bytes(b"0123456789")
        held = [await connect(ours.address) for _ in range(6)]
        for each in held[:4]:
            assert (await each.ask("/files/a"))[0] == 200
        assert (await held[4].ask("/boot.ipxe"))[2] == b"control"
        await until(lambda: made.supervisor.held("127.0.0.1") == 4)
        over = await connect(ours.address)
        assert await asyncio.wait_for(over.reader.read(), 5) == b""
        other = await connect(ours.address, "127.0.0.2")
        assert (await other.ask("/files/a"))[0] == 200
        await hang_up(held[:2])
        await until(lambda: made.supervisor.held("127.0.0.1") == 2)
        again = await connect(ours.address)
        assert (await again.ask("/files/a"))[2] == b"0123456789"
        await hang_up([over, other, again, *held])


async def test_downloads_end_whole_though_their_workers_are_killed_again_and_again(tmp_path: Path) -> None:
    """Twelve clients that resume with a Range, four kills: nobody gets a wrong byte, nobody is left out."""
    async with house(make_served(tmp_path), workers=2) as made, front(made) as ours:
        content = big(tmp_path)
        fetching = [asyncio.create_task(resumed(ours.address, n)) for n in range(12)]
        for _ in range(4):
            await until(lambda: made.supervisor.downloads() > 0 or all(f.done() for f in fetching))
            victim = max(
                made.supervisor.processes(), key=lambda info: (info.kind == "bulk", info.connections)
            )
            if victim.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGKILL)
            await asyncio.sleep(0.15)
        async with asyncio.timeout(60):
            assert [got == content for got in await asyncio.gather(*fetching)] == [True] * 12
        assert sum(info.restarts for info in made.supervisor.processes()) >= 1
        await until(lambda: made.supervisor.downloads() == 0 and len(made.ready()) == 2)


async def resumed(address: tuple[str, int], number: int) -> bytes:
    """The whole file, slowly, with a new connection for the rest whenever one breaks."""
    got = b""
    while len(got) < BIG:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, KeyError):
            got += await rest(address, f"127.0.4.{number + 1}", got)
        await asyncio.sleep(0.02)
    return got


async def rest(address: tuple[str, int], source: str, got: bytes) -> bytes:
    """What comes from where we stopped, whole or broken."""
    client = await connect(address, source)
    found = bytearray()
    try:
        client.writer.write(
            f"GET /files/big HTTP/1.1\r\nHost: x\r\nRange: bytes={len(got)}-\r\n\r\n".encode()
        )
        head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)
        if not head.startswith(b"HTTP/1.1 206 "):
            return b""
        while len(got) + len(found) < BIG:
            piece = await asyncio.wait_for(client.reader.read(1 << 20), 10)
            if not piece:
                break
            found += piece
            await asyncio.sleep(0.001)
    except OSError:
        pass
    finally:
        client.writer.transport.abort()
    return bytes(found)


async def test_the_workers_drain_under_load_and_let_every_download_end(tmp_path: Path) -> None:
    """An orderly end while eight slow clients load: all of them get their last byte."""
    made: House
    async with house(make_served(tmp_path), workers=2, grace=20) as made, front(made) as ours:
        content = big(tmp_path)
        clients = [await connect(ours.address, f"127.0.5.{n}") for n in range(1, 9)]
        for each in clients:
            each.writer.write(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: made.supervisor.downloads() == 8)
        made.supervisor.stop()
        answers = await asyncio.gather(*(each.hear() for each in clients))
        assert [body == content for _, _, body in answers] == [True] * 8
        await hang_up(clients)
