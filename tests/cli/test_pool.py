"""`netboot pool list|show`."""

from __future__ import annotations

from tests.cli.conftest import Verb


def test_pools_are_listed(verb: Verb) -> None:
    """With their cluster, tags and nodes."""
    lines = [line.split() for line in verb("pool", "list").splitlines()[1:]]
    assert lines == [
        ["compute", "blue", "compute", "-", "rack-1", "no", "1"],
        ["unknown", "catchall", "compute", "-", "-", "yes", "0"],
    ]


def test_a_pool_is_shown(verb: Verb) -> None:
    """Key by key; an unknown one is said."""
    assert "catch_all  yes" in verb("pool", "show", "unknown")
    assert "there is no such pool" in verb("pool", "show", "nothing", status=1)
