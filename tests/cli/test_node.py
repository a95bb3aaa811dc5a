"""`netboot node list|show|assign|unassign|admit`."""

from __future__ import annotations

import json

from tests.cli.conftest import Verb
from tests.web.api.world import Running


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


def test_a_machine_is_assigned(verb: Verb, api: Running) -> None:
    """By any card or its name; the operation is shown, and is the same one the second time."""
    first = verb("node", "assign", "52:54:00:00:00:02", "catchall", "--name", "n7", "--drain")
    assert "n1: blue (n1) -> catchall (n7)" in first
    assert first.split()[1] == verb("node", "assign", "n1", "catchall", "--name", "n7", "--drain").split()[1]
    other = verb("node", "assign", "n1", "--pool", "unknown", status=1)
    assert first.split()[1].rstrip(",") in other and "asks for something else" in other


def test_an_assignment_names_a_cluster_or_a_pool(verb: Verb) -> None:
    """Not both, not neither; what is not there is said."""
    for words in ([], ["blue", "--pool", "compute"]):
        assert "either a cluster or a pool" in verb("node", "assign", "n1", *words, status=1)
    assert "there is no cluster green" in verb("node", "assign", "n1", "green", status=1)
    assert "there is no machine nobody" in verb("node", "assign", "nobody", "blue", status=1)


def test_a_dry_run_changes_nothing(verb: Verb, api: Running) -> None:
    """It says what each step would do."""
    text = verb("node", "assign", "n1", "catchall", "--dry-run")
    assert "assign n1 to cluster catchall" in text and "nothing was changed" in text
    assert not api.world.operations.operations(limit=9)


def test_an_operation_is_rolled_back_by_unassigning(verb: Verb) -> None:
    """While the machine has not moved; without an assignment there is nothing to end."""
    assert "n1 has no run-time assignment" in verb("node", "unassign", "n1", status=1)
    verb("node", "assign", "n1", "catchall")
    assert "rolling back: cancelled by an operator" in verb("node", "unassign", "n1")


def test_a_machine_is_let_in_and_turned_out(verb: Verb) -> None:
    """By its MAC."""
    assert verb("node", "admit", "52:54:00:00:00:99") == "52:54:00:00:00:99 may join\n"
    assert "may not join any more" in verb("node", "admit", "52:54:00:00:00:99", "--withdraw")
    assert "was not let in" in verb("node", "admit", "52:54:00:00:00:99", "--withdraw", status=1)
    assert "mac is a network card's MAC address" in verb("node", "admit", "n1", status=1)


def test_a_refusal_tells_whoever_typed_a_command_what_to_do(verb: Verb) -> None:
    """In words of the command line, and not of the API."""
    for words, remedy in (
        (("n1", "green"), "`netboot cluster list`"),
        (("n1", "catchall", "--name", "N_1"), "`--help` tells what this command takes"),
        (("nobody", "catchall"), "`netboot node list`"),
    ):
        told = verb("node", "assign", *words, status=1)
        assert remedy in told and "openapi" not in told


def test_a_name_that_is_not_held_cannot_be_released(verb: Verb) -> None:
    """And the list of held names is empty but for its head."""
    assert verb("node", "holds").split() == ["NODE", "CLUSTER", "MAC", "ADDRESS", "WHY"]
    assert "the name n1 is not held" in verb("node", "release", "n1", status=1)
