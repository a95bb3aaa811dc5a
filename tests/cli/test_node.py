"""`netboot node list|show`."""

from __future__ import annotations

import json

from tests.cli.conftest import Verb


def test_the_list_shows_declared_and_undeclared_machines(verb: Verb) -> None:
    """With address, cluster and how the last boot went."""
    lines = verb("node", "list").splitlines()
    assert lines[1].split()[:4] == ["n1", "52:54:00:00:00:01,52:54:00:00:00:02", "10.0.0.5", "blue"]
    assert lines[1].endswith("stopped at network_script")
    assert lines[2].split()[0] == "node-525400000099" and " no " in lines[2]


def test_a_node_is_shown_by_name_or_any_card(verb: Verb) -> None:
    """With the reason for what it belongs to."""
    by_name = json.loads(verb("node", "show", "n1", "-o", "json"))
    assert by_name == json.loads(verb("node", "show", "52-54-00-00-00-02", "-o", "json"))
    assert "declared in pool compute" in verb("node", "show", "n1")


def test_an_unknown_node_is_said(verb: Verb) -> None:
    """Exit status 1."""
    assert "there is no such machine" in verb("node", "show", "nobody", status=1)
