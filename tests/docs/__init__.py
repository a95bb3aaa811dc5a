"""Pages of docs/ that are written from data: each a function that returns its text.

`scripts/docs` writes them anew; a test fails where a page is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs import quirks, tftp_clients

FOLDER = Path(__file__).resolve().parents[2] / "docs"

PAGES: Mapping[str, Callable[[], str]] = {"quirks.md": quirks.page, "tftp-clients.md": tftp_clients.page}
"""The pages by their file's name."""


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
        print(f"docs/{name}")
