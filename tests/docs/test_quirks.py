"""docs/quirks.md: complete, true of the tables, and of tests that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from netboot.boot.quirks import QUIRKS
from netboot.boot.rules import RULES
from tests.docs import FOLDER, PAGES
from tests.docs.field import ROWS

ROOT = Path(__file__).resolve().parents[2]
IDS = {row.id for row in (*QUIRKS, *RULES)}


def test_the_page_is_what_scripts_docs_writes() -> None:
    """Whoever changes a table runs `scripts/docs`."""
    for name, page in PAGES.items():
        assert (FOLDER / name).read_text() == page(), f"docs/{name} is stale: run scripts/docs"


def test_every_row_has_a_rule_and_a_test_or_says_why_not() -> None:
    """No client that we know of is passed over in silence."""
    assert len(ROWS) == 37
    for row in ROWS:
        assert (row.ids and row.tests) or row.not_ours, row.client
        assert not set(row.ids) - IDS, f"{row.client}: no such quirk or rule"


def test_every_quirk_and_rule_answers_a_row() -> None:
    """A behaviour that nobody needs would have no place in the table."""
    answering = {name for row in ROWS for name in row.ids}
    assert answering == IDS


def test_every_test_of_a_row_exists() -> None:
    """pytest collects each of them by its id."""
    wanted = sorted({test for row in ROWS for test in row.test_ids})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *wanted]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
