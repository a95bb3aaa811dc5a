"""`netboot assignment list|show`."""

from __future__ import annotations

import json

from tests.cli.conftest import Verb
from tests.web.api.world import Running


def test_an_assignment_is_listed_with_how_it_departs_from_the_file(verb: Verb, api: Running) -> None:
    """And shown by any of the machine's cards."""
    assert len(verb("assignment", "list").splitlines()) == 1
    begun = json.loads(verb("node", "assign", "n1", "catchall", "-o", "json"))
    found = api.world.operations.operation(begun["id"])
    assert found is not None
    api.world.roster.place(found.placement)
    (line,) = verb("assignment", "list").splitlines()[1:]
    assert line.split()[:2] == ["n1", "catchall"] and "cluster: catchall instead of blue" in line
    shown = json.loads(verb("assignment", "show", "52:54:00:00:00:02", "-o", "json"))
    assert shown["operation"] == begun["id"] and shown["broken"] is None
    assert "52:54:00:00:00:99 has no run-time assignment" in verb(
        "assignment", "show", "52:54:00:00:00:99", status=1
    )
