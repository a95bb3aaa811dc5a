"""Which Host names are ours: a browser may have been lured to a foreign one that leads here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

from aiohttp import web

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+?)\.?)(?::[0-9]*)?")
_AUTHORITY = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]*)")


def host_name(header: str) -> str:
    """The name in a Host header: lower case, no port, brackets or last dot; empty where it is no name."""
    found = _HOST.fullmatch(header.strip().lower())
    return (found[1] or found[2]) if found else ""


def hosts(request: web.Request) -> set[str]:
    """The names that a request is for: its Host's, and an absolute target's (RFC 9112 section 3.2.2)."""
    target = _AUTHORITY.match(request.raw_path)
    said = [request.headers.get("Host", ""), *([target[1]] if target else [])]
    return {host_name(each) for each in said}


def own_names(listen: str, names: Iterable[str]) -> frozenset[str]:
    """The Host names that are ours: the listen address, the declared names, and loopback's own names."""
    own = {listen.lower(), *(name.lower() for name in names)}
    address = ip_address(listen)
    if address.is_loopback or address.is_unspecified:
        own |= {"localhost", "127.0.0.1", "::1"}
    return frozenset(own)


def local_address(request: web.Request) -> str:
    """The address of ours that this connection came to: an address literal cannot be rebound."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]) if isinstance(name, tuple) else ""
