"""docs/kubernetes-conformance.md names a test for each fact, and no test that there is not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "kubernetes-conformance.md"
TESTS = (ROOT / "tests" / "kube", ROOT / "tests" / "fleet")
MOVING = ("moving.py", "test_reassign.py", "test_undo.py", "test_plan.py")
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def facts() -> dict[str, list[tuple[str, str]]]:
    """The tests that each fact names: file and function."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {c[0]: NAMED.findall(c[1]) for c in cells if c[0] != "fact" and set(c[0]) != {"-"}}


def functions_of(file: str) -> set[str]:
    """The test functions of a file in one of those folders."""
    (path,) = [folder / file for folder in TESTS if (folder / file).exists()]
    tree = ast.parse(path.read_text())
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {f.name for f in functions if f.name.startswith("test_")}


def test_each_fact_has_a_test_that_exists() -> None:
    """A fact without a test, or with one that was renamed, is only a claim."""
    claims = {fact: named for fact, named in facts().items() if not named}
    assert len(facts()) >= 30 and not claims
    gone = [(f, t) for named in facts().values() for f, t in named if t not in functions_of(f)]
    assert not gone


def test_each_conformance_test_shows_a_fact() -> None:
    """What is tested on real binaries is written down."""
    shown = {name for named in facts().values() for file, name in named if file == "test_conformance.py"}
    assert shown == functions_of("test_conformance.py")


def test_the_functions_of_the_cluster_know_no_stand_in() -> None:
    """Whoever holds one or two holds what real binaries can be, too: its interface, a machine, keys."""
    allowed = {"fixtures", "cluster", "machine", "pki"}
    moving = [ROOT / "tests" / "fleet" / name for name in MOVING]
    for file in [*(ROOT / "tests" / "cluster").glob("*.py"), *moving]:
        found = re.findall(r"from tests\.kube(?:\.(\w+))? import (.+)", file.read_text())
        modules = {module or name for module, names in found for name in names.split(", ")}
        foreign = modules - allowed
        assert "fixtures" not in modules or not foreign, f"{file.name} imports {foreign} of tests.kube"
