"""The sabotage itself: a line that no longer fits, or whose test stays green, is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage import ROOT, SABOTAGES, Sabotage, broken, verdict

LINE = Sabotage("a promise", "file.py", "a < b", "a <= b", "tests/test_it.py::test_it")


def test_a_line_changes_exactly_one_place() -> None:
    """A line that fits changes its text once."""
    assert broken("if a < b:\n", LINE) == "if a <= b:\n"


@pytest.mark.parametrize("text", ["nothing here", "a < b and a < b"])
def test_a_line_that_no_longer_fits_is_an_error(text: str) -> None:
    """Code that moved away from its line of sabotage is noticed."""
    with pytest.raises(ValueError, match="not once"):
        broken(text, LINE)


def test_only_a_failed_test_counts_as_caught() -> None:
    """A green test, a wrong test name and a crash while collecting prove nothing."""
    assert verdict(LINE, 1, "1 failed") is None
    assert all(verdict(LINE, status, "output") for status in (0, 2, 3, 4, 5, 124))


@pytest.mark.parametrize("line", SABOTAGES, ids=lambda line: line.promise)
def test_every_line_fits_the_code_of_today(line: Sabotage) -> None:
    """Each line of sabotage can be applied, and names a test file that exists."""
    broken((ROOT / line.file).read_text(), line)
    assert Path(ROOT, line.test.partition("::")[0]).exists()
