"""Node objects and Leases, against the API stand-in."""

from __future__ import annotations

import time

import pytest

from netboot.cluster.client import KubernetesApi
from netboot.cluster.nodes import node_of
from netboot.errors import ClusterRefused
from tests.kube.fixtures import Kube


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
