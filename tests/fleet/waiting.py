"""Waiting for what happens in the background, for a bounded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def passed(check: Callable[[], object]) -> None:
    """Wait until it is so."""
    until = time.monotonic() + 5
    while not check():
        assert time.monotonic() < until, "it did not happen"
        await asyncio.sleep(0.002)
