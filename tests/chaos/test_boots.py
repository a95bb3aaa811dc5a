"""Power cuts at random moments: the plan of a seed, and five of them in virtual machines."""

from __future__ import annotations

import pytest

from tests.chaos import boots


def test_a_seed_is_the_same_plan_again() -> None:
    """Moments within a boot, now and then two cuts in a row; another seed, another plan."""
    plans = boots.plans(200, 7)
    assert plans == boots.plans(200, 7) != boots.plans(200, 8)
    assert {len(plan.cuts) for plan in plans} == {1, 2}
    assert all(0 < cut <= boots.BOOT_CPU for plan in plans for cut in plan.cuts)


@pytest.mark.lab
def test_machines_join_whenever_their_power_was_cut() -> None:
    """Five rounds of `scripts/chaos boots`."""
    rounds = boots.chaos(5, 1)
    assert len(rounds) == 5
    assert [one.wrong for one in rounds] == [[]] * 5
