"""What the API tells of boots, machines, leases, pools, clusters, images and events."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from netboot.model.health import ClusterState
from netboot.model.inventory import JoinSettings
from netboot.web.api import views
from tests.web.api.world import (
    HASH,
    ONE,
    SECRET_FILE,
    STRANGER,
    TWO,
    VIEWER,
    World,
    client_of,
    items,
    make_image,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    return World(tmp_path)


async def test_a_boot_is_told_as_the_contract_has_it(world: World) -> None:
    """These keys and no others, with step and cause of a stop."""
    await world.machines_boot()
    async with client_of(world) as client:
        answer = await client.get("/api/v1/boots/b1")
        boot = await answer.json()
    assert list(boot) == [
        "id", "mac", "node", "cluster", "image", "generation", "state", "started", "ended", "steps",
        "quirks", "stopped_at", "cause",
    ]  # fmt: skip
    assert boot["state"] == "stopped" and boot["stopped_at"] == "network_script"
    assert boot["cause"] == "network.sh ended with status 3: no such device"
    assert boot["steps"][0] == {
        "step": "discover", "at": 1_700_000_000.0, "bytes": None, "of": None, "detail": "",
    }  # fmt: skip
    assert [s["step"] for s in boot["steps"]][-2:] == ["squashfs", "network_script"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["b2", "b1"]),
        ("?limit=1", ["b2"]),
        ("?mac=52:54:00:00:00:01", ["b1"]),
        ("?mac=52-54-00-00-00-02", ["b1"]),
        ("?mac=525400000099", ["b2"]),
        ("?node=n1", ["b1"]),
        ("?node=n1&mac=52:54:00:00:00:99", []),
        ("?node=nobody", []),
        ("?mac=52:54:00:00:00:77", []),
    ],
)
async def test_boots_are_found_by_any_card_and_by_name(world: World, query: str, found: list[str]) -> None:
    """Newest first; a card that never booted finds its machine's boots."""
    await world.machines_boot()
    async with client_of(world) as client:
        assert [b["id"] for b in await items(client, "/api/v1/boots" + query)] == found


@pytest.mark.parametrize(
    "path",
    ["boots?limit=0", "boots?limit=-1", "boots?limit=x", "boots?limit=9999999", "boots?limit=%D9%A1",
     "boots?mac=nonsense", "boots?mac=", "events?mac=x"],
)  # fmt: skip
async def test_a_bad_query_is_refused_with_reason_and_remedy(world: World, path: str) -> None:
    """400, and nothing of what was sent is echoed."""
    async with client_of(world) as client:
        answer = await client.get(f"/api/v1/{path}")
        body = await answer.json()
        assert answer.status == 400 == body["status"]
        assert body["reason"] and body["remedy"] and "nonsense" not in body["reason"]


@pytest.mark.parametrize(
    "path", ["boots/b9", "nodes/x", "leases/1.2.3.4", "pools/x", "clusters/x", "images/x"]
)
async def test_what_is_not_there_is_404(world: World, path: str) -> None:
    """As JSON like every other refusal."""
    async with client_of(world) as client:
        answer = await client.get(f"/api/v1/{path}")
        assert answer.status == 404 and "there is no such" in (await answer.json())["reason"]


@pytest.mark.parametrize("name", ["n1", str(ONE), TWO.dashed])
async def test_a_node_is_addressed_by_name_or_any_card(world: World, name: str) -> None:
    """With what it belongs to, why, and its newest boot."""
    await world.machines_boot()
    async with client_of(world) as client:
        node = await (await client.get(f"/api/v1/nodes/{name}")).json()
    assert node["name"] == "n1" and node["declared"] and node["macs"] == [ONE, TWO]
    assert (node["address"], node["pool"], node["cluster"]) == ("10.0.0.5", "compute", "blue")
    assert node["reason"] == "declared in pool compute" and node["boot"]["id"] == "b1"


async def test_a_machine_that_nobody_declared_is_shown_too(world: World) -> None:
    """By its lease: in the catch-all pool, with its generated name."""
    await world.machines_boot()
    async with client_of(world) as client:
        for name in (STRANGER, "node-525400000099"):
            node = await (await client.get(f"/api/v1/nodes/{name}")).json()
            assert not node["declared"] and node["pool"] == "unknown" and node["address"] == "10.0.0.100"
            assert node["boot"]["id"] == "b2"
        assert [n["name"] for n in await items(client, "/api/v1/nodes")] == ["n1", "node-525400000099"]
        assert [n["name"] for n in await items(client, "/api/v1/nodes?cluster=blue")] == ["n1"]
        assert await items(client, "/api/v1/nodes?pool=compute&cluster=catchall") == []


async def test_secrets_of_settings_are_in_no_answer(world: World) -> None:
    """Password hashes and secret files belong to the node alone."""
    await world.machines_boot()
    async with client_of(world) as client:
        for path in ("nodes", "nodes/n1", "boots", "pools", "clusters", "leases"):
            text = await (await client.get(f"/api/v1/{path}")).text()
            assert HASH not in text and SECRET_FILE not in text and "kubeconfig" not in text


async def test_leases_are_listed_by_address(world: World) -> None:
    """Live and expired; an infinite one has no end."""
    await world.machines_boot()
    async with client_of(world) as client:
        found = await items(client, "/api/v1/leases")
        assert [x["address"] for x in found] == ["10.0.0.5", "10.0.0.7", "10.0.0.100"]
        assert [x["live"] for x in found] == [True, False, True]
        assert found[2]["expires"] is None
        assert await items(client, "/api/v1/leases?network=other") == []
        body = await (await client.get("/api/v1/leases?limit=1")).json()
        assert len(body["items"]) == 1 and body["total"] == 3


@pytest.mark.parametrize("which", ["10.0.0.5", "n1", "52:54:00:00:00:01"])
async def test_a_lease_is_shown_by_address_name_or_card(world: World, which: str) -> None:
    """Whichever the operator has at hand."""
    await world.machines_boot()
    async with client_of(world) as client:
        lease = await (await client.get(f"/api/v1/leases/{which}")).json()
    assert (lease["address"], lease["holder"], lease["mac"]) == ("10.0.0.5", "n1", ONE)


async def test_pools_and_clusters_tell_what_hangs_together(world: World) -> None:
    """How many nodes, which pools, how they join, and what is wrong with a cluster now."""
    async with client_of(world) as client:
        pools = {p["name"]: p for p in await items(client, "/api/v1/pools")}
        clusters = {c["name"]: c for c in await items(client, "/api/v1/clusters")}
        one = await (await client.get("/api/v1/clusters/blue")).json()
    assert (pools["compute"]["nodes"], pools["unknown"]["catch_all"]) == (1, True)
    assert clusters["blue"]["pools"] == ["compute"] and clusters["blue"]["join"]["method"] == "kubeadm"
    assert one["problem"] == "its API does not answer" and clusters["catchall"]["problem"] is None


async def test_images_tell_their_generation_or_what_is_wrong(world: World) -> None:
    """A generation that disagrees with its manifest is shown with the reason, not hidden."""
    generation = make_image(world.images_dir)
    broken = make_image(world.images_dir, "broken")
    (world.images_dir / "broken" / broken / "vmlinuz").write_bytes(b"cut")
    async with client_of(world) as client:
        found = {i["name"]: i for i in await items(client, "/api/v1/images")}
        one = await (await client.get("/api/v1/images/debian-12")).json()
    assert one == found["debian-12"]
    assert one["generation"] == generation and one["generations"] == [generation] and one["problem"] is None
    assert found["broken"]["generation"] is None and "vmlinuz" in found["broken"]["problem"]


async def test_the_newest_events_are_a_list_for_who_asks_for_json(world: World) -> None:
    """Of all machines, or of one."""
    world.journal.note("odd", "of one", mac=ONE)
    world.journal.note("odd", "of none", why="because")
    async with client_of(world) as client:
        client.session.headers["Accept"] = "application/json"
        assert [e["text"] for e in await items(client, "/api/v1/events")] == ["of none", "of one"]
        assert [e["text"] for e in await items(client, f"/api/v1/events?mac={ONE}")] == ["of one"]


async def read(stream: Any, count: int) -> list[tuple[str, dict[str, Any]]]:
    """The next `count` events of a live stream."""
    found: list[tuple[str, dict[str, Any]]] = []
    while len(found) < count:
        block = (await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 20)).decode()
        fields = dict(line.split(": ", 1) for line in block.strip().splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def test_the_stream_shows_boots_and_events_as_they_happen(world: World) -> None:
    """Each boot in its newest state, each event once."""
    async with client_of(world) as client, client.get("/api/v1/events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        world.boots.discovered(ONE, node="n1", cluster="blue", now=world.now)
        found = await read(stream, 2)
        assert {kind for kind, _ in found} == {"boot", "note"}
        boot = next(value for kind, value in found if kind == "boot")
        assert boot["id"] == "b1" and boot["steps"][0]["step"] == "discover"


async def test_a_stream_of_one_machine_is_of_that_machine(world: World) -> None:
    """Others are left out."""
    async with client_of(world) as client, client.get(f"/api/v1/events?mac={ONE}") as stream:
        world.journal.note("odd", "of another", mac=TWO)
        world.journal.note("odd", "mine", mac=ONE)
        assert [value["text"] for _, value in await read(stream, 1)] == ["mine"]


async def test_a_stream_ends_with_its_token(world: World) -> None:
    """A token that is taken out is told nothing more, though its stream was opened before."""
    async with client_of(world, token=VIEWER) as client, client.get("/api/v1/events") as stream:
        world.journal.note("odd", "before")
        assert [value["text"] for _, value in await read(stream, 1)] == ["before"]
        world.tokens = world.tokens[:2]
        world.journal.note("odd", "after")
        assert b"after" not in await asyncio.wait_for(stream.content.read(), 20)


async def test_streams_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many gets 503; a reader that left makes room, and is forgotten."""
    monkeypatch.setattr(views, "STREAMS", 1)
    async with client_of(world) as client:
        async with client.get("/api/v1/events") as first:
            await first.content.readuntil(b"\n\n")
            assert (await client.get("/api/v1/events")).status == 503
        async with asyncio.timeout(20):
            while (again := await client.get("/api/v1/events")).status == 503:
                again.release()
        assert again.status == 200
        again.close()


async def test_a_shutdown_does_not_wait_for_readers(world: World) -> None:
    """An open stream ends with the server."""
    async with client_of(world) as client:
        stream = await client.get("/api/v1/events")
        await stream.content.readuntil(b"\n\n")
        await asyncio.wait_for(client.server.close(), 20)


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
        ("/favicon.svg", "image/svg+xml"),
    ],
)
async def test_the_page_is_plain_files_of_ours(world: World, path: str, media: str) -> None:
    """Without a token and without a fact; nothing from elsewhere, no inline script, no markup from data."""
    await world.machines_boot()
    async with client_of(world, token=None) as client:
        answer = await client.get(path)
        text = await answer.text()
    assert answer.status == 200 and answer.content_type == media
    assert "52:54:00" not in text and "blue" not in text
    assert "://" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    for risky in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "style=",
        "onclick",
    ):
        assert risky not in text


async def test_all_that_the_page_asks_for_is_served_by_the_appliance_itself(world: World) -> None:
    """Scripts, style, picture: each is there without a token, and nothing is named that lies elsewhere."""
    async with client_of(world, token=None) as client:
        asked, seen = ["/"], set[str]()
        while asked:
            path = asked.pop()
            if path in seen:
                continue
            seen.add(path)
            answer = await client.get(path)
            assert answer.status == 200, path
            text = await answer.text()
            assert "//" not in re.sub(r"(?m)^\s*//.*$|xmlns=\S+| // .*$", "", text), path
            links = re.findall(r'(?:src|href)="([^"#]+)"|from "([^"]+)"', text)
            asked += [urljoin(path, one or other) for one, other in links]
    assert seen >= {"/", "/page.css", "/page.js", "/page/machines.js", "/page/dom.js", "/favicon.svg"}


async def test_a_cluster_tells_how_it_is_and_a_node_what_drifted(world: World) -> None:
    """Since when it is down, when it is asked again, who waits, how full it is; null where nobody knows."""
    state = ClusterState("down", 900.0, 1010.0, None, "connection refused", 3)
    full = ClusterState("up", 900.0, nodes=49)
    clusters = {**world.inventory.clusters}
    clusters["catchall"] = replace(clusters["catchall"], join=JoinSettings("kubeadm", max_nodes=50))
    world.inventory = replace(world.inventory, clusters=clusters)
    changes: dict[str, Any] = {
        "cluster_state": lambda name: state if name == "blue" else full,
        "node_drift": lambda cluster, name: ("label rack is missing",) if name == "n1" else None,
    }
    async with client_of(world, **changes) as client:
        blue = await (await client.get("/api/v1/clusters/blue")).json()
        other = await (await client.get("/api/v1/clusters/catchall")).json()
        node = await (await client.get("/api/v1/nodes/n1")).json()
    shown = ("state", "since", "next_try", "nodes", "unwatched", "waiting", "max_nodes")
    assert [blue[key] for key in shown] == ["down", 900.0, 1010.0, None, "connection refused", 3, None]
    assert [other[key] for key in shown] == ["up", 900.0, None, 49, None, 0, 50]
    assert node["drift"] == ["label rack is missing"]
