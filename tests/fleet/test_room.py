"""The words of `max_nodes` (R20); what it decides is shown with the gate, see test_gate."""

from __future__ import annotations

from netboot.errors import ClusterRefused
from netboot.fleet.room import turned_away, uncounted
from netboot.join import JoinRequest
from netboot.model.inventory import Cluster, JoinSettings
from netboot.model.machine import Mac

REQUEST = JoinRequest(
    "boot-1",
    "guest-1",
    Mac("52:54:00:12:34:56"),
    Cluster("blue", "10.0.0.1:6443", join=JoinSettings("kubeadm", max_nodes=50)),
)


def test_a_full_cluster_is_told_with_its_remedies() -> None:
    """How many there are, what the limit is, which machine, what to do."""
    assert turned_away(REQUEST, 50, 0) == (
        "cluster blue has 50 Node objects, and its max_nodes is 50: guest-1, which nobody declared, is "
        "turned away. Declare it in a pool, delete the Node objects of machines that are gone, or raise "
        "max_nodes"
    )


def test_a_missing_right_is_told_with_its_remedy() -> None:
    """What to apply."""
    text = uncounted(REQUEST, ClusterRefused(403, "nodes is forbidden"))
    assert "403: nodes is forbidden" in text and text.endswith("Apply config/kubernetes/appliance.yaml there")
