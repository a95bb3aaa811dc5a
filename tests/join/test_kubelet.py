"""What a kubelet is started with where no kubeadm does it."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from netboot.join import JoinRequest, kubelet
from netboot.model.settings import Taint
from tests.join.requests import document, joining, laid

GOLDENS = Path(__file__).parent.parent / "goldens"
ARGUMENTS = {
    "cgroup-driver": "cgroupfs",
    "cluster-dns": "10.96.0.10, fd00::a",
    "cluster-domain": "example.test",
    "eviction-hard": "memory.available<200Mi,nodefs.available<5%",
    "fail-swap-on": "false",
    "max-pods": "64",
    "node-ip": "10.77.0.99",
    "resolv-conf": "/etc/resolv.pods",
    "system-reserved": "cpu=500m,memory=1Gi",
    "v": "4",
}


def made(request: JoinRequest | None = None, **further: Any) -> dict[str, tuple[bytes, int]]:
    """All files."""
    return kubelet.kubelet_files(request or joining(), authority=b"CA\n", **further)


def configuration(files: dict[str, tuple[bytes, int]]) -> dict[str, Any]:
    """The KubeletConfiguration in them."""
    return document(files, kubelet.CONFIG)


def flags(files: dict[str, tuple[bytes, int]]) -> list[str]:
    """The kubelet's command line, as systemd reads the file and splits the variable."""
    text = laid(files, kubelet.FLAGS).decode()
    (value,) = shlex.split(text.removeprefix("NETBOOT_KUBELET_ARGS="))
    return shlex.split(value)


@pytest.mark.parametrize(("name", "arguments"), [("kubelet-plain", {}), ("kubelet-arguments", ARGUMENTS)])
def test_the_configuration_is_the_golden_one(name: str, arguments: dict[str, str]) -> None:
    """Arguments that are fields of KubeletConfiguration stand in it, in its own types."""
    files = made(joining(kubelet_args=arguments), serverTLSBootstrap=True)
    golden = json.loads((GOLDENS / f"{name}.json").read_text())
    assert {"configuration": configuration(files), "flags": flags(files)} == golden


def test_an_argument_that_is_no_value_of_its_field_stays_a_flag() -> None:
    """Then the kubelet itself says what is wrong with it, by its name."""
    wrong = {"max-pods": "many", "fail-swap-on": "yes", "system-reserved": "cpu"}
    files = made(joining(kubelet_args=wrong))
    assert {f"--{name}={value}" for name, value in wrong.items()} <= set(flags(files))
    assert "maxPods" not in configuration(files) and "failSwapOn" not in configuration(files)


def test_strangers_are_not_let_in_by_the_kubelet() -> None:
    """No anonymous access, and the API server decides who may do what."""
    said = configuration(made())
    assert said["authentication"]["anonymous"] == {"enabled": False}
    assert said["authentication"]["x509"] == {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}
    assert said["authorization"] == {"mode": "Webhook"}


def test_labels_taints_name_and_runtime_are_told() -> None:
    """With the name of the inventory, whatever the machine calls itself."""
    request = joining(
        labels={"b": "2", "a": "1"},
        taints=(Taint("foo", "bar", "NoSchedule"), Taint("lone", "", "NoExecute")),
        join={"cri_socket": "unix:///run/crio/crio.sock"},
    )
    files = made(request, flags={"node-ip": "10.0.0.1"})
    assert flags(files) == [
        "--config=/var/lib/kubelet/config.yaml",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        "--hostname-override=m1",
        "--node-ip=10.0.0.1",
        "--node-labels=a=1,b=2",
        "--register-with-taints=foo=bar:NoSchedule,lone:NoExecute",
    ]
    assert configuration(files)["containerRuntimeEndpoint"] == "unix:///run/crio/crio.sock"


def test_the_drop_in_replaces_the_command_of_the_images_unit() -> None:
    """Also where kubeadm's own drop-in is in the image: ours sorts after it."""
    files = made()
    lines = laid(files, kubelet.DROP_IN).decode().splitlines()
    assert lines[-2:] == ["ExecStart=", "ExecStart=/usr/bin/kubelet $NETBOOT_KUBELET_ARGS"]
    assert f"EnvironmentFile={kubelet.FLAGS}" in lines
    assert Path(kubelet.DROP_IN).name > "10-kubeadm.conf"
    assert b"ExecStart=/usr/bin/kubelet\n" in files["join/units/kubelet.service"][0]


def test_a_kubeconfig_is_one_cluster_and_one_user() -> None:
    """JSON is YAML; an IPv6 endpoint keeps its brackets."""
    request = joining("[fd00::1]:6443")
    said = yaml.safe_load(kubelet.kubeconfig(request, b"CA\n", kubelet.by_token("abcdef.0123456789abcdef")))
    assert said["clusters"][0]["cluster"] == {
        "certificate-authority-data": base64.b64encode(b"CA\n").decode(),
        "server": "https://[fd00::1]:6443",
    }
    assert said["users"] == [{"name": "node", "user": {"token": "abcdef.0123456789abcdef"}}]
    assert said["current-context"] == said["contexts"][0]["name"] == "blue"
    assert made(request)["join/server"] == (b"https://[fd00::1]:6443\n", 0o644)
