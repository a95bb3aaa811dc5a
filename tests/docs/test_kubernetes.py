"""docs/kubernetes.md and docs/clusters.md name what there is: tests, manifests, verbs, headings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
RECIPES = (ROOT / "docs" / "clusters.md").read_text()
TABLE = dict(re.findall(r"^\| (R\d+) \|.*\| (.*) \|$", PAGE, re.MULTILINE))


def test_each_requirement_has_its_row() -> None:
    """R1 to R20."""
    assert list(TABLE) == [f"R{n}" for n in range(1, 21)]


@pytest.mark.parametrize("requirement", TABLE)
def test_the_tests_of_a_requirement_are_there(requirement: str) -> None:
    """Each test that its row names."""
    for file, _, name in re.findall(r"`(tests/[\w/]+\.py)(::(\w+))?`", TABLE[requirement]):
        assert (ROOT / file).is_file(), file
        assert not name or f"def {name}(" in (ROOT / file).read_text(), name


def test_each_manifest_is_described() -> None:
    """The table of what the appliance may do, and the folder."""
    described = set(re.findall(r"^\| `([\w-]+\.yaml)` \|", PAGE, re.MULTILINE))
    assert described == {path.name for path in (ROOT / "config" / "kubernetes").glob("*.yaml")}


def test_manifests_that_are_named_are_there() -> None:
    """In both pages."""
    for name in re.findall(r"config/kubernetes/([\w-]+\.yaml)", PAGE + RECIPES):
        assert (ROOT / "config" / "kubernetes" / name).is_file(), name


def test_links_within_the_recipes_lead_somewhere() -> None:
    """Headings as GitHub names them."""
    headings = {_anchor(h) for h in re.findall(r"^#+ (.*)$", RECIPES, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", RECIPES)) <= headings


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_clusters_of_the_recipes_are_accepted(tmp_path: Path) -> None:
    """Every piece of the operator's file that they show."""
    from netboot.config import examine

    pieces = [p for p in re.findall(r"```yaml\n(.*?)```", RECIPES, re.DOTALL) if p.startswith("clusters:")]
    assert len(pieces) == 2
    for number, piece in enumerate(pieces):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(piece)))
        examined = examine([file])
        assert examined.config is not None, examined
