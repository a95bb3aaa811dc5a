"""`netboot token make|show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netboot.cli import main
from netboot.config import tokens_file
from netboot.model.access import Role
from netboot.web.api.guard import known
from tests.cli.conftest import Verb


def test_a_made_token_opens_by_the_line_that_is_printed_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line goes into the tokens file as it stands; each token is another one."""
    printed = []
    for name in ("anna", "123"):
        assert main(["token", "make", "--name", name, "--role", "operator"]) == 0
        printed.append(capsys.readouterr().out.splitlines())
    file = tmp_path / "tokens.yaml"
    file.write_text("\n".join(lines[-1] for lines in printed))
    tokens = tokens_file.read(file)
    assert [(t.name, t.role) for t in tokens] == [("anna", Role.OPERATOR), ("123", Role.OPERATOR)]
    assert [known(lines[1], tokens) for lines in printed] == list(tokens)
    assert printed[0][1] != printed[1][1] and len(printed[0][1]) >= 43


def test_programs_get_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Token and entry."""
    assert main(["token", "make", "--name", "ci", "--role", "viewer", "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made) == {"token", "entry"} and made["entry"]["role"] == "viewer"


def test_a_name_that_the_file_would_refuse_makes_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    """The reason, and nothing on standard output."""
    assert main(["token", "make", "--name", "a b", "--role", "viewer"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and "not a token's name" in printed.err


def test_the_own_token_is_shown(verb: Verb) -> None:
    """Whose it is, and its role."""
    assert [line.split() for line in verb("token", "show").splitlines()] == [
        ["name", "admin.token"], ["role", "admin"],
    ]  # fmt: skip
