"""Machines that nobody declared, in a pool where an operator lets each one in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netboot.boot.admission import check_admission
from netboot.errors import JoinWithheld
from netboot.model.overlay import overlaid
from netboot.model.placement import Placement
from tests.model.test_inventory import FIRST, INVENTORY, STRANGER, assigned

APPROVAL = {name: replace(pool, admission="approval") for name, pool in INVENTORY.pools.items()}
STRICT = replace(INVENTORY, pools=APPROVAL)


def test_an_undeclared_machine_waits_for_an_operator() -> None:
    """It is told what to type, and asks again by itself."""
    with pytest.raises(JoinWithheld, match=f"waits for an operator: netboot node admit {STRANGER}") as told:
        check_admission(assigned(STRANGER, STRICT), STRANGER, admitted=False)
    assert told.value.retry_after == 10.0


def test_who_is_let_in_declared_or_assigned_does_not_wait() -> None:
    """Nor does anybody where admission is automatic."""
    check_admission(assigned(STRANGER, STRICT), STRANGER, admitted=True)
    check_admission(assigned(FIRST, STRICT), FIRST, admitted=False)
    check_admission(assigned(STRANGER), STRANGER, admitted=False)
    placed = Placement(str(STRANGER), (STRANGER,), cluster="blue", home="rest")
    check_admission(assigned(STRANGER, overlaid(STRICT, [placed]).inventory), STRANGER, admitted=False)
