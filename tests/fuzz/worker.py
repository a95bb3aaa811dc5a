"""One fuzzing process: `python -m tests.fuzz.worker TARGET [libFuzzer's arguments and corpus folders]`."""

from __future__ import annotations

import logging
import os
import sys

import atheris  # type: ignore[import-untyped]

from tests.fuzz.targets import target

with atheris.instrument_imports(include=["netboot"]):
    CHOSEN = target(sys.argv[1])


def main() -> None:
    """Fuzz until libFuzzer has had enough; a broken promise ends the process with a crash file."""
    logging.disable(logging.CRITICAL)
    itself = os.environ.get("NETBOOT_FUZZ_WORKER", sys.argv[0])
    atheris.Setup([itself, f"-max_len={CHOSEN.MAX_LENGTH}", *sys.argv[2:]], CHOSEN.one_input)
    atheris.Fuzz()


main()
