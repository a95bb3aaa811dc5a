"""What we remember: the door. Variants beside it keep the promises; everybody else knows only these.

Durability: what `claim_lease`, `burn`, `count_credential` and `first_request` return is on disk. Boots are
batched by `netboot.events` and may lose one second. A store that cannot write raises StoreError and heals by
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Protocol

from netboot.model.access import AuditEntry
from netboot.model.binding import Binding
from netboot.model.boot import Boot, Claim, TokenRecord
from netboot.model.lease import Lease, Rest
from netboot.model.machine import Mac
from netboot.model.operation import Operation
from netboot.model.placement import Admission, Placement


class LeaseStore(Protocol):
    """Leases by holder and by address; both are unique within a network."""

    async def lease_of(self, holder: str, network: str) -> Lease | None:
        """The lease of a holder (a declared node's name, else a MAC) in a network, expired or not."""

    async def lease_at(self, address: IPv4Address) -> Lease | None:
        """Who was last given an address, expired or not. Source addresses of requests are looked up here."""

    async def claim_lease(self, lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        """Write `lease` if the holder's lease still is `seen`; durable when it returns True.

        `displaced` is the expired lease of another holder on the same address that goes away with it.
        False: somebody else was faster, gather the facts again. Raises StoreError.
        """

    async def release_lease(self, lease: Lease, now: float) -> bool:
        """Mark `lease` as given back and expired at `now`, keeping its memory; False where it has changed."""

    async def drop_lease(self, lease: Lease) -> bool:
        """Forget `lease`, durably; False where it has changed since."""

    async def leases(self) -> Sequence[Lease]:
        """Every lease, for lists and exports."""

    async def rest(self, rest: Rest) -> None:
        """Have an address rest, durably, in place of an earlier rest of it."""

    async def end_rests(self, addresses: Sequence[IPv4Address]) -> None:
        """These addresses rest no more; no error where one did not."""

    async def rests(self) -> Sequence[Rest]:
        """Every rest that was not ended, over or not."""


class BootStore(Protocol):
    """Boots, and the claims of their keys."""

    async def save_boots(self, boots: Sequence[Boot]) -> None:
        """Write these boots' present state (insert or replace), in one commit."""

    async def boots(self, *, limit: int = 1000) -> Sequence[Boot]:
        """The newest boots, newest first."""

    async def burn(self, claim: Claim) -> Claim:
        """Burn a boot's key, durably: the claim that stands, ours or the one that was there before."""

    async def claim_of(self, boot_id: str) -> Claim | None:
        """The claim of a boot, None while its key is unburnt."""

    async def count_credential(self, boot_id: str, limit: int) -> bool:
        """Count one more credential for this boot, durably; False where `limit` were given already."""

    async def end_claim(self, boot_id: str) -> None:
        """End the session of a boot; no error where there is none."""


class TokenStore(Protocol):
    """Bootstrap tokens that we made, so that we can delete them without listing Secrets (R10, R12)."""

    async def record_token(self, token: TokenRecord) -> None:
        """Remember a token, durably, before it is created at the API."""

    async def tokens_of(self, boot_id: str) -> Sequence[TokenRecord]:
        """The tokens of one boot that were not forgotten yet."""

    async def tokens(self) -> Sequence[TokenRecord]:
        """All tokens that were not forgotten yet: what a start has to delete."""

    async def forget_token(self, cluster: str, token_id: str) -> None:
        """The token is gone at the API; no error where it is not known."""


class AuditStore(Protocol):
    """Who changed what by the API, and whose tries were refused: the newest of both."""

    async def record_audit(self, entry: AuditEntry) -> int:
        """Remember an entry, durably; its number. Raises StoreError."""

    async def finish_audit(self, number: int, status: int, operation: str | None) -> None:
        """Add, durably, how the request of an entry ended; no error where it is not remembered any more."""

    async def audit(self, *, limit: int = 1000) -> Sequence[AuditEntry]:
        """The newest entries, newest first."""


class BindingStore(Protocol):
    """What each token was made for and used for (R7); and names that are held because one was misused."""

    async def bind(self, binding: Binding) -> None:
        """Remember what a token is made for, durably, before it is created at the API.

        Unused tokens of the same boot are superseded by it.
        """

    async def binding_of(self, cluster: str, token_id: str) -> Binding | None:
        """What a token was made for; None for one that we did not make."""

    async def first_request(self, cluster: str, token_id: str, uid: str) -> str:
        """The uid of the token's first certificate request: this one, or the one before it; durable."""

    async def hold(self, cluster: str, token_id: str, why: str) -> None:
        """Hold the name that a token was made for: nobody is given a credential for it."""

    async def holds(self) -> Sequence[Binding]:
        """The bindings whose names are held."""

    async def let_go(self, cluster: str, node: str) -> bool:
        """Hold a name no longer; False where it was not held."""


class OperationStore(Protocol):
    """Run-time assignments, the operations that made them, and machines that were let in."""

    async def save_operation(
        self, operation: Operation, *, place: Placement | None = None, remove: str | None = None
    ) -> None:
        """Write an operation's present state, durably; in the same commit put an assignment in force or
        `remove` the one of that machine.
        """

    async def operations(self, *, limit: int = 1000) -> Sequence[Operation]:
        """The newest operations, newest first."""

    async def placements(self) -> Sequence[Placement]:
        """Every run-time assignment."""

    async def admit(self, admission: Admission) -> None:
        """Let a machine join that nobody declared, durably."""

    async def end_admission(self, mac: Mac) -> None:
        """Let it join no longer; no error where it was not let in."""

    async def admissions(self) -> Sequence[Admission]:
        """Every machine that was let in."""


class Store(LeaseStore, BootStore, TokenStore, AuditStore, BindingStore, OperationStore, Protocol):
    """Everything we remember, in one place."""

    async def close(self) -> None:
        """Flush and close; no call may follow."""
