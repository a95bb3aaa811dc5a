"""`python -m netboot`: the same as the command `netboot`."""

from __future__ import annotations

import sys

from netboot.cli import main

if __name__ == "__main__":
    sys.exit(main())
