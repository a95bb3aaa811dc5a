"""Every mistake has a file of its own in tests/data/config, with the whole report that it must give."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.config import examine, load
from netboot.errors import ConfigError

DATA = Path(__file__).parent.parent / "data" / "config"
FILES = sorted(DATA.glob("bad-*.yaml"))
_EXPECTED = "# expected: "


def expected(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    return [f"{file.name}:{line.removeprefix(_EXPECTED)}" for line in lines if line.startswith(_EXPECTED)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_bad_file_gives_exactly_the_report_at_its_head(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem is there, with its line, its key, what is wrong and what to do; and nothing else."""
    monkeypatch.chdir(DATA)
    assert list(examine([file.name]).problems) == expected(file)


def test_there_are_bad_files_and_each_expects_something() -> None:
    """The test above is not green for want of files."""
    assert len(FILES) > 80
    assert all(expected(file) for file in FILES)


@pytest.mark.parametrize("file", [f for f in FILES if "hunter2" in f.read_text()], ids=lambda file: file.stem)
def test_a_report_never_shows_a_secret(file: Path) -> None:
    """Passwords and keys that stand in the wrong place are not repeated in the log."""
    with pytest.raises(ConfigError) as refused:
        load([file])
    assert "hunter2" not in str(refused.value)


def test_load_raises_all_problems_of_all_files_in_one_report(tmp_path: Path) -> None:
    """Two broken files are one report, in the order of the files and their lines."""
    (tmp_path / "b.yaml").write_text("server:\n  boot_prot: 1\n")
    (tmp_path / "a.yaml").write_text("server:\n  workers: 0\nnetworks: 5\n")
    with pytest.raises(ConfigError) as refused:
        load([tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "none.yaml"])
    assert [p.partition(f"{tmp_path}/")[2].partition(": ")[0] for p in refused.value.problems] == [
        "a.yaml:2",
        "a.yaml:3",
        "b.yaml:2",
        "none.yaml",
    ]
