"""Turns: each server fresh, one after the other, A B A B: what else the machine does then hits all alike."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.bench.frame.link import Link
from tests.bench.frame.server import Recipe, Server

Figures = dict[str, float]
"""What one turn measured, by name."""

Make = Callable[[Path], Recipe]
"""Writes a server's files into a folder and says how to start it there."""

Measure = Callable[[Server], Figures]


class Refused(Exception):
    """Why a bench cannot be run here, or with these options."""


def alternate(
    link: Link, contenders: Mapping[str, Make], rounds: int, measure: Measure
) -> dict[str, list[Figures]]:
    """The figures of each contender, a fresh server for each turn."""
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    with progress(rounds * len(contenders)) as step:
        for turn in range(rounds):
            for name, make in contenders.items():
                step(f"{name}, turn {turn + 1} of {rounds}")
                with served(link, make) as server:
                    found[name].append(measure(server))
    return found


@contextmanager
def served(link: Link, make: Make) -> Iterator[Server]:
    """A fresh server in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="netbench-") as folder:
        Path(folder).chmod(0o755)  # servers drop root and still read their files
        with Server(make(Path(folder)), link.server, Path(folder)) as server:
            yield server


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Calls it with what begins next; a bar on a terminal (of `rich`, where installed), else nothing."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda text: print(text, file=sys.stderr, flush=True) if sys.stderr.isatty() else None
        return
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        begun = False

        def step(text: str) -> None:
            nonlocal begun
            bar.update(task, description=text, advance=1 if begun else 0)
            begun = True

        yield step
