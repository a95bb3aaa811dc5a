"""The API's description (OpenAPI 3.1), made of the same table that makes its routes."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from netboot.web.api.guard import Handler
from netboot.web.api.roles import needed
from netboot.web.api.shapes import SCHEMAS, Json, listing

_PARAMETERS: dict[str, Json] = {
    "mac": {
        "type": "string",
        "description": "a MAC address of the machine, with colons or dashes, or its name",
    },
    "node": {"type": "string", "description": "a node's name"},
    "network": {"type": "string", "description": "a network's name"},
    "pool": {"type": "string", "description": "a pool's name"},
    "cluster": {"type": "string", "description": "a cluster's name"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 100000, "description": "how many at most"},
    "id": {"type": "string", "description": "an id of the list"},
    "drain": {"type": "boolean", "description": "have its pods go before it leaves its cluster"},
    "dry_run": {"type": "boolean", "description": "say what would be done, and do nothing"},
    "name": {"type": "string", "description": "a name, or any MAC of the machine"},
    "which": {"type": "string", "description": "an address, a MAC or a holder's name"},
    "force": {"type": "boolean", "description": "also where something speaks against it"},
}

_CARD: Json = {"type": "string", "description": "a MAC address of the machine, like 52:54:00:12:34:56"}


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API."""

    path: str
    handler: Handler
    summary: str
    noun: str | None = None
    many: bool = False
    query: tuple[str, ...] = ()
    media: str = "application/json"
    method: str = "GET"
    body: str | None = None
    """The schema of what it takes."""
    status: int = 200
    """Of its answer."""
    also: tuple[int, ...] = ()
    """Further statuses of an answer that looks the same."""
    items: str | None = None
    """The noun that it lists for who takes `application/json` alone."""

    def answer(self) -> Json:
        """The schema of its answer."""
        if self.noun is None:
            return {"type": "object"} if self.media == "application/json" else {"type": "string"}
        return listing(self.noun) if self.many else {"$ref": f"#/components/schemas/{self.noun}"}


def document(routes: Sequence[Route], version: str, open_paths: Set[str]) -> Json:
    """The whole description; `open_paths` take no token, each other operation names the role it takes."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "netboot", "version": version, "description": "Times are seconds since the epoch."},
        "security": [{"token": []}],
        "paths": _paths(routes, open_paths),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(SCHEMAS),
        },
    }


def _paths(routes: Sequence[Route], open_paths: Set[str]) -> Json:
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, route.path in open_paths)
    return paths


def _schema(route: Route, place: str, name: str) -> Json:
    """What a parameter may be; some routes take the address of a card alone."""
    card = name == "mac" and (place == "query" or route.noun == "Admission")
    return _CARD if card else _PARAMETERS[name]


def _operation(route: Route, is_open: bool) -> Json:
    in_path = re.findall(r"{(\w+)}", route.path)
    parameters = [
        {"name": name, "in": place, "required": place == "path", "schema": _schema(route, place, name)}
        for place, names in (("path", in_path), ("query", route.query))
        for name in names
    ]
    failed = {"$ref": "#/components/schemas/Problem"}
    problem = {
        "description": "what was wrong, and the remedy",
        "content": {"application/json": {"schema": failed}},
    }
    content = {route.media: {"schema": route.answer()}}
    if route.items is not None:
        content["application/json"] = {"schema": listing(route.items)}
    found = {"description": route.summary, "content": content}
    operation: Json = {"summary": route.summary, "parameters": parameters}
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation["security"] = [] if is_open else [{"token": [needed(route.method, route.path).word]}]
    answers = {str(status): found for status in (route.status, *route.also)}
    return {**operation, "responses": {**answers, "default": problem}}
