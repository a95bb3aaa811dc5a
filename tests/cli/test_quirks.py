"""The verb `quirks`: the table as an operator sees it."""

from __future__ import annotations

import json

import pytest

from netboot.boot.quirks import QUIRKS
from netboot.boot.rules import RULES
from netboot.cli import main


def test_the_table_names_match_effect_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each row, quirks first."""
    assert main(["quirks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ID", "MATCH", "EFFECT", "SOURCE"]
    assert [line.split()[0] for line in lines[1:]] == [row.id for row in (*QUIRKS, *RULES)]
    pi = next(line for line in lines if line.startswith("raspberry-pi"))
    assert "b8:27:eb" in pi and "rpi-eeprom" in pi


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_scripts_read_the_same(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As data, with what happens otherwise, and whether a row applies by itself."""
    assert main(["quirks", "-o", form]) == 0
    shown = capsys.readouterr().out
    assert "no-option-60" in shown
    if form == "json":
        rows = {row["id"]: row for row in json.loads(shown)}
        assert rows["no-option-60"]["automatic"] is False and rows["padded-to-300"]["kind"] == "rule"
