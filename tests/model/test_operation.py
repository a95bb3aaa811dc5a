"""The steps of an operation, as values."""

from __future__ import annotations

from dataclasses import replace

from netboot.model.operation import (
    BACK,
    LINES,
    STEPS,
    Operation,
    Order,
    Side,
    again,
    lacking,
    noted,
    passed,
    restarted,
    turned,
    waiting,
)
from netboot.model.placement import Placement

NEW = Operation(
    "o1", "m1", (), Order("red"), Side("blue", "p", "m1"), Side("red", "p", "m1"), Placement("m1", ())
)


def test_an_operation_goes_through_its_steps_to_done() -> None:
    """Each with a line of its own and its own beginning; what it waited for is forgotten with the step."""
    operation = waiting(NEW, "red does not answer", 1.0)
    for at, step in enumerate(STEPS):
        assert (operation.step, operation.state, operation.ended) == (step, "running", None)
        operation = passed(operation, f"{step} done", 2.0 + at)
        assert operation.since == 2.0 + at and operation.reason == ""
    assert (operation.state, operation.ended) == ("done", 1.0 + len(STEPS))
    assert [line.step for line in operation.timeline] == ["check", *STEPS]


def test_a_line_is_said_once_while_it_stays_the_same() -> None:
    """A wait of an hour is one line; a timeline is bounded."""
    operation = waiting(waiting(NEW, "no answer", 1.0), "no answer", 2.0)
    assert len(operation.timeline) == 1 and noted(operation, "no answer", 3.0) == operation
    for number in range(LINES + 50):
        operation = waiting(operation, f"try {number}", 4.0)
    assert len(operation.timeline) == LINES and operation.timeline[-1].text.endswith("249")


def test_rolling_back_keeps_its_reason_to_the_end() -> None:
    """Through waits on the way."""
    operation = turned(NEW, "red refuses us", 1.0)
    for _ in BACK:
        assert operation.state == "rolling back"
        operation = passed(waiting(operation, "blue does not answer", 2.0), "done", 3.0)
    assert (operation.state, operation.reason, operation.ended) == ("rolled back", "red refuses us", 3.0)


def test_what_was_left_undone_is_told_at_the_end() -> None:
    """An operation that is done may still want something of an operator."""
    operation = replace(lacking(lacking(NEW, "one"), "two"), step=STEPS[-1])
    assert passed(operation, "", 1.0).reason == "one; two"


def test_an_operation_can_be_undone_until_the_machine_has_claimed_its_boot() -> None:
    """From then on it is in the new cluster."""
    undoable = [step for step in STEPS if replace(NEW, step=step).undoable]
    assert undoable == ["check", "assign", "cordon", "drain", "revoke", "power", "boot"]
    assert not turned(NEW, "", 1.0).undoable
    assert again(replace(NEW, step="ready"), "boot", "it stopped", 2.0).undoable


def test_the_same_name_in_the_same_cluster_is_the_same_node_object() -> None:
    """Another pool of one cluster leaves nothing behind."""
    assert not NEW.stays and replace(NEW, new=Side("blue", "q", "m1")).stays
    assert not replace(NEW, new=Side("blue", "p", "m2")).stays


def test_restarts_are_counted() -> None:
    """And told."""
    operation = restarted(NEW, 1.0)
    assert operation.resumed == 1 and operation.timeline[-1].text == "resumed after a restart"
