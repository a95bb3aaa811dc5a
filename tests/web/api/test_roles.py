"""Who may what: each route takes its role, the description says so, and a refusal says which is missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from netboot.model.access import Role
from netboot.web.api import application
from netboot.web.api.roles import listed, needed
from netboot.web.api.views import Views
from tests.web.api.world import OPERATOR, TOKEN, VIEWER, World, client_of

TOKENS = {Role.VIEWER: VIEWER, Role.OPERATOR: OPERATOR, Role.ADMIN: TOKEN}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    return World(tmp_path)


def test_what_no_line_names_is_read_by_viewers_and_changed_by_administrators() -> None:
    """A route that somebody forgot to list gives nobody too much."""
    assert needed("GET", "/api/v1/new/{x}") == needed("HEAD", "/metrics") == Role.VIEWER
    assert needed("POST", "/api/v1/new/{x}") == Role.ADMIN
    assert needed("HEAD", "/api/v1/audit") == Role.ADMIN
    assert needed("PUT", "/api/v1/nodes/{any}/assignment") == Role.OPERATOR


def test_every_route_that_changes_something_is_listed(world: World) -> None:
    """Somebody decided on its role."""
    for route in Views(world.sources()).routes():
        if route.method not in ("GET", "HEAD"):
            assert listed(route.method, route.path), f"{route.method} {route.path}"


async def test_each_role_may_what_the_table_says_and_no_more(world: World) -> None:
    """Route by route and role by role: 403 names the role, or the request gets through to its handler."""
    app = application(world.sources())
    every = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource and not route.resource.canonical.endswith("/events")
    }
    for role, token in TOKENS.items():
        async with client_of(world, token=token) as client:
            for method, path in sorted(every):
                need = needed(method, path)
                answer = await client.request(method, re.sub(r"{\w+}", "nothing", path))
                is_open = path in ("/healthz", "/readyz") or not path.startswith(("/api", "/metrics"))
                assert (answer.status == 403) == (role < need and not is_open), (method, path, role)
                if answer.status == 403 and method != "HEAD":
                    body = await answer.json()
                    assert need.word in body["reason"] and need.word in body["remedy"]


async def test_the_description_names_the_role_of_each_operation(world: World) -> None:
    """As the roles of its security requirement (OpenAPI 3.1 section 4.8.30)."""
    async with client_of(world) as client:
        paths: dict[str, Any] = (await (await client.get("/api/openapi.json")).json())["paths"]
    assert paths["/api/v1/boots"]["get"]["security"] == [{"token": ["viewer"]}]
    assert paths["/api/v1/leases/{which}"]["delete"]["security"] == [{"token": ["operator"]}]
    assert paths["/api/v1/audit"]["get"]["security"] == [{"token": ["admin"]}]
    assert paths["/healthz"]["get"]["security"] == []


async def test_a_token_is_told_its_own_name_and_role(world: World) -> None:
    """So that the page shows only what works."""
    for role, token in TOKENS.items():
        async with client_of(world, token=token) as client:
            assert (await (await client.get("/api/v1/self")).json())["role"] == role.word
