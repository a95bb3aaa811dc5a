"""The fuzzing targets by name: modules with `one_input`, `seeds` and `MAX_LENGTH`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

CORPUS = Path(__file__).parent / "corpus"
"""What is worth replaying, a folder per target; scripts/fuzz --keep adds to it."""

NAMES = ("wire", "engine", "beside", "tftp", "http", "capture")


class Target(Protocol):
    """What a module of a target has."""

    MAX_LENGTH: int

    def one_input(self, data: bytes) -> None:
        """Raise what is not ours, or AssertionError for a broken promise."""

    def seeds(self) -> list[bytes]:
        """Where to begin."""


def target(name: str) -> Target:
    """The target of that name."""
    return cast(Target, importlib.import_module(f"tests.fuzz.fuzz_{name}"))
