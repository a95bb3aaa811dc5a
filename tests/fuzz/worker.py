"""One fuzzing process: `python -m tests.fuzz.worker TARGET [libFuzzer's arguments and corpus folders]`."""

from __future__ import annotations

import logging
import os
import sys
import time

import atheris  # type: ignore[import-untyped]

from tests.fuzz.targets import target

with atheris.instrument_imports(include=["netboot"]):
    CHOSEN = target(sys.argv[1])


SLOWEST = 2.0
"""CPU seconds that one input may cost. Not wall time: a busy machine may stop us for longer than that."""


def one_input(data: bytes) -> None:
    """The target's promises, and that its work is bounded."""
    before = time.process_time()
    CHOSEN.one_input(data)
    spent = time.process_time() - before
    assert spent < SLOWEST, f"{len(data)} octets cost {spent:.1f} CPU seconds"


def main() -> None:
    """Fuzz until libFuzzer has had enough; a broken promise ends the process with a crash file."""
    logging.disable(logging.CRITICAL)
    itself = os.environ.get("NETBOOT_FUZZ_WORKER", sys.argv[0])
    atheris.Setup([itself, f"-max_len={CHOSEN.MAX_LENGTH}", *sys.argv[2:]], one_input)
    atheris.Fuzz()


main()
