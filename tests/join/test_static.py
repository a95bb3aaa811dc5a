"""The join method `static`: certificates that no API was asked for, and a kubelet that is Ready with them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from netboot.errors import JoinWithheld
from netboot.join import JoinRequest
from netboot.join.static import StaticJoin
from netboot.join.static_files import PKI
from tests.join.asking import Asking
from tests.join.requests import joining, laid
from tests.kube.apiserver import ApiServer
from tests.kube.fixtures import Kube
from tests.kube.machine import Machine


def method(asking: Asking) -> StaticJoin:
    """The join method, new as after a restart."""
    asking.restart()
    return StaticJoin(asking.clients, asking.turns, asking.naming)


def request(kube: Kube, boot_id: str = "boot-1", **changes: Any) -> JoinRequest:
    """What one boot of m1 asks for, signed by the cluster's own authority; with an API to ask."""
    join = {
        "method": "static",
        "ca_certificate": kube.directory / "ca.crt",
        "ca_key_file": kube.directory / "ca.key",
        "kubeconfig": kube.kubeconfig(),
    }
    return joining(kube.endpoint, boot_id=boot_id, join={**join, **changes})


async def test_a_living_namesake_keeps_its_name_where_there_is_an_api_to_ask(
    asking: Asking, kube: Kube
) -> None:
    """R19 as for the others; without a kubeconfig nobody can tell."""
    await kube.living_node("m1", every=60)
    join = method(asking)
    with pytest.raises(JoinWithheld, match="m1 is still Ready"):
        await join.material(request(kube), time.time())
    assert await join.material(request(kube, kubeconfig=None), time.time())


async def test_five_at_most_for_one_boot(asking: Asking, kube: Kube) -> None:
    """Each with keys of its own."""
    join = method(asking)
    made = [await join.material(request(kube), time.time()) for _ in range(5)]
    assert len({laid(m, f"{PKI}/kubelet-client.key") for m in made}) == 5
    with pytest.raises(JoinWithheld, match="as many credentials") as raised:
        await join.material(request(kube), time.time())
    assert raised.value.retry_after is None
    await join.revoke("boot-1")


async def test_a_renewed_authority_counts_at_once_and_a_missing_one_is_waited_for(
    asking: Asking, kube: Kube, tmp_path: Path
) -> None:
    """Files are read at each use; what is wrong with them is told, and costs no credential."""
    certificate = tmp_path / "ca.crt"
    join = method(asking)
    for _ in range(7):
        with pytest.raises(JoinWithheld, match=r"ca\.crt cannot be read") as raised:
            await join.material(request(kube, ca_certificate=certificate), time.time())
        assert raised.value.retry_after == 15.0
    certificate.write_bytes(kube.ca)
    assert await join.material(request(kube, ca_certificate=certificate), time.time())


async def test_a_kubelet_is_ready_with_them(
    asking: Asking, kube: Kube, faults: ApiServer, machine: Machine
) -> None:
    """Registered with labels and the leased address; no token, no certificate request."""
    material = await method(asking).material(request(kube), time.time())
    machine.lay(material.files)
    prefix = str(machine.root)
    assert prefix not in laid(material, "/etc/kubernetes/kubelet.conf").decode()
    machine.start_kubelet()
    await machine.until(lambda: kube.node("m1") and kube.ready("m1") == "True")
    node = kube.node("m1") or {}
    assert {"type": "InternalIP", "address": "10.77.0.10"} in node["status"]["addresses"]
    assert not kube.tokens() and not kube.all("certificatesigningrequests")


async def test_no_key_is_logged_or_shown(
    asking: Asking, kube: Kube, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the authority's nor the node's, at the most talkative; the store keeps nothing of them."""
    caplog.set_level("DEBUG")
    material = await method(asking).material(request(kube), time.time())
    shown = caplog.text + repr(material) + repr(vars(asking.store))
    keys = [
        laid(material, f"{PKI}/{name}.key") for name in ("kubelet-client", "kubelet-serving", "kube-proxy")
    ]
    for key in (*keys, (kube.directory / "ca.key").read_bytes()):
        assert all(line not in shown for line in key.decode().splitlines()[1:-1])


async def test_kube_proxy_is_known_by_its_own_name(asking: Asking, kube: Kube) -> None:
    """Not by a node's: the API server answers to it as system:kube-proxy, and forbids it nodes' secrets."""
    material = await method(asking).material(request(kube), time.time())
    pair = (laid(material, f"{PKI}/kube-proxy.crt"), laid(material, f"{PKI}/kube-proxy.key"))
    status, body = await (await kube.caller(certificate=pair)).call(
        "GET", "/api/v1/namespaces/kube-system/secrets"
    )
    assert status == 403 and "system:kube-proxy" in body["message"]
