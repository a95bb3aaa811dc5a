"""The benches work: each runs its short form to the end, whatever the figures are on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    ("dhcp",),
    ("dhcp", "--during", "reload"),
    ("dhcp", "--during", "probe"),
    ("dhcp", "--during", "flood"),
    ("dhcp", "--during", "downloads"),
    ("daemon",),
    ("storm",),
    ("http", "--case", "scripts"),
    ("memory",),
)


@pytest.mark.root
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_bench_runs_to_its_end(words: tuple[str, ...]) -> None:
    """`scripts/bench NAME --quick` prints its tables; no figure is asserted."""
    command = [sys.executable, "-m", "tests.bench", *words, "--quick"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout
    assert (
        "| netboot" in done.stdout
        or "| without" in done.stdout
        or "| 10 nodes" in done.stdout
        or "| no limit" in done.stdout
    ), done.stdout
    assert "| floor" in done.stdout
