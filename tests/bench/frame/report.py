"""Medians, tables and floors, as they stand in docs/performance.md."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.frame.turns import Figures


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table."""

    title: str
    figure: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One floor: what is compared with what, and whether it is met."""

    what: str
    found: float
    limit: float
    at_least: bool
    unit: str = "×"

    @property
    def met(self) -> bool:
        """Whether the floor is reached."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def row(self) -> tuple[str, str, str, str]:
        """Its line of the table."""
        sign = "≥" if self.at_least else "≤"
        found, limit = (f"{value:.4g}{self.unit}" for value in (self.found, self.limit))
        return self.what, found, f"{sign} {limit}", "ok" if self.met else "MISSED"


def median(turns: Sequence[Figures], figure: str) -> float:
    """The median of a figure over the turns; not a number where it was not measured."""
    return statistics.median(turn.get(figure, float("nan")) for turn in turns)


def ratio(ours: float, theirs: float) -> float:
    """`ours / theirs`, not a number where there is nothing to compare with."""
    return ours / theirs if theirs else float("nan")


def servers(found: Mapping[str, Sequence[Figures]], columns: Sequence[Column]) -> str:
    """A row for each server: the median of each figure, and its range where the turns differ."""
    rows = [(name, *(_cell(turns, column) for column in columns)) for name, turns in found.items()]
    return table(("server", *(column.title for column in columns)), rows)


def _cell(turns: Sequence[Figures], column: Column) -> str:
    values = [turn[column.figure] for turn in turns if column.figure in turn]
    if not values:
        return "–"
    low, middle, high = (
        f"{value:,.{column.digits}f}" for value in (min(values), statistics.median(values), max(values))
    )
    return middle if low == high else f"{middle} ({low}..{high})"


def floors(verdicts: Sequence[Verdict]) -> str:
    """The floors and whether each is met."""
    return table(("floor", "found", "wanted", ""), [verdict.row() for verdict in verdicts])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is readable as it stands."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    first = "| " + " | ".join(cell.ljust(w) for cell, w in zip(head, widths, strict=True)) + " |"
    return "\n".join([first, "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines])


def heading(bench: str, words: Sequence[str]) -> str:
    """What was run, when, and on what machine."""
    now = datetime.datetime.now(datetime.UTC)
    load = os.getloadavg()[0]
    return (
        f"scripts/bench {' '.join(words)}\n"
        f"{now:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} × {_processor()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f} before the {bench} bench\n"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
