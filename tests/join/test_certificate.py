"""The join method `certificate` against the Kubernetes API: the node's own request, and nothing to steal."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from netboot.cluster import CertificateRequest
from netboot.errors import JoinWithheld
from netboot.join import JoinRequest
from netboot.join.certificate import CERTIFICATE, LIFE, CertificateJoin
from netboot.join.kubelet import KUBECONFIG
from tests.join.asking import QUIET, Asking, Drawn
from tests.join.requests import KEYS, csr, document, joining, laid
from tests.kube.apiserver import ApiServer
from tests.kube.cluster import until
from tests.kube.fixtures import Kube
from tests.kube.machine import Machine

CSR = csr()


def method(asking: Asking, random: Any = secrets, signed_within: float = 5.0) -> CertificateJoin:
    """The join method, new as after a restart."""
    asking.restart()
    return CertificateJoin(
        asking.clients,
        asking.turns,
        asking.naming,
        alarm=lambda request, text: asking.alarms.append(text),
        random=random,
        signed_within=signed_within,
    )


def request(kube: Kube, boot_id: str = "boot-1", **changes: Any) -> JoinRequest:
    """What one boot of m1 asks for, with its claim's request."""
    join = {"method": "certificate", "kubeconfig": kube.kubeconfig()}
    return joining(kube.endpoint, boot_id=boot_id, join=join, **{"csr": CSR, **changes})


def requests(kube: Kube) -> list[dict[str, Any]]:
    """Every certificate request at the API."""
    return kube.all("certificatesigningrequests")


async def refused(asking: Asking, asked: JoinRequest, **options: Any) -> JoinWithheld:
    """The refusal that this request meets."""
    with pytest.raises(JoinWithheld) as raised:
        await method(asking, **options).material(asked, time.time())
    return raised.value


async def test_the_nodes_own_request_is_signed_and_nothing_is_secret(asking: Asking, kube: Kube) -> None:
    """Subject, key and life as asked; no token exists, no private key is in the material."""
    material = await method(asking).material(request(kube), time.time())
    certificate = x509.load_pem_x509_certificate(laid(material, CERTIFICATE))
    assert certificate.public_key() == KEYS["ec"].public_key()
    assert certificate.subject.rfc4514_string() == "CN=system:node:m1,O=system:nodes"
    assert abs(certificate.not_valid_after_utc.timestamp() - time.time() - LIFE) < 300 or kube.minor < 22
    (made,) = requests(kube)
    assert made["spec"]["signerName"] == "kubernetes.io/kube-apiserver-client-kubelet"
    assert base64.b64decode(made["spec"]["request"]).decode() == CSR
    assert (made["metadata"]["name"],) == material.credentials
    assert "boot boot-1" in made["status"]["conditions"][0]["message"]
    everything = b"".join(content for content, _ in material.files.values())
    assert not kube.tokens() and b"PRIVATE KEY" not in everything and kube.token.encode() not in everything


async def test_the_kubeconfig_names_the_key_that_the_node_made(asking: Asking, kube: Kube) -> None:
    """In /run/netboot, where only root may look; the API server is trusted by the pinned authority."""
    material = await method(asking).material(request(kube), time.time())
    config = document(material, KUBECONFIG)
    assert config["users"][0]["user"] == {
        "client-certificate": CERTIFICATE,
        "client-key": "/run/netboot/kubelet.key",
    }
    cluster = config["clusters"][0]["cluster"]
    assert cluster["server"] == kube.server
    assert base64.b64decode(cluster["certificate-authority-data"]) == kube.ca
    assert laid(material, "/etc/kubernetes/pki/ca.crt") == kube.ca
    assert material.files[f"join/root{KUBECONFIG}"][1] == 0o600
    assert material.files["join/method"] == (b"certificate\n", 0o644)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (csr("m2"), "not for O=system:nodes, CN=system:node:m1"),
        (csr(organizations=("system:masters",)), "not for"),
        (csr(names=["m1"]), "more than a subject"),
        ("", "sent no certificate request"),
    ],
)
async def test_a_request_for_anything_else_is_withheld_for_good(
    asking: Asking, kube: Kube, sent: str, why: str
) -> None:
    """Before the API is asked anything; the operator is told of one that was sent."""
    refusal = await refused(asking, request(kube, csr=sent))
    assert refusal.retry_after is None and why in refusal.reason and "52:54:00:12:34:56" in refusal.reason
    assert not requests(kube)
    assert asking.alarms == ([refusal.reason] if sent else [])


async def test_asking_again_gives_a_new_certificate_at_most_five_times(asking: Asking, kube: Kube) -> None:
    """For the same key; the sixth question of one boot is refused for good, the next boot counts anew."""
    join = method(asking)
    made = [await join.material(request(kube), time.time()) for _ in range(5)]
    assert len({laid(m, CERTIFICATE) for m in made}) == 5 == len({m.credentials for m in made})
    for _ in range(2):
        with pytest.raises(JoinWithheld, match="as many credentials") as raised:
            await join.material(request(kube), time.time())
        assert raised.value.retry_after is None
    assert await join.material(request(kube, "boot-2"), time.time())


async def test_revoking_is_no_error_and_promises_nothing(asking: Asking, kube: Kube) -> None:
    """A certificate cannot be revoked; what was never given neither."""
    join = method(asking)
    await join.material(request(kube), time.time())
    await join.revoke("boot-1")
    await join.revoke("never")
    assert len(requests(kube)) == 1 and not asking.turns._locks


async def test_a_taken_name_is_drawn_anew(asking: Asking, kube: Kube) -> None:
    """409, five times at most."""
    taken = "a" * 10
    join = method(asking, Drawn(taken))
    await join.material(request(kube), time.time())
    material = await method(asking, Drawn(taken * 4)).material(request(kube, "boot-2"), time.time())
    assert material.credentials != (f"netboot-m1-{taken}",) and len(requests(kube)) == 2
    refusal = await refused(asking, request(kube, "boot-3"), random=Drawn(taken * 5))
    assert refusal.retry_after and "in a row were taken" in refusal.reason


async def test_a_cluster_that_does_not_sign_is_told_and_asked_no_second_time(
    asking: Asking, kube: Kube, faults: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request, approved by us, waits for the controller-manager; the next question finds it signed."""
    api = asking.clients.api("blue")
    look = api.certificate_request

    async def unsigned(name: str) -> CertificateRequest | None:
        found = await look(name)
        return replace(found, certificate=b"") if found else None

    join = method(asking, signed_within=0.3)
    with monkeypatch.context() as patched:
        patched.setattr(api, "certificate_request", unsigned)
        for _ in range(2):
            with pytest.raises(JoinWithheld, match="did not sign the approved certificate request") as raised:
                await join.material(request(kube), time.time())
            assert raised.value.retry_after
    material = await join.material(request(kube), time.time())
    assert len(requests(kube)) == 1 and laid(material, CERTIFICATE)


async def test_a_request_that_somebody_denied_is_withheld(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator, or another approver, was faster than we: its reason is told, for good."""
    api = asking.clients.api("blue")
    decide = api.decide

    async def deny(asked: CertificateRequest, **words: Any) -> None:
        await decide(asked, **(words | {"approve": False, "message": "not this one"}))

    monkeypatch.setattr(api, "decide", deny)
    refusal = await refused(asking, request(kube))
    assert refusal.retry_after is None and "was refused in cluster blue: not this one" in refusal.reason


async def test_an_approval_that_came_too_late_is_tried_again(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changed the request between our two calls: 409, so it is read anew."""
    api = asking.clients.api("blue")
    decide = api.decide
    touched: list[str] = []

    async def touched_before(asked: CertificateRequest, **words: Any) -> None:
        if not touched:
            touched.append(asked.name)
            patch = {"metadata": {"labels": {"touched": "1"}}}
            kube.merge("certificatesigningrequests", asked.name, patch)
        await decide(asked, **words)

    monkeypatch.setattr(api, "decide", touched_before)
    assert await method(asking).material(request(kube), time.time()) and touched


async def test_a_certificate_for_another_key_is_not_handed_over(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node could not use it; somebody answers with what is not ours."""
    other = await method(asking).material(request(kube, csr=csr(key="ec again")), time.time())
    api = asking.clients.api("blue")
    look = api.certificate_request

    async def exchanged(name: str) -> CertificateRequest | None:
        found = await look(name)
        return replace(found, certificate=laid(other, CERTIFICATE)) if found else None

    monkeypatch.setattr(api, "certificate_request", exchanged)
    refusal = await refused(asking, request(kube, "boot-2"))
    assert refusal.retry_after is None and "for another key than the node's" in refusal.reason


async def test_r14_another_authority_in_cluster_info_is_withheld(
    asking: Asking, kube: Kube, faults: ApiServer
) -> None:
    """As for kubeadm; a cluster without cluster-info is none of kubeadm's, and served."""
    faults.settings.cluster_info_ca = "wrong"
    refusal = await refused(asking, request(kube))
    assert refusal.retry_after is None and "wrong CA" in refusal.reason and not requests(kube)
    kube.remove("configmaps", "cluster-info", "kube-public")
    assert await method(asking).material(request(kube, "boot-2"), time.time())


async def test_r19_a_living_namesake_keeps_its_name(asking: Asking, kube: Kube) -> None:
    """No request is made while another machine renews its Lease under that name."""
    await kube.living_node("m1", every=0.2)
    join = method(asking)
    asking.presence.observe("blue", "m1")
    reason = None
    until_ = time.monotonic() + 10
    while reason is None:
        with pytest.raises(JoinWithheld) as raised:
            await join.material(request(kube), time.time())
        assert time.monotonic() < until_
        reason = raised.value.reason if raised.value.retry_after is None else None
        await asyncio.sleep(0.05)
    assert reason.startswith("impostor") and asking.alarms == [reason] and not requests(kube)


async def test_r19_a_dead_namesake_is_set_to_unknown(asking: Asking, kube: Kube) -> None:
    """And the one that stood there before is remembered."""
    node = await kube.living_node("m1", every=60, boot_id="before")
    join = method(asking)
    asking.presence.observe("blue", "m1")
    runner = asyncio.get_running_loop().create_task(asking.presence.run())
    await asyncio.sleep(QUIET + 0.3)
    material = await join.material(request(kube), time.time())
    runner.cancel()
    assert material.replaces == f"{node['metadata']['uid']}/before" and kube.ready("m1") == "Unknown"


async def test_a_kubelet_is_ready_with_it_and_is_nobody_else(
    asking: Asking, kube: Kube, faults: ApiServer, machine: Machine
) -> None:
    """The whole way on loopback: labels and taints registered, Node Ready; another name is forbidden."""
    material = await method(asking).material(request(kube), time.time())
    machine.lay(material.files)
    key = machine.root / "run/netboot/kubelet.key"
    key.parent.mkdir(parents=True)
    private = KEYS["ec"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(private)
    machine.start_kubelet()
    await machine.until(lambda: kube.node("m1") and kube.ready("m1") == "True")
    node = kube.node("m1") or {}
    assert node["metadata"]["labels"]["rack"] == "1"
    assert {"key": "foo", "value": "bar", "effect": "NoSchedule"} in node["spec"]["taints"]
    kubelet = await kube.caller(certificate=(laid(material, CERTIFICATE), private))
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "m2"}}
    assert (await kubelet.call("POST", "/api/v1/nodes", body))[0] == 403
    await until(lambda: "posts its status" in machine.kubelet_log())
