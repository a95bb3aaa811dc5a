"""`netboot pool list|show`."""

from __future__ import annotations

from tests.cli.conftest import Verb


def test_pools_are_listed(verb: Verb) -> None:
    """With their cluster, tags and nodes, and how full the ranges of their network are."""
    lines = [line.split() for line in verb("pool", "list").splitlines()[1:]]
    assert lines == [
        ["compute", "blue", "compute", "-", "rack-1", "no", "1", "101", "1", "100", "0", "-"],
        ["unknown", "catchall", "compute", "-", "-", "yes", "0", "101", "1", "100", "0", "-"],
    ]


def test_a_pool_is_shown(verb: Verb) -> None:
    """Key by key, with who holds the network's dynamic addresses; an unknown one is said."""
    shown = verb("pool", "show", "unknown")
    assert "catch_all  yes" in shown and "10.0.0.100-10.0.0.200" in shown
    assert [line.split()[0] for line in shown.split("\n\n")[1].splitlines()] == ["ADDRESS", "10.0.0.100"]
    assert "there is no such pool" in verb("pool", "show", "nothing", status=1)
