"""How a cluster is, as operators are shown it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterState:
    """One cluster at one moment. Times are seconds since the epoch."""

    state: str = "unknown"
    """`unknown` before its API's first answer, or where there is none to ask; `up`; `down`."""
    since: float | None = None
    next_try: float | None = None
    """When its API is asked again, where it is down."""
    nodes: int | None = None
    """How many Node objects it has; None where they are not watched now."""
    unwatched: str | None = None
    """Why not."""
    waiting: int = 0
    """Machines that wait for their credential."""
