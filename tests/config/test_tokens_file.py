"""The tokens file: read strictly, every problem in one report."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.config import tokens_file
from netboot.errors import ConfigError
from netboot.model.access import ApiToken, Role

ONE, TWO = "a1" * 32, "b2" * 32


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is said of a file, without its name."""
    file = tmp_path / "tokens.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        tokens_file.read(file)
    return [problem.removeprefix(str(file)) for problem in caught.value.problems]


def test_each_entry_is_a_token_with_its_role(tmp_path: Path) -> None:
    """Hex in any case; an empty file is no token."""
    file = tmp_path / "tokens.yaml"
    file.write_text(f"- {{name: anna, role: admin, sha256: '{ONE.upper()}'}}\n"
                    f"- name: dash@board\n  role: viewer\n  sha256: {TWO}\n")  # fmt: skip
    assert tokens_file.read(file) == (
        ApiToken("anna", Role.ADMIN, ONE),
        ApiToken("dash@board", Role.VIEWER, TWO),
    )
    file.write_text("# nobody yet\n")
    assert tokens_file.read(file) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"- {{name: a, role: root, sha256: {ONE}}}", ':1: role: "root" is not one of viewer,'),
        ("- {name: a, role: viewer, sha256: abc}", ":1: sha256: it is not a SHA-256 in hex"),
        ("- {name: a, role: viewer, sha256: 1234}", ":1: sha256: it is not a SHA-256 in hex"),
        ("- {name: a, role: viewer}", ":1: sha256: this key is required"),
        (f"- {{name: a, role: viewer, sha256: {ONE}, token: x}}", ':1: unknown key "token"'),
        (f"- {{name: 'a b', role: viewer, sha256: {ONE}}}", ":1: name: it is not a token's name"),
        (f"- {{name: admin.token, role: viewer, sha256: {ONE}}}", ":1: name: it is not a token's name"),
        ("tokens: []", ":1: the file is not a list"),
        ("- anna", ":1: [0]: it is not a mapping"),
        ("- {name: a", ":2: not valid YAML"),
        (f"- {{name: a, role: viewer, sha256: {ONE}}}\n- {{name: a, role: viewer, sha256: {TWO}}}",
         ":2: name: the name a stands on line 1 too"),
        (f"- {{name: a, role: viewer, sha256: {ONE}}}\n- {{name: b, role: admin, sha256: {ONE.upper()}}}",
         ":2: sha256: the same token stands on line 1 too"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """One problem each, with the remedy behind it."""
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(said) and "; " in problem


def test_all_problems_stand_in_one_report_without_the_values(tmp_path: Path) -> None:
    """In the order of the lines; what may be half a secret is not repeated."""
    found = problems(tmp_path, "- {name: '', role: viewer, sha256: deadbeef}\n- {name: b, role: king}\n")
    assert [problem.split(":")[1] for problem in found] == ["1", "1", "2", "2"]
    assert "deadbeef" not in "".join(found)


def test_a_file_without_bounds_is_refused(tmp_path: Path) -> None:
    """Each token costs a comparison at each try."""
    (large,) = problems(tmp_path, "#" * (tokens_file.MAX_BYTES + 1))
    assert "larger than" in large
    (many,) = problems(tmp_path, "- a\n" * (tokens_file.MAX_TOKENS + 1))
    assert "at most" in many


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """As a problem like any other."""
    with pytest.raises(ConfigError, match="cannot be read"):
        tokens_file.read(tmp_path / "none")


@pytest.mark.parametrize(("mode", "words"), [(0o640, None), (0o644, "guess"), (0o660, "add tokens")])
def test_who_else_may_read_or_write_it_is_told(tmp_path: Path, mode: int, words: str | None) -> None:
    """A group that only reads it (server.user's) is as it should be."""
    file = tmp_path / "tokens.yaml"
    file.touch()
    file.chmod(mode)
    told = list(tokens_file.doubts(file))
    assert told == [] if words is None else words in told[0] and "chmod 640" in told[0]


def test_the_example_of_the_documentation_is_a_tokens_file(tmp_path: Path) -> None:
    """As an operator would copy it."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    (example,) = [block for block in page.split("```") if "mode 0640" in block]
    file = tmp_path / "tokens.yaml"
    file.write_text(example.removeprefix("yaml\n"))
    assert [token.role for token in tokens_file.read(file)] == [Role.OPERATOR, Role.VIEWER]
