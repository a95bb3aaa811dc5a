"""The daemon with its first promise broken: ACKs leave before the commit. What scripts/chaos must notice.

scripts/chaos leases --times 5 --daemon tests.chaos.broken
"""

from __future__ import annotations

import asyncio
import sys

from netboot.cli import main
from netboot.dhcp.allocation import Allocation
from netboot.dhcp.engine import Claim
from netboot.dhcp.profile import Profile

LATE = 0.15
"""Seconds by which the commit is late."""

honest = Allocation.claim


async def hasty(self: Allocation, claim: Claim, profile: Profile) -> str | None:
    """Say that the lease is on disk, and write it later."""
    loop = asyncio.get_running_loop()
    loop.call_later(LATE, lambda: loop.create_task(honest(self, claim, profile)))
    return ""


if __name__ == "__main__":
    Allocation.claim = hasty  # type: ignore[method-assign]
    sys.exit(main())
