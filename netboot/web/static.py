"""What a GET or HEAD of a file is answered: conditions, ranges, tags, and which file a path means.

`respond` is pure (RFC 9110 sections 13 and 14); nginx is the model where the RFC leaves a choice.
"""

from __future__ import annotations

import calendar
import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from netboot.errors import Refused
from netboot.tree import Opened, Served, split_name
from netboot.web.http1 import Head, Unsatisfiable, parse_range, response_head

METHODS: Final = ("GET", "HEAD")
HEAD_TIME: Final = 10.0
"""Seconds that a begun request head may take."""
IDLE_TIME: Final = 60.0
"""Seconds that a kept-alive connection may ask nothing."""
STALL_TIME: Final = 120.0
"""Seconds that a download may stand still before its connection is closed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes out: the head with a short body, then the file's bytes from `start` to before `stop`."""

    status: int
    head: bytes
    start: int = 0
    stop: int = 0
    keep_alive: bool = True


def refusal(head: Head | None, status: int, reason: str) -> Reply:
    """An answer with a short text instead of a file; HEAD gets its length only (RFC 9110 9.3.2)."""
    body = f"{reason}\n".encode("utf-8", "replace")
    keep = head is not None and head.keep_alive and head.length == 0
    fields = [("Content-Type", "text/plain; charset=utf-8")]
    if status == 405:
        fields.append(("Allow", ", ".join(METHODS)))
    raw = response_head(status, len(body), keep_alive=keep, fields=fields)
    return Reply(status, raw if head and head.method == "HEAD" else raw + body, keep_alive=keep)


def entity_tag(path: str, file: Opened) -> str:
    """A strong ETag: by content for a file of an image, by size and time of change for any other."""
    if file.generation is not None:
        return f'"{file.generation[:32]}-{path.rpartition("/")[2]}"'
    return f'"{file.size:x}-{file.mtime_ns:x}"'


def respond(head: Head, file: Opened) -> Reply:
    """The answer to a GET or HEAD of this file (RFC 9110 sections 13 and 14), pure."""
    tag, changed = entity_tag(head.path, file), http_date(file.mtime_ns // 1_000_000_000)
    keep = head.keep_alive and head.length == 0
    fields = [
        ("Content-Type", "application/octet-stream"),
        ("ETag", tag),
        ("Last-Modified", changed),
        ("Accept-Ranges", "bytes"),
    ]
    if not _as_expected(head.headers, tag, file.mtime_ns // 1_000_000_000):
        return refusal(head, 412, "this file is not the one that was asked for")
    if _unchanged(head.headers, tag, changed):
        # Content-Length is what the GET would have had (RFC 9110 8.6)
        return Reply(304, response_head(304, file.size, keep_alive=keep, fields=fields), keep_alive=keep)
    wanted = _range(head, tag, changed, file.size)
    if isinstance(wanted, Unsatisfiable):
        fields = [("Content-Range", f"bytes */{file.size}"), ("ETag", tag)]
        return Reply(416, response_head(416, 0, keep_alive=keep, fields=fields), keep_alive=keep)
    status, start, stop = 200, 0, file.size
    if wanted is not None:
        status, start, stop = 206, wanted[0], wanted[1] + 1
        fields.append(("Content-Range", f"bytes {start}-{stop - 1}/{file.size}"))
    raw = response_head(status, stop - start, keep_alive=keep, fields=fields)
    if head.method == "HEAD":
        start = stop = 0
    return Reply(status, raw, start, stop, keep)


def http_date(seconds: int) -> str:
    """IMF-fixdate of a time in seconds since the epoch (RFC 9110 5.6.7); the helpers keep the C locale."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))


def _as_expected(headers: Mapping[str, str], tag: str, changed: int) -> bool:
    """Whether the file is the one that If-Match or If-Unmodified-Since means (RFC 9110 13.2.2)."""
    if "if-match" in headers:
        tags = [part.strip() for part in headers["if-match"].split(",")]
        return "*" in tags or tag in tags
    wanted = _seconds(headers.get("if-unmodified-since", ""))
    return wanted is None or changed <= wanted


def _seconds(date: str) -> int | None:
    """A date as seconds since the epoch; None where it is none, so that its condition is not looked at."""
    try:
        return calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT"))
    except (ValueError, OverflowError):
        return None


def _unchanged(headers: Mapping[str, str], tag: str, changed: str) -> bool:
    if "if-none-match" in headers:
        tags = [part.strip().removeprefix("W/") for part in headers["if-none-match"].split(",")]
        return "*" in tags or tag in tags
    return headers.get("if-modified-since") == changed


def _range(head: Head, tag: str, changed: str, size: int) -> tuple[int, int] | Unsatisfiable | None:
    condition = head.headers.get("if-range")
    if head.method != "GET" or (condition is not None and condition not in (tag, changed)):
        return None
    return parse_range(head.headers.get("range"), size)


def open_path(offered: Served, path: str) -> Opened:
    """Open what a bulk path names; raises Refused with the status to answer."""
    _, room, *rest = path.split("/", 2)
    try:
        parts = split_name(rest[0] if rest else "")
        if room == "images":
            return offered.image(parts)
        if room == "files":
            return offered.file(parts)
        if room == "programs" and len(parts) == 1:
            return offered.program(parts[0])
    except OSError as error:
        raise _as_refused(error) from None
    raise Refused(404, "there is no such file")


def _as_refused(error: OSError) -> Refused:
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return Refused(403, "a link on the way to this file is not followed")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Refused(403, "this file cannot be read by the helper user")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):
        return Refused(503, f"this file cannot be opened now: {os.strerror(error.errno)}")
    return Refused(404, "there is no such file")
