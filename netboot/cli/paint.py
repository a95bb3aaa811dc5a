"""Lines of styled spans on a terminal: by rich where it is installed, plain everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

Line = Sequence[tuple[str, str]]
"""Texts with their styles: good, bad, warn, dim, strong, or empty for none."""

_COLOURS = {"good": "green", "bad": "red", "warn": "yellow", "dim": "dim", "strong": "bold"}


def painter() -> Callable[[Line], None]:
    """What prints a line on standard output. Everything that it needs is imported now."""
    if not sys.stdout.isatty():
        return _plain
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return _plain
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def paint(line: Line) -> None:
        console.print(Text.assemble(*((_safe(text), _COLOURS.get(style, "")) for text, style in line)))

    return paint


def _plain(line: Line) -> None:
    print("".join(_safe(text) for text, _ in line).rstrip(), flush=True)


def _safe(text: str) -> str:
    """Without anything that a terminal would obey: most of it was said by machines."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
