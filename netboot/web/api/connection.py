"""One connection of the API: what is no HTTP request is told so and counted, without a traceback."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from netboot.events import Journal
from netboot.web.api.guard import HEADERS, problem

IDLE = 75.0
"""Seconds between two requests of one connection."""
LINGER = 2.0
"""Seconds in which the rest of a request that was answered early is read: else the answer could be lost."""

_TLS_HERE = ("this port speaks https, and that was plain http", "Write https:// instead of http://")
_NO_TLS_HERE = (
    "this port speaks plain http, and that was TLS",
    "Write http:// instead of https://, or give server.api.tls a certificate",
)
_NONSENSE = ("this is no HTTP request that is understood here", "Ask with a client that speaks HTTP/1.1")


class Connection(web.RequestHandler):
    """The library's, with answers of ours to what it cannot read."""

    __slots__ = ("_journal",)

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, journal: Journal) -> None:
        """Bodies stay as they are sent: nobody's few packed bytes become many here."""
        super().__init__(
            server, loop=loop, keepalive_timeout=IDLE, lingering_time=LINGER, auto_decompress=False
        )
        self._journal = journal

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request; nothing that was sent is repeated, for it may hold a token."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        self.log_exception("", exc_info=exc)
        said = _NO_TLS_HERE if "HTTPS traffic" in (message or "") else _NONSENSE
        answer = problem(400, *said)
        answer.headers.update(HEADERS)
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **facts: Any) -> None:
        """Count what a client sent wrongly; log what is an error of ours."""
        if isinstance(facts.get("exc_info"), HttpProcessingError | web.RequestPayloadError):
            peer = self.peername
            source = str(peer[0]) if isinstance(peer, tuple) else "?"
            self._journal.refused("api_malformed", "a request that is no HTTP", source=source)
        else:
            super().log_exception(*args, **facts)


async def speaks_http(sock: socket.socket) -> bool:
    """Whether the other side begins in plain HTTP where TLS is spoken; what it sent stays unread."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)
    return sock.recv(1, socket.MSG_PEEK).isalpha()  # a handshake begins with 22 (RFC 8446 section 5.1)


def tell_to_speak_tls(sock: socket.socket) -> None:
    """Answer plain HTTP, and hang up; where the answer does not fit at once it is not sent."""
    reason, remedy = _TLS_HERE
    body = json.dumps({"status": 400, "reason": reason, "remedy": remedy}).encode()
    fields = {
        **HEADERS,
        "Content-Type": "application/json",
        "Content-Length": len(body),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    try:
        sock.recv(1 << 16)  # to close over unread bytes would destroy the answer
        sock.send(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n".encode() + body)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it went away
