"""The pods of a node, and their evictions."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from netboot.cluster import Pod
from netboot.cluster.client import KubernetesApi
from netboot.cluster.pods import pod_of
from netboot.errors import ClusterRefused, ClusterUnavailable
from tests.kube.fixtures import Faults, Kube


def test_a_pod_knows_its_controller() -> None:
    """Of several owners the one that makes it again counts."""
    owners = [{"kind": "Other"}, {"kind": "DaemonSet", "controller": True}]
    found = pod_of({"metadata": {"name": "p", "ownerReferences": owners}})
    assert (found.controller, found.mirror) == ("DaemonSet", False)


async def pods(api: KubernetesApi, node: str = "m1") -> dict[str, Pod]:
    """The pods of a node by name."""
    return {pod.name: pod for pod in await api.pods_on(node)}


async def test_the_pods_of_one_node_are_listed(kube: Kube, api: KubernetesApi) -> None:
    """In all namespaces, and none of another node; more than a page of them."""
    for number in range(30):
        kube.pod(f"web-{number}", "m1")
    kube.pod("other", "m2")
    kube.pod("dns", "m1", "kube-system")
    found = await pods(api)
    assert len(found) == 31 and "other" not in found
    assert (found["dns"].namespace, found["dns"].ending) == ("kube-system", False)
    assert await api.pods_on("m3") == []


async def test_a_pod_that_nobody_holds_is_evicted_and_ends(kube: Kube, api: KubernetesApi) -> None:
    """It ends in its own time: until then it is there, and ending."""
    kube.pod("web", "m1")
    pod = (await pods(api))["web"]
    assert (await api.evict(pod)).state == "evicted"
    assert all(p.ending for p in (await pods(api)).values())


async def test_kubernetes_before_1_22_is_asked_in_its_own_version(
    api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers 400 to an Eviction of policy/v1; the same pod's uid goes along the second time."""
    asked: list[tuple[str, str]] = []

    async def call(method: str, path: str, body: Any = None) -> None:
        asked.append((body["apiVersion"], body["deleteOptions"]["preconditions"]["uid"]))
        if body["apiVersion"] == "policy/v1":
            raise ClusterRefused(400, 'no kind "Eviction" is registered for version "policy/v1"')

    monkeypatch.setattr(api._connection, "call", call)
    pod = pod_of({"metadata": {"name": "web", "namespace": "default", "uid": "u1"}})
    assert (await api.evict(pod)).state == "evicted"
    assert asked == [("policy/v1", "u1"), ("policy/v1beta1", "u1")]


async def test_a_disruption_budget_holds_a_pod(kube: Kube, api: KubernetesApi) -> None:
    """429: `held`, with the API's reason and a time to ask again; with a third healthy pod it goes."""
    for name in ("web-1", "web-2"):
        kube.pod(name, "m1", labels={"app": "web"})
    kube.budget("two", 2, app="web")
    pod = (await pods(api))["web-1"]
    held = await api.evict(pod)
    assert (held.state, held.retry_after > 0) == ("held", True)
    assert "disruption budget" in held.reason
    kube.pod("web-3", "m2", labels={"app": "web"})
    until = time.monotonic() + 20
    while (answer := await api.evict(pod)).state == "held":
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
    assert answer.state == "evicted"


async def test_a_pod_that_is_gone_or_another_by_now_is_gone(kube: Kube, api: KubernetesApi) -> None:
    """404 and 409 (the uid is a precondition): the pod that was read is no more, and no other is ended."""
    kube.pod("web", "m1")
    pod = (await pods(api))["web"]
    kube.remove("pods", "web", "default")
    assert (await api.evict(pod)).state == "gone"
    kube.pod("web", "m1")
    assert (await api.evict(pod)).state == "gone"
    assert not (await pods(api))["web"].ending


async def test_a_budget_that_nobody_has_looked_at_holds_for_its_time(
    kube: Kube, faults: Faults, api: KubernetesApi
) -> None:
    """Retry-After of the API counts."""
    kube.pod("web", "m1", labels={"app": "web"})
    kube.budget("none", 0, app="web")
    faults.settings.budget_unseen = True
    held = await api.evict((await pods(api))["web"])
    assert (held.state, held.retry_after) == ("held", 10.0)


async def test_a_failing_server_is_no_answer_to_an_eviction(
    kube: Kube, faults: Faults, api: KubernetesApi
) -> None:
    """5xx is raised: nobody knows whether the pod ends."""
    kube.pod("web", "m1", labels={"app": "web"})
    kube.budget("one", 0, app="web")
    kube.budget("two", 0, app="web")
    pod = (await pods(api))["web"]
    with pytest.raises(ClusterUnavailable, match="more than one PodDisruptionBudget"):
        await api.evict(pod)
