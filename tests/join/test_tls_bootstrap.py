"""The join method `tls-bootstrap` against the Kubernetes API: a kubelet asks for its certificate itself."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from netboot.errors import JoinWithheld
from netboot.join import JoinMaterial, JoinRequest
from netboot.join.kubelet import BOOTSTRAP, FLAGS
from netboot.join.tls_bootstrap import TlsBootstrapJoin
from tests.join.asking import Asking
from tests.join.requests import document, joining, laid
from tests.kube.apiserver import ApiServer
from tests.kube.fixtures import Canaries, Kube
from tests.kube.machine import Machine


def method(asking: Asking) -> TlsBootstrapJoin:
    """The join method, new as after a restart."""
    asking.restart()
    return TlsBootstrapJoin(asking.clients, asking.turns, asking.naming, asking.mint)


def request(kube: Kube, boot_id: str = "boot-1", **changes: Any) -> JoinRequest:
    """What one boot of m1 asks for."""
    join = {"method": "tls-bootstrap", "kubeconfig": kube.kubeconfig(), "bind": "cluster"}
    return joining(kube.endpoint, boot_id=boot_id, join=join, **changes)


def bearer(material: JoinMaterial) -> str:
    """The token in it."""
    return str(document(material, BOOTSTRAP)["users"][0]["user"]["token"])


async def test_the_bootstrap_kubeconfig_carries_the_token_and_the_pinned_authority(
    asking: Asking, kube: Kube, canaries: Canaries
) -> None:
    """Mode 0600, in that file alone; the flags name it; the kubelet renews what it is given."""
    material = await method(asking).material(request(kube), time.time())
    (data,) = kube.tokens().values()
    assert bearer(material) == f"{data['token-id']}.{data['token-secret']}"
    config = document(material, BOOTSTRAP)["clusters"][0]["cluster"]
    assert (
        base64.b64decode(config["certificate-authority-data"]) == kube.ca and config["server"] == kube.server
    )
    holders = [name for name, (text, _) in material.files.items() if data["token-secret"].encode() in text]
    assert holders == [f"join/root{BOOTSTRAP}"] and material.files[holders[0]][1] == 0o600
    assert f"--bootstrap-kubeconfig={BOOTSTRAP}".encode() in laid(material, FLAGS)
    assert document(material, "/var/lib/kubelet/config.yaml")["rotateCertificates"] is True
    canaries.check(kube, material)


async def test_asking_again_replaces_the_token_at_most_five_times(asking: Asking, kube: Kube) -> None:
    """Made, recorded and taken back as kubeadm's is."""
    join = method(asking)
    for _ in range(5):
        material = await join.material(request(kube), time.time())
        assert set(kube.tokens()) == set(material.credentials)
    with pytest.raises(JoinWithheld, match="as many credentials"):
        await join.material(request(kube), time.time())
    await join.material(request(kube, "boot-2"), time.time())
    await join.revoke("boot-2")
    assert not kube.tokens() and not await asking.store.tokens()


async def test_a_cluster_without_kubeadm_needs_neither_cluster_info_nor_its_signer(
    asking: Asking, kube: Kube, faults: ApiServer
) -> None:
    """Only where there is a cluster-info it may not show another authority (R14)."""
    faults.settings.signer = False
    faults.settings.cluster_info_ca = "wrong"
    with pytest.raises(JoinWithheld, match="wrong CA") as raised:
        await method(asking).material(request(kube), time.time())
    assert raised.value.retry_after is None and not kube.tokens()
    kube.remove("configmaps", "cluster-info", "kube-public")
    assert await method(asking).material(request(kube), time.time())


async def test_what_cannot_be_written_leaves_no_token(asking: Asking, kube: Kube) -> None:
    """A kubelet argument that no command line carries."""
    with pytest.raises(Exception, match="kubelet_args"):
        await method(asking).material(request(kube, kubelet_args={"x": "it's"}), time.time())
    assert not kube.tokens() and not await asking.store.tokens()


async def test_a_kubelet_gets_its_certificate_and_is_ready(
    asking: Asking, kube: Kube, faults: ApiServer, machine: Machine
) -> None:
    """The whole way on loopback; with the token gone and its file removed it goes on."""
    join = method(asking)
    machine.lay((await join.material(request(kube), time.time())).files)
    machine.start_kubelet()
    await machine.until(lambda: kube.node("m1") and kube.ready("m1") == "True")
    await join.revoke("boot-1")
    (machine.root / BOOTSTRAP.removeprefix("/")).unlink()
    number = (machine.root / "run/kubelet-standin.pid").read_text()
    machine.power_off()
    machine.start_kubelet()
    await machine.until(lambda: (machine.root / "run/kubelet-standin.pid").exists())
    await machine.until(lambda: machine.kubelet_log().count("posts its status") == 2)
    assert (machine.root / "run/kubelet-standin.pid").read_text() != number
