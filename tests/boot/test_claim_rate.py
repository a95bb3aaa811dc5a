"""Claims that a pool admits: so many at once, then evenly, each machine at a time of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netboot.boot import claim_rate
from netboot.boot.claim_rate import KEPT_FOR, LONGEST, ClaimRates, told
from netboot.model.inventory import Pool
from netboot.model.manners import Rate

POOL = Pool("guests", "blue", "net", claims=Rate(3, 30.0))
"""Three at once, then one in ten seconds."""


def test_without_a_limit_everybody_is_admitted() -> None:
    """And nothing is remembered."""
    rates = ClaimRates()
    pool = Pool("free", "blue", "net")
    assert [rates.wait(pool, f"b{n}", 0.0) for n in range(1000)] == [0.0] * 1000 and not rates._lines


def test_machines_over_the_rate_are_given_times_in_their_order() -> None:
    """Each comes at its own; who asks more often gains nothing, and each pool counts for itself."""
    rates = ClaimRates()
    waits = [rates.wait(POOL, f"b{n}", 100.0) for n in range(6)]
    assert waits == [0.0, 0.0, 0.0, 10.0, 20.0, 30.0]
    assert [rates.wait(POOL, "b5", 100.0 + n) for n in range(3)] == [30.0, 29.0, 28.0]
    assert rates.wait(POOL, "b3", 110.0) == 0.0 and rates.wait(POOL, "b4", 119.0) == 1.0
    assert rates.wait(replace(POOL, name="other"), "b9", 100.0) == 0.0


def test_the_rate_holds_however_many_come() -> None:
    """In any half minute no more than twice the count, in the long run the rate."""
    rates = ClaimRates()
    due = {f"b{n}": 0.0 for n in range(40)}
    admitted = []
    while due:
        who = min(due, key=lambda w: due[w])
        at = due.pop(who)
        if wait := rates.wait(POOL, who, at):
            due[who] = at + wait
        else:
            admitted.append(at)
    assert admitted[:3] == [0.0] * 3 and admitted[-1] == 370.0 and len(admitted) == 40


def test_a_quiet_while_brings_the_count_back_and_no_more() -> None:
    """After an hour three may come at once again, not three hundred."""
    rates = ClaimRates()
    for n in range(3):
        rates.wait(POOL, f"b{n}", 0.0)
    assert [rates.wait(POOL, f"c{n}", 3600.0) > 0 for n in range(5)] == [False] * 3 + [True] * 2


def test_a_machine_that_never_comes_is_forgotten() -> None:
    """Its time is kept for five minutes."""
    rates = ClaimRates()
    for n in range(4):
        rates.wait(POOL, f"b{n}", 0.0)
    rates.wait(POOL, "late", 10.0 + KEPT_FOR + 1)
    assert list(rates._lines["guests"]._times) == []


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes when too many have a time is told to come again."""
    monkeypatch.setattr(claim_rate, "MOST", 2)
    rates = ClaimRates()
    waits = [rates.wait(POOL, f"b{n}", 0.0) for n in range(7)]
    assert waits[:5] == [0.0, 0.0, 0.0, 10.0, 20.0] and waits[5:] == [LONGEST] * 2


def test_a_changed_rate_begins_a_new_line() -> None:
    """After a reload, nobody waits for the old one."""
    rates = ClaimRates()
    assert [rates.wait(POOL, f"b{n}", 0.0) for n in range(4)][-1] == 10.0
    assert rates.wait(replace(POOL, claims=Rate(60, 60.0)), "b3", 1.0) == 0.0


def test_the_reason_is_told_in_words() -> None:
    """For the boot's timeline and the machine's console."""
    assert told(POOL, 12.4) == (
        "waiting for its claim to be admitted: pool guests admits 3 claims in 30 s, and the turn of this "
        "machine comes in 12 s"
    )
