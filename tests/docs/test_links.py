"""The pages for operators lead to one another, and CHANGELOG.md can be read in a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """A page without its examples."""
    return _FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    """Links to other sites are left alone."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_page_is_reached_from_the_readme() -> None:
    """In one step, or by a page that is."""
    named = set(re.findall(r"docs/([\w-]+\.md)", (ROOT / "README.md").read_text()))
    further = {
        link for name in named for link in re.findall(r"\b([\w-]+\.md)\b", (ROOT / "docs" / name).read_text())
    }
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= named | further


def test_the_changelog_fits_a_terminal_and_begins_with_what_to_do() -> None:
    """At most 120 columns; everything that an upgrade asks for stands in the first section."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert not [line for line in text.splitlines() if len(line) > 120]
    first, rest = text.split("### ", 2)[1:]
    assert first.startswith("Action required") and "\n- " in first
    assert "Action required" not in rest
