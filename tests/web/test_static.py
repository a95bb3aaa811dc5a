"""What a file's request is answered: HTTP semantics as a pure function."""

from __future__ import annotations

import pytest

from netboot.tree import Opened
from netboot.web import static
from netboot.web.http1 import Head, parse_head

GENERATION = "cd" * 32
FILE = Opened(-1, 1000, 1_700_000_000_500_000_000, (1, 2, 3, 1000))

CHANGED = "Tue, 14 Nov 2023 22:13:20 GMT"


def head_of(*fields: str, method: str = "GET", version: str = "1.1", path: str = "/files/a") -> Head:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *fields, "", ""]
    head = parse_head("\r\n".join(lines).encode())
    assert head is not None
    return head


def answer(*fields: str, file: Opened = FILE, **request: str) -> tuple[static.Reply, dict[str, str]]:
    reply = static.respond(head_of(*fields, **request), file)
    lines = reply.head.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]  # a refusal's text follows
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
    tag = static.entity_tag("/files/a", FILE)
    for value, status in ((tag, 206), (CHANGED, 206), ('"old"', 200), ("W/" + tag, 200), ("Mon", 200)):
        assert answer("Range: bytes=5-", f"If-Range: {value}")[0].status == status, value


def test_an_unchanged_file_is_not_sent_again() -> None:
    """304 for a known tag or date, without a body."""
    tag = static.entity_tag("/files/a", FILE)
    for field in (
        f"If-None-Match: {tag}",
        f'If-None-Match: "x", W/{tag}',
        "If-None-Match: *",
        f"If-Modified-Since: {CHANGED}",
    ):
        reply, _ = answer(field)
        assert (reply.status, reply.start, reply.stop) == (304, 0, 0), field
    assert answer('If-None-Match: "x"', f"If-Modified-Since: {CHANGED}")[0].status == 200


def test_a_file_that_is_another_one_by_now_is_refused() -> None:
    """412 where If-Match or If-Unmodified-Since does not hold (RFC 9110 13.1.1, 13.1.4)."""
    tag = static.entity_tag("/files/a", FILE)
    early = CHANGED.replace("20 GMT", "19 GMT")
    for field, status in (
        (f"If-Match: {tag}", 200),
        (f'If-Match: "x", {tag}', 200),
        ("If-Match: *", 200),
        ('If-Match: "x"', 412),
        (f"If-Match: W/{tag}", 412),
        (f"If-Unmodified-Since: {CHANGED}", 200),
        (f"If-Unmodified-Since: {early}", 412),
        ("If-Unmodified-Since: yesterday", 200),
        ("If-Unmodified-Since: Tue, 14 Nov 99999999999 22:13:20 GMT", 200),
    ):
        assert answer(field)[0].status == status, field
    assert answer(f"If-Match: {tag}", f"If-Unmodified-Since: {early}")[0].status == 200


def test_the_tag_of_an_images_file_is_its_content() -> None:
    """Two hosts with the same generation have the same tag, so a download resumes at either."""
    one = Opened(-1, 10, 1, (1, 1, 1, 10), GENERATION)
    two = Opened(-1, 10, 2, (2, 2, 2, 10), GENERATION)
    path = f"/images/demo/{GENERATION}/vmlinuz"
    assert static.entity_tag(path, one) == static.entity_tag(path, two)
    assert static.entity_tag(path, one) != static.entity_tag(path.replace("vmlinuz", "initrd.img"), one)


def test_http_1_0_closes_unless_it_asks_to_stay() -> None:
    """And an HTTP/1.1 client may ask to close."""
    assert answer(version="1.0")[0].keep_alive is False
    assert answer("Connection: keep-alive", version="1.0")[0].keep_alive is True
    assert answer("Connection: close")[0].keep_alive is False
