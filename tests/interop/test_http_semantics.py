"""The same raw requests at nginx and at our workers: whatever differs stands here with its reason."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pprint
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.test_http_clients import free_port, nginx
from tests.proc.house import house, make_served
from tests.web.front import front

pytestmark = pytest.mark.root

CONTENT = b"0123456789" * 100
CHANGED = 1_700_000_000
DATE, LATER, EARLIER = (f"Tue, 14 Nov 2023 22:13:{second} GMT" for second in (20, 21, 19))


@dataclass(frozen=True, slots=True)
class Answer:
    """What of an answer may not differ; the text of an error is a server's own."""

    status: int
    length: int | None
    range: str | None
    body: str
    """By its checksum, so that a failure is readable."""
    stays: bool
    """Whether the connection serves another request."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request: a path with fields, or all of it in raw bytes. `{tag}` is the server's own ETag."""

    title: str
    fields: tuple[str, ...] = ()
    path: str = "/files/small"
    method: str = "GET"
    version: str = "HTTP/1.1"
    raw: bytes | None = None
    ours: dict[str, object] | None = None
    """What differs from nginx, by field of `Answer`."""
    reason: str = ""


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:12]


WHOLE = {"status": 200, "length": 1000, "range": None, "body": digest(CONTENT)}
SAME = [
    Case("the whole file"),
    Case("HEAD", method="HEAD"),
    Case("a client that would wait before its body, and has none", ("Expect: 100-continue",)),
    Case("another expectation", ("Expect: cookies",)),
    Case("another protocol is offered", ("Connection: Upgrade", "Upgrade: h2c")),
    Case("a query is no part of the name", path="/files/small?x=1&y=/../"),
    Case("an empty file", path="/files/empty"),
    Case("doubled slashes", path="//files///small"),
    Case("an escaped name", path="/files/%73mall"),
    Case("a dot in the path", path="/files/./small"),
    Case("a dot before the first folder", path="/./files/%2e/small"),
    Case("absolute-form", path="http://other.example:81/files/small"),
    Case("no such file", path="/files/none"),
    Case("no such file, HEAD", path="/files/none", method="HEAD"),
    Case("a file as a folder", path="/files/small/x"),
    Case("a range", ("Range: bytes=10-19",)),
    Case("a range of one byte", ("Range: bytes=0-0",)),
    Case("the last byte", ("Range: bytes=999-999",)),
    Case("an open range", ("Range: bytes=990-",)),
    Case("an open range from the start", ("Range: bytes=0-",)),
    Case("a suffix", ("Range: bytes=-10",)),
    Case("a suffix longer than the file", ("Range: bytes=-5000",)),
    Case("a suffix of nothing", ("Range: bytes=-0",)),
    Case("a range over the end", ("Range: bytes=990-5000",)),
    Case("a range at the end", ("Range: bytes=1000-",)),
    Case("a range beyond the end", ("Range: bytes=5000-6000",)),
    Case("a reversed range", ("Range: bytes=20-10",)),
    Case("a huge range", ("Range: bytes=0-99999999999999999999999",)),
    Case("a huge start", ("Range: bytes=99999999999999999999999-",)),
    Case("a range of words", ("Range: bytes=a-b",)),
    Case("a range with blanks", ("Range: bytes= 10 - 19 ",)),
    Case("another unit", ("Range: lines=1-2",)),
    Case("If-Range by tag", ("Range: bytes=0-9", "If-Range: {tag}")),
    Case("If-Range by a weak tag", ("Range: bytes=0-9", "If-Range: W/{tag}")),
    Case("If-Range by another tag", ("Range: bytes=0-9", 'If-Range: "other"')),
    Case("If-Range by date", ("Range: bytes=0-9", f"If-Range: {DATE}")),
    Case("If-Range by a later date", ("Range: bytes=0-9", f"If-Range: {LATER}")),
    Case("If-Match", ("If-Match: {tag}",)),
    Case("If-Match of a list", ('If-Match: "other", {tag}',)),
    Case("If-Match of anything", ("If-Match: *",)),
    Case("If-Unmodified-Since", (f"If-Unmodified-Since: {DATE}",)),
    Case("If-None-Match of another tag", ('If-None-Match: "other"',)),
    Case("If-Modified-Since another date", (f"If-Modified-Since: {LATER}",)),
    Case("the tag wins over the date", ('If-None-Match: "other"', f"If-Modified-Since: {DATE}")),
    Case("gzip is welcome", ("Accept-Encoding: gzip, deflate, br",)),
    Case("HTTP/1.0", version="HTTP/1.0"),
    Case("HTTP/1.0 that stays", ("Connection: keep-alive",), version="HTTP/1.0"),
    Case("Connection: close", ("Connection: close",)),
    Case("DELETE", method="DELETE"),
    Case("PUT without a body", method="PUT"),
    Case(
        "PUT with a body",
        raw=b"PUT /files/small HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    ),
    Case("no Host", raw=b"GET /files/small HTTP/1.1\r\n\r\n"),
    Case("two Hosts", raw=b"GET /files/small HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    Case("a blank in the Host", raw=b"GET /files/small HTTP/1.1\r\nHost: a b\r\n\r\n"),
    Case("a slash in the Host", raw=b"GET /files/small HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    Case("HTTP/1.0 without Host", raw=b"GET /files/small HTTP/1.0\r\n\r\n"),
    Case("a broken escape", path="/files/%zz"),
    Case("a NUL in the path", path="/files/small%00"),
    Case("HTTP/2.0", raw=b"GET /files/small HTTP/2.0\r\nHost: a\r\n\r\n"),
    Case("two Content-Lengths", ("Content-Length: 0", "Content-Length: 1")),
    Case("a Content-Length of words", ("Content-Length: x",)),
    Case("a negative Content-Length", ("Content-Length: -1",)),
    Case("a small word as method", raw=b"get /files/small HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case("a range of an empty file", ("Range: bytes=0-",), path="/files/empty"),
    Case("a suffix of an empty file", ("Range: bytes=-5",), path="/files/empty"),
    Case("a range beyond an empty file", ("Range: bytes=5-",), path="/files/empty"),
    Case("a blank before the colon", raw=b"GET /files/small HTTP/1.1\r\nHost : a\r\n\r\n"),
    Case("an empty line first", raw=b"\r\nGET /files/small HTTP/1.1\r\nHost: a\r\n\r\n"),
]  # fmt: skip


def error(status: int, *, stays: bool, range: str | None = None) -> dict[str, object]:
    """An answer without a file."""
    return {"status": status, "length": None, "range": range, "body": digest(b""), "stays": stays}


LENGTH = "nginx's 304 has no Content-Length; ours has the file's, as it is always there (RFC 9110 8.6)"
STAYS = "nginx closes after a condition that failed"
DIFFERENT = [
    Case(
        "several ranges", ("Range: bytes=0-1,5-6",), ours=WHOLE,
        reason="one whole file instead of multipart/byteranges, which no boot loader reads (RFC 9110 14.2)",
    ),
    Case(
        "HEAD with a range", ("Range: bytes=0-9",), method="HEAD", ours={**WHOLE, "body": digest(b"")},
        reason="a range is defined for GET only (RFC 9110 14.2)",
    ),
    Case(
        "a range of nothing", ("Range: bytes=",), ours=error(416, stays=True, range="bytes */1000"),
        reason="whoever wrote it meant a part; nginx does not look at so short a field",
    ),
    Case("If-None-Match", ("If-None-Match: {tag}",), ours={"length": 1000}, reason=LENGTH),
    Case("a list of tags", ('If-None-Match: "other", W/{tag}',), ours={"length": 1000}, reason=LENGTH),
    Case("If-None-Match of anything", ("If-None-Match: *",), ours={"length": 1000}, reason=LENGTH),
    Case("If-Modified-Since", (f"If-Modified-Since: {DATE}",), ours={"length": 1000}, reason=LENGTH),
    Case("If-Match of another tag", ('If-Match: "other"',), ours={"stays": True}, reason=STAYS),
    Case("changed since", (f"If-Unmodified-Since: {EARLIER}",), ours={"stays": True}, reason=STAYS),
    Case(
        "a folder", path="/files/folder", ours=error(404, stays=True),
        reason="nginx redirects to the folder with a slash; firmware is never redirected",
    ),
    Case(
        "a slash after a file", path="/files/small/", ours={**WHOLE, "stays": True},
        reason="slashes more or less do not matter to us",
    ),
    Case(
        "a way up inside the tree", path="/files/folder/../small", ours=error(403, stays=True),
        reason="no client needs `..`, so it is refused and reported; nginx resolves it",
    ),
    Case(
        "a way out", path="/files/../../etc/passwd", ours=error(403, stays=True),
        reason="as above; nginx says 400",
    ),
    Case(
        "HTTP/1.2", raw=b"GET /files/small HTTP/1.2\r\nHost: a\r\n\r\n", ours=error(505, stays=False),
        reason="there is no such version; nginx takes it for 1.1",
    ),
    Case(
        "no version", raw=b"GET /files/small HTTP/x\r\nHost: a\r\n\r\n", ours=error(505, stays=False),
        reason="nginx says 400",
    ),
    Case(
        "bare line feeds", raw=b"GET /files/small HTTP/1.1\nHost: a\n\n", ours=error(400, stays=False),
        reason="two readers of one stream must agree where a request ends (RFC 9112 2.2 allows either)",
    ),
    Case(
        "chunks", ("Transfer-Encoding: chunked",), method="POST", ours=error(501, stays=False),
        reason="no request to the boot port has chunks, and two readers could disagree about them",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that both serve, with a known time of change."""
    root = tmp_path_factory.mktemp("semantics")
    make_served(root)
    for path in (root, *root.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/") and "pytest" in path.name:
            path.chmod(0o755)
    for name, content in (("small", CONTENT), ("empty", b"")):
        (root / "files" / name).write_bytes(content)
        os.utime(root / "files" / name, (CHANGED, CHANGED))
    (root / "files" / "folder").mkdir()
    return root


@pytest.fixture
async def both(folder: Path) -> AsyncIterator[tuple[int, int]]:
    """nginx's port, and that of our accept point and workers."""
    port = free_port()
    async with nginx(folder, port), house(make_served(folder)) as made, front(made) as ours:
        yield port, ours.address[1]


class Talk:
    """One connection, by the letter."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, raw: bytes) -> None:
        """Send it."""
        self._writer.write(raw)

    async def hear(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next answer."""
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            fields = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)}
            status = int(first.split()[1])
            if status == 100:  # nginx says it to a client without a body, too
                return await self.hear(head_only=head_only)
            length = 0 if head_only or status == 304 else int(fields["content-length"])
            return status, fields, await self._reader.readexactly(length)

    async def stays(self) -> bool:
        """Whether another request is answered here."""
        try:
            self.say(request("/files/small"))
            return (await self.hear())[0] == 200
        except (OSError, EOFError):
            return False

    def close(self) -> None:
        """No more."""
        self._writer.transport.abort()


async def talk(port: int) -> Talk:
    return Talk(*await asyncio.open_connection("127.0.0.1", port))


def request(path: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{method} {path} {version}", "Host: x", *fields, "", ""]).encode()


async def tag_of(port: int) -> str:
    """The ETag that this server has for the small file."""
    client = await talk(port)
    client.say(request("/files/small", method="HEAD"))
    tag = (await client.hear(head_only=True))[1]["etag"]
    client.close()
    return tag


async def ask(port: int, case: Case, tag: str) -> Answer:
    """One request on a connection of its own."""
    client = await talk(port)
    fields = [field.format(tag=tag) for field in case.fields]
    client.say(case.raw or request(case.path, *fields, method=case.method, version=case.version))
    status, found, body = await client.hear(head_only=case.method == "HEAD")
    assert "transfer-encoding" not in found and "content-encoding" not in found
    length = int(found["content-length"]) if status in (200, 206, 304) and "content-length" in found else None
    served = body if status in (200, 206) else b""
    answer = Answer(status, length, found.get("content-range"), digest(served), await client.stays())
    client.close()
    return answer


def as_seen(answer: Answer) -> dict[str, object]:
    return {name: getattr(answer, name) for name in Answer.__slots__}


async def test_every_request_is_answered_as_nginx_answers_it(both: tuple[int, int]) -> None:
    """Status, length, range, body, and whether the connection stays."""
    tags = await tag_of(both[0]), await tag_of(both[1])
    wrong = {}
    for case in SAME:
        theirs, ours = await ask(both[0], case, tags[0]), await ask(both[1], case, tags[1])
        if ours != theirs:
            wrong[case.title] = {"nginx": theirs, "ours": ours}
    assert not wrong, pprint.pformat(wrong, width=200)


async def test_each_difference_to_nginx_is_the_one_that_is_meant(both: tuple[int, int]) -> None:
    """What the table says differs does so, and nothing else of the same answer."""
    tags = await tag_of(both[0]), await tag_of(both[1])
    wrong = {}
    for case in DIFFERENT:
        assert case.ours and case.reason
        theirs = as_seen(await ask(both[0], case, tags[0]))
        ours = as_seen(await ask(both[1], case, tags[1]))
        if ours != {**theirs, **case.ours} or ours == theirs:
            wrong[case.title] = {"nginx": theirs, "ours": ours}
    assert not wrong, pprint.pformat(wrong, width=200)


async def test_pipelined_requests_are_answered_in_order(both: tuple[int, int]) -> None:
    """Twenty at once in one segment: GET, HEAD, ranges, a 404, a 304, each framed right."""
    asked = [
        ("/files/small", "GET", ()),
        ("/files/small", "HEAD", ()),
        ("/files/small", "GET", ("Range: bytes=5-9",)),
        ("/files/none", "GET", ()),
        ("/files/small", "GET", ("If-None-Match: *",)),
    ] * 4
    heard = []
    for port in both:
        client = await talk(port)
        client.say(b"".join(request(path, *fields, method=method) for path, method, fields in asked))
        answers = [await client.hear(head_only=method == "HEAD") for _, method, _ in asked]
        heard.append([(status, body if status < 300 else b"") for status, _, body in answers])
        client.close()
    assert heard[0] == heard[1]


async def test_no_answer_is_chunked_encoded_or_a_redirect(both: tuple[int, int]) -> None:
    """Every answer of the tables has a Content-Length and no Location, whatever was asked."""
    tag = await tag_of(both[1])
    for case in (*SAME, *DIFFERENT):
        client = await talk(both[1])
        fields = [field.format(tag=tag) for field in (*case.fields, "Accept-Encoding: gzip", "TE: chunked")]
        client.say(case.raw or request(case.path, *fields, method=case.method, version=case.version))
        status, found, _ = await client.hear(head_only=case.method == "HEAD")
        assert "content-length" in found, case.title
        assert status not in range(300, 304) and "location" not in found, case.title
        assert not {"transfer-encoding", "content-encoding"} & set(found), case.title
        client.close()
