"""Leases and pools by the API: what is told of them, and what a release takes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.errors import StoreError
from netboot.model.lease import Rest
from tests.web.api.world import STRANGER, World, client_of


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Machines that boot, and two addresses that rest: one leased before, one never."""
    made = World(tmp_path)
    await made.machines_boot()
    for last, cause in ((7, "declined"), (150, "conflict")):
        address = IPv4Address(f"10.0.0.{last}")
        await made.store.rest(Rest(address, "compute", made.now, made.now + 3600, cause, STRANGER))
    return made


async def test_resting_addresses_stand_among_the_leases(world: World) -> None:
    """By address; one that nobody has a lease of has no holder; a network's name chooses."""
    async with client_of(world) as client:
        found = (await (await client.get("/api/v1/leases")).json())["items"]
        assert [(row["address"], row["state"]) for row in found] == [
            ("10.0.0.5", "live"), ("10.0.0.7", "resting"), ("10.0.0.100", "live"), ("10.0.0.150", "resting"),
        ]  # fmt: skip
        assert (found[1]["holder"], found[1]["rest"]["cause"]) == ("old", "declined")
        assert (found[3]["holder"], found[3]["rest"]["mac"]) == (None, STRANGER)
        assert (await (await client.get("/api/v1/leases?network=other")).json())["total"] == 0
        one = await (await client.get("/api/v1/leases/10.0.0.150")).json()
        assert one == found[3]
        assert (await client.get("/api/v1/leases/10.0.0.151")).status == 404


async def test_a_pool_tells_how_full_its_network_is(world: World) -> None:
    """All pools of a network share its ranges; who holds them is told of one pool alone."""
    async with client_of(world) as client:
        pools = (await (await client.get("/api/v1/pools")).json())["items"]
        usage = {"ranges": ["10.0.0.100-10.0.0.200"], "size": 101, "used": 1, "free": 99, "resting": 1}
        assert [pool["addresses"] for pool in pools] == [{**usage, "exhausted_since": None}] * 2
        assert [pool["holders"] for pool in pools] == [None, None]
        one = await (await client.get("/api/v1/pools/unknown")).json()
        assert [row["address"] for row in one["holders"]] == ["10.0.0.100", "10.0.0.150"]
        assert 'netboot_pool_free{network="compute"} 99' in await (await client.get("/metrics")).text()


async def test_a_network_without_a_range_has_no_usage(world: World) -> None:
    """Reservations only."""
    bare = replace(world.inventory.networks["compute"], ranges=())
    world.inventory = replace(world.inventory, networks={"compute": bare})
    async with client_of(world) as client:
        one = await (await client.get("/api/v1/pools/compute")).json()
        assert one["addresses"] is None and one["holders"] == []


async def test_a_release_forgets_what_shows_no_life(world: World) -> None:
    """409 with the sign of life, 404 for none, 400 for a wrong flag; what it was is the answer."""
    async with client_of(world) as client:
        refused = await client.delete("/api/v1/leases/10.0.0.5")
        body = await refused.json()
        assert refused.status == 409 and "the lease of n1 runs" in body["reason"]
        assert "force=true" in body["remedy"]
        assert (await client.delete("/api/v1/leases/10.0.0.99")).status == 404
        assert (await client.delete("/api/v1/leases/10.0.0.5?force=please")).status == 400
        done = await client.delete("/api/v1/leases/10.0.0.5?force=true")
        assert done.status == 200 and (await done.json())["holder"] == "n1"
        assert (await client.get("/api/v1/leases/10.0.0.5")).status == 404
    assert [event.kind for event in world.journal.events()].count("lease_released") == 1


async def test_a_disk_that_refuses_is_a_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease stays, and the answer says when to come again."""

    async def full(_: object) -> bool:
        raise StoreError("disk full")

    monkeypatch.setattr(world.store, "drop_lease", full)
    async with client_of(world) as client:
        answer = await client.delete("/api/v1/leases/10.0.0.5?force=true")
        assert answer.status == 503 and "Retry-After" in answer.headers
        assert (await client.get("/api/v1/leases/10.0.0.5")).status == 200
