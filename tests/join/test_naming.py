"""Is a name free (R19), and the cluster the pinned one (R14)? Asked by the method `kubeadm`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from netboot.errors import JoinWithheld
from netboot.join.pins import pins_of
from netboot.model.inventory import NodeActions
from tests.join.asking import QUIET, Asking, configuration, withheld
from tests.kube.fixtures import Kube


async def test_r14_the_authority_is_pinned_and_compared(asking: Asking, kube: Kube) -> None:
    """caCertHashes always; another authority in cluster-info is withheld for good, before a token is made."""
    material = await asking.method().material(asking.request(), time.time())
    bootstrap = configuration(material)["discovery"]["bootstrapToken"]
    assert bootstrap["caCertHashes"] == list(pins_of(kube.ca))
    assert bootstrap["apiServerEndpoint"] == kube.endpoint
    kube.api.settings.cluster_info_ca = "wrong"
    refusal = await withheld(asking, "boot-2")
    assert refusal.retry_after is None and "wrong CA" in refusal.reason
    assert set(kube.tokens()) == set(material.credentials)
    info = {"data": {"kubeconfig": "kind: Config"}}
    kube.api.settings.cluster_info_ca = "real"
    await kube.api.control(
        "merge", resource="configmaps", namespace="kube-public", name="cluster-info", patch=info
    )
    assert "names no authority" in (await withheld(asking, "boot-3")).reason


async def test_r19_a_dead_machine_is_set_to_unknown_and_its_successor_served(
    asking: Asking, kube: Kube
) -> None:
    """Watched from the DISCOVER on: no wait at the question once two renew intervals have passed."""
    await kube.living_node("m1", every=60, boot_id="before")
    method = asking.method()
    runner = asyncio.get_running_loop().create_task(asking.presence.run())
    asking.presence.observe("blue", "m1")
    await asyncio.sleep(QUIET + 0.3)
    material = await method.material(asking.request(), time.time())
    runner.cancel()
    node = kube.node("m1")
    assert node is not None and kube.ready("m1") == "Unknown"
    assert material.replaces == f"{node['metadata']['uid']}/before"
    assert not asking.alarms


async def test_r19_a_dead_machine_that_was_not_watched_is_waited_for(asking: Asking, kube: Kube) -> None:
    """After a restart of the appliance the looks begin at the question; waiting costs no credential."""
    await kube.living_node("m1", every=60)
    method = asking.method()
    until = time.monotonic() + 10
    waits = 0
    while True:
        try:
            await method.material(asking.request(), time.time())
            break
        except JoinWithheld as error:
            assert error.retry_after and "m1 is still Ready" in error.reason and time.monotonic() < until
            waits += 1
            await asyncio.sleep(0.05)
    assert waits > 5 and kube.ready("m1") == "Unknown"


async def test_r19_an_operator_may_forbid_to_mark_node_objects(asking: Asking, kube: Kube) -> None:
    """node_actions.mark_unknown: false leaves the Node object alone; the machine waits for its cluster."""
    await kube.living_node("m1", every=60)
    kube.remove("leases", "m1", "kube-node-lease")
    request = asking.request()
    forbidden = replace(
        request, cluster=replace(request.cluster, node_actions=NodeActions(mark_unknown=False))
    )
    with pytest.raises(JoinWithheld, match="mark_unknown is false") as withheld:
        await asking.method().material(forbidden, time.time())
    assert withheld.value.retry_after == 5.0 and kube.ready("m1") == "True"


async def test_r19_no_lease_is_a_dead_machine(asking: Asking, kube: Kube) -> None:
    """A Node object that is Ready without a Lease."""
    await kube.living_node("m1", every=60)
    kube.remove("leases", "m1", "kube-node-lease")
    await asking.method().material(asking.request(), time.time())
    assert kube.ready("m1") == "Unknown"


async def test_r19_an_impostor_is_withheld_for_good_and_reported(asking: Asking, kube: Kube) -> None:
    """Another machine lives under the name: no token, the Node object untouched, both told of."""
    await kube.living_node("m1", every=0.2, system_uuid="its-own")
    method = asking.method()
    asking.presence.observe("blue", "m1")
    reason = None
    until = time.monotonic() + 10
    while reason is None:
        with pytest.raises(JoinWithheld) as raised:
            await method.material(asking.request(), time.time())
        assert time.monotonic() < until
        reason = raised.value.reason if raised.value.retry_after is None else None
        await asyncio.sleep(0.05)
    assert reason.startswith("impostor: 52:54:00:12:34:56 at 10.77.0.10 ")
    assert " asks to join as m1, but another machine (UUID its-own)" in reason
    assert asking.alarms == [reason]
    assert kube.ready("m1") == "True" and not kube.tokens()


async def test_r19_a_node_that_changed_meanwhile_is_looked_at_again(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody touched the Node object between our look and our patch: 409, so the question is asked anew."""
    await kube.living_node("m1", every=60)
    api = asking.clients.api("blue")
    method = asking.method()
    asking.presence.observe("blue", "m1")
    with pytest.raises(JoinWithheld):
        await method.material(asking.request(), time.time())
    await asyncio.sleep(QUIET)
    read = api.node

    async def read_then_changed(name: str) -> object:
        node = await read(name)
        patch = {"metadata": {"labels": {"touched": "1"}}}
        await kube.api.control("merge", resource="nodes", name=name, patch=patch)
        return node

    with monkeypatch.context() as patched:
        patched.setattr(api, "node", read_then_changed)
        with pytest.raises(JoinWithheld, match="changed just now"):
            await method.material(asking.request(), time.time())
    assert kube.ready("m1") == "True"
    await method.material(asking.request(), time.time())
    assert kube.ready("m1") == "Unknown"


async def test_a_node_that_is_not_ready_is_in_nobodys_way(asking: Asking, kube: Kube) -> None:
    """kubeadm joins over it, and its incarnation is remembered."""
    await kube.living_node("m1", every=0.05)
    condition = {"type": "Ready", "status": "False"}
    await kube.api.control(
        "merge", resource="nodes", name="m1", patch={"status": {"conditions": [condition]}}
    )
    assert (await asking.method().material(asking.request(), time.time())).replaces
