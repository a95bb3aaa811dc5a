"""Target `http`: any octets on the boot port are a request head, the beginning of one, or MalformedHead."""

from __future__ import annotations

from netboot.web.http1 import MAX_HEAD, UNSATISFIABLE, MalformedHead, parse_head, parse_range

MAX_LENGTH = 2000


def one_input(data: bytes) -> None:
    """The head at once; it never changes when more arrives, and a part of it is never another request."""
    try:
        head = parse_head(data)
    except MalformedHead as error:
        assert 400 <= error.status <= 505
        return
    if head is None:
        assert len(data) <= MAX_HEAD + 2
        return
    assert head.path.startswith("/") and "//" not in head.path and head.size <= len(data)
    assert not any(ord(c) < 0x20 or ord(c) == 0x7F for c in head.path + head.method)
    assert head.length >= 0 and all(name == name.lower() for name in head.headers)
    assert parse_head(data[: head.size]) == head
    assert parse_head(data[: head.size - 1]) is None
    for size in (0, 1, 1 << 33):
        expect_inside(head.headers.get("range"), size)


def expect_inside(text: str | None, size: int) -> None:
    """A range lies in the file."""
    found = parse_range(text, size)
    if isinstance(found, tuple):
        assert 0 <= found[0] <= found[1] < size
    else:
        assert found is None or found is UNSATISFIABLE


def seeds() -> list[bytes]:
    """What firmware, iPXE and curl ask."""
    host = b"Host: 10.77.0.1\r\n"
    return [
        b"GET /boot.ipxe HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /ipxe?mac=52:54:00:12:34:56&uuid=&arch=x86_64 HTTP/1.1\r\nConnection: close\r\n"
        + host
        + b"\r\n",
        b"HEAD http://10.77.0.1//programs/snponly.efi HTTP/1.1\r\n"
        + host
        + b"User-Agent: UefiHttpBoot/1.0\r\n\r\n",
        b"GET /images/a%20b HTTP/1.0\r\nRange: bytes=5-10\r\nConnection: keep-alive\r\n\r\n",
        b"POST /boot/claim HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nRange: bytes=-5\r\n\r\n{}",
    ]
