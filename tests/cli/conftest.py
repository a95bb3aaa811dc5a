"""A running API for the client verbs, and a way to call them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netboot.cli import main
from tests.web.api.world import Running, World, make_image, running

Verb = Callable[..., str]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Running]:
    """An appliance where one machine stopped and another is on its way."""
    make_image(tmp_path / "images")
    with running(World(tmp_path / "images"), tmp_path) as served:
        yield served


@pytest.fixture
def verb(api: Running, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Run `netboot WORDS` against the API; returns what it printed, and expects its exit status.

    With an exit status other than 0 that is what it wrote to stderr, unless `out`.
    """

    def run(*words: str, status: int = 0, out: bool = False) -> str:
        where = ("--server", api.url, "--token-file", str(api.token_file))
        assert main([*words, *where]) == status
        printed = capsys.readouterr()
        return printed.err if status and not out else printed.out

    return run
