"""The runner of the whole suite: what it selects, what it counts as a failure, how it ends."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from tests.support.run import (
    ROOT,
    Part,
    could_have_run,
    failures,
    parts,
    printed,
    rows_of,
    run,
    settled,
    table,
    totals,
)

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


def test_a_failure_stands_at_the_end_with_its_reason() -> None:
    """Whoever reads the last page of a log sees what broke and why."""
    broken = {**FAILED, "test": "tests/test_it.py::test_other", "failure": "assert 1 == 2"}
    text = failures([PASSED, broken])
    assert "tests/test_it.py::test_other" in text and "assert 1 == 2" in text
    assert "tests/test_it.py::test_it" not in text


def test_a_test_that_fails_and_then_passes_counts_once_and_is_told() -> None:
    """The second try settles a test; the failure before it is not swept away."""
    rows, unconfirmed = settled([FAILED, SKIPPED | {"test": "other"}, PASSED])
    assert totals(rows) == "1 passed, 0 failed, 1 skipped"
    assert unconfirmed == [FAILED]


def test_a_test_that_fails_twice_has_failed() -> None:
    """A second try excuses nothing."""
    rows, unconfirmed = settled([FAILED, FAILED])
    assert totals(rows) == "0 passed, 1 failed"
    assert unconfirmed == []


@pytest.mark.parametrize(("passes_at", "status"), [(2, 0), (3, 1)])
def test_a_few_failures_of_a_part_with_strangers_run_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes_at: int, status: int
) -> None:
    """Really once: a test that needs a third try has failed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # the report is written by no worker
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
        "addopts = -m 'not root'\nmarkers =\n    root: as in the project's own settings\n"
    )
    tries = tmp_path / "tries"
    test = tmp_path / "test_it.py"
    test.write_text(
        "import pytest\n@pytest.mark.root\ndef test_it():\n"
        f"    with open({str(tries)!r}, 'a+') as file:\n"
        "        file.write('x'); file.seek(0)\n"
        f"        assert len(file.read()) >= {passes_at}\n"
    )
    command = (sys.executable, "-m", "pytest", "-p", "tests.support.report", "-m", "root", str(test))
    part = Part("root", command, 60, second_try=True, folder=tmp_path)
    assert run(part, tmp_path / "report").status == status
    assert len(tries.read_text()) == 2


def test_plain_tests_have_one_try() -> None:
    """Nothing but our own code runs in them."""
    assert {part.name for part in parts(options(), []) if part.second_try} == {"root", "lab"}
