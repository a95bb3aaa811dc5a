"""`netboot lease list|show`."""

from __future__ import annotations

from tests.cli.conftest import Verb


def test_the_list_shows_who_has_which_address(verb: Verb) -> None:
    """By address; an infinite lease never expires."""
    lines = verb("lease", "list").splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["10.0.0.5", "10.0.0.7", "10.0.0.100"]
    assert [line.split()[4] for line in lines] == ["yes", "no", "yes"]
    assert "never" in lines[2]


def test_a_lease_is_shown_by_its_address(verb: Verb) -> None:
    """Key by key."""
    shown = dict(line.split(None, 1) for line in verb("lease", "show", "10.0.0.5").splitlines())
    assert shown["holder"] == "n1" and shown["mac"] == "52:54:00:00:00:01"
