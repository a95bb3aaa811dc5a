"""`python -m tests.chaos leases|boots|day ... --seed S`, which is what scripts/chaos runs."""

from __future__ import annotations

import argparse
import sys

from tests.chaos import boots, day, leases


def main() -> int:
    """Run one kind of chaos; its exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description="Kill the daemon or its machines, and see what is lost."
    )
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    leases.register(kinds)
    boots.register(kinds)
    day.register(kinds)
    args = parser.parse_args()
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
