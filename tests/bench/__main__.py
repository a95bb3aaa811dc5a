"""`scripts/bench NAME [options]`: one bench, its tables on standard output."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import tests.bench as benches
from tests.bench.frame import report
from tests.bench.frame.turns import Refused

PRIORITY = 20
"""SCHED_RR priority of a bench and its servers: what else the machine does then disturbs both sides less."""


LOCK = Path("/run/lock/netbench")
"""Held by the bench that runs: two at once would measure each other."""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other bench runs on this machine, and keep others waiting."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("scripts/bench: another bench runs; waiting for its end", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def names() -> list[str]:
    """Every bench: the modules beside this one."""
    found = (m.name for m in pkgutil.iter_modules(benches.__path__) if not m.ispkg)
    return sorted(name for name in found if not name.startswith(("_", "test_")))


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures us beside our peers.")
    kinds = parser.add_subparsers(dest="bench", required=True, metavar="NAME")
    for name in names():
        bench = importlib.import_module(f"tests.bench.{name}")
        summary = (bench.__doc__ or "").partition("\n")[0]
        kind = kinds.add_parser(
            name,
            help=summary,
            description=bench.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        kind.add_argument("--quick", action="store_true", help="one short turn, to see that it works")
        kind.add_argument("--rounds", type=int, default=3, help="turns of each server (3)")
        kind.add_argument("--ordinary", action="store_true", help="at ordinary priority, not SCHED_RR")
        bench.arguments(kind)
        kind.set_defaults(run=bench.run)
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds = 1
    return chosen


def measured(chosen: argparse.Namespace) -> Sequence[report.Verdict] | None:
    """Run the bench; None where it cannot run here, which is told."""
    if not chosen.ordinary:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    print(report.heading(chosen.bench, sys.argv[1:]), flush=True)
    try:
        verdicts: Sequence[report.Verdict] = chosen.run(chosen)
        return verdicts
    except Refused as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return None


def main() -> int:
    """Run the bench; 1 where a floor was missed, 2 where it cannot run here."""
    chosen = options(sys.argv[1:])
    if os.geteuid() != 0:
        print(
            "scripts/bench: it makes network namespaces, so it needs root: run it with sudo", file=sys.stderr
        )
        return 2
    with contextlib.nullcontext() if chosen.quick else alone():
        verdicts = measured(chosen)
    if verdicts is None:
        return 2
    return 0 if chosen.quick or all(verdict.met for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
