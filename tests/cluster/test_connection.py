"""Each way to prove who we are, each fault, against the API stand-in."""

from __future__ import annotations

import json
import logging
import socket
import time
from pathlib import Path

import pytest

from netboot.cluster.calls import rfc3339
from netboot.cluster.client import KubernetesApi
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from tests.cluster.talking import SECRET, kubeconfig_of
from tests.kube import pki
from tests.kube.fixtures import Faults, Kube


async def test_a_client_certificate_works(kube: Kube, tmp_path: Path) -> None:
    """From data and from files beside the kubeconfig."""
    certificate, key = kube.certificate_of("admin", "system:masters")
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
    file.write_text(kube.token)
    assert await client.node("m1") is None
    await client.close()


async def test_a_plugin_is_asked_again_when_its_credential_expires_or_is_refused(
    kube: Kube, faults: Faults, tmp_path: Path
) -> None:
    """Once per credential: again after its expirationTimestamp, and once more on a 401."""
    good = kube.token
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
    path = kubeconfig_of(kube, tmp_path / "kubeconfig", user)
    client = KubernetesApi("blue", path, clock=lambda: now)
    prints(good, 3600)
    await client.node("m1")
    await client.node("m1")
    assert count.read_text().count("x") == 1
    now += 3600
    prints(good, 3600)
    await client.node("m1")
    assert count.read_text().count("x") == 2
    faults.service_accounts["new-token"] = faults.service_accounts.pop(good)
    prints("new-token", 3600)
    await client.node("m1")
    assert count.read_text().count("x") == 3
    await client.close()


async def test_a_pod_uses_its_service_account(
    kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a kubeconfig, by the mounted folder and the environment."""
    (tmp_path / "token").write_text(kube.token)
    (tmp_path / "ca.crt").write_bytes(kube.ca)
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


async def test_an_unreachable_server_is_said_so(kube: Kube, faults: Faults, api: KubernetesApi) -> None:
    """With its address and the reason; when it is back, calls work again."""
    await api.node("m1")
    await faults.control("settings", down=True)
    with pytest.raises(ClusterUnavailable, match=r"API of blue at https://127.0.0.1:\d+ is unreachable"):
        await api.node("m1")
    await faults.control("settings", down=False)
    assert await api.node("m1") is None


async def test_a_slow_server_is_given_up(kube: Kube, faults: Faults) -> None:
    """Every call has its time limit."""
    client = KubernetesApi("blue", kube.kubeconfig(), timeout=0.3)
    faults.settings.slow = 1
    with pytest.raises(ClusterUnavailable, match=r"no answer within 0.3 s"):
        await client.node("m1")
    await client.close()


async def test_another_authority_is_not_trusted(kube: Kube, faults: Faults, tmp_path: Path) -> None:
    """A server whose certificate the kubeconfig's authority did not sign is not asked for anything."""
    path = tmp_path / "kubeconfig"
    path.write_text(pki.kubeconfig(kube.server, pki.Authority().certificate, {"token": SECRET}))
    client = KubernetesApi("blue", path)
    with pytest.raises(ClusterUnavailable, match="not signed by the kubeconfig's authority") as raised:
        await client.node("m1")
    assert SECRET not in str(raised.value)
    assert not faults.requests
    await client.close()


async def test_a_failing_server_is_unavailable_and_a_refusal_is_refused(
    kube: Kube, faults: Faults, api: KubernetesApi
) -> None:
    """5xx may be asked again; 403 carries the API's own reason."""
    faults.settings.failing = True
    with pytest.raises(ClusterUnavailable, match="answered 500: etcdserver"):
        await api.node("m1")
    faults.settings.failing = False
    faults.authorizer.grants.clear()
    with pytest.raises(ClusterRefused, match='nodes "m1" is forbidden') as raised:
        await api.node("m1")
    assert raised.value.status == 403


async def test_a_clock_that_is_far_off_is_reported_once(
    kube: Kube, faults: Faults, api: KubernetesApi, caplog: pytest.LogCaptureFixture
) -> None:
    """R2: skew against the API's Date header above 30 s."""
    faults.settings.clock_skew = 20
    await api.version()
    assert not caplog.records
    faults.settings.clock_skew = 300
    await api.version()
    await api.version()
    assert api.skew is not None and 290 < api.skew < 310
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1 and "s ahead of ours" in warnings[0].getMessage()


async def test_a_throttled_call_says_when_to_ask_again(faults: Faults, api: KubernetesApi) -> None:
    """429 with Retry-After, in plain text; the time is bounded."""
    for asked, seconds in ((3, 3.0), (86400, 60.0)):
        faults.settings.throttle = asked
        with pytest.raises(ClusterUnavailable) as raised:
            await api.node("m1")
        assert (raised.value.status, raised.value.retry_after) == (429, seconds)


async def test_an_expired_credential_is_refused_until_it_is_renewed(
    kube: Kube, faults: Faults, tmp_path: Path
) -> None:
    """401; a bound token in a file that somebody renews counts again without a restart."""
    admin = await kube.admin()
    path = "/api/v1/namespaces/netboot/serviceaccounts/appliance/token"

    async def lent() -> str:
        return str(
            (await admin.call("POST", path, {"spec": {"expirationSeconds": 600}}))[1]["status"]["token"]
        )

    file = tmp_path / "token"
    file.write_text(await lent())
    client = KubernetesApi("blue", kubeconfig_of(kube, tmp_path / "kubeconfig", {"tokenFile": "token"}))
    assert await client.node("m1") is None
    faults.settings.clock_skew = 601
    with pytest.raises(ClusterRefused) as raised:
        await client.node("m1")
    assert raised.value.status == 401
    file.write_text(await lent())
    assert await client.node("m1") is None
    faults.settings.credentials_expired = True
    with pytest.raises(ClusterRefused):
        await client.node("m1")
    await client.close()


async def test_a_connection_notices_that_its_server_is_gone(api: KubernetesApi) -> None:
    """A watch only listens: without questions of the kernel's it would outlast a failover for minutes."""
    await api.nodes()
    session = api._connection._session
    assert session is not None and session.connector is not None
    kept = [protocol for each in session.connector._conns.values() for protocol, _ in each]
    transports = [protocol.transport for protocol in kept]
    sockets = [t.get_extra_info("socket") for t in transports if t is not None]
    assert sockets
    for each in sockets:
        assert each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert each.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
