"""The pods of a node."""

from __future__ import annotations

from netboot.cluster.pods import pod_of


def test_a_pod_knows_its_controller() -> None:
    """Of several owners the one that makes it again counts."""
    owners = [{"kind": "Other"}, {"kind": "DaemonSet", "controller": True}]
    found = pod_of({"metadata": {"name": "p", "ownerReferences": owners}})
    assert (found.controller, found.mirror) == ("DaemonSet", False)
