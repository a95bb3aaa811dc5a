"""Build, or find again, what the lab boots: before the tests, so that none of them waits for minutes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.lab import images


def main() -> int:
    """Both images; what was built is kept, so the copy made here may go."""
    with tempfile.TemporaryDirectory() as directory:
        for micro in (True, False):
            try:
                images.build(Path(directory), micro=micro, say=lambda line: print(line, flush=True))
            except RuntimeError as error:
                print(error, file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
