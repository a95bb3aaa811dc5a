"""`scripts/theft`: try every route, with its guard and without, and print what came of it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.lab.site import scratch
from tests.theft.rows import ROWS, Row
from tests.theft.scene import Scene, playing


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a route got: with its guard, and without."""

    row: Row
    guarded: str
    open: str
    told: bool = True
    """Whether the operator was told, where the row wants an alarm."""

    @property
    def right(self) -> bool:
        """Nothing with the guard, something without: else the guard, or the row, is worth nothing."""
        return self.told and not self.guarded and bool(self.open)

    @property
    def verdict(self) -> str:
        """What is wrong, in capitals; empty for nothing."""
        if self.guarded:
            return "STOLEN"
        return "" if self.right else "PROVES NOTHING" if not self.open else "NO ALARM"


def thefts(rows: Sequence[Row], *, done: Callable[[str], None] = lambda _: None) -> list[Outcome]:
    """Each row on `netboot serve` as it is, then on one whose guards are switched off one by one."""
    with scratch() as directory:
        guarded, told = _honest([r for r in rows if not r.later], directory / "guarded", done)
        opened = _switched(rows, directory / "open", directory / "switch", guarded, done)
    return [Outcome(row, guarded[row.name], opened[row.name], told.get(row.name, True)) for row in rows]


def _honest(
    rows: Sequence[Row], directory: Path, done: Callable[[str], None]
) -> tuple[dict[str, str], dict[str, bool]]:
    """What each row got, and whether its alarm stood in the log by then."""
    got, told = {}, {}
    with playing(directory, switch=None) as scene:
        for row in rows:
            before = len(scene.appliance.log())
            got[row.name] = _try(scene, row, done)
            told[row.name] = re.search(row.alarm, scene.appliance.log()[before:]) is not None
    return got, told


def _switched(
    rows: Sequence[Row],
    directory: Path,
    switch: Path,
    guarded: dict[str, str],
    done: Callable[[str], None],
) -> dict[str, str]:
    """What is got with each guard off; rows of a later hour are tried here with their guard on, too."""
    switch.touch(mode=0o644)
    got = {}
    with playing(directory, switch=switch) as scene:
        for row in sorted(rows, key=lambda row: row.later):
            if row.later:
                (scene.directory / "old-key").write_text(scene.opens(scene.victim))
                Path(f"{switch}.later").touch(mode=0o644)
                guarded[row.name] = _try(scene, row, done)
            switch.write_text(row.guard)
            got[row.name] = _try(scene, row, done) or _try(scene, row, done)  # frames of two twins may cross
            switch.write_text("")
    return got


def _try(scene: Scene, row: Row, done: Callable[[str], None]) -> str:
    before = len(scene.appliance.log())
    got = row.attempt(scene)
    lines = scene.appliance.log()[before:].splitlines()
    refused = [line[25:225] for line in lines if " warning " in line or " error " in line]
    done(f"{row.name}: {got or 'nothing'}" + (f" ({refused[-1]})" if refused and not got else ""))
    return got


def table(outcomes: Sequence[Outcome], seconds: float) -> Table:
    """Route and outcome, as docs/security.md has it."""
    made = Table(title=f"scripts/theft, {seconds:.0f} s")
    for column in ("route", "with its guard", "guard switched off", ""):
        made.add_column(column)
    for one in outcomes:
        made.add_row(one.row.name, one.guarded or "nothing", one.open or "nothing", one.verdict)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where a route got something, or its row proves nothing."""
    parser = argparse.ArgumentParser(prog="scripts/theft", description=__doc__)
    parser.add_argument("words", nargs="*", help="only routes whose name holds one of these words")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of each try as it ends")
    chosen = parser.parse_args(arguments)
    rows = [r for r in ROWS if not chosen.words or any(w in r.name for w in chosen.words)]
    console, began = Console(), time.monotonic()
    say = (lambda text: console.print(text, markup=False)) if chosen.verbose else (lambda text: None)
    outcomes = thefts(rows, done=say)
    console.print(table(outcomes, time.monotonic() - began))
    return 0 if all(one.right for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
