"""Rates, and who is admitted."""

from __future__ import annotations

from netboot.model.manners import UNLIMITED, Limits, Rate


def test_a_rate_has_a_mean() -> None:
    """What may come at once, and per second in the long run."""
    assert Rate(60, 60.0).per_second == 1.0
    assert UNLIMITED.per_second == float("inf")


def test_limits_are_none_by_default() -> None:
    """An operator asks for them."""
    assert Limits().per_client == Limits().new_macs == UNLIMITED
