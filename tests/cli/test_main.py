from __future__ import annotations

import subprocess
import sys

import pytest

from netboot import cli
from netboot.errors import ClusterUnavailable, ConfigError, StartError


def test_every_verb_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Each file of the room registers itself."""
    with pytest.raises(SystemExit) as done:
        cli.main(["--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in cli.VERBS)


def test_a_wrong_verb_is_wrong_usage() -> None:
    """argparse's exit status for usage is 2."""
    with pytest.raises(SystemExit) as done:
        cli.main(["chek"])
    assert done.value.code == 2


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError(["f:1: a", "f:2: b"]), 2, "error: f:1: a\nerror: f:2: b\n"),
        (
            StartError("UDP port 67 is taken", "Stop dnsmasq."),
            2,
            "error: UDP port 67 is taken. Stop dnsmasq.\n",
        ),
        (ClusterUnavailable("no route to host"), 1, "error: no route to host\n"),
    ],
)
def test_our_errors_end_with_their_reason_and_no_traceback(
    error: Exception,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot start exits with 2, what was refused with 1; the reason is on stderr."""

    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr("netboot.cli.check.run", fail)
    assert cli.main(["check", "--config", "x"]) == status
    assert capsys.readouterr().err == said


def test_the_package_runs_as_a_module() -> None:
    """`python -m netboot` is the command."""
    done = subprocess.run(
        [sys.executable, "-m", "netboot", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout.startswith("usage: netboot")
