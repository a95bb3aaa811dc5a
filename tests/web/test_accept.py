"""The accept point: time limits, caps, kept connections, and sockets that go to workers and come back."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from netboot.web.peers import Limits
from tests.web.boot_site import NODE, STRANGER, World, parse, running

GET = b"GET /boot.ipxe HTTP/1.1\r\nHost: a\r\n\r\n"
IMAGE = b"GET /images/a/b/vmlinuz HTTP/1.1\r\nHost: a\r\n\r\n"


async def connect(world: World, source: object = NODE) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", world.port, local_addr=(str(source), 0))


async def one_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next answer of a kept connection."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    answer = parse(head)
    length = int(answer.headers.get("content-length", "0"))
    return answer.status, await reader.readexactly(length)


async def test_a_connection_is_kept_for_the_next_request(tmp_path: Path) -> None:
    """Two requests, then a HEAD without body, then a third: all on one connection."""
    async with running(tmp_path) as world:
        reader, writer = await connect(world)
        for _ in range(2):
            writer.write(GET)
            assert (await one_answer(reader))[0] == 200
        writer.write(GET.replace(b"GET", b"HEAD"))
        head = parse(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10))
        assert head.status == 200 and int(head.headers["content-length"]) > 0
        writer.write(GET)
        assert (await one_answer(reader))[1].startswith(b"#!ipxe")
        writer.close()


async def test_requests_that_arrive_together_are_answered_in_order(tmp_path: Path) -> None:
    """Pipelined requests get their answers one after the other."""
    async with running(tmp_path) as world:
        reader, writer = await connect(world)
        writer.write(GET + b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        statuses = [(await one_answer(reader))[0] for _ in range(3)]
        assert statuses == [200, 404, 200]
        writer.close()


async def test_a_request_in_single_bytes_is_answered(tmp_path: Path) -> None:
    """However a request is cut into pieces, it is one request."""
    async with running(tmp_path) as world:
        reader, writer = await connect(world)
        for byte in GET:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await one_answer(reader))[0] == 200
        writer.close()


async def test_a_client_that_shuts_its_side_down_gets_its_answer(tmp_path: Path) -> None:
    """A half-closed connection (busybox nc) still gets its answer, and is closed then."""
    async with running(tmp_path) as world:
        reader, writer = await connect(world)
        writer.write(GET)
        writer.write_eof()
        assert (await one_answer(reader))[0] == 200
        writer.close()


async def test_expect_100_continue_is_answered(tmp_path: Path) -> None:
    """curl waits for it before it sends a claim."""
    async with running(tmp_path) as world:
        reader, writer = await connect(world)
        writer.write(
            b"POST /boot/report HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 100 ")
        writer.write(b"{}")
        assert (await one_answer(reader))[0] == 404
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST /boot/log HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"]
)
async def test_a_slow_client_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    """Nothing, half a head or half a body: the connection ends at its limit."""
    limits = Limits(head=0.05, body=0.05, idle=0.05)
    async with running(tmp_path, limits=limits) as world:
        reader, writer = await connect(world)
        writer.write(sent)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        writer.close()


async def test_dripping_bytes_does_not_buy_time(tmp_path: Path) -> None:
    """The limit counts from the first byte: a slow loris is cut off however busy it looks."""
    async with running(tmp_path, limits=Limits(head=0.2)) as world:
        reader, writer = await connect(world)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            for _ in range(500):
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.01)
                if reader.at_eof():
                    raise ConnectionResetError
        assert world.journal.counters["http_too_slow"] == 1
        writer.close()


async def test_connections_are_capped_per_address(tmp_path: Path) -> None:
    """One address cannot take them all; another one is still served."""
    async with running(tmp_path, limits=Limits(connections=3)) as world:
        kept = [await connect(world) for _ in range(3)]
        for reader, writer in kept:
            writer.write(GET)
            assert (await one_answer(reader))[0] == 200
        reader, writer = await connect(world)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert (await world.ask("/boot.ipxe", source=STRANGER)).status == 200
        assert world.journal.counters["http_too_many_connections"] == 1
        for _, other in [*kept, (reader, writer)]:
            other.close()
        await asyncio.sleep(0.05)
        world.bulk.handed += [(os.open("/dev/null", os.O_RDONLY), b"", None, str(NODE)) for _ in range(3)]
        reader, writer = await connect(world)
        assert await asyncio.wait_for(reader.read(), 10) == b""  # what workers hold counts as well
        writer.close()
        while world.bulk.handed:
            os.close(world.bulk.handed.pop()[0])
        assert (await world.ask("/boot.ipxe")).status == 200


async def test_requests_are_capped_per_address(tmp_path: Path) -> None:
    """An empty bucket is a 429 with Retry-After; time fills it, and other addresses have their own."""
    async with running(tmp_path, limits=Limits(requests=2)) as world:
        statuses = [(await world.ask("/boot.ipxe")).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert (await world.ask("/boot.ipxe", source=STRANGER)).status == 200
        world.now += 1
        assert (await world.ask("/boot.ipxe")).status == 200


async def test_unlimited_means_unlimited(tmp_path: Path) -> None:
    """An operator may switch both caps off."""
    limits = Limits(connections=float("inf"), requests=float("inf"))
    async with running(tmp_path, limits=limits) as world:
        assert [(await world.ask("/boot.ipxe")).status for _ in range(3)] == [200] * 3


async def test_curl_is_content(tmp_path: Path) -> None:
    """A stranger's client: two files over one connection, and a body that it announces with Expect."""
    async with running(tmp_path) as world:
        url = f"http://127.0.0.1:{world.port}"
        expect = ["-H", "Expect: 100-continue", "--data-binary", "x" * 3000, f"{url}/boot/report"]
        words = ["curl", "-sS", "-v", f"{url}/boot.ipxe", f"{url}/programs/autoexec.ipxe", "--next", "-sS"]
        process = await asyncio.create_subprocess_exec(
            *words, *expect, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, told = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, told.decode()
        assert out.count(b"#!ipxe") == 2 and b"not for this machine" in out and b"Re-using" in told


async def test_a_malformed_request_is_answered_and_closed(tmp_path: Path) -> None:
    """400 or 501, then the end of the connection; what follows is never read as a request."""
    async with running(tmp_path) as world:
        smuggled = b"POST /boot/log HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET
        answer = await world.send(smuggled)
        assert answer.status == 501 and b"ipxe" not in answer.body
        assert (await world.send(b"\x16\x03\x01\r\n\r\n")).status == 400
        assert (await world.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 9000)).status == 431
        assert (
            await world.send(b"GET /images/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        ).status == 413


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
@pytest.mark.parametrize("path", ["/files/a", "/boot.ipxe"])
async def test_an_upload_is_refused_for_its_method_and_not_for_its_size(
    tmp_path: Path, method: str, path: str
) -> None:
    """405 with what is allowed, the body is never waited for, and nothing behind it is read as a request."""
    async with running(tmp_path) as world:
        answer = await world.send(
            f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n".encode() + GET
        )
        assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"
        assert answer.headers["connection"] == "close" and b"ipxe" not in answer.body


async def test_an_image_goes_to_a_worker_with_its_bytes_and_its_boot(tmp_path: Path) -> None:
    """The worker gets the living socket, all bytes that were read, and the boot's id by its address."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        reader, writer = await connect(world)
        writer.write(IMAGE + b"GET /more")
        fd, head, boot_id, client = await handed(world)
        assert (head, boot_id, client) == (IMAGE + b"GET /more", boot.id, str(NODE))
        with socket.socket(fileno=os.dup(fd)) as worker:
            worker.setblocking(True)
            worker.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            assert await one_answer(reader) == (200, b"hi")
        writer.close()


async def handed(world: World) -> tuple[int, bytes, str | None, str]:
    for _ in range(500):
        if world.bulk.handed:
            return world.bulk.handed[-1]
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was handed over")


async def test_a_socket_comes_back_from_a_worker(tmp_path: Path) -> None:
    """A worker that meets a path of control's gives the socket back with what it read."""
    async with running(tmp_path) as world:
        reader, writer = await connect(world)
        writer.write(IMAGE)
        fd, *_ = await handed(world)
        world.bulk.on_return(os.dup(fd), GET[:10], str(NODE))
        await asyncio.sleep(0)
        writer.write(GET[10:])
        assert (await one_answer(reader))[0] == 200
        writer.write(IMAGE)
        for _ in range(500):
            if len(world.bulk.handed) == 2:
                break
            await asyncio.sleep(0.01)
        assert world.bulk.handed[1][1] == IMAGE
        writer.close()


async def test_without_a_worker_the_answer_is_503(tmp_path: Path) -> None:
    """The machine is told to ask again, on a connection that ends."""
    async with running(tmp_path) as world:
        world.bulk.up = False
        answer = await world.send(IMAGE)
        assert answer.status == 503 and answer.headers["retry-after"] == "2"


async def test_stop_closes_the_listener_and_every_connection(tmp_path: Path) -> None:
    """After stop nothing listens and nothing hangs."""
    async with running(tmp_path) as world:
        port = world.port
        reader, writer = await connect(world)
        assert world.http.is_running
        await world.http.stop()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert not world.http.is_running
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.close()
