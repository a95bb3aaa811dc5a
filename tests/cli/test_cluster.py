"""`netboot cluster list|show|doctor`."""

from __future__ import annotations

from tests.cli.conftest import Verb


def test_clusters_are_listed_with_what_is_wrong(verb: Verb) -> None:
    """How their nodes join, and why they get no credential now."""
    blue, catchall = verb("cluster", "list").splitlines()[1:]
    assert blue.split()[:5] == ["blue", "10.0.0.9:6443", "debian-12", "kubeadm", "compute"]
    assert blue.endswith("its API does not answer") and catchall.endswith("-")


def test_a_cluster_is_shown_with_its_way_of_joining(verb: Verb) -> None:
    """Nested keys stand below theirs; no path of a credential is among them."""
    shown = verb("cluster", "show", "blue")
    assert "join\n  method     kubeadm\n  bind       cluster\n" in shown
    assert "kubeconfig" not in shown


def test_the_doctor_says_what_is_missing_and_the_line_to_apply(verb: Verb) -> None:
    """Exit status 1 while something has to be mended."""
    lines = verb("cluster", "doctor", "blue", status=1, out=True).splitlines()
    assert lines == [
        "missing: our account may not delete nodes, for: node_actions.delete",
        "    kubectl apply -f config/kubernetes/node-delete.yaml",
        "ok: the API answers: v1.34.2",
    ]
    assert "has no API to ask" in verb("cluster", "doctor", "catchall", status=1)
