"""What the benches print: medians, verdicts, tables; and that the load generators compile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench.frame import report
from tests.bench.frame.build import SOURCES, compiled
from tests.bench.frame.report import Column, Verdict


def test_each_bench_is_found_by_its_file() -> None:
    """A further bench is a further file."""
    assert {"daemon", "dhcp"} <= set(command.names())
    assert not {"frame", "load", "test_frame"} & set(command.names())


def test_a_table_shows_the_median_and_the_range() -> None:
    """What varies says how much; what was not measured is a dash."""
    turns = [{"rate": 900.0}, {"rate": 1100.0}, {"rate": 1000.0}]
    found = {"ours": turns, "theirs": [{"rate": 500.0}], "another": [{"lost": 1.0}]}
    text = report.servers(found, [Column("exchanges/s", "rate")])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert rows[0] == ["server", "exchanges/s"]
    assert rows[2:] == [["ours", "1,000 (900..1,100)"], ["theirs", "500"], ["another", "–"]]


def test_a_floor_that_is_missed_is_marked() -> None:
    """Higher or lower is better, as the floor says."""
    fast, slow = Verdict("rate", 1.6, 1.5, True), Verdict("rate", 1.4, 1.5, True)
    cheap, dear = Verdict("CPU", 0.7, 0.8, False), Verdict("CPU", 0.9, 0.8, False)
    assert [v.met for v in (fast, slow, cheap, dear)] == [True, False, True, False]
    assert slow.row() == ("rate", "1.4×", "≥ 1.5×", "MISSED")
    assert "MISSED" in report.floors([fast, slow]) and "MISSED" not in report.floors([fast, cheap])


def test_what_was_not_measured_meets_no_floor() -> None:
    """A ratio to nothing is no number, which is neither above nor below."""
    nothing = report.ratio(5.0, 0.0)
    assert not Verdict("rate", nothing, 1.5, True).met and not Verdict("CPU", nothing, 0.8, False).met


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")
@pytest.mark.parametrize("source", sorted(path.stem for path in SOURCES.glob("*.c")))
def test_a_load_generator_compiles_without_a_warning(source: str, tmp_path: Path) -> None:
    """gcc with -Wall -Wextra -Werror, as each bench starts."""
    assert compiled(source, tmp_path).is_file()
