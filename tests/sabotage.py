"""One line for each safety promise: a small change that breaks it, and the test that must then fail.

    python -m tests.sabotage [WORD ...]     all lines, or those whose promise or test holds a word

Each line is applied in a scratch copy of the tree. It is an error when the text to change is not there just
once (the code has moved: move the line with it), when the test stays green, and when pytest ends for another
reason than a failed test. `scripts/test` runs them all, two at a time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 240.0
"""Seconds that one test may take in its scratch copy."""
TESTS_FAILED = 1
"""pytest's exit status for "some tests failed"; anything else is no proof."""
COPIED = (
    "netboot",
    "tests",
    "images",
    "config",
    "scripts",
    "docs",
    "pyproject.toml",
    "README.md",
    "Dockerfile",
)


@dataclass(frozen=True, slots=True)
class Sabotage:
    """Replace `old` by `new` in `file`; then `test` must fail."""

    promise: str
    file: str
    old: str
    new: str
    test: str


SABOTAGES: tuple[Sabotage, ...] = ()


def broken(text: str, line: Sabotage) -> str:
    """The file's text with the promise broken; raises ValueError where the line no longer fits."""
    count = text.count(line.old)
    if count != 1:
        raise ValueError(f"{line.file} holds the text to change {count} times, not once: {line.old!r}")
    return text.replace(line.old, line.new)


def copy_tree(target: Path) -> None:
    """A scratch copy of what the tests need."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=ignore)
        elif source.exists():
            shutil.copy2(source, target / name)


def verdict(line: Sabotage, status: int, output: str) -> str | None:
    """What is wrong with this line, None where its test did its duty."""
    if status == TESTS_FAILED:
        return None
    last = "\n".join(output.strip().splitlines()[-12:])
    if status == 0:
        return f"the test stays green: {line.test}"
    return f"pytest ended with {status}, which proves nothing: {line.test}\n{last}"


def attempt(line: Sabotage) -> tuple[str | None, float]:
    """Break the promise in a copy and run its test: what is wrong, and the seconds it took."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="netboot-sabotage-") as directory:
        copy = Path(directory)
        copy_tree(copy)
        try:
            path = copy / line.file
            path.write_text(broken(path.read_text(), line))
        except (OSError, ValueError) as error:
            return str(error), time.monotonic() - began
        status, output = _pytest(copy, line.test)
    return verdict(line, status, output), time.monotonic() - began


def _pytest(copy: Path, test: str) -> tuple[int, str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        test,
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NETBOOT_REPORT", "PYTEST_"))}
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=LIMIT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return 124, f"no end within {LIMIT:.0f} s\n{error.stdout or ''}"
    return done.returncode, done.stdout


def main(words: Sequence[str]) -> int:
    """Run the lines that hold a word (all without words); 0 only if each test failed as it should."""
    chosen = [s for s in SABOTAGES if not words or any(w in s.promise or w in s.test for w in words)]
    wrong = 0
    with ThreadPoolExecutor(2) as pool:
        for line, (problem, seconds) in zip(chosen, pool.map(attempt, chosen), strict=True):
            wrong += problem is not None
            print(f"{seconds:6.1f} s  {'WRONG ' if problem else 'caught'}  {line.promise}", flush=True)
            if problem:
                print(f"          {problem}", flush=True)
    print(f"{len(chosen) - wrong} broken promises caught, {wrong} not", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
