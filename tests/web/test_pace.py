"""Shared bandwidth: the sum over time is the limit, whoever asks."""

from __future__ import annotations

import math

import pytest

from netboot.web.pace import BURST, PORTION, Pace


def paced(rate: float) -> Pace:
    pace = Pace()
    pace.set(rate)
    return pace


def test_without_a_limit_everything_may_leave() -> None:
    """The bucket is not even looked at."""
    pace = Pace()
    assert not pace.limited
    assert pace.take(1 << 40, 0.0) == 1 << 40


@pytest.mark.parametrize("rate", [100_000.0, 10e6, 1e9])
def test_what_leaves_in_ten_seconds_is_the_limit(rate: float) -> None:
    """However many ask, the sum is the rate times the time, and a burst."""
    pace, sent, now = paced(rate), 0, 100.0
    pace.take(1, now)
    while now < 110.0:
        while taken := pace.take(2 << 20, now):
            assert taken <= PORTION
            sent += taken
        now += 0.01
    most = max(PORTION, rate * BURST)
    assert rate * 10 - most <= sent <= rate * 10 + 2 * most


def test_what_could_not_be_sent_may_leave_later() -> None:
    """A full socket takes nothing from the others."""
    pace = paced(1e6)
    pace.take(1, 0.0)
    first = pace.take(PORTION, 1.0)
    assert first == PORTION
    pace.give_back(first)
    assert pace.take(PORTION, 1.0) == PORTION
    assert pace.take(PORTION, 1.0) == 0


def test_a_limit_can_be_taken_back() -> None:
    """After a share grew to everything."""
    pace = paced(1.0)
    pace.set(math.inf)
    assert pace.take(10**9, 5.0) == 10**9
