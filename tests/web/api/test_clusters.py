"""The doctor and held names by the API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from netboot.errors import StoreError
from netboot.model.binding import Binding
from tests.store.values import binding
from tests.web.api.world import OPERATOR, VIEWER, World, client_of, items


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """One name is held."""
    made = World(tmp_path)
    await made.store.bind(binding(1))
    await made.store.hold("blue", "abcde1", "it was misused")
    return made


async def test_a_cluster_is_examined_on_demand(world: World) -> None:
    """By an operator: a token is made for it. A cluster without an API cannot be asked."""
    async with client_of(world, OPERATOR) as client:
        answer = await client.get("/api/v1/clusters/blue/doctor")
        found = await answer.json()
        assert (found["cluster"], found["healthy"]) == ("blue", False)
        assert [f["state"] for f in found["findings"]] == ["missing", "ok"]
        assert (await client.get("/api/v1/clusters/catchall/doctor")).status == 409
        assert (await client.get("/api/v1/clusters/none/doctor")).status == 404
    async with client_of(world, VIEWER) as client:
        assert (await client.get("/api/v1/clusters/blue/doctor")).status == 403


async def test_a_machine_is_shown_though_the_disk_does_not_tell_whether_it_is_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is held is read from the disk, the rest of a machine is not."""

    async def holds() -> Sequence[Binding]:
        raise StoreError("no disk")

    monkeypatch.setattr(world.store, "holds", holds)
    async with client_of(world, VIEWER) as client:
        answer = await client.get("/api/v1/nodes/n1")
        assert answer.status == 200 and (await answer.json())["held"] is None


async def test_a_held_name_is_shown_and_let_go(world: World) -> None:
    """By an operator; nothing of the token but its id is shown."""
    async with client_of(world, VIEWER) as client:
        (held,) = await items(client, "/api/v1/holds")
        assert (held["node"], held["why"], held["token"]) == ("n1", "it was misused", "abcde1")
        assert (await (await client.get("/api/v1/nodes/n1")).json())["held"] == "it was misused"
        assert (await client.delete("/api/v1/holds/n1")).status == 403
    async with client_of(world, OPERATOR) as client:
        assert (await client.delete("/api/v1/holds/n1")).status == 200
        assert await items(client, "/api/v1/holds") == []
        assert (await (await client.get("/api/v1/nodes/n1")).json())["held"] is None
        assert (await client.delete("/api/v1/holds/n1")).status == 404
