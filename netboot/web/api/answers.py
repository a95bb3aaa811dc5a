"""What routes answer with: lists, single things, and refusals of what a request says."""

from __future__ import annotations

from aiohttp import web

from netboot.errors import Refused
from netboot.model.machine import Mac
from netboot.web.api.shapes import Json

MOST = 100_000
"""Items of a list at most."""


def limit(request: web.Request, default: int) -> int:
    """How many items a request wants. Raises Refused."""
    text = request.query.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MOST):
        raise Refused(400, f"limit is a number from 1 to {MOST}")
    return int(text)


def flag(request: web.Request, name: str) -> bool:
    """A query value that is true or false. Raises Refused."""
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(400, f"{name} is true or false")
    return text == "true"


def mac(text: str) -> Mac:
    """A MAC address of a request. Raises Refused."""
    found = mac_or_none(text)
    if found is None or not found.of_a_card:
        raise Refused(400, "mac is a network card's MAC address like 52:54:00:12:34:56")
    return found


def mac_or_none(text: str) -> Mac | None:
    """The MAC address that a text is, None for any other."""
    try:
        return Mac(text)
    except ValueError:
        return None


def items(found: list[Json], total: int | None) -> web.Response:
    """A list; `total` counts what a limit cut, None for nothing cut."""
    return web.json_response({"items": found, "total": len(found) if total is None else total})


def everything(found: list[Json]) -> web.Response:
    """A list that nothing was cut of."""
    return items(found, None)


def one(item: Json | None, noun: str) -> web.Response:
    """One thing. Raises Refused where there is none."""
    if item is None:
        raise Refused(404, f"there is no such {noun}")
    return web.json_response(item)


def named(found: list[Json], request: web.Request, noun: str) -> web.Response:
    """The one of these that the request names. Raises Refused."""
    return one(next((i for i in found if i["name"] == request.match_info["name"]), None), noun)
