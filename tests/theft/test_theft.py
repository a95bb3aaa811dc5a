"""Every route to a node's secrets, with its guard and without, on a running daemon."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.theft.__main__ import Outcome, thefts
from tests.theft.rows import ROWS


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """What each route got."""
    return {one.row.name: one for one in thefts(ROWS)}


@pytest.mark.root
@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_nothing_is_stolen_and_the_guard_is_why(outcomes: dict[str, Outcome], name: str) -> None:
    """Nothing with the guard; something without, or the row proves nothing."""
    one = outcomes[name]
    assert not one.guarded, f"{name} got {one.guarded}"
    assert one.told, f"{name}: the log has no {one.row.alarm}"
    assert one.open, f"{name} gets nothing even without its guard: the row proves nothing"


def test_the_page_shows_each_route() -> None:
    """docs/security.md has every row of `scripts/theft`, and none that is not tried."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text()
    shown = re.findall(r"^\| (.+?) \| nothing \|", page, re.MULTILINE)
    assert sorted(name.replace("`", "") for name in shown) == sorted(row.name for row in ROWS)
