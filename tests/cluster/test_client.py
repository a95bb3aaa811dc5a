"""The client against the API stand-in: each call, each way to prove who we are, each fault."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from netboot.cluster import Access, BootstrapToken
from netboot.cluster.client import ClusterClients, KubernetesApi, authority_of, node_of, rfc3339
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from netboot.model.inventory import Cluster, JoinSettings
from tests.kube import pki
from tests.kube.fixtures import DEFAULT_GROUP, Canaries, Kube

SECRET = "0123456789abcdef"


@pytest.fixture
async def api(kube: Kube) -> AsyncIterator[KubernetesApi]:
    """The cluster as the appliance knows it: by its kubeconfig."""
    client = KubernetesApi("blue", kube.kubeconfig())
    yield client
    await client.close()


def token(token_id: str = "abcdef") -> BootstrapToken:
    """A bootstrap token."""
    return BootstrapToken(token_id, SECRET, rfc3339(time.time() + 600), (DEFAULT_GROUP,), "for a test")


def kubeconfig_of(kube: Kube, path: Path, user: dict[str, Any]) -> Path:
    """A kubeconfig for that user."""
    path.write_text(pki.kubeconfig(kube.api.server, kube.api.authority.certificate, user))
    return path


async def test_a_token_is_created_signed_and_deleted(
    kube: Kube, api: KubernetesApi, canaries: Canaries
) -> None:
    """Every field arrives; a taken id is 409; deleting one that is gone is no error."""
    made = token()
    await api.create_token(made)
    assert kube.tokens()["abcdef"] == {
        "token-id": "abcdef",
        "token-secret": SECRET,
        "expiration": made.expiration,
        "auth-extra-groups": DEFAULT_GROUP,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "description": "for a test",
    }
    with pytest.raises(ClusterRefused) as raised:
        await api.create_token(token())
    assert raised.value.status == 409
    await asyncio.sleep(0.3)
    info = await api.cluster_info()
    assert info.ca == kube.api.authority.certificate == await api.authority()
    assert set(info.signatures) == {"abcdef"}
    canaries.check(kube, made, info)
    assert await api.delete_token("abcdef") is True
    assert await api.delete_token("abcdef") is False


async def test_nodes_and_leases_are_read(kube: Kube, api: KubernetesApi) -> None:
    """None where there is none; readiness, boot id and system uuid where there is one."""
    assert await api.node("m1") is None
    assert await api.node_lease("m1") is None
    await kube.api.control("living_node", name="m1", system_uuid="4C4C4544-0042", boot_id="boot-1")
    node, lease = await api.node("m1"), await api.node_lease("m1")
    assert node is not None and lease is not None
    assert (node.ready, node.boot_id, node.system_uuid) == ("True", "boot-1", "4c4c4544-0042")
    assert node.incarnation == f"{node.uid}/boot-1"
    assert abs(node.created - time.time()) < 60
    assert lease.resource_version


async def test_a_node_is_marked_unknown_only_as_it_was_read(kube: Kube, api: KubernetesApi) -> None:
    """The patch carries uid and resourceVersion: once for the Node that was read, 409 for a changed one."""
    await kube.api.control("living_node", name="m1", every=60)
    node = await api.node("m1")
    assert node is not None
    await api.mark_unknown(node, time.time())
    assert kube.ready("m1") == "Unknown"
    with pytest.raises(ClusterRefused) as raised:
        await api.mark_unknown(node, time.time())
    assert raised.value.status == 409


async def test_the_server_tells_its_version(kube: Kube, api: KubernetesApi) -> None:
    """Providers write a minor version like 31+."""
    assert (await api.version()) >= (await api.version())
    kube.api.version = "v1.31+.7-eks"
    version = await api.version()
    assert (version.major, version.minor) == (1, 31)


async def test_our_rights_can_be_asked(api: KubernetesApi) -> None:
    """SelfSubjectAccessReview, by the roles of config/kubernetes."""
    assert await api.may(Access("create", "secrets", namespace="kube-system"))
    assert await api.may(Access("patch", "nodes", subresource="status"))
    assert not await api.may(Access("list", "secrets", namespace="kube-system"))
    assert str(Access("get", "secrets", namespace="kube-system")) == "get secrets in kube-system"


async def test_a_client_certificate_works(kube: Kube, tmp_path: Path) -> None:
    """From data and from files beside the kubeconfig."""
    certificate, key = kube.api.authority.client("admin", ["system:masters"])
    (tmp_path / "me.crt").write_bytes(certificate)
    (tmp_path / "me.key").write_bytes(key)
    users = [
        {"client-certificate-data": pki.b64(certificate), "client-key-data": pki.b64(key)},
        {"client-certificate": "me.crt", "client-key": "me.key"},
    ]
    for user in users:
        client = KubernetesApi("blue", kubeconfig_of(kube, tmp_path / "kubeconfig", user))
        assert await client.node("m1") is None
        await client.close()


async def test_a_renewed_token_file_counts_at_once(kube: Kube, tmp_path: Path) -> None:
    """Read again at each use: a wrong token is 401, the right one in the same file works."""
    file = tmp_path / "token"
    file.write_text("wrong")
    client = KubernetesApi("blue", kubeconfig_of(kube, tmp_path / "kubeconfig", {"tokenFile": "token"}))
    with pytest.raises(ClusterRefused) as raised:
        await client.node("m1")
    assert raised.value.status == 401
    file.write_text((kube.directory / "appliance.token").read_text())
    assert await client.node("m1") is None
    await client.close()


async def test_a_plugin_is_asked_again_when_its_credential_expires_or_is_refused(
    kube: Kube, tmp_path: Path
) -> None:
    """Once per credential: again after its expirationTimestamp, and once more on a 401."""
    good = (kube.directory / "appliance.token").read_text()
    answer, count = tmp_path / "answer", tmp_path / "count"
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\necho x >>{count}\ncat {answer}\n")
    plugin.chmod(0o755)

    def prints(bearer: str, life: float) -> None:
        status = {"token": bearer, "expirationTimestamp": rfc3339(now + life)}
        document = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": status,
        }
        answer.write_text(json.dumps(document))

    now = time.time()
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}}
    path = kubeconfig_of(kube, tmp_path / "kubeconfig", user)  # type: ignore[arg-type]
    client = KubernetesApi("blue", path, clock=lambda: now)
    prints(good, 3600)
    await client.node("m1")
    await client.node("m1")
    assert count.read_text().count("x") == 1
    now += 3600
    prints(good, 3600)
    await client.node("m1")
    assert count.read_text().count("x") == 2
    kube.api.service_accounts["new-token"] = kube.api.service_accounts.pop(good)
    prints("new-token", 3600)
    await client.node("m1")
    assert count.read_text().count("x") == 3
    await client.close()


async def test_a_pod_uses_its_service_account(
    kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a kubeconfig, by the mounted folder and the environment."""
    (tmp_path / "token").write_text((kube.directory / "appliance.token").read_text())
    (tmp_path / "ca.crt").write_bytes(kube.api.authority.certificate)
    monkeypatch.setattr("netboot.cluster.kubeconfig.load_in_cluster.__defaults__", (tmp_path,))
    host, _, port = kube.endpoint.rpartition(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    client = KubernetesApi("blue", None, environ=environ)
    assert await client.node("m1") is None
    await client.close()


async def test_a_changed_kubeconfig_is_read_again(kube: Kube, tmp_path: Path) -> None:
    """A missing one is an error until it is there; no restart is needed."""
    path = tmp_path / "kubeconfig"
    client = KubernetesApi("blue", path)
    with pytest.raises(ClusterError, match="No such file"):
        await client.node("m1")
    path.write_text(kube.kubeconfig().read_text())
    assert await client.node("m1") is None
    path.write_text("kind: Config")
    with pytest.raises(ClusterError, match="current-context"):
        await client.node("m1")
    await client.close()


async def test_an_unreachable_server_is_said_so(kube: Kube, api: KubernetesApi) -> None:
    """With its address and the reason; when it is back, calls work again."""
    await api.node("m1")
    await kube.api.control("settings", down=True)
    with pytest.raises(ClusterUnavailable, match=r"API of blue at https://127.0.0.1:\d+ is unreachable"):
        await api.node("m1")
    await kube.api.control("settings", down=False)
    assert await api.node("m1") is None


async def test_a_slow_server_is_given_up(kube: Kube) -> None:
    """Every call has its time limit."""
    client = KubernetesApi("blue", kube.kubeconfig(), timeout=0.3)
    kube.api.settings.slow = 1
    with pytest.raises(ClusterUnavailable, match=r"no answer within 0.3 s"):
        await client.node("m1")
    await client.close()


async def test_another_authority_is_not_trusted(kube: Kube, tmp_path: Path) -> None:
    """A server whose certificate the kubeconfig's authority did not sign is not asked for anything."""
    path = tmp_path / "kubeconfig"
    path.write_text(pki.kubeconfig(kube.api.server, pki.Authority().certificate, {"token": SECRET}))
    client = KubernetesApi("blue", path)
    with pytest.raises(ClusterUnavailable, match="not signed by the kubeconfig's authority") as raised:
        await client.node("m1")
    assert SECRET not in str(raised.value)
    assert not kube.api.requests
    await client.close()


async def test_a_failing_server_is_unavailable_and_a_refusal_is_refused(
    kube: Kube, api: KubernetesApi
) -> None:
    """5xx may be asked again; 403 carries the API's own reason."""
    kube.api.settings.half_500 = True
    kube.api._count = 0
    with pytest.raises(ClusterUnavailable, match="answered 500: etcdserver"):
        await api.node("m1")
    kube.api.settings.half_500 = False
    kube.api.authorizer.grants.clear()
    with pytest.raises(ClusterRefused, match='nodes "m1" is forbidden') as raised:
        await api.node("m1")
    assert raised.value.status == 403


async def test_a_clock_that_is_far_off_is_reported_once(
    kube: Kube, api: KubernetesApi, caplog: pytest.LogCaptureFixture
) -> None:
    """R2: skew against the API's Date header above 30 s."""
    kube.api.settings.clock_skew = 20
    await api.version()
    assert not caplog.records
    kube.api.settings.clock_skew = 300
    await api.version()
    await api.version()
    assert api.skew is not None and 290 < api.skew < 310
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1 and "s ahead of ours" in warnings[0].getMessage()


async def test_clients_follow_a_reload(kube: Kube, tmp_path: Path) -> None:
    """One client per cluster that is joined; the same kubeconfig keeps its client."""

    def cluster(name: str, path: Path, method: str = "kubeadm") -> Cluster:
        return Cluster(name, kube.endpoint, join=JoinSettings(method=method, kubeconfig=path))

    clients = ClusterClients()
    await clients.update([cluster("blue", kube.kubeconfig()), cluster("idle", kube.kubeconfig(), "none")])
    blue = clients.api("blue")
    with pytest.raises(ClusterError, match="no cluster idle"):
        clients.api("idle")
    await clients.update([cluster("blue", kube.kubeconfig())])
    assert clients.api("blue") is blue
    await clients.update([cluster("blue", tmp_path / "other")])
    assert clients.api("blue") is not blue
    await clients.close()
    with pytest.raises(ClusterError):
        clients.api("blue")


@pytest.mark.parametrize(
    "text", ["", "a: [", "clusters: []", "clusters: [{cluster: {}}]", "[1, 2]", "x" * 400_000]
)
def test_a_strange_cluster_info_has_no_authority(text: str) -> None:
    """Nothing but a kubeconfig with an authority gives one."""
    assert authority_of(text) == b""


def test_an_empty_node_object_is_not_ready() -> None:
    """Parts may be absent, or null."""
    node = node_of({"metadata": None, "status": {"conditions": None, "nodeInfo": None}})
    assert (node.ready, node.created, node.boot_id) == ("Unknown", 0.0, "")
