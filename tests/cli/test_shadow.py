"""`explain --pcap` and `serve --observe` on the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from netboot.cli import main
from tests.dhcp.world import PXE_X64
from tests.shadow.talk import FOREIGN, NODE, STRANGER, config, ethernet, four, pcap


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A node that boots another file, and a machine that nobody declared."""
    talks = [
        *four(NODE, "10.77.0.20", PXE_X64, file=b"pxelinux.0"),
        *four(STRANGER, "10.77.0.31", {12: b"web1"}),
    ]
    path = tmp_path / "talk.pcap"
    path.write_bytes(pcap(map(ethernet, talks)))
    return path


def test_a_capture_is_explained_with_a_summary_and_a_proposal(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Differences, the unknown machine, and its node to paste."""
    assert main(["explain", "--pcap", str(capture), "--config", str(config(tmp_path))]) == 0
    said = capsys.readouterr().out
    assert "m1, UEFI x64 PXE  differs: boot file" in said and f"{FOREIGN} says" in said
    assert "2 seen, 1 differ, 1 unknown to us" in said and '- name: "web1"' in said


def test_json_lines_and_a_proposal_in_a_new_file(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object per exchange, the summary last; the file passes `check`, and is never overwritten."""
    own, found = config(tmp_path), tmp_path / "found.yaml"
    words = ["explain", "--pcap", str(capture), "--config", str(own), "-o", "json", "--propose", str(found)]
    assert main(words) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("verdict") for line in lines] == [None, "differs", "unknown", None]
    assert lines[0] == {"opened": f"reading {capture}"}
    assert lines[-1]["summary"]["proposed"] == 1
    assert main(["check", "--config", str(own), "--config", str(found)]) == 0
    before = found.read_text()
    assert main(words) == 2 and found.read_text() == before
    assert "none is ever overwritten" in capsys.readouterr().err


def test_a_capture_comes_from_standard_input(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `ssh host tcpdump -w -` sends it."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(capture.read_bytes())))
    assert main(["explain", "--pcap", "-", "--config", str(config(tmp_path))]) == 0
    assert "web1" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"no capture"])
def test_what_cannot_be_read_is_an_error_that_names_the_file(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, and one that is something else."""
    path = tmp_path / "x.pcap"
    if content is not None:
        path.write_bytes(content)
    assert main(["explain", "--pcap", str(path), "--config", str(config(tmp_path))]) == 1
    assert f"error: {path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["explain"], "Name a MAC, a node, or --pcap FILE"),
        (["explain", "m1", "--pcap", "x"], "Name a MAC, a node, or --pcap FILE"),
        (["explain", "m1", "-o", "json"], "Add --pcap"),
        (["serve", "-o", "json"], "Add --observe"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    words: list[str], remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2 and what to do."""
    assert main([*words, "--config", str(config(tmp_path))]) == 2
    assert remedy in capsys.readouterr().err


def test_an_interface_that_is_not_there_cannot_be_observed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named with those that are."""
    path = config(tmp_path)
    path.write_text(path.read_text().replace("eth1", "nic99"))
    assert main(["serve", "--observe", "--config", str(path)]) == 2
    assert "there is no interface nic99" in capsys.readouterr().err
