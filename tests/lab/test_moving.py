"""A machine that really boots moves from one cluster to another, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kube.control import KubeApi
from tests.lab.machine import Machine
from tests.lab.site import RED, Site, lend, mac_of

pytestmark = pytest.mark.lab

ROLE = "mover"


def test_a_machine_moves_to_another_cluster_and_back(site: Site) -> None:
    """Cordoned in the old one, booted into the new one, its old Node object deleted; twice."""
    with KubeApi.start(site.directory / "red", RED, prefix=site.lab.prefix) as red:
        lend(red.directory / "appliance.kubeconfig", site.directory / "red.kubeconfig")
        with site.machine(ROLE) as machine:
            first = site.wait_joined(machine, mac_of(ROLE))
            assert (first["cluster"], homes(site, red)) == ("blue", ["blue"])
            second = moved(site, machine, first, "assign", ROLE, "red", "--drain")
            assert (second["cluster"], homes(site, red)) == ("red", ["red"])
            assert "cluster: red instead of blue" in site.appliance.netboot("assignment", "list")
            third = moved(site, machine, second, "unassign", ROLE)
            assert (third["cluster"], homes(site, red)) == ("blue", ["blue"])
            assert not site.appliance.items("/api/v1/assignments")


def moved(site: Site, machine: Machine, before: dict[str, Any], *words: str) -> dict[str, Any]:
    """The boot that such an operation ends with; its machine is restarted when it waits for that."""
    began = json.loads(site.appliance.netboot("node", *words, "-o", "json"))

    def now() -> dict[str, Any]:
        found: dict[str, Any] = site.appliance.get(f"/api/v1/operations/{began['id']}")
        return found

    machine.wait_until("the operation waits for a boot", lambda: now()["step"] == "boot", 60)
    machine.power_cycle()
    boot: dict[str, Any] = site.wait_joined(machine, mac_of(ROLE), after=before["id"])
    machine.wait_until("the operation has ended", lambda: now()["ended"], 60)
    print(site.appliance.netboot("operation", "show", began["id"]))
    assert (now()["state"], now()["left"]) == ("done", "")
    return boot


def homes(site: Site, red: KubeApi) -> list[str]:
    """The clusters that have its Node object."""
    return [
        name
        for name, cluster in (("blue", site.kube), ("red", red))
        if ROLE in [node["metadata"]["name"] for node in cluster.control("objects", resource="nodes")]
    ]
