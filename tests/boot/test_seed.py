"""The seed's cpio, opened by cpio's own program where there is one."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from netboot.boot.seed import seed_cpio


def test_the_archive_is_newc_in_multiples_of_four() -> None:
    """Every head begins with its magic at a multiple of four bytes, and the trailer is last."""
    raw = seed_cpio(key="0" * 32, node="n", join="none", server="http://a")
    assert raw.startswith(b"070701") and len(raw) % 4 == 0 and b"TRAILER!!!" in raw[-124:]


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_unpacks_one_file_that_only_root_reads(tmp_path: Path) -> None:
    """`cpio -i` finds netboot/seed.json, mode 0400, one line of JSON."""
    raw = seed_cpio(key="ab" * 16, node="m1", join="kubeadm", server="http://a", ca="---\nCA\n")
    subprocess.run(["cpio", "-id", "--quiet"], input=raw, cwd=tmp_path, check=True, timeout=10)
    path = tmp_path / "netboot" / "seed.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    text = path.read_text()
    assert text.count("\n") == 1 and '"key":"' + "ab" * 16 + '"' in text
    assert json.loads(text) == {
        "key": "ab" * 16,
        "node": "m1",
        "join": "kubeadm",
        "server": "http://a",
        "ca": "---\nCA\n",
    }
