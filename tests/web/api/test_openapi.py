"""The API's description is true to its routes and to its answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from netboot.web.api import application
from netboot.web.api.shapes import SCHEMAS
from tests.store.values import binding
from tests.web.api.world import World, client_of, make_image

Json = dict[str, Any]
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def disagreement(value: Any, schema: Json, at: str = "$") -> str | None:
    """Where a value is not what its schema says; None where it is."""
    if "$ref" in schema:
        return disagreement(value, SCHEMAS[schema["$ref"].rpartition("/")[2]], at)
    if "oneOf" in schema:
        found = [disagreement(value, one, at) for one in schema["oneOf"]]
        return None if None in found else f"{at}: {found}"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, TYPES[kind]) and (kind == "boolean" or value is not True) for kind in kinds):
        return f"{at}: {value!r} is not of type {kinds}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at}: {value!r} is none of {schema['enum']}"
    if isinstance(value, list):
        inner = [disagreement(item, schema["items"], f"{at}[]") for item in value]
        return next((found for found in inner if found), None)
    if isinstance(value, dict):
        return _object(value, schema, at)
    return None


def _object(value: Json, schema: Json, at: str) -> str | None:
    properties = schema.get("properties")
    if properties is None:
        return None
    if set(value) != set(properties):
        return f"{at}: keys {sorted(value)} instead of {sorted(properties)}"
    inner = (disagreement(value[key], properties[key], f"{at}.{key}") for key in properties)
    return next((found for found in inner if found), None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one with an image."""
    make_image(tmp_path)
    return World(tmp_path)


async def test_every_route_is_described_and_every_description_has_a_route(world: World) -> None:
    """Path by path."""
    app = application(world.sources())
    routes = {route.resource.canonical for route in app.router.routes() if route.resource}
    async with client_of(world) as client:
        described = (await (await client.get("/api/openapi.json")).json())["paths"]
    assert set(described) == routes
    for path, operations in described.items():
        for operation in operations.values():
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


async def test_answers_are_what_their_schemas_say(world: World) -> None:
    """Every JSON route is asked, and every key and type is held against the description."""
    await world.machines_boot()
    await world.store.bind(binding(1))
    await world.store.hold("blue", "abcde1", "it was misused")
    names = {
        "boots": "b1",
        "nodes": "n1",
        "leases": "n1",
        "pools": "compute",
        "clusters": "blue",
        "images": "debian-12",
    }
    async with client_of(world) as client:
        await client.delete("/api/v1/leases/nobody")  # for the audit
        begun = await client.put("/api/v1/nodes/n1/assignment", json={"cluster": "catchall"})
        names["operations"] = (await begun.json())["id"]
        found = world.operations.operation(names["operations"])
        assert found is not None
        world.roster.place(found.placement)
        paths = (await (await client.get("/api/openapi.json")).json())["paths"]
        for path, operations in paths.items():
            if "get" not in operations:
                continue
            content = operations["get"]["responses"]["200"]["content"]
            if "application/json" not in content:
                continue
            noun = path.split("/")[3] if path.startswith("/api/v1/") else ""
            address = re.sub(r"{\w+}", names.get(noun, ""), path)
            answer = await client.get(address, headers={"Accept": "application/json"})
            assert answer.status == 200, path
            body = await answer.json()
            assert disagreement(body, content["application/json"]["schema"]) is None, path
            if "items" in body:
                assert body["items"], f"{path} told nothing"


async def test_every_status_of_a_plan_and_of_an_operation_is_described(world: World) -> None:
    """A dry run is answered with 200, what is begun with 202."""
    async with client_of(world) as client:
        paths = (await (await client.get("/api/openapi.json")).json())["paths"]
        described = paths["/api/v1/nodes/{mac}/assignment"]["put"]["responses"]
        for dry_run, status in ((True, "200"), (False, "202")):
            order = {"cluster": "catchall", "pool": None, "dry_run": dry_run}
            answer = await client.put("/api/v1/nodes/n1/assignment", json=order)
            assert str(answer.status) == status in described
            schema = described[status]["content"]["application/json"]["schema"]
            assert disagreement(await answer.json(), schema) is None
    assert set(paths["/readyz"]["get"]["responses"]) == {"200", "503", "default"}


async def test_a_refusal_is_what_its_schema_says(world: World) -> None:
    """Status, reason, remedy."""
    async with client_of(world) as client:
        body = await (await client.get("/api/v1/boots/none")).json()
    assert disagreement(body, SCHEMAS["Problem"]) is None


async def test_what_needs_no_token_is_described_so(world: World) -> None:
    """The description says who may ask what, and it is so."""
    async with client_of(world) as client:
        paths = (await (await client.get("/api/openapi.json")).json())["paths"]
    open_paths = {
        path for path, operations in paths.items() if operations.get("get", {}).get("security") == []
    }
    async with client_of(world, token=None) as client:
        for path in paths:
            status = (await client.get(re.sub(r"{\w+}", "x", path))).status
            assert (status != 401) == (path in open_paths), path


def test_the_checker_itself_finds_faults() -> None:
    """A key too many, one missing, a wrong type, a value outside of its list."""
    good = {"status": 1, "reason": "a", "remedy": "b"}
    assert disagreement(good, SCHEMAS["Problem"]) is None
    for bad in ({**good, "more": 1}, {"status": 1}, {**good, "status": "1"}, {**good, "status": True}):
        assert disagreement(bad, SCHEMAS["Problem"])
    step = {"step": "invented", "at": 1.0, "bytes": None, "of": None, "detail": ""}
    assert disagreement(step, SCHEMAS["Boot"]["properties"]["steps"]["items"])
