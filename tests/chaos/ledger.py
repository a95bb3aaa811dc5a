"""What the machines were promised, held against what the store remembers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from tests.chaos.acks import Ack

SLACK = 0.5
"""Seconds between two clocks' readings; the store counts a lease from when the question was read."""


@dataclass(frozen=True, slots=True)
class Row:
    """A lease as the store has it."""

    mac: str
    address: IPv4Address
    expires: float


@dataclass(slots=True)
class Ledger:
    """All ACKs that machines have seen, and what was found wrong with them."""

    promised: dict[str, Ack] = field(default_factory=dict)
    holder: dict[IPv4Address, str] = field(default_factory=dict)
    acks: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    def saw(self, acks: Iterable[Ack]) -> None:
        """Machines were promised these; no lease ends while the ledger is open."""
        for ack in acks:
            self.acks += 1
            before = self.promised.get(ack.mac)
            if before is not None and before.address != ack.address:
                self.lost.append(f"{ack.mac} had {before.address}, and was given {ack.address} instead")
                self.holder.pop(before.address, None)
            other = self.holder.setdefault(ack.address, ack.mac)
            if other != ack.mac:
                self.twice.append(f"{ack.address} was promised to {other} and to {ack.mac}")
            self.promised[ack.mac] = ack

    def compare(self, rows: Iterable[Row]) -> None:
        """Hold every promise against what is remembered now."""
        stored: dict[IPv4Address, Row] = {}
        for row in rows:
            other = stored.setdefault(row.address, row)
            if other is not row:
                self.twice.append(f"the store gives {row.address} to {other.mac} and to {row.mac}")
        for ack in self.promised.values():
            self._check(ack, stored.get(ack.address))

    def _check(self, ack: Ack, row: Row | None) -> None:
        until = ack.at + ack.duration
        if row is None:
            self.lost.append(f"{ack.mac} was promised {ack.address}, of which nothing is known")
        elif row.mac != ack.mac:
            self.twice.append(f"{ack.address} was promised to {ack.mac}, and the store gives it to {row.mac}")
        elif row.expires < until - SLACK:
            self.lost.append(f"{ack.mac} was promised {ack.address} for {until - row.expires:.1f} s longer")
