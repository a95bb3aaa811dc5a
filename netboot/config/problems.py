"""Problems of the operator's file: where each stands, which key it is about, what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Place(NamedTuple):
    """A line of a file, counted from 1; line 0 stands for the file as a whole."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Bad(ValueError):
    """A value that may not stand where it stands; `what` is wrong with it, `remedy` mends it."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}")


class Many(ValueError):
    """Several bad values below one key: each with the key it stands at."""

    def __init__(self, each: Sequence[tuple[str | int, Bad]]) -> None:
        self.each = each
        super().__init__("; ".join(f"{key}: {bad}" for key, bad in each))


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the operator's file."""

    place: Place
    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        key = f"{self.path}: " if self.path else ""
        return f"{self.place}: {key}{self.what}; {self.remedy}"


def report(problems: Iterable[Problem], files: Iterable[str]) -> tuple[str, ...]:
    """Problems as lines, in the order of the files and of their lines, each said once."""
    order = {file: number for number, file in enumerate(files)}
    ranked = sorted(problems, key=lambda p: (order.get(p.place.file, len(order)), p.place.file, p.place.line))
    return tuple(dict.fromkeys(str(p) for p in ranked))


def shown(value: object) -> str:
    """A value as a message quotes it: one line, not long. Never for a value that may be a secret."""
    text = (
        value
        if isinstance(value, str)
        else "true"
        if value is True
        else "false"
        if value is False
        else str(value)
    )
    text = ascii(text)[1:-1].replace("\\'", "'")
    return f'"{text[:57]}..."' if len(text) > 60 else f'"{text}"'
