"""A lease: which machine holds which address until when."""

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

    def live(self, now: float) -> bool:
        """Whether its time has not run out."""
        return now < self.expires
