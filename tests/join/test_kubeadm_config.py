"""The JoinConfiguration (R15)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from netboot.cluster import ServerVersion
from netboot.join import JoinRequest
from netboot.join.kubeadm_config import api_version, join_configuration
from netboot.model.inventory import Cluster, JoinSettings
from netboot.model.machine import Mac
from netboot.model.settings import Taint

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
        token="abcdef.0123456789abcdef",
        pins=("sha256:00",),
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


def test_the_older_version_is_what_kubeadm_read_before() -> None:
    """v1beta3: arguments as a map, the limit under discovery."""
    document = json.loads(made(30))
    assert document["apiVersion"] == "kubeadm.k8s.io/v1beta3"
    assert document["nodeRegistration"]["kubeletExtraArgs"] == {
        "cgroup-driver": "systemd",
        "node-labels": "a=1,b=2",
    }
    assert document["discovery"]["timeout"] == "60s" and "timeouts" not in document


@pytest.mark.parametrize(
    ("minor", "version"), [(20, "v1beta3"), (30, "v1beta3"), (31, "v1beta4"), (36, "v1beta4")]
)
def test_the_servers_version_decides(minor: int, version: str) -> None:
    """v1beta4 for kubeadm 1.31 and newer."""
    assert api_version(ServerVersion(1, minor)) == f"kubeadm.k8s.io/{version}"


def test_a_yaml_reader_reads_the_same() -> None:
    """JSON is YAML: no value changes its type or breaks out of its place."""
    strange = replace(REQUEST, labels={"on": "yes", "n": "1e3", "q": "a"}, kubelet_args={"v": "0777"})
    assert yaml.safe_load(made(34, strange)) == json.loads(made(34, strange))
