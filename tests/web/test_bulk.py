"""The bulk worker: HTTP semantics as a pure function, then a real worker behind a socket."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from netboot.proc import is_bulk_path
from netboot.proc.messages import Message
from netboot.web import bulk
from tests.proc.house import House, house, make_image, make_served, until


def test_both_sides_agree_which_paths_are_bulk() -> None:
    """One function decides for accept point and worker."""
    assert [
        path
        for path in (
            "/images/a",
            "/files/a",
            "/programs/snponly.efi",
            "/programs/autoexec.ipxe",
            "/boot.ipxe",
            "/",
            "/image",
            "/filesystem",
            "/boot/config",
        )
        if is_bulk_path(path)
    ] == ["/images/a", "/files/a", "/programs/snponly.efi"]


# --- a real worker -------------------------------------------------------------------------------------


class Client:
    """One connection that asks and reads by the letter."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: str, *fields: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        self.writer.write("\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode())
        return await self.hear(method)

    async def hear(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode()
        first, *lines = head.strip().split("\r\n")
        fields = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
        length = 0 if method == "HEAD" else int(fields["content-length"])
        return int(first.split()[1]), fields, await asyncio.wait_for(self.reader.readexactly(length), 5)


@pytest.fixture
async def made(tmp_path: Path):
    served = make_served(tmp_path)
    (tmp_path / "files" / "a").write_bytes(b"0123456789")
    (tmp_path / "files" / "empty").write_bytes(b"")
    (tmp_path / "files" / "dir").mkdir()
    (tmp_path / "files" / "dir" / "b c").write_bytes(b"deep")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "files" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "programs" / "snponly.efi").write_bytes(b"program")
    async with house(served) as running:
        yield running


@pytest.fixture
async def client(made: House):
    one = Client(*await asyncio.open_connection(*made.http))
    yield one
    one.writer.transport.abort()
    await asyncio.sleep(0)


async def test_one_connection_serves_many_requests_and_stays_after_head(client: Client) -> None:
    """HEAD, GET, an empty file, a 404, a 416, a range: all on one connection."""
    assert (await client.ask("/files/a", method="HEAD"))[1]["content-length"] == "10"
    assert (await client.ask("/files/a"))[2] == b"0123456789"
    assert (await client.ask("/files/empty"))[2] == b""
    assert (await client.ask("/files/none"))[0] == 404
    assert (await client.ask("/files/a", "Range: bytes=10-"))[0] == 416
    assert (await client.ask("/files/none", method="HEAD"))[0] == 404
    assert (await client.ask("/files/a", "Range: bytes=-3"))[2] == b"789"


async def test_names_are_forgiving_in_slashes_and_escapes_only(client: Client) -> None:
    """Doubled slashes collapse, escapes and absolute-form are read, no redirect is ever sent."""
    for path in ("//files//dir/b%20c", "/files/dir/b%20c?x=1", "http://h/files/dir/b%20c"):
        assert (await client.ask(path))[2] == b"deep", path


@pytest.mark.parametrize(
    "path",
    [
        "/files/../secret",
        "/files/%2e%2e/secret",
        "/files/dir/..%2f..%2fsecret",
        "/files/link",
        "/files/dir",
        "/files/",
        "/programs/../secret",
        "/programs/dir/b%20c",
        "/images/../files/a",
        "/images/demo/latest/vmlinuz",
        "/files/a/b",
    ],
)
async def test_nothing_outside_the_offered_trees_is_served(client: Client, path: str) -> None:
    """Ways out, links and directories: an error with a length, and the connection stays."""
    status, _, body = await client.ask(path)
    assert status in (403, 404)
    assert body != b"secret"
    assert (await client.ask("/files/a"))[0] == 200


async def test_a_way_out_and_a_link_are_reported(made: House, client: Client) -> None:
    """Control hears kind, path and source; a plain 404 is not worth a word."""
    await client.ask("/files/%2e%2e/secret")
    await client.ask("/files/link")
    await client.ask("/files/none")
    await until(lambda: len(made.refused) == 2)
    assert {(kind, source) for kind, _, source in made.refused} == {("http_refused", "127.0.0.1")}


async def test_other_methods_are_refused_with_their_remedy(client: Client) -> None:
    """405 with Allow; a request with a body ends its connection, so the body is never read as a request."""
    status, fields, _ = await client.ask("/files/a", method="DELETE")
    assert (status, fields["allow"], fields["connection"]) == (405, "GET, HEAD", "keep-alive")
    client.writer.write(
        b"POST /files/a HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\nGET /files/a HTTP/1.1\r\nH: x"
    )
    status, fields, _ = await client.hear()
    assert (status, fields["connection"]) == (405, "close")
    assert await asyncio.wait_for(client.reader.read(), 5) == b""


async def test_a_broken_request_is_answered_once_and_closed(made: House, client: Client) -> None:
    """400 with a reason; the worker goes on."""
    assert (await client.ask("/files/a"))[0] == 200
    client.writer.write(b"GET /files/a HTTP/1.1\r\nHost : x\r\n\r\n")
    assert (await client.hear())[0] == 400
    assert await asyncio.wait_for(client.reader.read(), 5) == b""
    await until(lambda: made.refused)
    assert made.supervisor.processes()[0].restarts == 0


async def test_a_generation_is_served_by_its_name(made: House, client: Client, tmp_path: Path) -> None:
    """Every file of the layout and the manifest; the tag begins with the generation."""
    generation = make_image(tmp_path / "images", {"vmlinuz": b"kernel", "other": b"no"})
    status, fields, body = await client.ask(f"/images/demo/{generation}/vmlinuz")
    assert (status, body) == (200, b"kernel")
    assert fields["etag"].startswith(f'"{generation[:32]}')
    assert (await client.ask(f"/images/demo/{generation}/manifest.json"))[0] == 200
    assert (await client.ask(f"/images/demo/{generation}/other"))[0] == 404


async def test_an_operators_program_wins_over_the_built_in_one(
    made: House, client: Client, tmp_path: Path
) -> None:
    """The same rule as over TFTP."""
    assert (await client.ask("/programs/snponly.efi"))[2] == b"program"
    (tmp_path / "files" / "snponly.efi").write_bytes(b"own")
    assert (await client.ask("/programs/snponly.efi"))[2] == b"own"


async def test_a_file_that_shrinks_while_it_is_sent_breaks_its_own_download_only(
    made: House, client: Client, tmp_path: Path
) -> None:
    """The promise of Content-Length cannot be kept: the connection is cut, the worker lives."""
    big = tmp_path / "files" / "big"
    big.write_bytes(bytes(64 << 20))
    client.writer.write(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.readexactly(1 << 20)
    os.truncate(big, 2 << 20)
    rest = 0
    try:
        while data := await asyncio.wait_for(client.reader.read(1 << 20), 5):
            rest += len(data)
    except ConnectionResetError:
        pass
    assert rest < 63 << 20
    assert made.supervisor.processes()[0].restarts == 0


async def test_idle_and_dripping_clients_cost_the_others_nothing(
    made: House, client: Client, tmp_path: Path
) -> None:
    """Connections that read nothing or ask half a request stand beside a whole download."""
    content = os.urandom(16 << 20)
    (tmp_path / "files" / "big").write_bytes(content)
    lazy = []
    for _ in range(30):
        reader, writer = await asyncio.open_connection(*made.http, limit=1024)
        writer.write(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")
        lazy.append(writer)
    half = Client(*await asyncio.open_connection(*made.http))
    await half.ask("/files/a")
    half.writer.write(b"GET /files/")
    assert (await client.ask("/files/big"))[2] == content
    half.writer.write(b"a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await half.hear())[2] == b"0123456789"
    for writer in (*lazy, half.writer):
        writer.transport.abort()
    await asyncio.sleep(0)
    del reader


async def test_a_cold_file_is_fetched_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is cached and a disk that never answers: its own download waits, everybody else's goes on."""
    waiting: list[bulk._Connection] = []
    monkeypatch.setattr(bulk, "is_cached", lambda fd, offset, length: offset >= bulk.CHUNK)
    monkeypatch.setattr(bulk.Warmer, "warm", lambda self, key, fd, offset, length: waiting.append(key))
    served = make_served(tmp_path)
    (tmp_path / "files" / "cold").write_bytes(bytes(3 * bulk.CHUNK))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = bulk.Worker(theirs)
    worker._served, worker._limit = served, 10
    clients = [socket.socketpair() for _ in range(2)]
    for client, range_ in zip(clients, ("0-", f"{bulk.CHUNK}-{bulk.CHUNK + 9}"), strict=True):
        head = f"GET /files/cold HTTP/1.1\r\nHost: x\r\nRange: bytes={range_}\r\n\r\n".encode()
        worker._adopt(Message("connection", {"client": "10.0.0.1"}, head, (client[1].detach(),)))
    assert clients[1][0].recv(4096).endswith(bytes(10))
    (connection,) = waiting
    assert connection.resting and connection.offset == 0
    for left in list(worker._connections.values()):
        worker._close(left)
    for sock in (ours, theirs, *(client for client, _ in clients)):
        sock.close()


async def test_one_address_cannot_ask_without_end(tmp_path: Path) -> None:
    """Over the rate of one address on a kept connection: 429 and a report; later it is served again."""
    served = make_served(tmp_path)
    (tmp_path / "files" / "a").write_bytes(b"x")
    async with house(served, requests=4) as made:
        client = Client(*await asyncio.open_connection(*made.http))
        answers = [(await client.ask("/files/a"))[0] for _ in range(20)]
        assert 200 in answers and 429 in answers
        await until(lambda: any(kind == "http_too_many_requests" for kind, *_ in made.refused))
        await asyncio.sleep(2 * bulk.TICK)
        assert (await client.ask("/files/a"))[0] == 200
        client.writer.transport.abort()
        await asyncio.sleep(0)


async def test_image_downloads_share_a_bandwidth_and_files_do_not(tmp_path: Path) -> None:
    """Two images come as slowly as the limit says, each with its share; a file beside them at once."""
    served = make_served(tmp_path)
    content = os.urandom(2 << 20)
    generation = make_image(tmp_path / "images", {"vmlinuz": content})
    (tmp_path / "files" / "big").write_bytes(content * 2)
    async with house(served, max_rate=8.0 * (4 << 20)) as made:
        clients = [Client(*await asyncio.open_connection(*made.http)) for _ in range(3)]
        loop = asyncio.get_running_loop()
        began = loop.time()
        path = f"/images/demo/{generation}/vmlinuz"
        images = [asyncio.create_task(client.ask(path)) for client in clients[:2]]
        assert len((await clients[2].ask("/files/big"))[2]) == 4 << 20
        assert not any(task.done() for task in images)
        assert [body == content for _, _, body in await asyncio.gather(*images)] == [True, True]
        # 4 MiB at 4 MiB/s, less the bursts and what the first tick let through
        assert loop.time() - began > 0.5
        for client in clients:
            client.writer.transport.abort()
        await asyncio.sleep(0)


async def test_a_connection_that_asks_nothing_is_closed_in_time(tmp_path: Path) -> None:
    """Patience is counted per state; here the worker's own loop runs with its limits cut to nothing."""
    sleepy = bulk._Connection.__new__(bulk._Connection)
    sleepy.out, sleepy.opened, sleepy.buffer = b"", None, b""
    assert bulk._patience(sleepy) == bulk.IDLE_TIME
    sleepy.buffer = b"GET"
    assert bulk._patience(sleepy) == bulk.HEAD_TIME
    sleepy.out = b"x"
    assert bulk._patience(sleepy) == bulk.STALL_TIME
