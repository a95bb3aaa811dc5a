"""What the stand-in alone can show: faults, a clock that is set, and how it is started."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.kube import pki
from tests.kube.cluster import until
from tests.kube.control import KubeApi
from tests.kube.controllers import CLUSTER_INFO
from tests.kube.fixtures import Kube

INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
TOKEN = "abcdef.0123456789abcdef"


async def test_tokens_can_be_made_to_expire_when_a_node_asks(kube: Kube) -> None:
    """Whoever made the token saw its signature; the node finds neither signature nor token."""
    kube.mint(TOKEN)
    await until(lambda: "jws-kubeconfig-abcdef" in kube.api.objects.get(CLUSTER_INFO)["data"])
    kube.api.settings.expire_before_use = True
    node = await kube.caller()
    assert "jws-kubeconfig-abcdef" not in (await node.call("GET", INFO))[1]["data"]
    await until(lambda: not kube.tokens())


async def test_an_expired_token_goes_with_its_signature_and_its_bearer_five_seconds_later(kube: Kube) -> None:
    """Secret and signature go at once; a bearer that was accepted before passes for five seconds."""
    kube.mint(TOKEN, life=60)
    bearer = await kube.caller(TOKEN)
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    kube.api.settings.clock_skew = 61
    await until(lambda: not kube.tokens())
    await until(lambda: "jws-kubeconfig-abcdef" not in kube.api.objects.get(CLUSTER_INFO)["data"])
    kube.api.settings.clock_skew = 64
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 401, "it was accepted last more than 10 s ago"
    kube.mint("abcdeg.0123456789abcdef", life=100)  # the margins below bear a test that stands still for 4 s
    late = await kube.caller("abcdeg.0123456789abcdef")
    kube.api.settings.clock_skew = 95
    assert (await late.call("GET", "/api/v1/nodes/x"))[0] == 404
    kube.api.settings.clock_skew = 101
    assert (await late.call("GET", "/api/v1/nodes/x"))[0] == 404
    kube.api.settings.clock_skew = 106
    assert (await late.call("GET", "/api/v1/nodes/x"))[0] == 401


async def test_a_watch_tells_changes_and_bookmarks_and_410(kube: Kube) -> None:
    """Lines of JSON from a resourceVersion on; ERROR with code 410 where history is lost."""
    admin = await kube.admin()
    start = kube.api.objects.version
    await admin.call("POST", "/api/v1/nodes", {"metadata": {"name": "m1"}})
    await admin.call("DELETE", "/api/v1/nodes/m1")

    async def watch(version: int, timeout: str) -> list[dict[str, Any]]:
        url = f"{kube.api.server}/api/v1/nodes?watch=1&resourceVersion={version}&timeoutSeconds={timeout}"
        async with admin.session.get(url + "&allowWatchBookmarks=true") as response:
            return [json.loads(line) async for line in response.content]

    told = await watch(start, "0.3")
    assert [event["type"] for event in told][:2] == ["ADDED", "DELETED"]
    assert {event["type"] for event in told[2:]} == {"BOOKMARK"}
    kube.api.objects.forget_history()
    lost = await watch(start, "1")
    assert [(event["type"], event["object"]["code"]) for event in lost] == [("ERROR", 410)]


async def test_a_node_whose_lease_is_not_renewed_becomes_unknown(kube: Kube) -> None:
    """The node controller notices after its grace period, and not before."""
    kube.api.settings.node_grace = 0.6
    await kube.api.control("living_node", name="m1", every=0.2)
    await asyncio.sleep(1.2)
    assert kube.ready("m1") == "True"
    await kube.api.control("dead_node", name="m1")
    await until(lambda: kube.ready("m1") == "Unknown")


def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    """Files appear, tests can look in, make it fail, and the same files serve after a restart."""
    with KubeApi.start(tmp_path / "kube") as kube:
        names = {p.name for p in (tmp_path / "kube").iterdir()}
        assert {"ca.crt", "ca.key", "admin.kubeconfig", "appliance.kubeconfig"} <= names
        assert kube.control("settings", jws="corrupt")["jws"] == "corrupt"
        with pytest.raises(RuntimeError, match="no setting nonsense"):
            kube.control("settings", nonsense=1)
        assert [n["metadata"]["name"] for n in kube.control("objects", resource="nodes")] == []
        port = kube.server.rpartition(":")[2]
    before = (tmp_path / "kube" / "appliance.kubeconfig").read_text()
    with KubeApi.start(tmp_path / "kube", f"127.0.0.1:{port}"):
        assert (tmp_path / "kube" / "appliance.kubeconfig").read_text() == before
        assert pki.authority_in(tmp_path / "kube").certificate == (tmp_path / "kube" / "ca.crt").read_bytes()


async def test_a_list_that_was_compacted_cannot_be_gone_on_with(kube: Kube) -> None:
    """410 Expired, as for a continue token that is older than etcd's history."""
    caller = await kube.admin()
    for number in range(3):
        kube.create("nodes", f"m{number}", {})
    _, first = await caller.call("GET", "/api/v1/nodes?limit=2")
    kube.create("nodes", "m9", {})
    following = f"/api/v1/nodes?limit=2&continue={first['metadata']['continue']}"
    _, second = await caller.call("GET", following)
    assert [n["metadata"]["name"] for n in second["items"]] == ["m2"], "a list is of one moment"
    await kube.api.control("forget_history")
    code, body = await caller.call("GET", following)
    assert (code, body["reason"]) == (410, "Expired")


async def test_a_watch_with_a_selector_is_told_what_comes_into_it_and_goes(kube: Kube) -> None:
    """An object that begins to match is ADDED, one that ceases is DELETED."""
    admin = await kube.admin()
    start = kube.api.objects.version
    kube.create("nodes", "m1", {"metadata": {"labels": {"rack": "2"}}})
    kube.merge("nodes", "m1", {"metadata": {"labels": {"rack": "1"}}})
    kube.merge("nodes", "m1", {"metadata": {"labels": {"row": "7"}}})
    kube.merge("nodes", "m1", {"metadata": {"labels": {"rack": "2"}}})
    query = f"watch=1&resourceVersion={start}&timeoutSeconds=0&labelSelector=rack%3D1"
    async with admin.session.get(f"{kube.server}/api/v1/nodes?{query}") as response:
        told = [json.loads(line)["type"] async for line in response.content]
    assert told == ["ADDED", "MODIFIED", "DELETED"]
