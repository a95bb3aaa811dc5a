"""The join method `kubeadm` against the API stand-in, requirement by requirement (docs/kubernetes.md)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netboot.errors import ClusterUnavailable, JoinWithheld, StoreError
from netboot.join.kubeadm_config import pins_of
from netboot.model.boot import TokenRecord
from netboot.model.inventory import NodeActions
from tests.join.asking import QUIET, Asking, Drawn, configuration, token_of
from tests.kube.controllers import CLUSTER_INFO
from tests.kube.fixtures import Canaries, Kube


async def withheld(asking: Asking, boot_id: str = "boot-1", **options: object) -> JoinWithheld:
    """The refusal that this boot meets."""
    with pytest.raises(JoinWithheld) as raised:
        await asking.method(**options).material(asking.request(boot_id), time.time())
    return raised.value


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


async def test_r1_a_taken_id_is_drawn_anew_five_times_at_most(asking: Asking, kube: Kube) -> None:
    """409 is met with another id; after five of them the node has to ask again; nothing is left behind."""
    kube.mint("aaaaaa.0123456789abcdef")
    taken = ("aaaaaa", "x" * 16)
    material = await asking.method(Drawn(*taken * 4)).material(asking.request(), time.time())
    assert material.credentials != ("aaaaaa",)
    refusal = await withheld(asking, "boot-2", random=Drawn(*taken * 5))
    assert refusal.retry_after and "5 token ids in a row were taken" in refusal.reason
    assert not await asking.store.tokens_of("boot-2")
    assert kube.tokens()["aaaaaa"]["token-secret"] == "0123456789abcdef", "a foreign token is not touched"


@pytest.mark.parametrize(("life", "expected"), [(900.0, 900), (7200.0, 3600)])
async def test_r2_the_expiration_is_always_set(
    asking: Asking, kube: Kube, life: float, expected: int
) -> None:
    """UTC with its zone, at most an hour from now."""
    now = time.time()
    await asking.method().material(asking.request(token_ttl=life), now)
    (data,) = kube.tokens().values()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", data["expiration"])
    expires = datetime.fromisoformat(data["expiration"].replace("Z", "+00:00")).astimezone(UTC).timestamp()
    assert abs(expires - now - expected) < 2


async def test_r2_a_clock_far_ahead_is_named_as_the_cause(asking: Asking, kube: Kube) -> None:
    """The token is expired when it is made: no signature, and the reason says why."""
    kube.api.settings.clock_skew = 3600
    refusal = await withheld(asking, signed_within=0.3)
    assert "expired token: the clock of cluster blue is" in refusal.reason and refusal.retry_after


async def test_r3_a_field_that_kubeadm_would_refuse_stops_before_the_post(asking: Asking, kube: Kube) -> None:
    """For good, with the field's name."""
    request = asking.request(boot_id="boot-1\nsecond line")
    with pytest.raises(JoinWithheld, match="wrong description") as raised:
        await asking.method().material(request, time.time())
    assert raised.value.retry_after is None
    assert not [r for r in kube.api.requests if r["method"] == "POST"]


async def test_r4_only_the_group_of_the_list_is_given(asking: Asking, kube: Kube) -> None:
    """`bind: cluster` is kubeadm's default group."""
    await asking.method().material(asking.request(), time.time())
    (data,) = kube.tokens().values()
    assert data["auth-extra-groups"] == "system:bootstrappers:kubeadm:default-node-token"


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


async def test_r6_asking_again_replaces_the_token_at_most_five_times(
    asking: Asking, kube: Kube, canaries: Canaries
) -> None:
    """The old token is deleted, never extended; the sixth question of one boot is refused for good."""
    method = asking.method()
    seen = set()
    for _ in range(5):
        material = await method.material(asking.request(), time.time())
        seen |= set(material.credentials)
        assert set(kube.tokens()) == set(material.credentials)
        canaries.check(kube, material)
    assert len(seen) == 5
    for _ in range(2):
        with pytest.raises(JoinWithheld, match="as many credentials as one boot may have") as raised:
            await method.material(asking.request(), time.time())
        assert raised.value.retry_after is None
    assert not kube.tokens()
    assert await method.material(asking.request("boot-2"), time.time()), "the next boot counts anew"


async def test_r6_two_questions_at_once_leave_one_token(asking: Asking, kube: Kube) -> None:
    """A repeated request must not leave a token that nobody knows."""
    method = asking.method()
    made = await asyncio.gather(*(method.material(asking.request(), time.time()) for _ in range(3)))
    assert set(kube.tokens()) == set(made[-1].credentials)


async def test_r10_a_token_is_deleted_when_its_boot_is_through(asking: Asking, kube: Kube) -> None:
    """Twice is no error, nor is a token that is gone already, nor a boot that had none."""
    method = asking.method()
    await method.material(asking.request(), time.time())
    await method.revoke("boot-1")
    assert not kube.tokens() and not await asking.store.tokens()
    material = await method.material(asking.request("boot-2"), time.time())
    await kube.api.control(
        "delete",
        resource="secrets",
        namespace="kube-system",
        name=f"bootstrap-token-{material.credentials[0]}",
    )
    await method.revoke("boot-2")
    await method.revoke("boot-2")
    await method.revoke("never")
    assert not await asking.store.tokens()


async def test_r10_a_start_deletes_what_was_recorded_and_lists_nothing(asking: Asking, kube: Kube) -> None:
    """Also where the appliance died before its POST: 404 is success. A foreign token stays."""
    kube.mint("zzzzzz.0123456789abcdef")
    await asking.method().material(asking.request(), time.time())
    await asking.store.record_token(TokenRecord("nnnnnn", "boot-9", "blue", "", time.time()))
    after_restart = asking.method()
    assert await after_restart.start() == {"boot-1", "boot-9"}
    await after_restart.sweep()
    assert set(kube.tokens()) == {"zzzzzz"} and not await asking.store.tokens()
    asked = [r for r in kube.api.requests if "/secrets" in r["path"]]
    assert {r["method"] for r in asked} == {"POST", "DELETE"}


async def test_r10_what_cannot_be_deleted_now_is_deleted_later(asking: Asking, kube: Kube) -> None:
    """The API is away at the end of a boot: the record stays, and the next sweep does it."""
    method = asking.method()
    await method.material(asking.request(), time.time())
    await kube.api.control("settings", down=True)
    await method.revoke("boot-1")
    assert await asking.store.tokens()
    await kube.api.control("settings", down=False)
    await method.sweep()
    assert not kube.tokens() and not await asking.store.tokens()


async def test_r10_a_post_whose_answer_was_lost_is_taken_back(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id was recorded before the POST, so that its Secret is found even after a crash."""
    api = asking.clients.api("blue")
    create = api.create_token

    async def lost(token: object) -> None:
        await create(token)  # type: ignore[arg-type]
        raise ClusterUnavailable("the connection broke")

    monkeypatch.setattr(api, "create_token", lost)
    method = asking.method()
    with pytest.raises(JoinWithheld, match="the connection broke"):
        await method.material(asking.request(), time.time())
    assert len(kube.tokens()) == 1
    after_restart = asking.method()
    await after_restart.start()
    await after_restart.sweep()
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


async def test_r14_the_authority_is_pinned_and_compared(asking: Asking, kube: Kube) -> None:
    """caCertHashes always; another authority in cluster-info is withheld for good, before a token is made."""
    material = await asking.method().material(asking.request(), time.time())
    bootstrap = configuration(material)["discovery"]["bootstrapToken"]
    assert bootstrap["caCertHashes"] == list(pins_of(kube.api.authority.certificate))
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


async def test_r15_the_configuration_is_a_private_file_with_a_short_discovery(
    asking: Asking, kube: Kube
) -> None:
    """Mode 0600, 60 s, in the version of the cluster's kubeadm; the node's name is registered."""
    content, mode = (await asking.method().material(asking.request(), time.time())).files["join/kubeadm.yaml"]
    assert mode == 0o600 and b'"discovery": "60s"' in content and b"v1beta4" in content
    kube.api.version = "v1.30.9"
    material = await asking.method().material(asking.request("boot-2"), time.time())
    assert configuration(material)["apiVersion"] == "kubeadm.k8s.io/v1beta3"
    assert configuration(material)["discovery"]["timeout"] == "60s"
    assert configuration(material)["nodeRegistration"]["name"] == "m1"


async def test_r19_a_dead_machine_is_set_to_unknown_and_its_successor_served(
    asking: Asking, kube: Kube
) -> None:
    """Watched from the DISCOVER on: no wait at the question once two renew intervals have passed."""
    await kube.api.control("living_node", name="m1", every=60, boot_id="before")
    method = asking.method()
    runner = asyncio.get_running_loop().create_task(method.run())
    method.observe("blue", "m1")
    await asyncio.sleep(QUIET + 0.3)
    material = await method.material(asking.request(), time.time())
    runner.cancel()
    node = kube.node("m1")
    assert node is not None and kube.ready("m1") == "Unknown"
    assert material.replaces == f"{node['metadata']['uid']}/before"
    assert not asking.alarms


async def test_r19_a_dead_machine_that_was_not_watched_is_waited_for(asking: Asking, kube: Kube) -> None:
    """After a restart of the appliance the looks begin at the question; waiting costs no credential."""
    await kube.api.control("living_node", name="m1", every=60)
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
    await kube.api.control("living_node", name="m1", every=60)
    await kube.api.control("delete", resource="leases", namespace="kube-node-lease", name="m1")
    request = asking.request()
    forbidden = replace(
        request, cluster=replace(request.cluster, node_actions=NodeActions(mark_unknown=False))
    )
    with pytest.raises(JoinWithheld, match="mark_unknown is false") as withheld:
        await asking.method().material(forbidden, time.time())
    assert withheld.value.retry_after == 5.0 and kube.ready("m1") == "True"


async def test_r19_no_lease_is_a_dead_machine(asking: Asking, kube: Kube) -> None:
    """A Node object that is Ready without a Lease."""
    await kube.api.control("living_node", name="m1", every=60)
    await kube.api.control("delete", resource="leases", namespace="kube-node-lease", name="m1")
    await asking.method().material(asking.request(), time.time())
    assert kube.ready("m1") == "Unknown"


async def test_r19_an_impostor_is_withheld_for_good_and_reported(asking: Asking, kube: Kube) -> None:
    """Another machine lives under the name: no token, the Node object untouched, the operator told."""
    await kube.api.control("living_node", name="m1", every=0.2)
    method = asking.method()
    method.observe("blue", "m1")
    reason = None
    until = time.monotonic() + 10
    while reason is None:
        with pytest.raises(JoinWithheld) as raised:
            await method.material(asking.request(), time.time())
        assert time.monotonic() < until
        reason = raised.value.reason if raised.value.retry_after is None else None
        await asyncio.sleep(0.05)
    assert reason.startswith("impostor: 52:54:00:12:34:56 at 10.77.0.10 asks to join as m1")
    assert asking.alarms == [reason]
    assert kube.ready("m1") == "True" and not kube.tokens()


async def test_r19_a_node_that_changed_meanwhile_is_looked_at_again(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody touched the Node object between our look and our patch: 409, so the question is asked anew."""
    await kube.api.control("living_node", name="m1", every=60)
    api = asking.clients.api("blue")
    method = asking.method()
    method.observe("blue", "m1")
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
    await kube.api.control("living_node", name="m1", every=0.05)
    condition = {"type": "Ready", "status": "False"}
    await kube.api.control(
        "merge", resource="nodes", name="m1", patch={"status": {"conditions": [condition]}}
    )
    assert (await asking.method().material(asking.request(), time.time())).replaces


async def test_an_api_that_is_away_is_waited_for_but_not_for_ever(asking: Asking, kube: Kube) -> None:
    """First a wait with the reason, after its patience the same reason for good; an answer forgets it."""
    await kube.api.control("settings", down=True)
    method = asking.method(patience=60.0)
    for later in (0.0, 59.0):
        with pytest.raises(JoinWithheld, match=r"API of blue at .* is unreachable") as raised:
            await method.material(asking.request(), 1000.0 + later)
        assert raised.value.retry_after
    with pytest.raises(JoinWithheld, match=r"given up after 61 s: the Kubernetes API of blue") as raised:
        await method.material(asking.request(), 1061.0)
    assert raised.value.retry_after is None


@pytest.mark.parametrize(("status", "text"), [(401, "renew the credential"), (403, "appliance.yaml")])
async def test_a_refused_account_is_told_with_its_remedy(
    asking: Asking, kube: Kube, status: int, text: str
) -> None:
    """401 and 403 are the operator's to mend."""
    if status == 401:
        kube.api.service_accounts.clear()
    else:
        kube.api.authorizer.grants = [g for g in kube.api.authorizer.grants if "secrets" not in g.resources]
    refusal = await withheld(asking)
    assert refusal.retry_after is None and text in refusal.reason
    assert not await asking.store.tokens()


async def test_a_cluster_without_kubeconfig_is_waited_for(asking: Asking, kube: Kube) -> None:
    """The operator may still put it there."""
    kube.kubeconfig().unlink()
    refusal = await withheld(asking)
    assert refusal.retry_after and "No such file" in refusal.reason


async def test_a_store_that_cannot_write_withholds(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token is made that could not be deleted after a restart."""

    async def full(token: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(asking.store, "record_token", full)
    refusal = await withheld(asking)
    assert refusal.retry_after and "disk full" in refusal.reason and not kube.tokens()


async def test_no_lock_is_left_behind(asking: Asking) -> None:
    """Boots come and go for years."""
    method = asking.method(secrets)
    await asyncio.gather(*(method.revoke(f"boot-{n}") for n in range(50)))
    assert not method._locks
