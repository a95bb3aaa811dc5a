"""What an operator assigned to one machine at run time, on top of what the file declares."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.model.machine import Mac


@dataclass(frozen=True, slots=True)
class Placement:
    """The run-time assignment of one machine; what is None stays as the file has it.

    With neither `cluster` nor `pool` it is a machine on its way back to what the file declares, which still
    runs under its former name and address until its next boot.
    """

    machine: str
    """The declared node's name, else the MAC: what its lease is held under."""
    macs: tuple[Mac, ...]
    """The cards that it had when it was assigned."""
    cluster: str | None = None
    pool: str | None = None
    name: str | None = None
    address: IPv4Address | None = None
    tags: tuple[str, ...] | None = None
    """In place of the node's own tags."""
    home: str | None = None
    """The catch-all pool that a machine was found in which nobody declared; None for a declared one."""
    since: float = 0.0
    """Seconds since the epoch."""
    operation: str = ""
    """The operation that put it into force."""

    @property
    def target(self) -> str:
        """In words: where it leads."""
        if self.pool is not None:
            return f"pool {self.pool}"
        return f"cluster {self.cluster}" if self.cluster is not None else "what the file declares"


@dataclass(frozen=True, slots=True)
class Admission:
    """An operator's word that a machine that nobody declared may join (`admission: approval`)."""

    mac: Mac
    at: float
    """Seconds since the epoch."""
    by: str = ""
    """Whose token it was."""
