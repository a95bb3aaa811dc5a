"""Whether a machine that nobody declared may have a credential: `admission: approval`. Pure."""

from __future__ import annotations

from netboot.errors import JoinWithheld
from netboot.model.inventory import Assignment
from netboot.model.machine import Mac

RETRY = 10.0
"""Seconds after which a machine that waits asks again."""


def needs_approval(assignment: Assignment) -> bool:
    """Whether an operator has to let this machine in: nobody declared it, and nobody assigned it."""
    return assignment.node is None and assignment.pool.admission == "approval"


def check_admission(assignment: Assignment, mac: Mac, admitted: bool) -> None:
    """Raises JoinWithheld where the machine waits for an operator; the text is for its console, too."""
    if needs_approval(assignment) and not admitted:
        raise JoinWithheld(f"waits for an operator: netboot node admit {mac}", RETRY)
