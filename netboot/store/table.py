"""The leases in memory, and the one place that decides compare-and-set. Pure; every store shares it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address

from netboot.model.lease import Lease

Key = tuple[str, str]
"""Network and holder."""


def key_of(lease: Lease) -> Key:
    """Under what a lease is filed: network and holder."""
    return (lease.network, lease.holder)


class LeaseTable:
    """Leases by holder and by address: what is on disk, never more."""

    __slots__ = ("by_address", "by_key")

    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self.by_key: dict[Key, Lease] = {}
        self.by_address: dict[int, Lease] = {}
        for lease in leases:
            self.put(lease)

    def lease_of(self, holder: str, network: str) -> Lease | None:
        """The lease of a holder in a network."""
        return self.by_key.get((network, holder))

    def lease_at(self, address: IPv4Address) -> Lease | None:
        """Who was last given an address."""
        return self.by_address.get(int(address))

    def put(self, lease: Lease) -> None:
        """File a lease in place of its holder's old one, whose address was left."""
        self.by_key[key_of(lease)] = lease
        self.by_address[int(lease.address)] = lease

    def leave_address(self, key: Key, address: IPv4Address) -> None:
        """The holder is about to have `address`: whatever other one it had is nobody's now."""
        old = self.by_key.get(key)
        if old is None or old.address is address:
            return
        if old.address != address and self.by_address.get(int(old.address)) is old:
            del self.by_address[int(old.address)]

    def drop(self, key: Key) -> None:
        """Forget a holder's lease; no error where there is none."""
        old = self.by_key.pop(key, None)
        if old is not None and self.by_address.get(int(old.address)) is old:
            del self.by_address[int(old.address)]


class Changes:
    """What one batch of claims does to a table, decided in order; nothing shows before `apply`."""

    __slots__ = ("_table", "at", "of")

    def __init__(self, table: LeaseTable) -> None:
        self._table = table
        self.of: dict[Key, Lease | None] = {}
        """By holder; None is a lease that goes away."""
        self.at: dict[int, Lease | None] = {}

    def claim(self, lease: Lease, seen: Lease | None, displaced: Lease | None) -> bool:
        """Decide one claim: False where the holder's lease or the address is not as the caller saw it."""
        key = key_of(lease)
        current = self.of[key] if key in self.of else self._table.by_key.get(key)
        if current is not seen and current != seen:
            return False
        address = int(lease.address)
        occupant = self.at[address] if address in self.at else self._table.by_address.get(address)
        if occupant is not None and occupant is not current and key_of(occupant) != key:
            # its own lease from another network makes way, as does the one that the caller saw expired
            if occupant.holder != lease.holder and occupant != displaced:
                return False
            self.of[key_of(occupant)] = None
        if current is not None and occupant is not current and current.address != lease.address:
            self.at[int(current.address)] = None
        self.of[key] = lease
        self.at[address] = lease
        return True

    def release(self, lease: Lease, now: float) -> bool:
        """Decide one release: the lease keeps its memory but is given back and expired at `now`."""
        return self.claim(replace(lease, expires=min(lease.expires, now), released=True), lease, None)

    def drop(self, lease: Lease) -> bool:
        """Decide to forget a lease: False where it is not as the caller saw it."""
        key = key_of(lease)
        current = self.of[key] if key in self.of else self._table.by_key.get(key)
        if current != lease:
            return False
        self.of[key] = self.at[int(lease.address)] = None
        return True

    def gone(self) -> list[Key]:
        """The holders whose lease goes away."""
        return [key for key, lease in self.of.items() if lease is None]

    def written(self) -> list[Lease]:
        """The leases that are new or changed."""
        return [lease for lease in self.of.values() if lease is not None]

    def apply(self) -> None:
        """Show the changes in the table: first what goes, then what comes."""
        table = self._table
        for key in self.gone():
            table.drop(key)
        written = [(key, lease) for key, lease in self.of.items() if lease is not None]
        for key, lease in written:
            table.leave_address(key, lease.address)
        for _, lease in written:
            table.put(lease)
