"""How control starts the forker."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.proc.forking import start_forker


def test_the_forker_inherits_no_secret_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process, and with it every helper's, has the few variables that it needs, and leads its session."""
    monkeypatch.setenv("NETBOOT_PASSWORD", "canary")
    forker = start_forker({})
    try:
        process = Path(f"/proc/{forker.process.pid}")
        names = {item.partition(b"=")[0] for item in (process / "environ").read_bytes().split(b"\0") if item}
        assert b"PYTHONPATH" in names and b"NETBOOT_PASSWORD" not in names
        session = (process / "stat").read_text().rpartition(")")[2].split()[3]
        assert session == str(forker.process.pid)
    finally:
        forker.channel.close()
        assert forker.process.wait(10) == 0
