"""The API's listener: what strangers may hold of it, and that others are served meanwhile."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from netboot.config.tls import Certificate
from netboot.model.manners import Rate
from netboot.web.api import application, door
from netboot.web.api.door import Door
from tests.support.certificates import Authority, authority
from tests.web.api.test_access import ask
from tests.web.api.world import TOKEN, World

HEALTH = "GET /healthz HTTP/1.1\r\nHost: localhost"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    return World(tmp_path)


@asynccontextmanager
async def opened(world: World, signer: Authority | None = None) -> AsyncIterator[tuple[Door, int]]:
    """A door on a port of the loopback, over TLS where somebody signs."""
    context = None
    if signer is not None:
        files = signer.write(world.images_dir, "127.0.0.1")
        context = Certificate(files["certificate"], files["key"]).context()
    listener = socket.create_server(("127.0.0.1", 0))
    made = Door(application(world.sources()), context, world.journal, lambda: world.now)
    await made.open(listener)
    try:
        yield made, int(listener.getsockname()[1])
    finally:
        await made.close()


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other side closes; waits for it."""
    try:
        return await asyncio.wait_for(reader.read(), 10) == b""
    except ConnectionError:
        return True


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("tls", [False, True])
async def test_requests_are_answered(world: World, tls: bool) -> None:
    """With TLS and without; nothing is held afterwards."""
    signer = authority() if tls else None
    async with opened(world, signer) as (made, port):
        assert b"200 OK" in await ask(port, signer, HEALTH)
        await until(lambda: made.held("127.0.0.1") == 0)


async def test_one_address_holds_few_connections(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over that is closed at once and told; when one goes, another may come."""
    monkeypatch.setattr(door, "OF_ONE", 3)
    async with opened(world) as (made, port), AsyncExitStack() as stack:
        writers = []
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writers.append(writer)
            await until(lambda: made.held("127.0.0.1") == len(writers))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.close)
        assert await closed(reader)
        writers[0].close()
        await until(lambda: made.held("127.0.0.1") == 2)
        assert b"200 OK" in await ask(port, None, HEALTH)
    assert world.journal.counters["api_too_many_connections"] == 1


async def test_half_a_handshake_counts_and_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing is counted as a connection, and let go after a while."""
    monkeypatch.setattr(door, "FIRST_REQUEST", 0.2)
    async with opened(world, authority()) as (made, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: made.held("127.0.0.1") == 1)
        assert await closed(reader)
        await until(lambda: made.held("127.0.0.1") == 0)
        writer.close()


async def test_a_connection_without_a_request_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a request line is none; one that asked once stays open for the next request."""
    monkeypatch.setattr(door, "FIRST_REQUEST", 0.2)
    async with opened(world) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /hea")
        asked, asker = await asyncio.open_connection("127.0.0.1", port)
        asker.write(f"{HEALTH}\r\n\r\n".encode())
        assert b"200 OK" in await asked.readuntil(b"ok\n")
        assert await closed(reader)
        asker.write(f"{HEALTH}\r\n\r\n".encode())
        assert b"200 OK" in await asyncio.wait_for(asked.readuntil(b"ok\n"), 10)
        writer.close()
        asker.close()


async def test_a_first_request_may_take_its_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its head is there: a body that follows later, or a long answer, is no idle connection."""
    monkeypatch.setattr(door, "FIRST_REQUEST", 0.2)
    head = f"PUT /api/v1/nodes/n1/assignment HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    async with opened(world) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}Content-Length: 2\r\nConnection: close\r\n\r\n".encode())
        await asyncio.sleep(0.5)
        writer.write(b"{}")
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_handshakes_of_one_address_are_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs the process that answers DHCP; after a while there may be more."""
    monkeypatch.setattr(door, "HANDSHAKES", Rate(2, 1.0))
    signer = authority()
    async with opened(world, signer) as (_, port):
        for _ in range(2):
            assert b"200 OK" in await ask(port, signer, HEALTH)
        with pytest.raises(OSError):  # closed or reset before a word
            await ask(port, signer, HEALTH)
        world.now += 1
        assert b"200 OK" in await ask(port, signer, HEALTH)


async def test_a_want_of_descriptors_passes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener rests a moment instead of spinning, and goes on by itself."""
    monkeypatch.setattr(door, "_PAUSE", 0.05)
    tries: list[float] = []

    class Poor(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            tries.append(asyncio.get_running_loop().time())
            if len(tries) <= 2:
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    made = Door(application(world.sources()), None, world.journal, lambda: world.now)
    listener = Poor(fileno=socket.create_server(("127.0.0.1", 0)).detach())
    port = int(listener.getsockname()[1])
    await made.open(listener)
    try:
        assert b"200 OK" in await ask(port, None, HEALTH)
    finally:
        await made.close()
    assert tries[1] - tries[0] >= 0.04
