"""Node objects and Leases, against the API stand-in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from netboot.cluster import NodeObject, connection
from netboot.cluster.client import KubernetesApi
from netboot.cluster.nodes import node_of
from netboot.errors import ClusterRefused, ClusterUnavailable
from netboot.model.settings import Taint
from tests.kube.fixtures import Faults, Kube


@pytest.fixture
async def admin(kube: Kube) -> AsyncIterator[KubernetesApi]:
    """The cluster as somebody knows it who may do everything."""
    client = KubernetesApi("blue", kube.directory / "admin.kubeconfig")
    yield client
    await client.close()


async def test_nodes_and_leases_are_read(kube: Kube, api: KubernetesApi) -> None:
    """None where there is none; readiness, boot id and system uuid where there is one."""
    assert await api.node("m1") is None
    assert await api.node_lease("m1") is None
    await kube.living_node("m1", system_uuid="4C4C4544-0042", boot_id="boot-1")
    node, lease = await api.node("m1"), await api.node_lease("m1")
    assert node is not None and lease is not None
    assert (node.ready, node.boot_id, node.system_uuid) == ("True", "boot-1", "4c4c4544-0042")
    assert node.incarnation == f"{node.uid}/boot-1"
    assert abs(node.created - time.time()) < 60
    assert lease.resource_version


async def test_a_node_is_marked_unknown_only_as_it_was_read(kube: Kube, api: KubernetesApi) -> None:
    """The patch carries uid and resourceVersion: once for the Node that was read, 409 for a changed one."""
    await kube.living_node("m1", every=60)
    node = await api.node("m1")
    assert node is not None
    await api.mark_unknown(node, time.time())
    assert kube.ready("m1") == "Unknown"
    with pytest.raises(ClusterRefused) as raised:
        await api.mark_unknown(node, time.time())
    assert raised.value.status == 409


def test_an_empty_node_object_is_not_ready() -> None:
    """Parts may be absent, or null."""
    node = node_of({"metadata": None, "status": {"conditions": None, "nodeInfo": None}})
    assert (node.ready, node.created, node.boot_id) == ("Unknown", 0.0, "")


async def test_nodes_are_counted_by_one_object_and_what_is_left(
    api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API that does not say how many are left is asked for all of them."""
    pages = {
        "limit=1": {"metadata": {"continue": "x"}, "items": [{}]},
        "limit=25": {"metadata": {"resourceVersion": "7"}, "items": [{}, {}, {}]},
    }

    async def call(_: str, path: str) -> object:
        return pages[path.partition("?")[2]]

    monkeypatch.setattr(api._connection, "call", call)
    assert await api.count_nodes() == 3
    pages["limit=1"] = {"metadata": {"continue": "x", "remainingItemCount": 41}, "items": [{}]}
    assert await api.count_nodes() == 42
    pages["limit=1"] = {"metadata": {}, "items": []}
    assert await api.count_nodes() == 0


async def test_a_taint_that_stays_keeps_its_time(kube: Kube, admin: KubernetesApi) -> None:
    """Evictions count from `timeAdded`: a patch of the list must not begin them anew."""
    old = {"key": "down", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    body = {"kind": "Node", "spec": {"taints": [old]}, "status": {"conditions": []}}
    node = node_of(kube.create("nodes", "m1", body))
    await admin.patch_node(node, taints=[*node.taints, Taint("foo", "bar", "NoSchedule")])
    found = kube.node("m1")
    assert found is not None
    assert found["spec"]["taints"] == [old, {"key": "foo", "value": "bar", "effect": "NoSchedule"}]


async def test_nodes_are_listed_in_pages(kube: Kube, api: KubernetesApi) -> None:
    """More than fit on two pages, once each, with the version that a watch goes on from."""
    for number in range(60):
        kube.create("nodes", f"m{number}", {"spec": {}, "status": {}})
    listed, version = await api.nodes()
    assert sorted(n.name for n in listed) == sorted(f"m{number}" for number in range(60))
    assert version and await api.count_nodes() == 60


async def test_a_list_that_grew_too_old_is_begun_again(
    kube: Kube, faults: Faults, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410 between two pages: all are there all the same; a list that is never in time is refused."""
    for number in range(30):
        kube.create("nodes", f"m{number}", {"spec": {}, "status": {}})
    call, lost = api._connection.call, 1

    async def forgetful(method: str, path: str, *arguments: object) -> object:
        nonlocal lost
        if "continue=" in path and lost:
            lost -= 1
            await faults.control("forget_history")
        return await call(method, path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(api._connection, "call", forgetful)
    assert len((await api.nodes())[0]) == 30
    lost = 2
    with pytest.raises(ClusterRefused) as raised:
        await api.nodes()
    assert raised.value.status == 410


async def test_a_watch_tells_what_happens_to_nodes(kube: Kube, api: KubernetesApi) -> None:
    """From the list's version on: made, changed, gone; and bookmarks."""
    _, version = await api.nodes()
    told: list[tuple[str, str]] = []
    async with aclosing(api.watch_nodes(version)) as changes:
        async for change in changes:
            if change.kind == "BOOKMARK" and not told:
                kube.create("nodes", "m1", {"spec": {}, "status": {}})
                kube.merge("nodes", "m1", {"metadata": {"labels": {"rack": "1"}}})
                kube.remove("nodes", "m1")
            if change.kind != "BOOKMARK":
                told.append((change.kind, change.node.name))
            if change.kind == "DELETED":
                break
    assert told[0] == ("ADDED", "m1") and told[-1] == ("DELETED", "m1") and ("MODIFIED", "m1") in told


async def test_a_quiet_watch_is_told_bookmarks(kube: Kube, faults: Faults, api: KubernetesApi) -> None:
    """So that the version to go on from never grows too old."""
    faults.settings.bookmark_every = 0.05
    _, version = await api.nodes()
    kube.create("configmaps", "unrelated", {}, "default")
    async with aclosing(api.watch_nodes(version)) as changes:
        async for change in changes:
            if change.node.resource_version != version:
                break
    assert change.kind == "BOOKMARK" and int(change.node.resource_version) > int(version)


async def test_a_watch_from_a_lost_version_is_refused(kube: Kube, faults: Faults, api: KubernetesApi) -> None:
    """410 inside the stream: list again."""
    _, version = await api.nodes()
    kube.create("nodes", "m1", {})
    await faults.control("forget_history")
    with pytest.raises(ClusterRefused) as raised:
        await told(api, version)
    assert raised.value.status == 410


@pytest.mark.parametrize("fault", ["breaks", "garbage", "giant"])
async def test_a_watch_that_breaks_is_unavailable(
    kube: Kube, faults: Faults, api: KubernetesApi, fault: str
) -> None:
    """A stream that ends in the middle, is no JSON, or has a line without end."""
    _, version = await api.nodes()
    kube.create("nodes", "m1", {})
    faults.settings.watch = fault
    faults.settings.bookmark_every = 0.05
    with pytest.raises(ClusterUnavailable):
        await told(api, version)


async def told(api: KubernetesApi, version: str) -> None:
    """Read a watch to its end."""
    async with aclosing(api.watch_nodes(version)) as changes:
        async for _ in changes:
            pass


async def test_a_node_is_changed_only_as_it_was_read(kube: Kube, admin: KubernetesApi) -> None:
    """Labels come and go, it is cordoned and not; 409 once somebody else has changed it."""
    await kube.living_node("m1", every=60, rack="1")
    node = await found(admin)
    changed = await admin.patch_node(node, labels={"rack": None, "row": "7"}, unschedulable=True)
    assert (changed.labels.get("row"), "rack" in changed.labels, changed.unschedulable) == ("7", False, True)
    kube.merge("nodes", "m1", {"metadata": {"annotations": {"somebody": "else"}}})
    with pytest.raises(ClusterRefused) as raised:
        await admin.patch_node(changed, unschedulable=False)
    assert raised.value.status == 409
    assert (await found(admin)).unschedulable
    assert not (await admin.patch_node(await found(admin), unschedulable=False)).unschedulable


async def test_only_that_very_node_is_deleted(kube: Kube, admin: KubernetesApi) -> None:
    """False where it is gone; 409 where another one has its name by now, and that one stays."""
    await kube.living_node("m1", every=60)
    node = await found(admin)
    kube.merge("nodes", "m1", {"metadata": {"labels": {"changed": "since"}}})
    assert await admin.delete_node(node) is True
    assert await admin.delete_node(node) is False
    kube.create("nodes", "m1", {"spec": {}, "status": {}})
    with pytest.raises(ClusterRefused) as raised:
        await admin.delete_node(node)
    assert raised.value.status == 409 and kube.node("m1")


async def found(api: KubernetesApi) -> NodeObject:
    """m1, which is there."""
    node = await api.node("m1")
    assert node is not None
    return node


async def test_a_read_that_failed_is_repeated_once_and_a_change_is_not(
    api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether a change that failed was made; and one that asks for a pause gets it."""
    asked: list[str] = []
    answers: list[tuple[int, dict[str, str]]] = []

    async def once(method: str, path: str, body: object, kind: str) -> object:
        asked.append(method)
        status, headers = answers.pop(0)
        return status, {"metadata": {"name": "m1"}}, headers

    monkeypatch.setattr(connection, "AGAIN", 0.0)
    monkeypatch.setattr(api._connection, "_once", once)
    answers += [(500, {}), (200, {})]
    assert await api.node("m1") is not None and asked == ["GET", "GET"]
    for method, headers in (("GET", {"Retry-After": "3"}), ("DELETE", {})):
        asked.clear()
        answers[:] = [(503, headers)]
        with pytest.raises(ClusterUnavailable):
            await (api.node("m1") if method == "GET" else api.delete_token("abcdef"))
        assert asked == [method]
    answers[:] = [(500, {}), (500, {})]
    with pytest.raises(ClusterUnavailable):
        await api.node("m1")
