"""How a machine is turned on and off: the door. Drivers stand beside it.

Without a driver a reassignment waits until somebody restarts the machine.
"""

from __future__ import annotations

from typing import Protocol


class PowerDriver(Protocol):
    """Turns one kind of machine on and off."""

    async def cycle(self, machine: str) -> str:
        """Restart a machine; empty where that is under way, else why not. Twice is as good as once."""
