"""HTTP/1.1 as the boot port speaks it: one request head in, one response head out; pure and strict.

Firmware, iPXE, busybox wget and curl ask simple things, so whatever could be read in two ways is refused:
bare line feeds, folded lines, blanks before a colon, doubled or odd Content-Length, any Transfer-Encoding
(RFC 9112 sections 2.2, 5 and 6). Two readers of one byte stream (control and a bulk worker) then never
disagree about where a request ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from netboot.errors import MalformedPacket

MAX_HEAD: Final = 8192
"""Bytes of a request head, its blank line included, that a caller buffers before it answers 431."""

MAX_FIELDS: Final = 64
MAX_PARAMETERS: Final = 32

_METHOD = re.compile(rb"[A-Z]{1,16}")
_TARGET = re.compile(rb"[!\"$-~]{1,4096}")  # visible ASCII but `#`: a fragment is never sent (RFC 9112 3.2)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_ABSOLUTE = re.compile(r"(?i:https?)://[^/?]+")
_DIGITS = re.compile(r"[0-9]{1,15}")
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+/?")  # what most paths are: nothing to undo
_NOTHING = re.compile(r"/(?:\.?/)+")  # doubled slashes, and `.` between them
_ESCAPES = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_RANGE = re.compile(r"[ \t]*([0-9]{0,19})[ \t]*-[ \t]*([0-9]{0,19})[ \t]*")
_HOST = re.compile(r"[A-Za-z0-9._~:!$&'()*+,;=%\[\]-]*")
_ONCE = frozenset({"authorization", "content-length", "content-type", "host", "range", "transfer-encoding"})


class MalformedHead(MalformedPacket):
    """A request head that is refused; `status` is the HTTP status to answer before closing."""

    def __init__(self, reason: str, status: int = 400) -> None:
        self.status = status
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Head:
    """One request head. Header names are lower case; `path` begins with one slash and holds no NUL."""

    method: str
    path: str
    raw_target: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    version: tuple[int, int]
    length: int
    """Content-Length in bytes, 0 where absent."""
    keep_alive: bool
    size: int
    """Bytes of the head in the buffer, the blank line included: the body begins there."""


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """A range that begins behind the end: the answer is 416."""


UNSATISFIABLE: Final = Unsatisfiable()


def parse_head(buffer: bytes | bytearray | memoryview) -> Head | None:
    """The request head at the start of `buffer`, None while its blank line has not arrived.

    Raises MalformedHead (a MalformedPacket with a `status`). The caller bounds the buffer by `MAX_HEAD`.
    """
    raw = bytes(buffer)
    start = 2 if raw.startswith(b"\r\n") else 0  # one stray empty line is forgiven (RFC 9112 2.2)
    end = raw.find(b"\r\n\r\n", start)
    if end < 0:
        _refuse_early(raw[start:])
        return None
    if end + 4 > MAX_HEAD:
        raise MalformedHead("the request head is longer than 8 KiB", 431)
    first, *lines = raw[start:end].split(b"\r\n")
    method, target, version = _request_line(first)
    headers = _fields(lines)
    path, query = _split_target(target)
    _refuse_ambiguous(headers, version)
    return Head(
        method=method,
        path=path,
        raw_target=target,
        query=query,
        headers=headers,
        version=version,
        length=_length(headers),
        keep_alive=_keep_alive(headers.get("connection", ""), version),
        size=end + 4,
    )


def _refuse_early(partial: bytes) -> None:
    """Refuse what can no longer become a request, so that nobody waits for its blank line."""
    line = partial.split(b"\r\n", 1)[0]
    if b"\n" in line or b"\0" in line:
        raise MalformedHead("the request line holds a control character")
    if len(partial) > MAX_HEAD:
        raise MalformedHead("the request head is longer than 8 KiB", 431)


def _request_line(line: bytes) -> tuple[str, str, tuple[int, int]]:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise MalformedHead("the request line is not `METHOD target HTTP/1.x`")
    method, target, version = parts
    if not _METHOD.fullmatch(method):
        raise MalformedHead("the method is no upper-case word")
    if len(target) > 4096:
        raise MalformedHead("the request target is longer than 4096 bytes", 414)
    if not _TARGET.fullmatch(target):
        raise MalformedHead("the request target holds a character that must be escaped")
    if version not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise MalformedHead("the version is neither HTTP/1.0 nor HTTP/1.1", 505)
    return method.decode("ascii"), target.decode("ascii"), (1, int(version[-1:]))


def _fields(lines: list[bytes]) -> Mapping[str, str]:
    if len(lines) > MAX_FIELDS:
        raise MalformedHead(f"more than {MAX_FIELDS} header fields", 431)
    headers: dict[str, str] = {}
    for line in lines:
        name, value = _field(line)
        if name not in headers:
            headers[name] = value
        elif name in _ONCE:
            raise MalformedHead(f"the header field {name} stands there twice")
        else:
            headers[name] += f", {value}"
    return MappingProxyType(headers)


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        raise MalformedHead("a header line is not `Name: value`")
    if not _VALUE.fullmatch(value):
        raise MalformedHead("a header value holds a control character")
    return name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")


def _refuse_ambiguous(headers: Mapping[str, str], version: tuple[int, int]) -> None:
    if "transfer-encoding" in headers:
        raise MalformedHead("Transfer-Encoding is not taken here: send a Content-Length", 501)
    if version == (1, 1) and "host" not in headers:
        raise MalformedHead("an HTTP/1.1 request without Host")
    if not _HOST.fullmatch(headers.get("host", "")):
        raise MalformedHead("the Host field holds a character that no host has")


def _length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    if not _DIGITS.fullmatch(text):
        raise MalformedHead("Content-Length is no decimal number")
    return int(text)


def _keep_alive(connection: str, version: tuple[int, int]) -> bool:
    words = {word.strip().lower() for word in connection.split(",")}
    if "close" in words:
        return False
    return version == (1, 1) or "keep-alive" in words


def _split_target(target: str) -> tuple[str, Mapping[str, str]]:
    """Path and query of an origin-form or absolute-form target (RFC 9112 3.2)."""
    if not target.startswith("/"):
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            raise MalformedHead("the request target is no path")
        target = "/" + target[absolute.end() :].removeprefix("/")
    path, _, query = target.partition("?")
    return _path(path), MappingProxyType(_query(query))


def _path(raw: str) -> str:
    if _PLAIN.fullmatch(raw):
        return raw
    encoded = raw.encode("ascii")
    if _ESCAPES.search(encoded):
        raise MalformedHead("a % in the path is followed by no two hex digits")
    try:
        path = unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedHead("the path is not UTF-8") from None
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in path):
        raise MalformedHead("the path holds a control character")
    return _NOTHING.sub("/", path)


def _query(raw: str) -> dict[str, str]:
    """The parameters; a later one of the same name wins, odd bytes become U+FFFD: all are parsed again."""
    pairs = [pair.partition("=") for pair in raw.split("&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise MalformedHead(f"more than {MAX_PARAMETERS} query parameters", 414)
    return {_unescape(name): _unescape(value) for name, _, value in pairs}


def _unescape(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "replace") if "%" in text else text


def parse_range(text: str | None, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """First and last byte (both included) that a Range header asks of a file of `size` bytes.

    None: no range, several, or another unit, so the whole file is sent. What is no range at all is
    unsatisfiable, as with nginx: both are a server's choice (RFC 9110 14.2).
    """
    unit, _, ranges = (text or "").partition("=")
    if unit.strip(" \t").lower() != "bytes" or "," in ranges:
        return None
    match = _RANGE.fullmatch(ranges)
    if match is None or match.group(1) == match.group(2) == "":
        return UNSATISFIABLE
    first, last = match.groups()
    if size == 0 and not int(first or 0):
        return None  # the whole of nothing; a client that resumes an empty file is done
    if not first:
        wanted = min(int(last), size)
        return (size - wanted, size - 1) if wanted else UNSATISFIABLE
    if int(first) >= size or (last and int(last) < int(first)):
        return UNSATISFIABLE
    return int(first), min(int(last), size - 1) if last else size - 1


def response_head(
    status: int, length: int, *, keep_alive: bool, fields: Iterable[tuple[str, str]] = ()
) -> bytes:
    """A response head: Content-Length always (firmware needs it; but 204, RFC 9110 8.6), never chunked.

    Values of `fields` come from us, not from the request; one with a line end raises ValueError.
    """
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *([] if status == 204 else [f"Content-Length: {length}"]),
        *(f"{name}: {value}" for name, value in fields),
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header field may not hold a line end")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
