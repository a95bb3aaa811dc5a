"""A pytest plugin: one line of JSON for each test, with the promise that its docstring makes.

Used by `scripts/test` as `-p tests.support.report` with NETBOOT_REPORT naming the file; under xdist only the
controlling process writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHOWN = 3000
"""Characters of a failure that are kept: its end, which names the broken assertion."""


def promise_of(item: pytest.Item) -> str:
    """The first sentence of a test's docstring, or its name in words."""
    doc = getattr(getattr(item, "obj", None), "__doc__", None) or ""
    words = " ".join(doc.strip().split("\n\n")[0].split())
    return words or item.name.removeprefix("test_").replace("_", " ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Attach the promise: it travels with the report from xdist's workers."""
    report: Any = yield
    report.user_properties.append(("promise", promise_of(item)))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write the test's line: of its call, or of what went wrong around it."""
    path = os.environ.get("NETBOOT_REPORT")
    if not path or os.environ.get("PYTEST_XDIST_WORKER") or (report.when != "call" and report.passed):
        return
    reason = ""
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    line = {
        "promise": dict(report.user_properties).get("promise", ""),
        "test": report.nodeid,
        "outcome": report.outcome if report.when == "call" or report.skipped else "error",
        "seconds": round(report.duration, 2),
        "skipped": str(reason).removeprefix("Skipped: "),
        "failure": report.longreprtext[-SHOWN:] if report.failed else "",
        "printed": report.capstdout if report.passed and report.nodeid.startswith("tests/lab/") else "",
    }
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
