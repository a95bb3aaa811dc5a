"""How a cluster is, as operators are shown it."""

from __future__ import annotations

from netboot.model.health import ClusterState


def test_of_a_cluster_that_was_never_asked_nothing_is_known() -> None:
    """Neither up nor down, and nobody counted."""
    state = ClusterState()
    assert (state.state, state.since, state.nodes, state.waiting) == ("unknown", None, None, 0)
