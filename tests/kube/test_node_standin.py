"""The node stand-in joins in the real protocol and refuses in kubeadm's words."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from netboot.join.pins import pins_of
from tests.kube.fixtures import Kube
from tests.kube.machine import PROGRAMS, Machine
from tests.kube.objects import Key

TOKEN = "abcdef.0123456789abcdef"


@pytest.fixture(autouse=True)
def signed_soon(kube: Kube) -> None:
    """Tokens are signed before a machine can ask."""
    kube.api.settings.sign_delay = (0.0, 0.0)


def configuration(kube: Kube, token: str = TOKEN, **changes: Any) -> bytes:
    """A JoinConfiguration for m1; a pin, a discovery limit, or whole parts may be changed."""
    pin = changes.pop("pin", pins_of(kube.ca)[0])
    bootstrap = {"token": token, "apiServerEndpoint": kube.endpoint, "caCertHashes": [pin]}
    document = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": bootstrap},
        "timeouts": {"discovery": changes.pop("limit", "10s")},
        "nodeRegistration": {
            "name": "m1",
            "taints": [{"key": "foo", "value": "bar", "effect": "NoSchedule"}],
            "kubeletExtraArgs": [{"name": "node-labels", "value": "rack=1"}],
        },
        **changes,
    }
    return json.dumps(document).encode()


async def test_a_machine_joins_and_lives(kube: Kube, machine: Machine) -> None:
    """Node object with labels, taints and the boot's facts; Ready; the Lease is renewed; no token stays."""
    kube.mint(TOKEN)
    status, output = await machine.kubeadm(configuration(kube))
    assert status == 0 and "This node has joined the cluster" in output
    await machine.until(lambda: kube.node("m1") and kube.ready("m1") == "True")
    node = kube.node("m1")
    assert node is not None
    assert node["metadata"]["labels"]["rack"] == "1"
    assert node["spec"]["taints"] == [{"key": "foo", "value": "bar", "effect": "NoSchedule"}]
    info = node["status"]["nodeInfo"]
    assert info["systemUUID"] == machine.system_uuid
    assert info["bootID"] == (machine.root / "proc/sys/kernel/random/boot_id").read_text().strip()
    lease = Key("leases", "kube-node-lease", "m1")
    first = kube.api.objects.get(lease)["metadata"]["resourceVersion"]
    await machine.until(lambda: kube.api.objects.get(lease)["metadata"]["resourceVersion"] != first)
    left = [p for p in machine.root.rglob("*") if p.is_file() and p.name != "kubeadm.yaml"]
    assert not [p for p in left if TOKEN.encode() in p.read_bytes()]


@pytest.mark.parametrize("version", ["v1beta3", "v1beta4"])
async def test_both_versions_of_the_configuration_are_read(
    kube: Kube, machine: Machine, version: str
) -> None:
    """Arguments are a map in v1beta3 and a list in v1beta4; each is refused in the other's clothes."""
    kube.mint(TOKEN)
    config = json.loads(configuration(kube))
    config["apiVersion"] = f"kubeadm.k8s.io/{version}"
    if version == "v1beta3":
        refused, output = await machine.kubeadm(json.dumps(config).encode())
        assert refused == 1 and 'unknown field "timeouts"' in output
        config["nodeRegistration"]["kubeletExtraArgs"] = {"node-labels": "rack=1"}
        config["discovery"]["timeout"] = config.pop("timeouts")["discovery"]
    status, output = await machine.kubeadm(json.dumps(config).encode())
    assert status == 0, output


async def test_a_wrong_pin_is_refused_at_once(kube: Kube, machine: Machine) -> None:
    """The authority in cluster-info is not the pinned one."""
    kube.mint(TOKEN)
    status, output = await machine.kubeadm(configuration(kube, pin="sha256:" + "0" * 64))
    assert status == 1 and "cluster CA found in cluster-info ConfigMap is invalid" in output


async def test_another_authority_for_nodes_is_refused(kube: Kube, machine: Machine) -> None:
    """Properly signed, but not what was pinned."""
    kube.mint(TOKEN)
    kube.api.settings.cluster_info_ca = "wrong-for-nodes"
    status, output = await machine.kubeadm(configuration(kube))
    assert status == 1 and "cluster CA found in cluster-info ConfigMap is invalid" in output


async def test_a_wrong_signature_is_refused_at_once(kube: Kube, machine: Machine) -> None:
    """Both a wrong secret and a corrupt signature."""
    kube.mint(TOKEN)
    text = "failed to verify JWS signature of received cluster info object, can't trust this API Server"
    status, output = await machine.kubeadm(configuration(kube, "abcdef.0123456789abcdee"))
    assert status == 1 and text in output
    kube.api.settings.jws = "corrupt-for-nodes"
    status, output = await machine.kubeadm(configuration(kube))
    assert status == 1 and text in output


@pytest.mark.parametrize("why", ["unknown", "expired", "deleted"])
async def test_a_token_without_signature_is_given_up_after_the_limit(
    kube: Kube, machine: Machine, why: str
) -> None:
    """One text for unknown, expired and deleted tokens, and only after the discovery timeout."""
    if why == "expired":
        kube.mint(TOKEN, life=-10)
    elif why == "deleted":
        kube.mint(TOKEN)
        kube.api.objects.delete(Key("secrets", "kube-system", "bootstrap-token-abcdef"))
    began = time.monotonic()
    status, output = await machine.kubeadm(configuration(kube, limit="1s"))
    assert status == 1 and time.monotonic() - began >= 1
    assert 'could not find a JWS signature in the cluster-info ConfigMap for token ID "abcdef"' in output


async def test_an_unreachable_server_is_given_up_after_the_limit(kube: Kube, machine: Machine) -> None:
    """With the words of Go's client."""
    wanted = configuration(kube, limit="1s")
    await kube.api.control("settings", down=True)
    status, output = await machine.kubeadm(wanted)
    assert status == 1
    assert "failed to request the cluster-info ConfigMap" in output and "connection refused" in output


async def test_a_name_that_is_ready_is_refused_until_it_is_unknown(kube: Kube, machine: Machine) -> None:
    """kubeadm refuses in its words; after nodes/status was patched to Unknown the same token joins (R19)."""
    kube.mint(TOKEN)
    await kube.api.control("living_node", name="m1", every=60)
    status, output = await machine.kubeadm(configuration(kube))
    assert status == 1
    assert 'a Node with name "m1" and status "Ready" already exists in the cluster' in output
    condition = {"type": "Ready", "status": "Unknown"}
    await kube.api.control(
        "merge", resource="nodes", name="m1", patch={"status": {"conditions": [condition]}}
    )
    status, output = await machine.kubeadm(configuration(kube))
    assert status == 1 and "[ERROR FileAvailable--etc-kubernetes-pki-ca.crt]" in output
    machine.clean()
    status, output = await machine.kubeadm(configuration(kube))
    assert status == 0, output
    await machine.until(lambda: kube.ready("m1") == "True")
    node = kube.node("m1")
    assert node is not None and "rack" not in node["metadata"]["labels"], (
        "labels count at the first registration"
    )


async def test_a_machine_that_joined_fails_the_preflight(kube: Kube, machine: Machine) -> None:
    """Files of a former join are errors, unless ignored."""
    kube.mint(TOKEN)
    assert (await machine.kubeadm(configuration(kube)))[0] == 0
    status, output = await machine.kubeadm(configuration(kube))
    assert status == 1 and "[ERROR FileAvailable--etc-kubernetes-kubelet.conf]" in output


async def test_a_machine_may_never_become_ready(kube: Kube, machine: Machine) -> None:
    """For tests of the time limit."""
    kube.mint(TOKEN)
    machine.not_ready = "cni plugin not initialized"
    assert (await machine.kubeadm(configuration(kube)))[0] == 0
    await machine.until(lambda: kube.node("m1"))
    assert kube.ready("m1") == "False"


def run_kubelet(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The kubelet with these arguments."""
    env = {"PATH": os.environ["PATH"], "NODE_STANDIN_ROOT": str(root)}
    return subprocess.run(
        [PROGRAMS / "kubelet", *arguments], env=env, capture_output=True, text=True, timeout=20
    )


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--no-such-flag=1", "failed to parse kubelet flag: unknown flag: --no-such-flag"),
        (
            "--node-labels=node-role.kubernetes.io/worker=",
            "unknown 'kubernetes.io' or 'k8s.io' labels specified",
        ),
        ("--v=2", "unable to load bootstrap kubeconfig"),
    ],
)
def test_the_kubelet_ends_where_the_real_one_does(tmp_path: Path, argument: str, text: str) -> None:
    """Unknown flags, labels that it may not set, nothing to bootstrap from."""
    ended = run_kubelet(tmp_path, argument)
    assert ended.returncode == 1 and text in ended.stderr


def test_the_programs_say_that_they_are_stand_ins() -> None:
    """Nobody may take them for Kubernetes."""
    for command in (["kubeadm", "version"], ["kubelet", "--version"], ["crictl", "--version"]):
        told = subprocess.run(
            [PROGRAMS / command[0], *command[1:]], capture_output=True, text=True, timeout=20
        )
        assert "stand-in" in told.stdout
