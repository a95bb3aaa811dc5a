"""The daemon in a hurry: its calendar runs NETBOOT_HASTE times faster. `scripts/chaos day` lives through it.

Hurried: the time of day, by which leases, boots, sessions and tokens live and end, and the long pauses
between sweeps. Not hurried: the monotonic clock and with it all patience with the network, for machines and
kernel are no faster than they are. What is kept of machines, boots and events is bounded by design, but in
tens of thousands; here by hundreds, so that a day's beginning fills them and only a leak still grows.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

LONG = 2.5
"""Seconds from which a pause is one between sweeps."""

BOUNDS: dict[tuple[str, str], int] = {
    ("netboot.events.boots:Boots", "LIMIT"): 200,
    ("netboot.events.boots:Boots", "VISITORS"): 50,
    ("netboot.events.journal:Journal", "RECENT"): 100,
    ("netboot.events.journal:Journal", "MACHINES"): 50,
    ("netboot.events.journal:Journal", "SOURCES"): 50,
    ("netboot.store.sqlite.boots", "BOOTS_KEPT"): 300,
    ("netboot.store.sqlite.boots", "_PRUNE_AFTER"): 20,
    ("netboot.dhcp.site", "KEPT_STRANGERS"): 64,
    ("netboot.dhcp.admission", "KNOWN_CLIENTS"): 128,
    ("netboot.dhcp.admission", "GUESTS"): 128,
    ("netboot.fleet.operations", "KEPT"): 20,
}
"""What is bounded by design, and the smaller bounds of a hurried day."""


def hurry(speed: float) -> None:
    """Let the calendar of this process run so many times faster from now on."""
    began, now = time.time(), time.time
    pause: Callable[..., Awaitable[Any]] = asyncio.sleep
    time.time = lambda: began + (now() - began) * speed

    def sleep(delay: float, result: object = None) -> Awaitable[Any]:
        return pause(max(delay / speed, 0.05) if delay >= LONG else delay, result)

    asyncio.sleep = sleep  # type: ignore[assignment]


def held(where: str, name: str) -> int:
    """The bound that is in force. Raises AttributeError where there is none of that name."""
    return int(getattr(_holder(where), name))


def lower() -> None:
    """Put the smaller bounds in force. Raises AttributeError where one of them is no more."""
    for (where, name), bound in BOUNDS.items():
        held(where, name)
        setattr(_holder(where), name, bound)


def _holder(where: str) -> object:
    module, _, kind = where.partition(":")
    found = importlib.import_module(module)
    return getattr(found, kind) if kind else found


def tell(*_: object) -> None:
    """Collect all garbage, and say how many tasks and objects are left, and of which kinds the most.

    What glibc's allocator keeps of what was freed is given back: it comes and goes
    by megabytes, and is no leak.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    tasks = len(asyncio.all_tasks(asyncio.get_running_loop()))
    kinds = Counter(type(each).__name__ for each in gc.get_objects())
    most = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common(8))
    line = f"left: tasks={tasks} objects={kinds.total()} most: {most}"
    logging.getLogger("netboot").warning(line)


def main() -> int:
    """Run netboot's command line in a hurry."""
    hurry(float(os.environ["NETBOOT_HASTE"]))
    lower()
    signal.signal(signal.SIGUSR2, tell)
    return int(importlib.import_module("netboot.cli").main())


if __name__ == "__main__":
    sys.exit(main())
