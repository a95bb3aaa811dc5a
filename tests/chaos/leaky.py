"""The hurried daemon with a leak: a descriptor of every fourth connection stays. What a day must find out.

scripts/chaos day --hours 2 --daemon tests.chaos.leaky
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from tests.chaos import hasty

EACH = 4
honest = socket.socket.accept
kept: list[int] = []
seen: list[None] = []


def accept(self: socket.socket) -> tuple[socket.socket, Any]:
    """Take a connection, and now and then keep a descriptor of it for ever."""
    taken, peer = honest(self)
    seen.append(None)
    if len(seen) % EACH == 0:
        kept.append(os.dup(taken.fileno()))
    return taken, peer


if __name__ == "__main__":
    socket.socket.accept = accept  # type: ignore[method-assign]
    sys.exit(hasty.main())
