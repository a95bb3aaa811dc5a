"""The runner of the whole suite: what it selects, what it counts as a failure, how it ends."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.support.run import could_have_run, parts, printed, rows_of, table, totals

PASSED = {
    "promise": "It works.",
    "test": "tests/test_it.py::test_it",
    "outcome": "passed",
    "seconds": "0.5",
    "skipped": "",
}
FAILED = {**PASSED, "outcome": "failed", "promise": "It fails."}
SKIPPED = {**PASSED, "outcome": "skipped", "skipped": "no dnsmasq here"}
FOREIGN = {**SKIPPED, "skipped": "NETBOOT_KUBERNETES_BIN names no folder of real binaries"}


def options(**chosen: bool) -> argparse.Namespace:
    """The command line's options."""
    return argparse.Namespace(**{"fast": False, "sabotage": False, "lab": False, **chosen})


def test_all_kinds_of_tests_run_by_default() -> None:
    """Without options everything runs: a clone is judged by all of it."""
    assert [part.name for part in parts(options(), [])] == [
        "lint",
        "plain",
        "sabotage",
        "fuzz",
        "root",
        "images",
        "lab",
    ]


def test_the_fast_choice_needs_no_root() -> None:
    """--fast is lint and plain tests."""
    assert [part.name for part in parts(options(fast=True), [])] == ["lint", "plain"]


def test_a_test_skipped_for_what_setup_installs_is_a_failure() -> None:
    """Only what comes from outside may be missing; everything else could have run here."""
    assert could_have_run(SKIPPED)
    assert not could_have_run(FOREIGN)
    assert not could_have_run(PASSED)


def test_the_last_line_counts_in_the_words_of_pytest() -> None:
    """Readers of the last line find passed and failed."""
    assert totals([PASSED, FAILED, FOREIGN]) == "1 passed, 1 failed, 1 skipped"


def test_the_table_names_promise_test_seconds_and_reason(tmp_path: Path) -> None:
    """Each test is one row, with why it was skipped."""
    report = tmp_path / "report"
    report.write_text("".join(json.dumps(row) + "\n" for row in (PASSED, FOREIGN)))
    text = table(rows_of(report))
    assert "It works." in text and "tests/test_it.py::test_it" in text and "0.50 s" in text
    assert "skipped: NETBOOT_KUBERNETES_BIN" in text


def test_the_cases_of_one_test_share_a_row() -> None:
    """Two thousand cases are a few hundred promises; a case that failed stands by itself."""
    cases = [{**PASSED, "test": f"{PASSED['test']}[{n}]"} for n in range(3)]
    failed = {**FAILED, "test": f"{PASSED['test']}[3]"}
    rows = table([*cases, failed]).splitlines()
    assert [row.strip() for row in rows[1::2]] == [
        f"{PASSED['test']}  3 cases",
        f"{PASSED['test']}[3]  FAILED",
    ]


def test_what_a_passed_boot_had_to_show_is_shown() -> None:
    """The table of declared and found settings stands in the output of a run in which all is well."""
    assert printed([PASSED, {**PASSED, "printed": "setting  declared  found\n"}]) == (
        f"\n== {PASSED['test']}\nsetting  declared  found"
    )
    assert printed([PASSED]) == ""
