"""The bulk worker: HTTP semantics as a pure function, then a real worker behind a socket."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from netboot.proc import is_bulk_path
from netboot.proc.messages import Message
from netboot.tree import Opened
from netboot.web import bulk
from netboot.web.http1 import Head, parse_head
from tests.proc.house import House, house, make_image, make_served, until

GENERATION = "cd" * 32
FILE = Opened(-1, 1000, 1_700_000_000_500_000_000, (1, 2, 3, 1000))

CHANGED = "Tue, 14 Nov 2023 22:13:20 GMT"


def head_of(*fields: str, method: str = "GET", version: str = "1.1", path: str = "/files/a") -> Head:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *fields, "", ""]
    head = parse_head("\r\n".join(lines).encode())
    assert head is not None
    return head


def answer(*fields: str, file: Opened = FILE, **request: str) -> tuple[bulk.Reply, dict[str, str]]:
    reply = bulk.respond(head_of(*fields, **request), file)
    lines = reply.head.decode().strip().split("\r\n")[1:]
    return reply, {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}


def test_a_file_is_answered_whole_with_its_length_and_tag() -> None:
    """200, Content-Length, ETag, Last-Modified, ranges offered; no encoding of any kind."""
    reply, fields = answer()
    assert (reply.status, reply.start, reply.stop, reply.keep_alive) == (200, 0, 1000, True)
    assert fields["content-length"] == "1000"
    assert fields["last-modified"] == CHANGED
    assert fields["accept-ranges"] == "bytes"
    assert "transfer-encoding" not in fields
    assert "content-encoding" not in fields


def test_head_has_the_length_of_get_and_no_body() -> None:
    """Firmware asks HEAD for the size and expects the connection to stay."""
    reply, fields = answer(method="HEAD")
    assert (reply.status, reply.start, reply.stop, reply.keep_alive) == (200, 0, 0, True)
    assert fields["content-length"] == "1000"
    assert fields["connection"] == "keep-alive"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("0-99", 0, 99), ("100-", 100, 999), ("-1", 999, 999), ("-5000", 0, 999), ("999-5000", 999, 999)],
)
def test_a_single_range_is_answered_with_its_part(asked: str, first: int, last: int) -> None:
    """206 with Content-Range and the length of the part (RFC 9110 15.3.7)."""
    reply, fields = answer(f"Range: bytes={asked}")
    assert (reply.status, reply.start, reply.stop) == (206, first, last + 1)
    assert fields["content-range"] == f"bytes {first}-{last}/1000"
    assert fields["content-length"] == str(last + 1 - first)


def test_a_range_behind_the_end_is_not_satisfiable() -> None:
    """416 with the size, so that a client that has everything knows it."""
    reply, fields = answer("Range: bytes=1000-")
    assert reply.status == 416
    assert fields["content-range"] == "bytes */1000"
    assert fields["content-length"] == "0"
    assert fields["connection"] == "keep-alive"


@pytest.mark.parametrize("asked", ["bytes=9-1", "bytes=a-b", "bytes=-0"])
def test_a_range_that_is_none_is_refused_as_nginx_does(asked: str) -> None:
    """416: whoever wrote it meant a part, and would take the whole file for it."""
    assert answer(f"Range: {asked}")[0].status == 416


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=1-2"])
def test_other_ranges_are_answered_with_the_whole_file(asked: str) -> None:
    """A server may ignore Range (RFC 9110 14.2): never a part that was not asked."""
    assert answer(f"Range: {asked}")[0].status == 200


def test_a_range_holds_only_for_the_version_that_the_client_has() -> None:
    """If-Range with the tag or date: a part; with another: the whole new file."""
    tag = bulk.entity_tag("/files/a", FILE)
    for value, status in ((tag, 206), (CHANGED, 206), ('"old"', 200), ("W/" + tag, 200), ("Mon", 200)):
        assert answer("Range: bytes=5-", f"If-Range: {value}")[0].status == status, value


def test_an_unchanged_file_is_not_sent_again() -> None:
    """304 for a known tag or date, without a body."""
    tag = bulk.entity_tag("/files/a", FILE)
    for field in (
        f"If-None-Match: {tag}",
        f'If-None-Match: "x", W/{tag}',
        "If-None-Match: *",
        f"If-Modified-Since: {CHANGED}",
    ):
        reply, _ = answer(field)
        assert (reply.status, reply.start, reply.stop) == (304, 0, 0), field
    assert answer('If-None-Match: "x"', f"If-Modified-Since: {CHANGED}")[0].status == 200


def test_the_tag_of_an_images_file_is_its_content() -> None:
    """Two hosts with the same generation have the same tag, so a download resumes at either."""
    one = Opened(-1, 10, 1, (1, 1, 1, 10), GENERATION)
    two = Opened(-1, 10, 2, (2, 2, 2, 10), GENERATION)
    path = f"/images/demo/{GENERATION}/vmlinuz"
    assert bulk.entity_tag(path, one) == bulk.entity_tag(path, two)
    assert bulk.entity_tag(path, one) != bulk.entity_tag(path.replace("vmlinuz", "initrd.img"), one)


def test_http_1_0_closes_unless_it_asks_to_stay() -> None:
    """And an HTTP/1.1 client may ask to close."""
    assert answer(version="1.0")[0].keep_alive is False
    assert answer("Connection: keep-alive", version="1.0")[0].keep_alive is True
    assert answer("Connection: close")[0].keep_alive is False


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
    assert connection.cold and connection.offset == 0
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


async def test_a_connection_that_asks_nothing_is_closed_in_time(tmp_path: Path) -> None:
    """Patience is counted per state; here the worker's own loop runs with its limits cut to nothing."""
    sleepy = bulk._Connection.__new__(bulk._Connection)
    sleepy.out, sleepy.opened, sleepy.buffer = b"", None, b""
    assert bulk._patience(sleepy) == bulk.IDLE_TIME
    sleepy.buffer = b"GET"
    assert bulk._patience(sleepy) == bulk.HEAD_TIME
    sleepy.out = b"x"
    assert bulk._patience(sleepy) == bulk.STALL_TIME
