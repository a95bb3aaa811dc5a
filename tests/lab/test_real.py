"""The full image on real binaries: every join method until the kubelet says that it is Ready.

Skipped without NETBOOT_KUBERNETES_BIN; nothing here rests on the stand-ins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kube.real import VARIABLE
from tests.lab import images, real
from tests.lab.machine import Machine
from tests.lab.site import scratch

FOLDER = os.environ.get(VARIABLE, "")
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not FOLDER, reason=f"{VARIABLE} names no folder with real Kubernetes binaries"),
]

BOOT_LIMIT = 900.0
READY_LIMIT = 300.0


@pytest.fixture(scope="module")
def genuine(key: Path) -> Iterator[real.RealSite]:
    """etcd, API server, controller-manager and the appliance; the full image with kubelet and kubeadm."""
    public = key.with_suffix(".pub").read_text().strip()
    with scratch() as directory:
        images.build(directory / "images", micro=False)
        writer = real.writer([public])
        with real.real_site(directory, Path(FOLDER), writer) as made:
            yield made


@contextmanager
def ready(site: real.RealSite, role: str) -> Iterator[Machine]:
    """The machine of that role, booted until its Node is Ready and its agent has said so."""
    machine = Machine(site.lab, [real.mac_of(role)], memory=2048, directory=site.directory, name=role)
    with machine:
        machine.power_on()
        await_ready(site, machine, role)
        print(f"{role}: {machine.cpu_seconds:.0f} CPU s from power-on to Ready")
        yield machine


def await_ready(site: real.RealSite, machine: Machine, role: str, after: str | None = None) -> str:
    """Wait for a boot that joins, and for the Node; the boot's id."""
    boot = site.wait_joined(machine, real.mac_of(role), after=after, timeout=BOOT_LIMIT)
    try:
        machine.wait_until("the Node is Ready", lambda: real.is_ready(site.node(role)), READY_LIMIT)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{real.conditions_of(site.node(role))}") from None
    machine.wait_for_text(f"step join: done, {role} has joined", READY_LIMIT)
    return str(boot["id"])


def check_node(site: real.RealSite, role: str) -> None:
    """Labels, taint, address and identity of the Node are what was declared."""
    node = site.node(role)
    assert node
    assert real.LABELS.items() <= node["metadata"]["labels"].items()
    assert real.TAINT in [f"{t['key']}={t.get('value', '')}:{t['effect']}" for t in node["spec"]["taints"]]
    addresses = {a["type"]: a["address"] for a in node["status"]["addresses"]}
    assert addresses["InternalIP"] == real.address_of(role)
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")


def test_a_machine_joins_by_kubeadm_and_comes_back_after_a_power_cut(
    genuine: real.RealSite, key: Path
) -> None:
    """No preflight error is ignored but a missing crictl; R19: it comes back while its Node is Ready."""
    with ready(genuine, "kubeadm") as machine:
        check_node(genuine, "kubeadm")
        machine.wait_until("the token is gone", lambda: not genuine.tokens(), 60)
        machine.wait_until(
            "a serving certificate", lambda: real.kubelet_says(genuine, "kubeadm") == "ok", 120
        )
        left = "ls -A /run/netboot/config /run/netboot/key.pem /etc/kubernetes/bootstrap-kubelet.conf"
        assert real.ssh(genuine, key, "kubeadm", f"{left} 2>/dev/null; systemctl --failed --no-legend") == ""
        first = genuine.appliance.boot(real.mac_of("kubeadm"))
        assert first and real.is_ready(genuine.node("kubeadm"))
        before = genuine.node("kubeadm")
        machine.power_cycle()
        await_ready(genuine, machine, "kubeadm", after=first["id"])
        after = genuine.node("kubeadm")
        assert before and after
        assert "came back while its Node object was Ready: set to Unknown" in genuine.appliance.log()
        assert before["status"]["nodeInfo"]["bootID"] != after["status"]["nodeInfo"]["bootID"]
        check_node(genuine, "kubeadm")


@pytest.mark.parametrize("role", ["bootstrap", "certificate", "byhand"])
def test_a_machine_joins_without_kubeadm(genuine: real.RealSite, key: Path, role: str) -> None:
    """The kubelet takes configuration, flags and certificates, and serves with one of the cluster's."""
    with ready(genuine, role) as machine:
        check_node(genuine, role)
        machine.wait_until("no token is left", lambda: not genuine.tokens(), 60)
        machine.wait_until("a serving certificate", lambda: real.kubelet_says(genuine, role) == "ok", 120)
        log = real.ssh(
            genuine, key, role, "systemctl --failed --no-legend; journalctl -u kubelet -o cat --no-pager"
        )
        assert "unknown field" not in log and "has been removed" not in log
