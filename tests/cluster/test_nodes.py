"""Node objects and Leases, against the API stand-in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from netboot.cluster.client import KubernetesApi
from netboot.cluster.nodes import node_of
from netboot.errors import ClusterRefused
from netboot.model.settings import Taint
from tests.kube.fixtures import Kube
from tests.kube.objects import Key


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
    await kube.api.control("living_node", name="m1", system_uuid="4C4C4544-0042", boot_id="boot-1")
    node, lease = await api.node("m1"), await api.node_lease("m1")
    assert node is not None and lease is not None
    assert (node.ready, node.boot_id, node.system_uuid) == ("True", "boot-1", "4c4c4544-0042")
    assert node.incarnation == f"{node.uid}/boot-1"
    assert abs(node.created - time.time()) < 60
    assert lease.resource_version


async def test_a_node_is_marked_unknown_only_as_it_was_read(kube: Kube, api: KubernetesApi) -> None:
    """The patch carries uid and resourceVersion: once for the Node that was read, 409 for a changed one."""
    await kube.api.control("living_node", name="m1", every=60)
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
    node = node_of(kube.api.objects.create(Key("nodes", "", "m1"), body))
    await admin.patch_node(node, taints=[*node.taints, Taint("foo", "bar", "NoSchedule")])
    found = kube.node("m1")
    assert found is not None
    assert found["spec"]["taints"] == [old, {"key": "foo", "value": "bar", "effect": "NoSchedule"}]
