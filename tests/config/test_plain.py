"""Files that the operator's file names: nothing but plain ones is read, and nothing is waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netboot.config import plain


def test_a_plain_file_is_read_and_a_link_to_one(tmp_path: Path) -> None:
    """Its bytes; of a large one so much that its reader sees that it is too large."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"12345")
    link.symlink_to(file)
    assert plain.read(file) == plain.read(link) == b"12345"
    assert plain.read(file, 3) == b"1234"


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    """A pipe without a writer, an endless device, a folder, nothing at all."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "none"):
        with pytest.raises(OSError):
            plain.read(path)
