"""The request head parser of the boot port."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netboot.errors import MalformedPacket
from netboot.web.http1 import (
    MAX_HEAD,
    UNSATISFIABLE,
    Head,
    MalformedHead,
    parse_head,
    parse_range,
    response_head,
)


def parsed(text: str) -> Head:
    head = parse_head(text.encode("latin-1"))
    assert head is not None
    return head


def refused(raw: bytes) -> int:
    with pytest.raises(MalformedHead) as caught:
        parse_head(raw)
    return caught.value.status


def test_a_plain_get_is_read() -> None:
    """Method, path, query, headers, size and keep-alive of an ordinary request."""
    text = "GET /ipxe?mac=52-54-00-12-34-56&product=Pro%20Liant HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n"
    head = parsed(text + "rest")
    assert (head.method, head.path, head.length, head.keep_alive) == ("GET", "/ipxe", 0, True)
    assert head.query == {"mac": "52-54-00-12-34-56", "product": "Pro Liant"}
    assert head.headers == {"host": "a", "user-agent": "b"}
    assert head.size == len(text)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("//images///a/b", "/images/a/b"),
        ("http://10.0.0.1:80//boot.ipxe?x=1", "/boot.ipxe"),
        ("HTTP://h", "/"),
        ("/a%20b/%e2%82%ac", "/a b/€"),
        ("/a%2Fb", "/a/b"),
        ("/./boot.ipxe", "/boot.ipxe"),
        ("/images/.//%2e/./a/.b./c..d", "/images/a/.b./c..d"),
        ("/a/../b", "/a/../b"),
        ("http://h?x=1", "/"),
    ],
)
def test_the_path_is_made_plain(target: str, path: str) -> None:
    """Doubled slashes, absolute form and escapes are reduced to one way of writing a path."""
    assert parsed(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").path == path


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Keep-Alive, Close", False),
        ("1.0", None, False),
        ("1.0", "Keep-Alive", True),
    ],
)
def test_keep_alive_follows_version_and_connection(version: str, connection: str | None, keeps: bool) -> None:
    """HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 closes unless asked (RFC 9112 9.3)."""
    field = f"Connection: {connection}\r\n" if connection else ""
    assert parsed(f"GET / HTTP/{version}\r\nHost: h\r\n{field}\r\n").keep_alive is keeps


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%0d%0aX:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://h/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 70 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * MAX_HEAD + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\0\x01\0\n", 400),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(raw: bytes, status: int) -> None:
    """Each malformed head is refused with its status and nothing else is raised."""
    assert refused(raw) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Content-Length: 3\r\nContent-Length: 3\r\n", 400),
        (b"Content-Length: 3, 3\r\n", 400),
        (b"Content-Length: +3\r\n", 400),
        (b"Content-Length: 0x3\r\n", 400),
        (b"Content-Length: -1\r\n", 400),
        (b"Content-Length: \xb2\r\n", 400),
        (b"Content-Length: 9999999999999999\r\n", 400),
        (b"Content-Length:\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", 501),
        (b"Transfer-Encoding : chunked\r\n", 400),
        (b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n", 501),
        (b"Content-Length: 3\r\nTransfer-Encoding:\tchunked\r\n", 501),
    ],
)
def test_request_smuggling_is_impossible(fields: bytes, status: int) -> None:
    """No request whose end two readers could see in two places is accepted (RFC 9112 6.3)."""
    assert refused(b"POST /boot/report HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n") == status


def test_a_head_is_awaited_piece_by_piece() -> None:
    """Every prefix of a good head is None, the whole of it a Head that does not reach into the body."""
    raw = b"POST /boot/log HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    assert all(parse_head(raw[:n]) is None for n in range(len(raw)))
    head = parse_head(raw + b"hello")
    assert head is not None and (head.size, head.length) == (len(raw), 5)


def test_one_stray_empty_line_is_forgiven() -> None:
    """An empty line before the request line is skipped and counted into the head's size."""
    raw = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    head = parse_head(raw)
    assert head is not None and head.size == len(raw)


@given(st.binary(max_size=600))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_a_head_or_a_refusal(raw: bytes) -> None:
    """Random bytes raise nothing but MalformedPacket."""
    try:
        head = parse_head(raw)
    except MalformedPacket:
        return
    assert head is None or head.path.startswith("/")


_PIECES = [b"GET ", b"POST ", b"/", b"//a%2e", b"?a=b&%ff=%00", b"http://h", b" HTTP/1.1", b"\r\n", b"\n"]
_FIELDS = [b"Host: h\r\n", b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", b"X:y", b"\0", b"\r"]
_PIECE = st.sampled_from([*_PIECES, *_FIELDS])


@given(st.lists(_PIECE, max_size=14).map(b"".join))
@settings(max_examples=600, deadline=None)
def test_what_is_accepted_has_one_reading(raw: bytes) -> None:
    """An accepted head ends at its first blank line, has no Transfer-Encoding and no odd path."""
    try:
        head = parse_head(raw)
    except MalformedPacket:
        return
    if head is not None:
        skip = 2 if raw.startswith(b"\r\n") else 0
        assert head.size == raw.index(b"\r\n\r\n", skip) + 4
        assert b"\n" not in raw[: head.size].replace(b"\r\n", b"") and "transfer-encoding" not in head.headers
        assert head.path.startswith("/") and "//" not in head.path and "\0" not in head.path


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (None, None),
        ("bytes=0-", (0, 99)),
        ("bytes=10-19", (10, 19)),
        ("bytes=90-1000", (90, 99)),
        ("bytes=-10", (90, 99)),
        ("bytes=-1000", (0, 99)),
        ("Bytes=1-2", (1, 2)),
        ("bytes= 5-6 ", (5, 6)),
        ("bytes=100-", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=5-2", UNSATISFIABLE),
        ("bytes=0-1,5-6", None),
        ("bytes=-", UNSATISFIABLE),
        ("items=0-1", None),
        ("bytes=٣-", UNSATISFIABLE),
    ],
)
def test_a_range_is_read_as_the_rfc_says(text: str | None, answer: object) -> None:
    """First and last byte; lists and other units mean the whole file, nonsense is refused (RFC 9110 14.2)."""
    assert parse_range(text, 100) == answer


def test_the_whole_of_an_empty_file_is_a_range_that_is_met() -> None:
    """From the start: the whole, as nginx does; from anywhere else there is nothing."""
    assert [parse_range(f"bytes={text}", 0) for text in ("0-", "0-9", "-5")] == [None] * 3
    assert parse_range("bytes=5-", 0) == UNSATISFIABLE


def test_a_response_always_tells_its_length() -> None:
    """Content-Length stands in every response head but that of a 204, and a line end cannot slip in."""
    head = response_head(200, 7, keep_alive=True, fields=[("Content-Type", "text/plain")])
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n") and head.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in response_head(204, 0, keep_alive=False)
    with pytest.raises(ValueError):
        response_head(200, 0, keep_alive=True, fields=[("X", "a\r\nB: c")])
