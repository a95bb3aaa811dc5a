"""The join method `kubeadm` against the API stand-in, requirement by requirement (docs/kubernetes.md)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from pathlib import Path

import pytest

from netboot.errors import JoinWithheld
from tests.join.asking import Asking, configuration, token_of, withheld
from tests.kube.controllers import CLUSTER_INFO
from tests.kube.fixtures import Canaries, Kube


async def test_r1_each_node_and_boot_gets_a_token_of_its_own(
    asking: Asking, kube: Kube, canaries: Canaries
) -> None:
    """Two nodes at the same time: two tokens, each described with its node, MAC and boot."""
    method = asking.method()
    made = await asyncio.gather(
        method.material(asking.request("boot-1", "m1"), time.time()),
        method.material(asking.request("boot-2", "m2"), time.time()),
    )
    assert {m.credentials[0] for m in made} == set(kube.tokens()) and len(kube.tokens()) == 2
    for material, node in zip(made, ("m1", "m2"), strict=True):
        data = kube.tokens()[material.credentials[0]]
        assert token_of(material) == f"{data['token-id']}.{data['token-secret']}"
        assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token_of(material))
        assert f"node {node}, MAC 52:54:00:12:34:56" in data["description"]
    canaries.check(kube, *made, asking.store)


async def test_r2_a_clock_far_ahead_is_named_as_the_cause(asking: Asking, kube: Kube) -> None:
    """The token is expired when it is made: no signature, and the reason says why."""
    kube.api.settings.clock_skew = 3600
    refusal = await withheld(asking, signed_within=0.3)
    assert "expired token: the clock of cluster blue is" in refusal.reason and refusal.retry_after


async def test_r5_nothing_is_answered_before_the_signature_is_there(asking: Asking, kube: Kube) -> None:
    """With the slowest signer that was measured, the signature stands in cluster-info at the answer."""
    kube.api.settings.sign_delay = (0.4, 0.5)
    material = await asking.method().material(asking.request(), time.time())
    assert f"jws-kubeconfig-{material.credentials[0]}" in kube.api.objects.get(CLUSTER_INFO)["data"]


async def test_r5_r18_a_missing_signer_is_said_and_leaves_no_token(asking: Asking, kube: Kube) -> None:
    """The operator is told which controllers are off; the node asks again; no credential was counted."""
    kube.api.settings.signer = False
    method = asking.method(signed_within=0.2)
    for _ in range(7):
        with pytest.raises(JoinWithheld, match="bootstrapsigner") as raised:
            await method.material(asking.request(), time.time())
        assert raised.value.retry_after
    assert not kube.tokens() and not await asking.store.tokens()
    kube.api.settings.signer = True
    assert await method.material(asking.request(), time.time())


async def test_r5_a_wrong_signature_is_withheld_for_good(asking: Asking, kube: Kube) -> None:
    """Every node would refuse it."""
    kube.api.settings.jws = "corrupt"
    refusal = await withheld(asking, signed_within=0.3)
    assert refusal.retry_after is None and "wrong JWS signature" in refusal.reason
    assert not kube.tokens()


async def test_r11_a_deleted_token_is_not_called_dead_at_once(asking: Asking, kube: Kube) -> None:
    """It passes for up to ten seconds; nothing that we log promises otherwise."""
    method = asking.method()
    bearer = await kube.caller(token_of(await method.material(asking.request(), time.time())))
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    await method.revoke("boot-1")
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404


async def test_r12_the_store_keeps_id_and_hash_and_the_log_the_id(
    asking: Asking, kube: Kube, canaries: Canaries
) -> None:
    """The secret stands in the material's files alone."""
    material = await asking.method().material(asking.request(), time.time())
    (record,) = await asking.store.tokens()
    secret = kube.tokens()[record.token_id]["token-secret"]
    assert record.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert record.token_id in canaries.records.text
    canaries.check(kube, material, record, asking.request(), asking.clients.api("blue"))


async def test_r13_nothing_but_the_file_carries_the_credential(asking: Asking) -> None:
    """Delivery is the session's: the material names its one secret file and shows no content."""
    material = await asking.method().material(asking.request(ignore_preflight=("Swap", "Mem")), time.time())
    holders = [
        name for name, (content, _) in material.files.items() if token_of(material).encode() in content
    ]
    assert holders == ["join/kubeadm.yaml"]
    assert material.files["join/method"] == (b"kubeadm\n", 0o644)
    assert material.files["join/ignore_preflight"] == (b"Swap,Mem\n", 0o644)


async def test_r15_the_configuration_is_a_private_file_with_a_short_discovery(
    asking: Asking, kube: Kube
) -> None:
    """Mode 0600, 60 s, in the version of the cluster's kubeadm; the node's name is registered."""
    content, mode = (await asking.method().material(asking.request(), time.time())).files["join/kubeadm.yaml"]
    newest = kube.minor >= 31
    limit, version = (b'"discovery": "60s"', b"v1beta4") if newest else (b'"timeout": "60s"', b"v1beta")
    assert mode == 0o600 and limit in content and version in content
    kube.api.version = "v1.30.9"
    material = await asking.method().material(asking.request("boot-2"), time.time())
    assert configuration(material)["apiVersion"] == "kubeadm.k8s.io/v1beta3"
    assert configuration(material)["discovery"]["timeout"] == "60s"
    assert configuration(material)["nodeRegistration"]["name"] == "m1"


async def test_a_control_plane_is_given_the_certificate_key_as_it_stands_now(
    asking: Asking, tmp_path: Path
) -> None:
    """The file is read at each use: the key that was uploaded counts for two hours."""
    file = tmp_path / "key"
    settings = {"role": "control-plane", "certificate_key_file": file}
    for key in ("ab" * 32, "cd" * 32):
        file.write_text(f"{key}\n")
        material = await asking.method().material(asking.request(**settings), time.time())
        assert configuration(material)["controlPlane"]["certificateKey"] == key
        assert key not in repr(material)


@pytest.mark.parametrize("text", ["", "ab" * 31, "AB" * 32, "not a key", None])
async def test_a_control_plane_without_a_key_waits_for_it(
    asking: Asking, kube: Kube, tmp_path: Path, text: str | None
) -> None:
    """No token is made meanwhile, and what stands in the file is not repeated."""
    file = tmp_path / "key"
    if text is not None:
        file.write_text(text)
    with pytest.raises(JoinWithheld, match="upload-certs") as withheld:
        settings = {"role": "control-plane", "certificate_key_file": file}
        await asking.method().material(asking.request(**settings), time.time())
    assert withheld.value.retry_after and not kube.tokens()
    assert not text or text not in withheld.value.reason


async def test_discovery_by_file_needs_no_signature_and_no_cluster_info(asking: Asking, kube: Kube) -> None:
    """The token authenticates only; the authority is the one that our kubeconfig trusts."""
    await kube.api.control("settings", signer=False)
    await kube.api.control("delete", resource="configmaps", name="cluster-info", namespace="kube-public")
    material = await asking.method().material(asking.request(discovery="file"), time.time())
    discovery = configuration(material)["discovery"]
    assert set(discovery) == {"file", "tlsBootstrapToken"}
    (data,) = kube.tokens().values()
    assert "usage-bootstrap-signing" not in data and data["usage-bootstrap-authentication"] == "true"
    assert discovery["tlsBootstrapToken"] == f"{data['token-id']}.{data['token-secret']}"
