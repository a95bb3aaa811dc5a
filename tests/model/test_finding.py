"""Findings as values."""

from __future__ import annotations

import pytest

from netboot.model.finding import STATES, Finding


@pytest.mark.parametrize("state", STATES)
def test_only_what_is_well_or_noted_needs_no_mending(state: str) -> None:
    """Everything else does."""
    assert Finding(state, "what").bad is (state not in ("ok", "note"))
