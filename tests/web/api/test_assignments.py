"""Assigning machines by the API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netboot.errors import Refused
from netboot.model.operation import Order
from netboot.web.api.assignments import order_of
from tests.web.api.world import ONE, STRANGER, World, client_of, items

ONES = f"/api/v1/nodes/{ONE}/assignment"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    return World(tmp_path)


async def test_an_assignment_is_an_operation_with_a_location(world: World) -> None:
    """202; the same body again is the same operation, another one is refused with its id."""
    async with client_of(world) as client:
        begun = await client.put(ONES, json={"cluster": "catchall"})
        operation = await begun.json()
        assert begun.status == 202
        assert begun.headers["Location"] == f"/api/v1/operations/{operation['id']}"
        assert (await (await client.get(begun.headers["Location"])).json()) == operation
        again = await client.put("/api/v1/nodes/n1/assignment", json={"cluster": "catchall", "force": False})
        assert (again.status, (await again.json())["id"]) == (202, operation["id"])
        other = await client.put(ONES, json={"pool": "unknown"})
        assert other.status == 409 and operation["id"] in (await other.json())["reason"]
        assert [each["id"] for each in await items(client, "/api/v1/operations")] == [operation["id"]]
    assert operation["by"] and [o.id for o in await world.store.operations()] == [operation["id"]]


async def test_a_dry_run_begins_nothing(world: World) -> None:
    """200 with the plan."""
    async with client_of(world) as client:
        answer = await client.put(ONES, json={"cluster": "catchall", "dry_run": True})
        assert (answer.status, (await answer.json())["state"]) == (200, "planned")
        assert await items(client, "/api/v1/operations") == []
    assert not await world.store.operations()


async def test_an_assignment_is_shown_wherever_its_node_is(world: World) -> None:
    """With how it departs from the file; a broken one with the reason."""
    async with client_of(world, inventory=world.roster.inventory) as client:
        operation = await (await client.put(ONES, json={"cluster": "catchall", "name": "n7"})).json()
        found = world.operations.operation(operation["id"])
        assert found is not None
        world.roster.place(found.placement)
        shown = await (await client.get(ONES)).json()
        assert shown["drift"][:2] == ["cluster: catchall instead of blue", "name: n7 instead of n1"]
        for name in ("n1", "n7", ONE):
            node = await (await client.get(f"/api/v1/nodes/{name}")).json()
            assert (node["name"], node["cluster"], node["assignment"]) == ("n7", "catchall", shown)
            assert node["declared"] and "assigned to cluster catchall at run time" in node["reason"]
        pools = {n: p for n, p in world.inventory.pools.items() if n != "unknown"}
        clusters = {n: c for n, c in world.inventory.clusters.items() if n != "catchall"}
        world.roster.declare(replace(world.inventory, clusters=clusters, pools=pools))
        (broken,) = await items(client, "/api/v1/assignments")
        assert broken["broken"] == "there is no cluster catchall"
        node = await (await client.get("/api/v1/nodes/n1")).json()
        assert (node["cluster"], node["assignment"]["broken"]) == ("blue", "there is no cluster catchall")


async def test_an_assignment_is_ended_by_delete(world: World) -> None:
    """While its operation runs that is rolled back; where there is none 404 tells so."""
    async with client_of(world) as client:
        assert (await client.delete(ONES)).status == 404
        assert (await client.get(ONES)).status == 404
        await client.put(ONES, json={"cluster": "catchall"})
        gone = await client.delete(ONES)
        assert (gone.status, (await gone.json())["state"]) == (202, "rolling back")
        assert (await client.delete(f"{ONES}?drain=perhaps")).status == 400


async def test_a_wish_that_is_not_understood_begins_nothing(world: World) -> None:
    """A dry run that is asked for in the wrong place must not be a wet one."""
    async with client_of(world) as client:
        for answer in (
            await client.put(f"{ONES}?dry_run=true", json={"cluster": "catchall"}),
            await client.delete(f"{ONES}?dryrun=true"),
            await client.delete(ONES, json={"dry_run": True}),
        ):
            told = await answer.json()
            assert answer.status == 400 and ("query" in told["reason"] or "query" in told["remedy"])
        assert (await client.delete(ONES, json={})).status == 404
    assert not await world.store.operations()


async def test_an_operation_is_cancelled(world: World) -> None:
    """Twice is once."""
    async with client_of(world) as client:
        operation = await (await client.put(ONES, json={"cluster": "catchall"})).json()
        for _ in range(2):
            gone = await client.delete(f"/api/v1/operations/{operation['id']}")
            assert (gone.status, (await gone.json())["state"]) == (202, "rolling back")
        assert (await client.delete("/api/v1/operations/none")).status == 404
        assert (await client.get("/api/v1/operations/none")).status == 404


async def test_a_machine_that_waits_is_let_in(world: World) -> None:
    """Shown as waiting, then as admitted; withdrawn it waits again."""
    await world.machines_boot()
    pools = {name: replace(pool, admission="approval") for name, pool in world.inventory.pools.items()}
    world.inventory = replace(world.inventory, pools=pools)
    path = f"/api/v1/nodes/{STRANGER}/admission"

    async def admission(client: Any, name: str) -> str:
        return str((await (await client.get(f"/api/v1/nodes/{name}")).json())["admission"])

    async with client_of(world) as client:
        assert await admission(client, STRANGER) == "waiting"
        assert await admission(client, "n1") == "automatic"
        admitted = await client.post(path)
        assert (admitted.status, (await admitted.json())["mac"]) == (200, STRANGER)
        assert await admission(client, STRANGER) == "admitted"
        assert (await client.delete(path)).status == 200
        assert (await client.delete(path)).status == 404
        assert await admission(client, STRANGER) == "waiting"
        assert (await client.post("/api/v1/nodes/n1/admission")).status == 400


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('{"cluster": "a", "colour": "red"}', "unknown key 'colour'"),
        ("{}", "either cluster or pool"),
        ('{"cluster": "a", "pool": "b"}', "either cluster or pool"),
        ('{"cluster": 7}', "cluster is a name"),
        ('{"cluster": ""}', "cluster is a name"),
        ('{"cluster": "a", "name": "M1"}', "name is a host name"),
        ('{"cluster": "a", "name": "-m"}', "name is a host name"),
        (f'{{"cluster": "a", "name": "{"m" * 64}"}}', "name is a host name"),
        ('{"cluster": "a", "address": "10.0.0"}', "address is an IPv4 address"),
        ('{"cluster": "a", "tags": "gpu"}', "tags is a list"),
        ('{"cluster": "a", "tags": [1]}', "tags is a list"),
        ('{"cluster": "a", "drain": 1}', "drain is true or false"),
        ('{"cluster": "a", "cluster": "b"}', "stands there twice"),
        ("[]", "no JSON object"),
        ("{", "no JSON object"),
        ("[" * 4000, "no JSON object"),
    ],
)
def test_a_body_is_taken_at_its_word(body: str, why: str) -> None:
    """Whatever is no order is refused with what is wrong."""
    with pytest.raises(Refused, match=why) as refused:
        order_of(body.encode())
    assert refused.value.status == 400


def test_an_order_has_what_its_body_says() -> None:
    """Null is as good as nothing."""
    order, dry_run = order_of(b'{"pool": "a", "name": "m1.rack-2", "tags": ["b", "b"], "address": null}')
    assert (order, dry_run) == (Order(pool="a", name="m1.rack-2", tags=("b",)), False)
    assert order_of(b'{"cluster": "a", "drain": true, "force": true, "dry_run": true}') == (
        Order(cluster="a", drain=True, force=True),
        True,
    )
