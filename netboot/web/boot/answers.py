"""A few words that all parts of the boot port answer with."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from netboot.web.exchange import Request, Response

Handler = Callable[[Request], Awaitable[Response]]


async def only(method: str, request: Request, handler: Handler) -> Response:
    """Run the handler if the method fits; HEAD where GET does, but never where asking changes something."""
    asked = request.head.method
    harmless = request.head.path != "/boot/config"
    if asked == method or (asked == "HEAD" and method == "GET" and harmless):
        return await handler(request)
    return Response(405, b"another method is needed here\n", fields=(("Allow", method),))


def script_answer(text: str) -> Response:
    """A script of iPXE."""
    return Response(200, text.encode("ascii"), "text/plain; charset=us-ascii")


def json_answer(fields: Mapping[str, str]) -> Response:
    """One line of JSON; the initrd reads it without a parser."""
    text = json.dumps(fields, separators=(",", ":"))
    return Response(200, f"{text}\n".encode("ascii"), "application/json")


def unavailable(reason: str, seconds: float) -> Response:
    """Not now: ask again after so many seconds."""
    wait = str(max(1, round(seconds)))
    return Response(503, f"{reason}\n".encode(), fields=(("Retry-After", wait),))


def one_line(text: str) -> str:
    """A reason as one printable line of bounded length."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:500]
