"""One input again, without fuzzer: `python -m tests.fuzz.replay TARGET FILE...`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fuzz.targets import target


def main() -> None:
    """Run each file; the first broken promise is shown as Python shows it."""
    name, *paths = sys.argv[1:]
    for path in paths:
        target(name).one_input(Path(path).read_bytes())
        print(f"{path}: all promises kept")


if __name__ == "__main__":
    main()
