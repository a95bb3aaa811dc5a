"""A request of a node and its answer, and who gives it: what the accept point and the boot port both know."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from netboot.boot.storm import Wait
from netboot.web.http1 import Head


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request. Both addresses are the socket's own, not what a header claims."""

    head: Head
    body: bytes
    client: IPv4Address
    local: IPv4Address
    secure: bool = False
    """Whether it came over HTTPS."""


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered: text unless it says otherwise."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()


class Site(Protocol):
    """What stands behind the accept point."""

    def body_limit(self, head: Head) -> int:
        """Bytes of body that this request may have."""
        ...

    def known(self, head: Head, client: IPv4Address) -> Response | None:
        """The answer that this request got before, where it still holds; None where somebody has to look."""
        ...

    async def answer(self, request: Request) -> Response:
        """The answer to a request that is control's own."""
        ...

    async def boot_at(self, client: IPv4Address) -> str | None:
        """The boot that the machine at this address is in."""
        ...

    def admit(self, method: str, path: str, client: IPv4Address, boot_id: str | None) -> Wait | None:
        """How long a machine waits that may not download now; None where it may."""
        ...
