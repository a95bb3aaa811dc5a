"""The load generators in C, compiled when a bench starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.bench.frame.turns import Refused

SOURCES = Path(__file__).resolve().parents[1] / "load"


def compiled(name: str, folder: Path) -> Path:
    """The program of `load/NAME.c`, made in `folder`. Raises Refused."""
    program = folder / name
    words = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SOURCES / f"{name}.c")]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise Refused("gcc is missing: apt-get install gcc libc6-dev") from None
    if done.returncode:
        raise Refused(f"load/{name}.c cannot be compiled: {done.stdout.strip()}")
    return program
