"""Certificate signing requests."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from netboot.cluster import CLIENT_SIGNER, SERVING_SIGNER, CertificateRequest
from netboot.cluster.certificates import request_of
from netboot.cluster.client import KubernetesApi
from netboot.errors import ClusterRefused
from tests.kube.cluster import Kube
from tests.kube.pki import new_request

USAGES = ("digital signature", "key encipherment", "client auth")
SUBJECT = ("system:node:m1", "system:nodes")


def test_an_empty_request_is_pending() -> None:
    """What is absent is empty; a request that is no base64 is none."""
    found = request_of({"metadata": {"name": "csr-1"}, "spec": {"request": "!"}})
    assert (found.name, found.pem, found.approved, found.denied) == ("csr-1", b"", False, False)


@pytest.mark.parametrize(
    ("managed", "program"),
    [
        ([{"manager": "kubelet", "operation": "Update"}, {"manager": "appliance"}], "kubelet"),
        ([{"manager": "x" * 400}], "x" * 128),
        ([], ""),
        (None, ""),
        ({"manager": "kubelet"}, ""),
        (["kubelet"], ""),
    ],
)
def test_a_request_tells_which_program_submitted_it(managed: object, program: str) -> None:
    """Who wrote its fields first, as the API server notes it; a stranger's word, so bounded."""
    assert request_of({"metadata": {"managedFields": managed}}).program == program


async def submit(
    api: KubernetesApi, name: str = "csr-1", signer: str = CLIENT_SIGNER, seconds: int = 86400
) -> CertificateRequest:
    """A request for m1's client certificate, in our own name."""
    pem = new_request(*SUBJECT)
    return await api.request_certificate(name, pem, signer=signer, usages=USAGES, seconds=seconds)


async def issued(api: KubernetesApi, name: str) -> bytes:
    """The certificate, once it is there."""
    until = time.monotonic() + 20
    while not ((found := await api.certificate_request(name)) and found.certificate):
        assert time.monotonic() < until, found
        await asyncio.sleep(0.02)
    return found.certificate


async def test_a_request_is_submitted_approved_and_issued(api: KubernetesApi, kube: Kube) -> None:
    """Pending until then; the certificate lives as long as was asked for."""
    made = await submit(api)
    assert not (made.approved or made.denied or made.certificate)
    assert made.username == "system:serviceaccount:netboot:appliance" and made.signer == CLIENT_SIGNER
    await api.decide(made, approve=True, reason="Netboot", message="for a test", now=time.time())
    certificate = x509.load_pem_x509_certificate(await issued(api, "csr-1"))
    assert certificate.subject.rfc4514_string() == "CN=system:node:m1,O=system:nodes"
    left = certificate.not_valid_after_utc.timestamp() - time.time()
    assert abs(left - 86400) < 600 or kube.minor < 22  # older signers give what their flag says
    found = await api.certificate_request("csr-1")
    assert found is not None and found.approved and found.message == "for a test"


async def test_a_decision_keeps_what_else_stands_on_the_request(
    api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update takes the place of the whole object: labels of others stay, the preconditions are ours."""
    made = await submit(api)
    puts: list[Any] = []

    async def call(method: str, path: str, body: Any = None) -> Any:
        puts.append(body)
        return {"metadata": {"name": "csr-1", "resourceVersion": "999", "labels": {"theirs": "x"}}}

    monkeypatch.setattr(api._connection, "call", call)
    await api.decide(made, approve=True, reason="Netboot", message="for a test", now=time.time())
    metadata = {"name": "csr-1", "uid": made.uid, "resourceVersion": made.resource_version}
    assert puts[-1]["metadata"] == {**metadata, "labels": {"theirs": "x"}}


async def test_a_denied_request_stays_denied(api: KubernetesApi) -> None:
    """It is never issued, and cannot be approved any more: 422."""
    made = await submit(api)
    await api.decide(made, approve=False, reason="Netboot", message="not for you", now=time.time())
    denied = await api.certificate_request("csr-1")
    assert denied is not None and denied.denied and not denied.certificate
    with pytest.raises(ClusterRefused) as raised:
        await api.decide(denied, approve=True, reason="Netboot", message="", now=time.time())
    assert raised.value.status == 422


async def test_a_request_that_changed_since_it_was_read_is_not_decided(api: KubernetesApi) -> None:
    """409 for another resourceVersion and for another uid."""
    made = await submit(api)
    await api.decide(made, approve=False, reason="Netboot", message="", now=time.time())
    for stale in (made, replace(made, uid="00000000-0000-4000-8000-000000000000")):
        with pytest.raises(ClusterRefused) as raised:
            await api.decide(stale, approve=True, reason="Netboot", message="", now=time.time())
        assert raised.value.status == 409


async def test_a_taken_name_and_a_bad_request_are_refused(api: KubernetesApi, kube: Kube) -> None:
    """409; and 422 for a life that is too short, an unknown usage, a request that is none."""
    kube.needs(22, "a requested life")
    await submit(api)
    refusals = []
    for name, pem, usages, seconds in (
        ("csr-1", new_request(*SUBJECT), USAGES, 86400),
        ("csr-2", new_request(*SUBJECT), USAGES, 60),
        ("csr-2", new_request(*SUBJECT), ("flying",), 86400),
        ("csr-2", b"no request", USAGES, 86400),
    ):
        with pytest.raises(ClusterRefused) as raised:
            await api.request_certificate(name, pem, signer=CLIENT_SIGNER, usages=usages, seconds=seconds)
        refusals.append(raised.value.status)
    assert refusals == [409, 422, 422, 422]
    assert await api.certificate_request("csr-2") is None


async def test_requests_are_listed_and_watched_by_signer(api: KubernetesApi) -> None:
    """What another signer is asked is not told; a change is told from the list's version on."""
    await submit(api, "client-1")
    await submit(api, "serving-1", SERVING_SIGNER)
    listed, version = await api.certificate_requests(CLIENT_SIGNER)
    assert [r.name for r in listed] == ["client-1"]
    told: list[str] = []
    async with aclosing(api.watch_certificate_requests(CLIENT_SIGNER, version)) as requests:
        async for request in requests:
            if not request.name:  # a bookmark
                await submit(api, "serving-2", SERVING_SIGNER)
                await submit(api, "client-2")
                continue
            told.append(request.name)
            break
    assert told == ["client-2"]
