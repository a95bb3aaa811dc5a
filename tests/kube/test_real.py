"""The harness of real binaries, with programs that write down how they were called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube import real
from tests.kube.cluster import fresh_token, until
from tests.kube.control import control
from tests.kube.fake_programs import calls, install
from tests.kube.real import MissingPrograms, RealCluster, controller_manager_flags, programs
from tests.kube.real_kube import RealKube


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs."""
    return install(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="module")
def cluster(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster of them."""
    made = RealCluster(programs(folder), tmp_path_factory.mktemp("cluster"))
    made.start()
    yield made
    made.stop()


def flags_of(folder: Path, name: str) -> dict[str, str]:
    """The flags of a program's only call."""
    (arguments,) = calls(folder, name)
    pairs = [a.removeprefix("--").partition("=") for a in arguments]
    return {flag: value for flag, _, value in pairs}


def test_a_wrong_folder_fails_with_everything_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All names at once, and where Debian has etcd; a file that cannot be run is missing, too."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "kubectl").write_text("")
    with pytest.raises(MissingPrograms) as raised:
        programs(tmp_path)
    text = str(raised.value)
    assert real.VARIABLE in text and "apt-get install etcd-server" in text
    assert all(name in text for name in real.PROGRAMS)


def test_the_api_server_is_told_what_joins_need(cluster: RealCluster, folder: Path) -> None:
    """Loopback only, bootstrap tokens, Node and RBAC, NodeRestriction, keys for service accounts."""
    flags = flags_of(folder, "kube-apiserver")
    assert flags["bind-address"] == flags["advertise-address"] == "127.0.0.1"
    assert flags["endpoint-reconciler-type"] == "none"
    assert flags["authorization-mode"] == "Node,RBAC"
    assert flags["enable-admission-plugins"] == "NodeRestriction"
    assert flags["enable-bootstrap-token-auth"] == "true"
    etcd = flags_of(folder, "etcd")
    assert flags["etcd-servers"] == etcd["listen-client-urls"] == etcd["advertise-client-urls"]
    for flag in ("client-ca-file", "tls-cert-file", "service-account-key-file"):
        assert (cluster.directory / Path(flags[flag]).name).read_text().startswith("-----BEGIN")
    for flag in ("tls-private-key-file", "service-account-signing-key-file"):
        assert Path(flags[flag]).stat().st_mode & 0o777 == 0o600


def test_the_controller_manager_signs_and_cleans(cluster: RealCluster, folder: Path) -> None:
    """bootstrapsigner and tokencleaner are off by default; certificates are signed by the cluster's CA."""
    flags = flags_of(folder, "kube-controller-manager")
    assert flags["controllers"] == "*,bootstrapsigner,tokencleaner"
    assert flags["use-service-account-credentials"] == "true"
    assert (
        Path(flags["cluster-signing-cert-file"]).read_bytes() == (cluster.directory / "ca.crt").read_bytes()
    )
    assert flags["cluster-signing-key-file"].endswith("ca.key")


def test_an_old_controller_manager_opens_no_port_that_another_would_need(tmp_path: Path) -> None:
    """10252, the insecure one, is open by default before 1.24; newer ones refuse the flag that closes it."""
    assert "--port=0" in controller_manager_flags(tmp_path, 23)
    assert "--port=0" not in controller_manager_flags(tmp_path, 24)


def test_what_an_operator_applies_is_applied_after_what_kubeadm_leaves(
    cluster: RealCluster, folder: Path
) -> None:
    """Every manifest of config/kubernetes, by kubectl, as the administrator."""
    applied = [call[-1].removeprefix("--filename=") for call in calls(folder, "kubectl")]
    manifests = [str(p) for p in sorted(real.MANIFESTS.glob("*.yaml"))]
    assert manifests and applied[-len(manifests) :] == manifests
    assert all("init-" in name for name in applied[: -len(manifests)])


async def test_a_test_holds_it_as_it_holds_the_stand_in(cluster: RealCluster, tmp_path: Path) -> None:
    """Objects over HTTP, callers of every kind; the next test finds it clean; it cannot be looked into."""
    kube = RealKube(cluster, tmp_path)
    kube.clean()
    token = fresh_token()
    kube.mint(token)
    await until(lambda: kube.signed(token[:6]))
    await kube.living_node("m1", every=0.05, rack="1")
    kube.pod("web", "m1", labels={"app": "web"})
    kube.budget("one", 1, app="web")
    kube.merge("nodes", "m1", {"spec": {"unschedulable": True}, "status": {"phase": "x"}})
    assert kube.ready("m1") == "True" and list(kube.tokens()) == [token[:6]]
    appliance = await kube.appliance()
    assert (await appliance.call("GET", "/api/v1/nodes/m1"))[1]["spec"]["unschedulable"] is True
    assert (await (await kube.kubelet("m1")).call("GET", "/api/v1/nodes/m1"))[0] == 200
    with pytest.raises(pytest.skip.Exception):
        _ = kube.api
    await kube.close()
    kube.clean()
    assert not kube.tokens() and kube.node("m1") is None and not kube.all("pods")


async def test_a_pod_that_shall_end_does_as_if_its_node_had_a_kubelet(
    cluster: RealCluster, tmp_path: Path
) -> None:
    """That one at once, and no other."""
    control(cluster.directory / "standin", "settings", pod_end=30.0)
    kube = RealKube(cluster, tmp_path)
    await kube.end_pods()
    for name in ("web", "other"):
        kube.pod(name, "m1")
    path = "/api/v1/namespaces/default/pods/web"
    assert (await (await kube.admin()).call("DELETE", path))[0] == 200
    await until(lambda: kube.find("pods", "web", "default") is None)
    assert [pod["metadata"]["name"] for pod in kube.all("pods")] == ["other"]
    await kube.close()


def test_a_cluster_is_started_when_its_name_is_first_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, whoever asks again; another name is another cluster."""
    started: list[RealCluster] = []
    monkeypatch.setattr(RealCluster, "start", lambda cluster: started.append(cluster))
    blue = real.shared(folder, "blue")
    assert started == [blue] and real.shared(folder, "blue") is blue
    red = real.shared(folder, "red")
    assert len(started) == 2 and started[1] is red
    for cluster in started:
        cluster.stop()


def test_a_program_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    """With its name, how it ended, and its last words; nothing is left running."""
    folder = install(tmp_path / "bin")
    (folder / "etcd").write_text("#!/bin/sh\necho no disk >&2\nexit 3\n")
    directory = tmp_path / "cluster"
    directory.mkdir()
    broken = RealCluster(programs(folder), directory)
    with pytest.raises(RuntimeError, match=r"(?s)etcd ended with 3.*no disk"):
        broken.start()
    broken.stop()
    assert not directory.exists()
