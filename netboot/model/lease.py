"""A lease: which machine holds which address until when. And a rest: an address that nobody is given."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.model.machine import Mac


@dataclass(frozen=True, slots=True)
class Lease:
    """One address in the hands of one machine. Times are seconds since the epoch.

    `holder` is the declared node's name, else the MAC: a node with two cards holds one address
    whichever card it boots from, and `mac` is the card that asked last.
    """

    holder: str
    mac: Mac
    address: IPv4Address
    network: str
    name: str
    """The host name that went with it (option 12)."""
    expires: float
    """`inf` for an infinite lease."""
    last_seen: float
    boot_id: str | None = None
    """The boot that this lease belongs to; None where no boot was ever opened."""

    released: bool = False
    """The machine gave it back (RELEASE); it is remembered for it as long as nobody else needs it."""

    def live(self, now: float) -> bool:
        """Whether its time has not run out."""
        return now < self.expires


@dataclass(frozen=True, slots=True)
class Rest:
    """An address that is given to nobody for a while, because somebody else was found to use it.

    Times are seconds since the epoch.
    """

    address: IPv4Address
    network: str
    since: float
    until: float
    cause: str
    """`declined`: the machine that was given it found it in use. `conflict`: it answered our own probe."""
    mac: Mac | None
    """Who declined, or the card that answered; None where only an answer through a router told it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How full the ranges of a network are, in addresses."""

    size: int
    """Addresses that machines can get."""
    used: int
    """Held by machines that show life by their packets or their boot."""
    free: int
    """Those that a new machine may get: never used, or remembered for a machine that is gone."""
    resting: int
    exhausted_since: float | None
    """When a machine was first turned away for want of an address; None where there are any."""
