"""What assignments and operations look like in an answer."""

from __future__ import annotations

from ipaddress import IPv4Address

from netboot.model.machine import Mac
from netboot.model.operation import Line, Operation, Order, Side
from netboot.model.placement import Admission, Placement
from netboot.web.api.assignment_shapes import admission, assignment, operation

CARD = Mac("52:54:00:00:00:01")
PLACED = Placement("n1", (CARD,), cluster="red", address=IPv4Address("10.0.0.7"), since=5.0, operation="o1")


def test_an_assignment_tells_what_departs_from_the_file() -> None:
    """Addresses as text; what was not asked for is null, which is not the same as no tags at all."""
    shown = assignment(PLACED, None, ["cluster: red instead of blue"])
    assert (shown["address"], shown["tags"], shown["broken"]) == ("10.0.0.7", None, None)
    assert assignment(Placement("n1", (), tags=()), "gone", [])["tags"] == []


def test_an_operation_tells_what_was_asked_for_and_where_it_leads() -> None:
    """A return to the file is an `unassign`."""
    order, sides = Order("red", drain=True), (Side("blue", "p", "n1"), Side("red", "p", "n1"))
    value = Operation("o1", "n1", (CARD,), order, *sides, PLACED, timeline=(Line("check", 1.0, "fine"),))
    shown = operation(value)
    assert (shown["kind"], shown["drain"], shown["boot"]) == ("assign", True, None)
    assert shown["source"] == {"cluster": "blue", "node": "n1"}
    assert shown["steps"] == [{"step": "check", "at": 1.0, "text": "fine"}]
    assert operation(Operation("o2", "n1", (), Order(), *sides, PLACED))["kind"] == "unassign"


def test_an_admission_tells_who_gave_it() -> None:
    """And when."""
    assert admission(Admission(CARD, 3.0, "alice")) == {"mac": CARD, "at": 3.0, "by": "alice"}
