"""What all groups of calls share: their connection, and times as the API writes them."""

from __future__ import annotations

import time
from datetime import datetime

from netboot.cluster.connection import Connection


class Calls:
    """A group of calls over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


def rfc3339(seconds: float) -> str:
    """UTC in whole seconds with its zone: Python's own isoformat() would leave that out."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def epoch(text: object) -> float:
    """Seconds since the epoch of a time as the API writes it; 0 for what is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0
