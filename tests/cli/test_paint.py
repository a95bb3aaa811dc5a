"""Lines of spans on a terminal, and in a file."""

from __future__ import annotations

import builtins
import io
import sys
from typing import Any

import pytest

from netboot.cli.paint import painter

LINE = (("ok ", "good"), ("[bold]not markup[/] \x1b[31m", ""), ("!", "bad"))


class Terminal(io.StringIO):
    """Standard output that is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """It is."""
        return True


def test_a_file_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    """No colours, and nothing that a terminal would obey when the file is shown."""
    painter()(LINE)
    assert capsys.readouterr().out == "ok [bold]not markup[/] ?[31m!\n"


def test_a_terminal_gets_colours_by_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of machines are never taken for markup."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    painter()(LINE)
    said = sys.stdout.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[32mok" in said and "[bold]not markup[/]" in said and "\x1b[31m[" not in said


def test_without_rich_a_terminal_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("rich"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(sys, "stdout", Terminal())
    painter()(LINE)
    assert sys.stdout.getvalue() == "ok [bold]not markup[/] ?[31m!\n"  # type: ignore[attr-defined]
