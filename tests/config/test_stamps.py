"""A file's stamp changes when it is written or replaced."""

from __future__ import annotations

from pathlib import Path

from netboot.config.stamps import stamps_of


def test_a_write_a_replacement_and_a_loss_show(tmp_path: Path) -> None:
    """Zeros stand for a file that is missing."""
    file = tmp_path / "f"
    seen = [stamps_of([file])]
    file.write_text("one")
    seen.append(stamps_of([file]))
    file.write_text("three")
    seen.append(stamps_of([file]))
    (tmp_path / "g").write_text("seven")
    (tmp_path / "g").replace(file)
    seen.append(stamps_of([file]))
    assert seen[0] == ((0, 0, 0),) and len(set(seen)) == 4
