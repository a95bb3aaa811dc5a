"""The stand-in shows what was measured on a real API server (docs/kubernetes.md, Facts)."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from netboot.cluster import BootstrapToken
from netboot.join.token import signs
from tests.kube import pki
from tests.kube.control import KubeApi
from tests.kube.controllers import CLIENT_SIGNER, CLUSTER_INFO, SERVING_SIGNER
from tests.kube.fixtures import Caller, Kube, token_secret
from tests.kube.objects import Key

SECRETS = "/api/v1/namespaces/kube-system/secrets"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
TOKEN = "abcdef.0123456789abcdef"
MERGE = "application/strategic-merge-patch+json"


async def until(check: Any, timeout: float = 5.0) -> Any:
    """The first true result of `check`."""
    end = time.monotonic() + timeout
    while not (found := check()):
        assert time.monotonic() < end, "nothing happened in time"
        await asyncio.sleep(0.005)
    return found


def request_for(subject: str, *extra: str) -> str:
    """A CSR in base64, made by openssl."""
    command = [
        "openssl",
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        "/dev/null",
        "-subj",
        subject,
        *extra,
    ]
    return base64.b64encode(subprocess.run(command, check=True, capture_output=True).stdout).decode()


def csr(subject: str, *extra: str, signer: str = CLIENT_SIGNER, name: str = "csr-1") -> dict[str, Any]:
    """A CertificateSigningRequest."""
    usage = "client auth" if signer == CLIENT_SIGNER else "server auth"
    return {
        "metadata": {"name": name},
        "spec": {
            "request": request_for(subject, *extra),
            "signerName": signer,
            "usages": ["digital signature", usage],
        },
    }


async def node_caller(kube: Kube, name: str) -> Caller:
    """A kubelet with its certificate."""
    return await kube.caller(certificate=kube.api.authority.client(f"system:node:{name}", ["system:nodes"]))


@pytest.mark.parametrize(
    "fields",
    [
        {"token_secret": "tooshort"},
        {"token_id": "zzzzzz"},
        {"expiration": "tomorrow"},
        {"expiration": ""},
        {"expiration": "2030-01-01T00:00:00"},
        {"auth_extra_groups": "system:masters"},
    ],
)
async def test_a_token_with_a_wrong_field_is_created_all_the_same(kube: Kube, fields: dict[str, Any]) -> None:
    """The API server checks nothing in the Secret."""
    caller = await kube.admin()
    assert (await caller.call("POST", SECRETS, token_secret(TOKEN, **fields)))[0] == 201


async def test_names_are_all_that_a_create_checks(kube: Kube) -> None:
    """422 for a bad name, 409 for a repeated one, 404 for deleting a missing one, each with a Status."""
    caller = await kube.appliance()
    assert (await caller.call("POST", SECRETS, token_secret(TOKEN)))[0] == 201
    repeated = await caller.call("POST", SECRETS, token_secret(TOKEN))
    bad = await caller.call("POST", SECRETS, token_secret("aBcdef.0123456789abcdef"))
    missing = await caller.call("DELETE", f"{SECRETS}/bootstrap-token-zzzzzz")
    assert [(code, body["kind"], body["reason"]) for code, body in (repeated, bad, missing)] == [
        (409, "Status", "AlreadyExists"),
        (422, "Status", "Invalid"),
        (404, "Status", "NotFound"),
    ]


async def test_the_signature_comes_later_and_is_real(kube: Kube) -> None:
    """A detached HS256 JWS by the token stands in cluster-info some milliseconds after the token."""
    kube.mint(TOKEN)
    anybody = await kube.caller()
    assert "jws-kubeconfig-abcdef" not in kube.api.objects.get(CLUSTER_INFO)["data"]
    await until(lambda: "jws-kubeconfig-abcdef" in kube.api.objects.get(CLUSTER_INFO)["data"])
    data = (await anybody.call("GET", INFO))[1]["data"]
    token = BootstrapToken("abcdef", "0123456789abcdef", "", (), "")
    other = BootstrapToken("abcdef", "0123456789abcdee", "", (), "")
    assert signs(data["jws-kubeconfig-abcdef"], data["kubeconfig"], token)
    assert not signs(data["jws-kubeconfig-abcdef"], data["kubeconfig"], other)


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


async def test_a_deleted_token_passes_as_a_bearer_for_ten_seconds(kube: Kube) -> None:
    """The API server caches what it accepted: nobody can promise a faster revocation (R11)."""
    kube.mint(TOKEN)
    bearer = await kube.caller(TOKEN)
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    await (await kube.appliance()).call("DELETE", f"{SECRETS}/bootstrap-token-abcdef")
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    kube.api.settings.clock_skew = 10.5
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 401


async def test_a_token_of_the_default_group_may_claim_any_node_name(kube: Kube) -> None:
    """It is bound to no node: the CSR for another one is approved and issued (R9)."""
    kube.mint(TOKEN)
    bearer = await kube.caller(TOKEN)
    assert (await bearer.call("POST", CSRS, csr("/O=system:nodes/CN=system:node:other")))[0] == 201
    key = Key("certificatesigningrequests", "", "csr-1")
    made = await until(lambda: (o := kube.api.objects.get(key))["status"].get("certificate") and o)
    assert made["spec"]["username"] == "system:bootstrap:abcdef"
    assert base64.b64decode(made["status"]["certificate"]).startswith(b"-----BEGIN CERTIFICATE-----")


async def test_a_serving_certificate_stays_pending_until_somebody_with_the_right_approves_it(
    kube: Kube,
) -> None:
    """The approver needs the signer too: 403 without."""
    node, admin = await node_caller(kube, "m1"), await kube.admin()
    wanted = csr(
        "/O=system:nodes/CN=system:node:m1", "-addext", "subjectAltName=DNS:m1", signer=SERVING_SIGNER
    )
    code, made = await node.call("POST", CSRS, wanted)
    assert code == 201
    await asyncio.sleep(0.1)
    assert not kube.api.objects.get(Key("certificatesigningrequests", "", "csr-1"))["status"]
    made["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "test", "message": ""}]}
    assert (await node.call("PUT", f"{CSRS}/csr-1/approval", made))[0] == 403
    assert (await admin.call("PUT", f"{CSRS}/csr-1/approval", made))[0] == 200
    key = Key("certificatesigningrequests", "", "csr-1")
    await until(lambda: kube.api.objects.get(key)["status"].get("certificate"))


async def test_a_denied_request_is_never_issued(kube: Kube) -> None:
    """A Denied condition ends it."""
    kube.api.settings.approver = False
    kube.mint(TOKEN)
    _, made = await (await kube.caller(TOKEN)).call("POST", CSRS, csr("/O=system:nodes/CN=system:node:m1"))
    made["status"] = {"conditions": [{"type": "Denied", "status": "True", "reason": "test", "message": ""}]}
    assert (await (await kube.admin()).call("PUT", f"{CSRS}/csr-1/approval", made))[0] == 200
    await asyncio.sleep(0.1)
    assert "certificate" not in kube.api.objects.get(Key("certificatesigningrequests", "", "csr-1"))["status"]


async def test_the_appliance_may_do_its_small_roles_and_no_more(kube: Kube) -> None:
    """No get, list or watch of Secrets, nothing elsewhere: 403 with a Status."""
    caller = await kube.appliance()
    kube.mint(TOKEN)
    asked = [
        ("GET", SECRETS),
        ("GET", f"{SECRETS}?watch=1"),
        ("GET", f"{SECRETS}/bootstrap-token-abcdef"),
        ("PATCH", f"{SECRETS}/bootstrap-token-abcdef"),
        ("GET", "/api/v1/namespaces/kube-system/serviceaccounts"),
        ("GET", LEASES),
        ("GET", "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"),
    ]
    answers = [await caller.call(method, path) for method, path in asked]
    assert [(code, body["reason"]) for code, body in answers] == [(403, "Forbidden")] * len(asked)
    assert (await caller.call("GET", INFO))[0] == 200
    assert (await caller.call("GET", f"{LEASES}/m1"))[0] == 404
    assert (await caller.call("POST", "/api/v1/namespaces/default/secrets", token_secret(TOKEN)))[0] == 403


async def test_an_unknown_bearer_is_nobody(kube: Kube) -> None:
    """401, not anonymous."""
    code, body = await (await kube.caller("zzzzzz.0123456789abcdef")).call("GET", INFO)
    assert (code, body["reason"]) == (401, "Unauthorized")


async def test_a_kubelet_may_touch_its_own_node_and_lease_alone(kube: Kube) -> None:
    """The node authorizer and the NodeRestriction admission."""
    caller = await node_caller(kube, "m1")
    assert (await caller.call("POST", "/api/v1/nodes", {"metadata": {"name": "m2"}}))[0] == 403
    assert (await caller.call("POST", "/api/v1/nodes", {"metadata": {"name": "m1"}}))[0] == 201
    assert (await caller.call("GET", "/api/v1/nodes/m2"))[0] == 403
    role = {"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}}
    assert (await caller.call("PATCH", "/api/v1/nodes/m1", role, MERGE))[0] == 403
    assert (await caller.call("POST", LEASES, {"metadata": {"name": "m1"}, "spec": {}}))[0] == 201
    assert (await caller.call("POST", LEASES, {"metadata": {"name": "m2"}, "spec": {}}))[0] == 403


async def test_a_stale_patch_is_refused(kube: Kube) -> None:
    """409 for an old resourceVersion, 422 for another uid; a patch of the status changes no spec."""
    admin = await kube.admin()
    _, made = await admin.call("POST", "/api/v1/nodes", {"metadata": {"name": "m1"}})
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]

    async def patch(uid: str, version: str) -> int:
        condition = {"type": "Ready", "status": "Unknown", "reason": version}
        body = {
            "metadata": {"uid": uid, "resourceVersion": version, "labels": {"a": "b"}},
            "spec": {"unschedulable": True},
            "status": {"conditions": [condition]},
        }
        return (await admin.call("PATCH", "/api/v1/nodes/m1/status", body, MERGE))[0]

    assert await patch(uid, version) == 200
    assert await patch(uid, version) == 409
    now = kube.api.objects.get(Key("nodes", "", "m1"))
    assert await patch("00000000-0000-0000-0000-000000000000", now["metadata"]["resourceVersion"]) == 422
    assert now["metadata"]["labels"] == {"a": "b"}, "who may patch nodes/status may set labels"
    assert "unschedulable" not in now.get("spec", {})


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
