"""The JoinConfiguration (R15)."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import yaml

from netboot.cluster import ServerVersion
from netboot.join import JoinRequest
from netboot.join.kubeadm_config import (
    DISCOVERY_PATH,
    Credential,
    api_version,
    discovery_kubeconfig,
    join_configuration,
)
from netboot.model.inventory import Cluster, JoinSettings
from netboot.model.machine import Mac
from netboot.model.settings import Taint
from tests.kube.real import VARIABLE

REQUEST = JoinRequest(
    "boot-1",
    "m1",
    Mac("52:54:00:12:34:56"),
    Cluster("blue", "[fd00::1]:6443", join=JoinSettings(cri_socket="unix:///run/x.sock")),
    labels={"b": "2", "a": "1"},
    taints=(Taint("foo", "bar", "NoSchedule"), Taint("lone", "", "NoExecute")),
    kubelet_args={"cgroup-driver": "systemd"},
)


def made(minor: int, request: JoinRequest = REQUEST) -> bytes:
    """The configuration for a server of that minor version."""
    return join_configuration(
        request,
        Credential("abcdef.0123456789abcdef", ("sha256:00",)),
        server=ServerVersion(1, minor),
        discovery_timeout=60,
    )


def test_the_newer_version_is_what_kubeadm_reads() -> None:
    """v1beta4: arguments as a list, the discovery limit among the timeouts."""
    assert json.loads(made(34)) == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "token": "abcdef.0123456789abcdef",
                "apiServerEndpoint": "[fd00::1]:6443",
                "caCertHashes": ["sha256:00"],
            }
        },
        "nodeRegistration": {
            "name": "m1",
            "criSocket": "unix:///run/x.sock",
            "taints": [
                {"key": "foo", "value": "bar", "effect": "NoSchedule"},
                {"key": "lone", "effect": "NoExecute"},
            ],
            "kubeletExtraArgs": [
                {"name": "cgroup-driver", "value": "systemd"},
                {"name": "node-labels", "value": "a=1,b=2"},
            ],
        },
        "timeouts": {"discovery": "60s"},
    }


@pytest.mark.parametrize(("minor", "version"), [(30, "v1beta3"), (20, "v1beta2")])
def test_the_older_versions_are_what_kubeadm_read_before(minor: int, version: str) -> None:
    """v1beta3 and v1beta2: arguments as a map, the limit under discovery."""
    document = json.loads(made(minor))
    assert document["apiVersion"] == f"kubeadm.k8s.io/{version}"
    assert document["nodeRegistration"]["kubeletExtraArgs"] == {
        "cgroup-driver": "systemd",
        "node-labels": "a=1,b=2",
    }
    assert document["discovery"]["timeout"] == "60s" and "timeouts" not in document


@pytest.mark.parametrize(
    ("minor", "version"),
    [
        (20, "v1beta2"),
        (21, "v1beta2"),
        (22, "v1beta3"),
        (30, "v1beta3"),
        (31, "v1beta4"),
        (36, "v1beta4"),
    ],
)
def test_the_servers_version_decides(minor: int, version: str) -> None:
    """v1beta4 for kubeadm 1.31 and newer, v1beta2 for those before 1.22."""
    assert api_version(ServerVersion(1, minor)) == f"kubeadm.k8s.io/{version}"


def test_a_yaml_reader_reads_the_same() -> None:
    """JSON is YAML: no value changes its type or breaks out of its place."""
    strange = replace(REQUEST, labels={"on": "yes", "n": "1e3", "q": "a"}, kubelet_args={"v": "0777"})
    assert yaml.safe_load(made(34, strange)) == json.loads(made(34, strange))


@pytest.mark.parametrize("minor", [30, 31])
def test_discovery_by_file_names_the_file_and_the_token(minor: int) -> None:
    """No endpoint, no pins: the kubeconfig has the endpoint and the authority itself."""
    credential = Credential("abcdef.0123456789abcdef")
    made = json.loads(
        join_configuration(REQUEST, credential, server=ServerVersion(1, minor), discovery_timeout=60)
    )
    discovery = made["discovery"]
    assert discovery.pop("timeout", "60s") == "60s"
    path = "/run/netboot/config/netboot/join/discovery.conf"
    assert discovery == {"file": {"kubeConfigPath": path}, "tlsBootstrapToken": "abcdef.0123456789abcdef"}
    assert "controlPlane" not in made and "0123456789abcdef" not in repr(credential)


@pytest.mark.parametrize("endpoint", ["10.0.0.9:6443", "[fd00:28::71]:6443", "api.example.org:443"])
def test_the_file_of_discovery_has_the_endpoint_and_the_authority(endpoint: str) -> None:
    """IPv6 in brackets; no credential."""
    request = replace(REQUEST, cluster=replace(REQUEST.cluster, endpoint=endpoint))
    made = json.loads(discovery_kubeconfig(request, b"PEM"))
    assert made["clusters"][0]["cluster"] == {
        "certificate-authority-data": "UEVN",
        "server": f"https://{endpoint}",
    }
    assert made["users"] == [] and made["contexts"][0]["context"]["cluster"] == made["clusters"][0]["name"]
    token = json.loads(made_for(request))["discovery"]["bootstrapToken"]
    assert token["apiServerEndpoint"] == endpoint


def made_for(request: JoinRequest) -> bytes:
    """With a token, for a newer server."""
    return made(34, request)


@pytest.mark.parametrize("minor", [30, 31])
def test_a_control_plane_is_given_the_certificate_key(minor: int) -> None:
    """In both versions at the same place; its own address is left to kubeadm."""
    join = replace(REQUEST.cluster.join, role="control-plane")
    request = replace(REQUEST, cluster=replace(REQUEST.cluster, join=join))
    credential = Credential("abcdef.0123456789abcdef", ("sha256:00",), "ab" * 32)
    document = json.loads(
        join_configuration(request, credential, server=ServerVersion(1, minor), discovery_timeout=60)
    )
    assert document["controlPlane"] == {"certificateKey": "ab" * 32}
    assert "abab" not in repr(credential)


@pytest.mark.parametrize("minor", [30, 31])
def test_a_control_plane_without_taints_of_its_own_keeps_kubeadms(minor: int) -> None:
    """An empty list would let every pod run on it."""
    assert "taints" not in json.loads(made(minor, replace(REQUEST, taints=())))["nodeRegistration"]


@pytest.mark.parametrize(
    "socket",
    [
        "unix:///run/containerd/containerd.sock",
        "unix:///var/run/crio/crio.sock",
        "unix:///run/cri-dockerd.sock",
    ],
)
def test_the_runtime_is_the_one_that_the_file_names(socket: str) -> None:
    """containerd, CRI-O, cri-dockerd."""
    join = replace(REQUEST.cluster.join, cri_socket=socket)
    document = json.loads(made_for(replace(REQUEST, cluster=replace(REQUEST.cluster, join=join))))
    assert document["nodeRegistration"]["criSocket"] == socket


FOLDER = os.environ.get(VARIABLE, "")
SOCKETS = (
    "unix:///run/containerd/containerd.sock",
    "unix:///var/run/crio/crio.sock",
    "unix:///run/cri-dockerd.sock",
)


@pytest.mark.skipif(not FOLDER, reason=f"{VARIABLE} names no folder with real Kubernetes binaries")
@pytest.mark.parametrize("role", ["worker", "control-plane"])
@pytest.mark.parametrize("discovery", ["token", "file"])
def test_a_real_kubeadm_takes_every_variant(role: str, discovery: str, tmp_path: Path) -> None:
    """With and without taints and labels, each runtime, IPv6: valid, and no field that it does not know."""
    kubeadm = Path(FOLDER) / "kubeadm"
    minor = int(subprocess.check_output([kubeadm, "version", "-o", "short"], text=True).split(".")[1])
    command = ["validate", "--config"] if minor >= 26 else ["migrate", "--old-config"]
    by_file = tmp_path / "discovery.conf"
    by_file.write_bytes(discovery_kubeconfig(REQUEST, b"PEM"))
    pins = ("sha256:" + "00" * 32,) if discovery == "token" else ()
    credential = Credential("abcdef.0123456789abcdef", pins, "ab" * 32)
    for socket, endpoint, bare in product(SOCKETS, ("10.0.0.9:6443", "[fd00:28::71]:6443"), (True, False)):
        join = replace(REQUEST.cluster.join, role=role, cri_socket=socket)
        request = replace(REQUEST, cluster=replace(REQUEST.cluster, endpoint=endpoint, join=join))
        if bare:
            request = replace(request, labels={}, taints=(), kubelet_args={})
        made = join_configuration(request, credential, server=ServerVersion(1, minor), discovery_timeout=60)
        file = tmp_path / "join.yaml"
        file.write_text(made.decode().replace(DISCOVERY_PATH, str(by_file)))
        done = subprocess.run([kubeadm, "config", *command, file], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and "unknown field" not in done.stderr, f"{done.stderr}\n{made.decode()}"
