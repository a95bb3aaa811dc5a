"""What `scripts/test` does once the environment is there: each kind of test in turn, then the promises.

scripts/test                everything
scripts/test --fast         lint and the tests that need no root
scripts/test --lab          the virtual machines only
scripts/test --sabotage     break each safety promise in a copy; its test must fail
scripts/test -k WORDS       further arguments go to pytest, for each kind
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAY_BE_SKIPPED = ("NETBOOT_KUBERNETES_BIN",)
"""Reasons to skip that no preparation by scripts/setup takes away: they name something from outside."""
FUZZED = "200000"
"""Hostile inputs of each run; a release has ten million (docs/reliability.md)."""
SECOND_TRIES = 3
"""Failures of one part that may be the machine's: virtual machines and real clients on two busy cores. Those
tests run once more, each alone, and the table says so; where more fail it is the code."""
BROKEN = ("failed", "error")
SOME_FAILED = 1
"""pytest's exit status when tests ran and some failed."""
NO_TESTS = 5
"""pytest's exit status when nothing was selected."""


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of test: its name on the screen, its command, its limit in seconds."""

    name: str
    command: tuple[str, ...]
    limit: float
    tests: bool = True
    second_try: bool = False
    """Whether a few failed tests may try again, because strangers' clocks run in them."""
    folder: Path = ROOT


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a part ended."""

    part: Part
    status: int
    seconds: float


def pytest_command(mark: str, processes: int, more: Sequence[str]) -> tuple[str, ...]:
    """One run of pytest over the tests that `mark` selects."""
    workers = ("-n", str(processes), "--dist", "loadfile") if processes > 1 else ()
    return (sys.executable, "-m", "pytest", "-p", "tests.support.report", "-m", mark, *workers, *more)


def parts(options: argparse.Namespace, more: Sequence[str]) -> list[Part]:
    """The parts that were asked for, cheap ones first."""
    cores = max(2, os.cpu_count() or 2)
    lint = Part("lint", (str(ROOT / "scripts/lint"),), 600, tests=False)
    plain = Part("plain", pytest_command("not root and not lab", cores, more), 1200)
    root = Part("root", pytest_command("root and not lab", 2, more), 1500, second_try=True)
    images = Part("images", (sys.executable, "-m", "tests.support.prepare"), 2400, tests=False)
    # two machines at a time: each process of xdist has a site of its own and boots one after the other
    lab_command = (*pytest_command("lab", 2, more), "--maxschedchunk=1", "--dist=load")
    lab = Part("lab", lab_command, 3000, second_try=True)
    sabotage = Part("sabotage", (sys.executable, "-m", "tests.sabotage"), 1800, tests=False)
    fuzz = Part("fuzz", (str(ROOT / "scripts/fuzz"), "--inputs", FUZZED), 600, tests=False)
    if options.fast:
        return [lint, plain]
    if options.sabotage:
        return [sabotage]
    if options.lab:
        return [images, lab]
    if more:
        return [plain, root, images, lab]
    return [lint, plain, sabotage, fuzz, root, images, lab]


def run(part: Part, report: Path) -> Outcome:
    """Run one part, and once more the few of its tests that failed where that is allowed."""
    known = len(rows_of(report))
    first = _run(part, report)
    broken = [row["test"] for row in rows_of(report)[known:] if row["outcome"] in BROKEN]
    if not part.second_try or first.status != SOME_FAILED or not 0 < len(broken) <= SECOND_TRIES:
        return first
    again = (*pytest_command("", 1, ()), *dict.fromkeys(broken))
    second = _run(Part(f"{part.name}, once more", again, part.limit, tests=False, folder=part.folder), report)
    return Outcome(part, second.status, first.seconds + second.seconds)


def _run(part: Part, report: Path) -> Outcome:
    """Run a command to its end or its limit; its output goes to the screen."""
    print(f"\n== {part.name}", flush=True)
    began = time.monotonic()
    environment = {**os.environ, "NETBOOT_REPORT": str(report), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(part.command, cwd=part.folder, env=environment, stdin=subprocess.DEVNULL)
    try:
        status = process.wait(part.limit)
    except subprocess.TimeoutExpired:
        print(f"== {part.name} did not end within {part.limit:.0f} s", flush=True)
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        status = 124
    seconds = time.monotonic() - began
    if part.tests and status == NO_TESTS:
        status = 0
    print(
        f"== {part.name}: {'ok' if status == 0 else f'FAILED (status {status})'} in {seconds:.0f} s",
        flush=True,
    )
    return Outcome(part, status, seconds)


def rows_of(report: Path) -> list[dict[str, str]]:
    """The lines of the report plugin."""
    return [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []


def settled(rows: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The row that counts of each test, its last; and the failures that a second try has not confirmed."""
    last = {row["test"]: row for row in rows}
    first = [row for row in rows if row["outcome"] in BROKEN and last[row["test"]]["outcome"] == "passed"]
    return list(last.values()), first


def could_have_run(row: dict[str, str]) -> bool:
    """Whether a skipped test says nothing that this machine lacks for good."""
    return row["outcome"] == "skipped" and not any(reason in row["skipped"] for reason in MAY_BE_SKIPPED)


def table(rows: Sequence[dict[str, str]]) -> str:
    """Promise, test, seconds, and why it was skipped or how it ended; the cases of one test in one row."""
    lines = []
    for (test, end), cases in sorted(_by_test(rows).items()):
        seconds = sum(float(row["seconds"]) for row in cases)
        told = f"{len(cases)} cases" if len(cases) > 1 else ""
        lines.append(f"{seconds:8.2f} s  {cases[0]['promise']}")
        lines.append(f"            {test}  {', '.join(filter(None, (told, end)))}".rstrip())
    return "\n".join(lines)


def _by_test(rows: Sequence[dict[str, str]]) -> dict[tuple[str, str], list[dict[str, str]]]:
    """Rows by test and end; a case that did not pass keeps its own row."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        passed = row["outcome"] == "passed"
        reason = f"skipped: {row['skipped']}" if row["outcome"] == "skipped" else row["outcome"].upper()
        test = row["test"].partition("[")[0] if passed else row["test"]
        found.setdefault((test, "" if passed else reason), []).append(row)
    return found


def printed(rows: Sequence[dict[str, str]]) -> str:
    """What tests that boot machines had to show, though they passed; pytest itself shows only failures."""
    shown = [(row["test"], row["printed"].rstrip()) for row in rows if row.get("printed", "").strip()]
    return "\n".join(f"\n== {test}\n{text}" for test, text in sorted(shown))


def failures(rows: Sequence[dict[str, str]]) -> str:
    """Each broken test with the end of its report, at the end again: there a log that was cut is whole."""
    broken = [row for row in rows if row.get("failure")]
    return "\n".join(f"\n== {row['outcome'].upper()} {row['test']}\n{row['failure']}" for row in broken)


def totals(rows: Sequence[dict[str, str]]) -> str:
    """The last line: how many tests ended how; an error around a test counts as its failure."""
    passed = sum(row["outcome"] == "passed" for row in rows)
    skipped = sum(row["outcome"] == "skipped" for row in rows)
    counted = f"{passed} passed, {len(rows) - passed - skipped} failed"
    return f"{counted}, {skipped} skipped" if skipped else counted


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 only if every part passed and nothing was skipped that could run here."""
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("fast", "sabotage", "lab"):
        parser.add_argument(f"--{name}", action="store_true")
    options, more = parser.parse_known_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.jsonl")
        if os.geteuid() != 0 and not options.fast:
            print(
                "scripts/test: not root: tests with namespaces and virtual machines will fail to run",
                flush=True,
            )
        outcomes = [run(part, report) for part in parts(options, more)]
        rows, unconfirmed = settled(rows_of(report))
    if shown := printed(rows):
        print(shown)
    print("\n== promises\n" + table(rows))
    if broken := failures(rows):
        print(broken)
    for row in unconfirmed:
        print(f"\n== passed at its second try: {row['test']}; at the first:\n{row['failure']}")
    wrongly_skipped = [row for row in rows if could_have_run(row)]
    for row in wrongly_skipped:
        print(f"skipped though it could run here: {row['test']}: {row['skipped']}")
    print("\n== parts")
    for outcome in outcomes:
        print(f"{outcome.seconds:8.0f} s  {outcome.part.name}  {'ok' if outcome.status == 0 else 'FAILED'}")
    print(f"{time.monotonic() - began:8.0f} s  in all")
    print(totals(rows), flush=True)
    return 1 if wrongly_skipped or any(o.status for o in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
