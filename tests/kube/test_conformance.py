"""What was measured on a real API server, on whatever runs the cluster (docs/kubernetes-conformance.md).

The same tests run against the stand-in and, with NETBOOT_KUBERNETES_BIN, against real binaries.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from typing import Any

import pytest

from netboot.cluster import CLIENT_SIGNER, SERVING_SIGNER, BootstrapToken
from netboot.join.pins import pins_of
from netboot.join.token import signs
from tests.kube import pki
from tests.kube.cluster import Caller, Kube, fresh_token, token_secret, until
from tests.kube.machine import Machine

SECRETS = "/api/v1/namespaces/kube-system/secrets"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
OWN_GROUP = "system:bootstrappers:netboot"
MERGE = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
NO_SIGNATURE = "could not find a JWS signature in the cluster-info ConfigMap for token ID"


def csr(name: str, node: str = "m1", signer: str = CLIENT_SIGNER, **changes: Any) -> dict[str, Any]:
    """A CertificateSigningRequest of a node."""
    serving = signer == SERVING_SIGNER
    request = pki.new_request(f"system:node:{node}", "system:nodes", [node] if serving else [])
    spec = {
        "request": pki.b64(request),
        "signerName": signer,
        # kubelets before 1.27 ask for key encipherment with every kind of key, and their signers insist
        "usages": ["digital signature", "key encipherment", "server auth" if serving else "client auth"],
        **changes,
    }
    kind = "CertificateSigningRequest"
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


async def decide(caller: Caller, name: str, kind: str) -> int:
    """Approve or deny a request; the answer's status."""
    _, body = await caller.call("GET", f"{CSRS}/{name}")
    condition = {"type": kind, "status": "True", "reason": "test", "message": ""}
    body["status"] = {"conditions": [*(body.get("status") or {}).get("conditions", ()), condition]}
    return (await caller.call("PUT", f"{CSRS}/{name}/approval", body))[0]


def issued(kube: Kube, name: str) -> str:
    """The certificate of a request in base64, empty while there is none."""
    found = kube.find("certificatesigningrequests", name) or {}
    return str((found.get("status") or {}).get("certificate") or "")


def configuration(kube: Kube, token: str, **changes: Any) -> bytes:
    """A JoinConfiguration for m1."""
    bootstrap = {
        "token": token,
        "apiServerEndpoint": kube.endpoint,
        "caCertHashes": [changes.pop("pin", pins_of(kube.ca)[0])],
    }
    discovery = {"bootstrapToken": bootstrap}
    limit = changes.pop("limit", "10s")
    newest = kube.minor >= 31
    version = "v1beta4" if newest else "v1beta3" if kube.minor >= 22 else "v1beta2"
    document = {
        "apiVersion": f"kubeadm.k8s.io/{version}",
        "kind": "JoinConfiguration",
        "discovery": discovery if newest else {**discovery, "timeout": limit},
        **({"timeouts": {"discovery": limit}} if newest else {}),
        "nodeRegistration": {"name": "m1", "criSocket": "unix:///run/containerd/containerd.sock"},
        **changes,
    }
    return json.dumps(document).encode()


async def discover(kube: Kube, machine: Machine, config: bytes) -> tuple[int, str]:
    """`kubeadm join` as far as it only asks: the real one's first phase, or the stand-in's whole join."""
    if kube.kubeadm is None:
        return await machine.kubeadm(config)
    file = machine.root / "kubeadm.yaml"
    file.write_bytes(config)
    process = await asyncio.create_subprocess_exec(
        kube.kubeadm,
        "join",
        "phase",
        "preflight",
        f"--config={file}",
        "--ignore-preflight-errors=all",
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(machine.root)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, output.decode()


@pytest.fixture
def token() -> str:
    """A token of this test alone: an API server remembers for ten seconds which ones it accepted."""
    return fresh_token()


# Bootstrap tokens


async def test_a_token_is_created_at_once_and_signed_later(kube: Kube, token: str) -> None:
    """201; a detached HS256 JWS by the token stands in cluster-info some milliseconds after that."""
    admin, anybody = await kube.admin(), await kube.caller()
    assert (await admin.call("POST", SECRETS, token_secret(token)))[0] == 201
    await until(lambda: kube.signed(token[:6]))
    data = (await anybody.call("GET", INFO))[1]["data"]
    signature, content = data[f"jws-kubeconfig-{token[:6]}"], data["kubeconfig"]
    assert signs(signature, content, BootstrapToken(token[:6], token[7:], "", (), ""))
    assert not signs(signature, content, BootstrapToken(token[:6], "0" * 16, "", (), ""))


async def test_a_machine_joins_with_a_token(kube: Kube, token: str, machine: Machine) -> None:
    """Its CSR comes from system:bootstrap:<id> and is approved by itself; its Node is registered."""
    kube.mint(token)
    await until(lambda: kube.signed(token[:6]))
    status, output = await machine.kubeadm(configuration(kube, token))
    assert status == 0, output
    await machine.until(lambda: kube.node("m1") and kube.ready("m1") == "True")
    (request,) = kube.all("certificatesigningrequests")
    assert request["spec"]["username"] == f"system:bootstrap:{token[:6]}"
    assert [c["reason"] for c in request["status"]["conditions"]] == ["AutoApproved"]


async def test_a_wrong_pin_and_a_wrong_secret_are_refused_at_once(
    kube: Kube, token: str, machine: Machine
) -> None:
    """Each in its own words, and not after the discovery timeout."""
    kube.mint(token)
    await until(lambda: kube.signed(token[:6]))
    began = time.monotonic()
    status, output = await discover(
        kube, machine, configuration(kube, token, pin="sha256:" + "0" * 64, limit="60s")
    )
    assert status == 1 and "cluster CA found in cluster-info ConfigMap is invalid" in output, output
    wrong = configuration(kube, token[:7] + "0" * 16, limit="60s")
    status, output = await discover(kube, machine, wrong)
    assert status == 1 and "failed to verify JWS signature" in output, output
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("why", ["unknown", "expired", "deleted"])
async def test_a_token_without_signature_is_given_up_after_the_limit(
    kube: Kube, token: str, machine: Machine, why: str
) -> None:
    """One text for unknown, expired and deleted tokens, and only after the discovery timeout."""
    if why == "expired":
        kube.mint(token, life=-10)
    elif why == "deleted":
        kube.mint(token)
        await until(lambda: kube.signed(token[:6]))
        kube.remove("secrets", f"bootstrap-token-{token[:6]}", "kube-system")
    await until(lambda: not kube.signed(token[:6]))
    began = time.monotonic()
    status, output = await discover(kube, machine, configuration(kube, token, limit="1s"))
    assert status == 1 and NO_SIGNATURE in output, output
    assert time.monotonic() - began >= 1


async def test_an_expired_token_goes_and_its_bearer_five_seconds_later(kube: Kube, token: str) -> None:
    """Secret and signature go at once; a bearer that was accepted just before passes a little longer."""
    kube.mint(token, life=8)
    bearer = await kube.caller(token)
    await kube.pass_time(5)
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    await kube.pass_time(3.5)
    await until(lambda: not kube.tokens() and not kube.signed(token[:6]))
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    await kube.pass_time(8)
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 401


async def test_a_deleted_token_passes_as_a_bearer_for_ten_seconds(kube: Kube, token: str) -> None:
    """The API server caches what it accepted: nobody can promise a faster revocation (R11)."""
    kube.mint(token)
    bearer = await kube.caller(token)
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    kube.remove("secrets", f"bootstrap-token-{token[:6]}", "kube-system")
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    await kube.pass_time(11)
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 401


async def test_a_token_may_be_used_twice(kube: Kube, token: str) -> None:
    """Nothing but its deletion makes it a single-use token."""
    kube.mint(token)
    bearer = await kube.caller(token)
    for name in ("csr-1", "csr-2"):
        assert (await bearer.call("POST", CSRS, csr(name)))[0] == 201
        await until(lambda: issued(kube, name))  # noqa: B023


async def test_a_token_of_the_default_group_may_claim_any_node_name(kube: Kube, token: str) -> None:
    """It is bound to no node: the CSR for another one is approved and issued (R9)."""
    kube.mint(token)
    bearer = await kube.caller(token)
    for node in ("m1", "other"):
        assert (await bearer.call("POST", CSRS, csr(f"csr-{node}", node)))[0] == 201
        await until(lambda: issued(kube, f"csr-{node}"))  # noqa: B023


async def test_in_an_own_group_only_our_approver_approves(kube: Kube, token: str) -> None:
    """Pending until we approve the right name; the same token's request for another one is denied."""
    kube.mint(token, auth_extra_groups=OWN_GROUP)
    bearer, appliance = await kube.caller(token), await kube.appliance()
    for node in ("m1", "other"):
        assert (await bearer.call("POST", CSRS, csr(f"csr-{node}", node)))[0] == 201
    await asyncio.sleep(0.5)
    assert not issued(kube, "csr-m1")
    assert await decide(appliance, "csr-m1", "Approved") == 200
    assert await decide(appliance, "csr-other", "Denied") == 200
    await until(lambda: issued(kube, "csr-m1"))
    await asyncio.sleep(0.5)
    assert not issued(kube, "csr-other")


async def test_a_machine_of_an_own_group_joins(kube: Kube, token: str, machine: Machine) -> None:
    """With an approver of ours; the group is bound to what a join reads."""
    kube.mint(token, auth_extra_groups=OWN_GROUP)
    await until(lambda: kube.signed(token[:6]))
    joining = asyncio.get_running_loop().create_task(machine.kubeadm(configuration(kube, token)))
    while not (requests := kube.all("certificatesigningrequests")):
        assert not joining.done(), joining.result()
        await asyncio.sleep(0.02)
    assert await decide(await kube.appliance(), requests[0]["metadata"]["name"], "Approved") == 200
    status, output = await joining
    assert status == 0, output
    await machine.until(lambda: kube.node("m1"))


async def test_discovery_by_file_needs_no_signature(kube: Kube, token: str, machine: Machine) -> None:
    """A kubeconfig with the authority, and a token for authentication only."""
    kube.mint(token, usage_bootstrap_signing="false")
    file = machine.root / "etc/kubernetes/discovery.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(pki.kubeconfig(kube.server, kube.ca, {}))
    named = str(file) if kube.kubeadm else "/etc/kubernetes/discovery.conf"
    discovery = {"file": {"kubeConfigPath": named}, "tlsBootstrapToken": token}
    status, output = await discover(kube, machine, configuration(kube, token, discovery=discovery))
    assert status == 0, output
    assert not kube.signed(token[:6])


async def test_a_name_that_is_ready_is_refused_until_it_is_unknown(
    kube: Kube, token: str, machine: Machine
) -> None:
    """Within seconds; after its Ready condition was patched to Unknown the same token joins (R19)."""
    kube.mint(token)
    await until(lambda: kube.signed(token[:6]))
    await kube.living_node("m1", every=60)
    status, output = await machine.kubeadm(configuration(kube, token))
    assert status == 1
    assert 'a Node with name "m1" and status "Ready" already exists in the cluster' in output
    condition = {"type": "Ready", "status": "Unknown", "reason": "test", "message": ""}
    patch = {"status": {"conditions": [condition]}}
    appliance = await kube.appliance()
    assert (await appliance.call("PATCH", "/api/v1/nodes/m1/status", patch, MERGE))[0] == 200
    machine.clean()
    status, output = await machine.kubeadm(configuration(kube, token))
    assert status == 0, output


@pytest.mark.parametrize(
    "fields",
    [
        {"token_secret": "tooshort"},
        {"token_id": "zzzzzz"},
        {"expiration": "tomorrow"},
        {"expiration": "2030-01-01T00:00:00"},
        {"auth_extra_groups": "system:masters"},
    ],
)
async def test_a_token_with_a_wrong_field_is_created_all_the_same(
    kube: Kube, token: str, fields: dict[str, Any]
) -> None:
    """The API server checks nothing in the Secret; the token only does not work."""
    admin = await kube.admin()
    assert (await admin.call("POST", SECRETS, token_secret(token, **fields)))[0] == 201
    bearer = await kube.caller(token)
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 401


async def test_an_empty_expiration_never_expires(kube: Kube, token: str) -> None:
    """It is created, and works a year later (only a clock that can be set shows that)."""
    admin = await kube.admin()
    assert (await admin.call("POST", SECRETS, token_secret(token, expiration="")))[0] == 201
    bearer = await kube.caller(token)
    if kube.kubeadm is None:
        await kube.pass_time(365 * 86400)
    assert (await bearer.call("GET", "/api/v1/nodes/x"))[0] == 404
    assert kube.tokens()


async def test_names_are_all_that_a_create_checks(kube: Kube, token: str) -> None:
    """422 for a bad name, 409 for a repeated one, 404 for deleting a missing one, each with a Status."""
    caller = await kube.appliance()
    assert (await caller.call("POST", SECRETS, token_secret(token)))[0] == 201
    repeated = await caller.call("POST", SECRETS, token_secret(token))
    bad = await caller.call("POST", SECRETS, token_secret("aBcdef.0123456789abcdef"))
    missing = await caller.call("DELETE", f"{SECRETS}/bootstrap-token-zzzzzz")
    assert [(code, body["kind"], body["reason"]) for code, body in (repeated, bad, missing)] == [
        (409, "Status", "AlreadyExists"),
        (422, "Status", "Invalid"),
        (404, "Status", "NotFound"),
    ]


# Certificate requests


async def test_a_certificate_can_be_asked_for_by_somebody_else_than_the_node(kube: Kube) -> None:
    """Issued for as long as asked; with it the node makes its own Node object and no other."""
    appliance = await kube.appliance()
    pem, key = pki.request_and_key("system:node:n10", "system:nodes")
    wanted = csr("csr-1", expirationSeconds=86400)
    wanted["spec"]["request"] = pki.b64(pem)
    assert (await appliance.call("POST", CSRS, wanted))[0] == 201
    assert await decide(appliance, "csr-1", "Approved") == 200
    certificate = base64.b64decode(await until(lambda: issued(kube, "csr-1")))
    if kube.minor >= 22:  # older signers give what their flag says
        assert abs(pki.seconds_left(certificate) - 86400) < 600
    node = await kube.caller(certificate=(certificate, key))
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n10"}}
    assert (await node.call("POST", "/api/v1/nodes", body))[0] == 201
    other = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n11"}}
    assert (await node.call("POST", "/api/v1/nodes", other))[0] == 403


async def test_a_serving_certificate_stays_pending_until_somebody_with_the_right_approves_it(
    kube: Kube,
) -> None:
    """The controller-manager never approves it; the approver needs the signer too: 403 without."""
    node, admin = await kube.kubelet("m1"), await kube.admin()
    assert (await node.call("POST", CSRS, csr("csr-1", signer=SERVING_SIGNER)))[0] == 201
    await asyncio.sleep(0.5)
    found = kube.find("certificatesigningrequests", "csr-1")
    assert found is not None and not found["status"].get("conditions")
    assert await decide(node, "csr-1", "Approved") == 403
    assert await decide(admin, "csr-1", "Approved") == 200
    await until(lambda: issued(kube, "csr-1"))


async def test_a_kubelet_asks_for_its_serving_certificate(kube: Kube, token: str, machine: Machine) -> None:
    """Where serverTLSBootstrap is set: for its name and addresses, with its own certificate."""
    kube.mint(token)
    await until(lambda: kube.signed(token[:6]))
    arguments = [{"name": "rotate-server-certificates", "value": "true"}]
    registration = {"name": "m1", "kubeletExtraArgs": arguments}
    status, output = await machine.kubeadm(configuration(kube, token, nodeRegistration=registration))
    assert status == 0, output

    def pending() -> Any:
        found = kube.all("certificatesigningrequests")
        return [r for r in found if r["spec"]["signerName"] == SERVING_SIGNER]

    await machine.until(pending)
    (request,) = pending()
    assert request["spec"]["username"] == "system:node:m1"
    assert await decide(await kube.admin(), request["metadata"]["name"], "Approved") == 200
    await machine.until(lambda: (machine.root / "var/lib/kubelet/pki/kubelet-server-current.pem").exists())


async def test_a_decision_is_final(kube: Kube) -> None:
    """A denied request is never issued, nor approved any more; what it asks for cannot be changed."""
    appliance, admin = await kube.appliance(), await kube.admin()
    wanted = csr("csr-1")
    assert (await appliance.call("POST", CSRS, wanted))[0] == 201
    _, body = await admin.call("GET", f"{CSRS}/csr-1")
    body["spec"]["usages"] = ["digital signature", "server auth"]
    assert (await admin.call("PUT", f"{CSRS}/csr-1", body))[0] == 200
    found = kube.find("certificatesigningrequests", "csr-1")
    assert found is not None and found["spec"]["usages"] == wanted["spec"]["usages"]
    assert await decide(admin, "csr-1", "Denied") == 200
    assert await decide(admin, "csr-1", "Approved") == 422
    await asyncio.sleep(0.5)
    assert not issued(kube, "csr-1")


@pytest.mark.parametrize(
    "changes",
    [
        {"usages": []},
        {"usages": ["flying"]},
        {"request": pki.b64(b"no request")},
        {"expirationSeconds": 599},
        {"signerName": "nobody"},
    ],
)
async def test_a_request_is_checked(kube: Kube, changes: dict[str, Any]) -> None:
    """422 for usages, a request, a life or a signer that cannot be."""
    if "expirationSeconds" in changes:
        kube.needs(22, "a requested life")
    admin = await kube.admin()
    code, body = await admin.call("POST", CSRS, csr("csr-1", **changes))
    assert (code, body["reason"]) == (422, "Invalid")


# Rights


async def test_a_post_cannot_be_limited_to_names_and_an_apply_can(kube: Kube) -> None:
    """RBAC with resourceNames: POST 403, server-side apply 201 (the fixed token-id slots)."""
    admin = await kube.admin()
    rule = {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["bootstrap-token-slot01"],
        "verbs": ["create", "patch"],
    }
    name = "netboot-test-slots"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": [rule],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "slots"}],
    }
    inside = f"{RBAC}/namespaces/kube-system"
    try:
        assert (await admin.call("POST", f"{inside}/roles", role))[0] == 201
        assert (await admin.call("POST", f"{inside}/rolebindings", binding))[0] == 201
        caller = await kube.caller(certificate=kube.certificate_of("slots"))
        secret = token_secret("slot01.0123456789abcdef")

        async def apply(token: str) -> int:
            path = f"{SECRETS}/bootstrap-token-{token[:6]}?fieldManager=netboot"
            return (await caller.call("PATCH", path, token_secret(token), APPLY))[0]

        for _ in range(100):  # the authorizer learns of the new role a little later
            if (first := await apply("slot01.0123456789abcdef")) != 403:
                break
            await asyncio.sleep(0.1)
        assert first == 201
        assert (await caller.call("POST", SECRETS, secret))[0] == 403
        assert await apply("slot01.fedcba9876543210") == 200
        assert await apply("slot02.0123456789abcdef") == 403
        assert kube.tokens()["slot01"]["token-secret"] == "fedcba9876543210"
    finally:
        await admin.call("DELETE", f"{inside}/rolebindings/{name}")
        await admin.call("DELETE", f"{inside}/roles/{name}")


async def test_the_policy_leaves_the_account_bootstrap_tokens_alone(kube: Kube, token: str) -> None:
    """What RBAC lets through the ValidatingAdmissionPolicy refuses: other types, names, groups, no end."""
    kube.needs(30, "ValidatingAdmissionPolicy")
    caller = await kube.appliance()
    opaque = token_secret(token) | {"type": "Opaque"}
    endless = token_secret(token, expiration="")
    masters = token_secret(token, auth_extra_groups="system:bootstrappers:other")
    misnamed = token_secret(token) | {"metadata": {"name": "bootstrap-token-toolong1"}}
    for secret in (opaque, endless, masters, misnamed):
        code, body = await caller.call("POST", SECRETS, secret)
        assert code == 403 and "denied request" in body["message"], body
    assert (await caller.call("POST", SECRETS, token_secret(token)))[0] == 201
    kube.create("secrets", "somebodys", {"type": "Opaque", "data": {}}, "kube-system")
    try:
        assert (await caller.call("DELETE", f"{SECRETS}/somebodys"))[0] == 403
    finally:
        kube.remove("secrets", "somebodys", "kube-system")


async def test_the_appliance_may_do_its_small_roles_and_no_more(kube: Kube, token: str) -> None:
    """No get, list or watch of Secrets, nothing elsewhere: 403 with a Status."""
    caller = await kube.appliance()
    kube.mint(token)
    asked = [
        ("GET", SECRETS),
        ("GET", f"{SECRETS}?watch=1"),
        ("GET", f"{SECRETS}/bootstrap-token-{token[:6]}"),
        ("GET", "/api/v1/namespaces/kube-system/serviceaccounts"),
        ("GET", LEASES),
        ("GET", "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"),
    ]
    answers = [await caller.call(method, path) for method, path in asked]
    assert [(code, body["reason"]) for code, body in answers] == [(403, "Forbidden")] * len(asked)
    assert (await caller.call("GET", INFO))[0] == 200
    assert (await caller.call("GET", f"{LEASES}/m1"))[0] == 404
    assert (await caller.call("POST", "/api/v1/namespaces/default/secrets", token_secret(token)))[0] == 403


async def test_an_account_renews_its_own_token(kube: Kube) -> None:
    """serviceaccounts/token on itself, by resourceNames; for nobody else, and not for under ten minutes."""
    caller = await kube.appliance()
    accounts = "/api/v1/namespaces/netboot/serviceaccounts"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    code, made = await caller.call("POST", f"{accounts}/appliance/token", request)
    assert code == 201 and made["status"]["expirationTimestamp"].endswith("Z")
    renewed = await kube.caller(made["status"]["token"])
    assert (await renewed.call("GET", "/api/v1/nodes/x"))[0] == 404
    assert (await caller.call("POST", f"{accounts}/default/token", request))[0] == 403
    short = {**request, "spec": {"expirationSeconds": 599}}
    assert (await caller.call("POST", f"{accounts}/appliance/token", short))[0] == 422


async def test_an_account_may_ask_what_it_may_do(kube: Kube) -> None:
    """SelfSubjectAccessReview answers 201 with the same rules that decide."""
    caller = await kube.appliance()

    async def may(**attributes: str) -> bool:
        spec = {"resourceAttributes": attributes}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        code, answer = await caller.call(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body
        )
        assert code == 201
        return bool(answer["status"]["allowed"])

    assert await may(verb="create", resource="secrets", namespace="kube-system")
    assert not await may(verb="list", resource="secrets", namespace="kube-system")
    assert await may(verb="patch", resource="nodes", subresource="status")


async def test_an_unknown_bearer_is_nobody(kube: Kube) -> None:
    """401, not anonymous."""
    code, body = await (await kube.caller("zzzzzz.0123456789abcdef")).call("GET", INFO)
    assert (code, body["reason"]) == (401, "Unauthorized")


# Nodes, Leases, pods


async def test_a_kubelet_may_touch_its_own_node_and_lease_alone(kube: Kube) -> None:
    """The node authorizer and the NodeRestriction admission."""
    caller = await kube.kubelet("m1")
    names = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("m1", "m2")]
    assert (await caller.call("POST", "/api/v1/nodes", names[1]))[0] == 403
    assert (await caller.call("POST", "/api/v1/nodes", names[0]))[0] == 201
    role = {"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}}
    assert (await caller.call("PATCH", "/api/v1/nodes/m1", role, MERGE))[0] == 403
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {}}
    assert (await caller.call("POST", LEASES, {**lease, "metadata": {"name": "m1"}}))[0] == 201
    assert (await caller.call("POST", LEASES, {**lease, "metadata": {"name": "m2"}}))[0] == 403


async def test_a_stale_change_is_refused(kube: Kube) -> None:
    """409 for an old resourceVersion in a patch or a PUT, and for another uid in a PUT or a DELETE."""
    admin = await kube.admin()
    await kube.living_node("m1", every=60)
    _, old = await admin.call("GET", "/api/v1/nodes/m1")
    kube.merge("nodes", "m1", {"metadata": {"labels": {"changed": "since"}}})
    patch = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"], "labels": {"a": "b"}}}
    answers = [await admin.call("PATCH", f"/api/v1/nodes/m1{part}", patch, MERGE) for part in ("", "/status")]
    answers.append(await admin.call("PUT", "/api/v1/nodes/m1", old))
    _, now = await admin.call("GET", "/api/v1/nodes/m1")
    other = "00000000-0000-4000-8000-000000000000"
    replaced = {**now, "metadata": {**now["metadata"], "uid": other}}
    answers.append(await admin.call("PUT", "/api/v1/nodes/m1", replaced))
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": other}}
    answers.append(await admin.call("DELETE", "/api/v1/nodes/m1", options))
    assert [(code, body["reason"]) for code, body in answers] == [(409, "Conflict")] * 5


async def test_a_patch_of_the_status_changes_no_spec(kube: Kube) -> None:
    """Conditions are merged by their type; labels go along, so that right is worth more than it sounds."""
    appliance = await kube.appliance()
    await kube.living_node("m1", every=60)
    condition = {"type": "DiskPressure", "status": "False", "reason": "test", "message": ""}
    patch = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"unschedulable": True},
        "status": {"conditions": [condition]},
    }
    code, node = await appliance.call("PATCH", "/api/v1/nodes/m1/status", patch, MERGE)
    assert code == 200 and "unschedulable" not in node["spec"] and node["metadata"]["labels"]["a"] == "b"
    assert {c["type"] for c in node["status"]["conditions"]} == {"Ready", "DiskPressure"}


async def test_a_list_comes_in_pages(kube: Kube) -> None:
    """`limit` and `continue`, with what is left; a continue token of nobody is 400."""
    caller = await kube.admin()
    for number in range(5):
        kube.create("nodes", f"m{number}", {"spec": {}, "status": {}})
    _, first = await caller.call("GET", "/api/v1/nodes?limit=3")
    assert len(first["items"]) == 3 and first["metadata"]["remainingItemCount"] == 2
    following = first["metadata"]["continue"]
    _, second = await caller.call("GET", f"/api/v1/nodes?limit=3&continue={following}")
    assert len(second["items"]) == 2 and not second["metadata"].get("continue")
    assert (await caller.call("GET", "/api/v1/nodes?limit=3&continue=nonsense"))[0] == 400


async def test_lists_and_watches_can_be_narrowed(kube: Kube) -> None:
    """By field and by label; an unknown field is 400."""
    caller = await kube.admin()
    kube.create("nodes", "m1", {"metadata": {"labels": {"rack": "1"}}, "spec": {}, "status": {}})
    kube.create("nodes", "m2", {"metadata": {"labels": {"rack": "2"}}, "spec": {}, "status": {}})

    async def names(query: str) -> list[str]:
        _, body = await caller.call("GET", f"/api/v1/nodes?{query}")
        return [item["metadata"]["name"] for item in body["items"]]

    assert await names("fieldSelector=metadata.name%3Dm2") == ["m2"]
    assert await names("labelSelector=rack%3D1") == ["m1"]
    assert await names("labelSelector=rack%20in%20(1,2),!down") == ["m1", "m2"]
    assert (await caller.call("GET", "/api/v1/nodes?fieldSelector=spec.nonsense%3D1"))[0] == 400


async def test_a_watch_tells_changes_and_ends_in_time(kube: Kube) -> None:
    """Lines of JSON from a resourceVersion on; from none, what there is comes first."""
    admin = await kube.admin()
    start = (await admin.call("GET", "/api/v1/nodes"))[1]["metadata"]["resourceVersion"]
    kube.create("nodes", "m1", {"spec": {}, "status": {}})
    kube.remove("nodes", "m1")
    kube.create("nodes", "m2", {"spec": {}, "status": {}})

    async def watch(query: str) -> list[tuple[str, str]]:
        url = f"{kube.server}/api/v1/nodes?watch=1&timeoutSeconds=1&allowWatchBookmarks=true{query}"
        async with admin.session.get(url) as response:
            events = [json.loads(line) async for line in response.content]
        told = [(e["type"], e["object"]["metadata"].get("name", "")) for e in events]
        return [event for event in told if event[0] in ("ADDED", "DELETED")]

    expected = [("ADDED", "m1"), ("DELETED", "m1"), ("ADDED", "m2")]
    assert await watch(f"&resourceVersion={start}") == expected
    assert await watch("") == [("ADDED", "m2")]


async def test_an_eviction_respects_disruption_budgets(kube: Kube) -> None:
    """429 with the cause DisruptionBudget while it does not allow one; 201 for a pod that none is about."""
    kube.needs(22, "Eviction in policy/v1")
    appliance = await kube.appliance()
    kube.pod("web", "m1", labels={"app": "web"})
    kube.pod("free", "m1")
    kube.budget("one", 1, app="web")

    async def evict(name: str) -> tuple[int, Any]:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/default/pods/{name}/eviction"
        return await appliance.call("POST", path, eviction)

    code, held = await evict("web")
    assert (code, held["reason"]) == (429, "TooManyRequests")
    assert [c["reason"] for c in held["details"]["causes"]] == ["DisruptionBudget"]
    assert (await evict("free"))[0] == 201
    assert (await evict("nobody"))[0] == 404


async def test_a_pod_on_a_node_ends_in_its_own_time(kube: Kube) -> None:
    """A DELETE sets its deletionTimestamp; with a grace of zero it is gone at once."""
    admin = await kube.admin()
    path = "/api/v1/namespaces/default/pods/web"
    kube.pod("web", "m1")
    code, ending = await admin.call("DELETE", path)
    assert code == 200 and ending["metadata"]["deletionTimestamp"]
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    await admin.call("DELETE", path, options)
    assert (await admin.call("GET", path))[0] == 404
