"""A store that forgets everything at its end: for tests and for the simulation of a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from netboot.model.access import AuditEntry
from netboot.model.binding import SUPERSEDED, Binding
from netboot.model.boot import Boot, Claim, TokenRecord
from netboot.model.lease import Lease, Rest
from netboot.model.machine import Mac
from netboot.model.operation import Operation
from netboot.model.placement import Admission, Placement
from netboot.store.table import Changes, LeaseTable


class MemoryStore:
    """The semantics of the door without its durability."""

    def __init__(self) -> None:
        self._table = LeaseTable()
        self._rests: dict[IPv4Address, Rest] = {}
        self._boots: dict[str, Boot] = {}
        self._claims: dict[str, Claim] = {}
        self._tokens: dict[tuple[str, str], TokenRecord] = {}
        self._bindings: dict[tuple[str, str], Binding] = {}
        self._audit: list[AuditEntry] = []
        self._operations: dict[str, Operation] = {}
        self._placements: dict[str, Placement] = {}
        self._admissions: dict[Mac, Admission] = {}

    async def lease_of(self, holder: str, network: str) -> Lease | None:
        """The lease of a holder in a network, expired or not."""
        return self._table.lease_of(holder, network)

    async def lease_at(self, address: IPv4Address) -> Lease | None:
        """Who was last given an address."""
        return self._table.lease_at(address)

    async def claim_lease(self, lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        """Write `lease` if the holder's lease still is `seen`."""
        changes = Changes(self._table)
        won = changes.claim(lease, seen, displaced)
        if won:
            changes.apply()
        return won

    async def release_lease(self, lease: Lease, now: float) -> bool:
        """Mark `lease` as given back at `now`; False where it has changed since."""
        changes = Changes(self._table)
        won = changes.release(lease, now)
        if won:
            changes.apply()
        return won

    async def drop_lease(self, lease: Lease) -> bool:
        """Forget `lease`; False where it has changed since."""
        changes = Changes(self._table)
        won = changes.drop(lease)
        if won:
            changes.apply()
        return won

    async def leases(self) -> Sequence[Lease]:
        """Every lease."""
        return list(self._table.by_key.values())

    async def rest(self, rest: Rest) -> None:
        """Have an address rest."""
        self._rests[rest.address] = rest

    async def end_rests(self, addresses: Sequence[IPv4Address]) -> None:
        """These addresses rest no more."""
        for address in addresses:
            self._rests.pop(address, None)

    async def rests(self) -> Sequence[Rest]:
        """Every rest that was not ended."""
        return list(self._rests.values())

    async def save_boots(self, boots: Sequence[Boot]) -> None:
        """Insert or replace these boots."""
        self._boots.update({boot.id: boot for boot in boots})

    async def boots(self, *, limit: int = 1000) -> Sequence[Boot]:
        """The newest boots, newest first."""
        return sorted(self._boots.values(), key=lambda b: (b.started, b.id), reverse=True)[:limit]

    async def burn(self, claim: Claim) -> Claim:
        """The claim that stands: ours, or the one that was there before."""
        return self._claims.setdefault(claim.boot_id, claim)

    async def claim_of(self, boot_id: str) -> Claim | None:
        """The claim of a boot."""
        return self._claims.get(boot_id)

    async def count_credential(self, boot_id: str, limit: int) -> bool:
        """Count one more credential; False where `limit` were given, or the boot has no live claim."""
        claim = self._claims.get(boot_id)
        if claim is None or claim.ended or claim.credentials >= limit:
            return False
        self._claims[boot_id] = replace(claim, credentials=claim.credentials + 1)
        return True

    async def end_claim(self, boot_id: str) -> None:
        """End the session of a boot."""
        if boot_id in self._claims:
            self._claims[boot_id] = replace(self._claims[boot_id], ended=True)

    async def record_token(self, token: TokenRecord) -> None:
        """Remember a token."""
        self._tokens[token.cluster, token.token_id] = token

    async def tokens_of(self, boot_id: str) -> Sequence[TokenRecord]:
        """The tokens of one boot."""
        return [t for t in self._tokens.values() if t.boot_id == boot_id]

    async def tokens(self) -> Sequence[TokenRecord]:
        """All tokens."""
        return list(self._tokens.values())

    async def forget_token(self, cluster: str, token_id: str) -> None:
        """The token is gone."""
        self._tokens.pop((cluster, token_id), None)

    async def record_audit(self, entry: AuditEntry) -> int:
        """Remember an entry; its number."""
        self._audit.append(replace(entry, id=len(self._audit) + 1))
        return len(self._audit)

    async def finish_audit(self, number: int, status: int, operation: str | None) -> None:
        """Add how the request of an entry ended."""
        entry = self._audit[number - 1]
        self._audit[number - 1] = replace(entry, status=status, operation=operation)

    async def audit(self, *, limit: int = 1000) -> Sequence[AuditEntry]:
        """The newest entries, newest first."""
        return self._audit[::-1][:limit]

    async def bind(self, binding: Binding) -> None:
        """Remember what a token is made for; its boot's others are superseded."""
        for key, other in list(self._bindings.items()):
            if other.boot_id == binding.boot_id and not other.request:
                self._bindings[key] = replace(other, request=SUPERSEDED)
        self._bindings[binding.cluster, binding.token_id] = binding

    async def binding_of(self, cluster: str, token_id: str) -> Binding | None:
        """What a token was made for."""
        return self._bindings.get((cluster, token_id))

    async def first_request(self, cluster: str, token_id: str, uid: str) -> str:
        """The uid of the token's first request."""
        binding = self._bindings.get((cluster, token_id))
        if binding is None:
            return ""
        if not binding.request:
            self._bindings[cluster, token_id] = replace(binding, request=uid)
        return binding.request or uid

    async def hold(self, cluster: str, token_id: str, why: str) -> None:
        """Hold the name that a token was made for."""
        binding = self._bindings.get((cluster, token_id))
        if binding is not None and not binding.alarm:
            self._bindings[cluster, token_id] = replace(binding, alarm=why)

    async def holds(self) -> Sequence[Binding]:
        """The bindings whose names are held."""
        return [binding for binding in self._bindings.values() if binding.alarm]

    async def let_go(self, cluster: str, node: str) -> bool:
        """Hold a name no longer."""
        held = [b for b in await self.holds() if (b.cluster, b.node) == (cluster, node)]
        for binding in held:
            self._bindings[cluster, binding.token_id] = replace(binding, alarm="")
        return bool(held)

    async def save_operation(
        self, operation: Operation, *, place: Placement | None = None, remove: str | None = None
    ) -> None:
        """Write an operation, and what it does to assignments."""
        self._operations[operation.id] = operation
        if place is not None:
            self._placements[place.machine] = place
        if remove is not None:
            self._placements.pop(remove, None)

    async def operations(self, *, limit: int = 1000) -> Sequence[Operation]:
        """The newest operations, newest first."""
        return sorted(self._operations.values(), key=lambda o: (o.started, o.id), reverse=True)[:limit]

    async def placements(self) -> Sequence[Placement]:
        """Every run-time assignment."""
        return list(self._placements.values())

    async def admit(self, admission: Admission) -> None:
        """Let a machine join."""
        self._admissions[admission.mac] = admission

    async def end_admission(self, mac: Mac) -> None:
        """Let it join no longer."""
        self._admissions.pop(mac, None)

    async def admissions(self) -> Sequence[Admission]:
        """Every machine that was let in."""
        return list(self._admissions.values())

    async def close(self) -> None:
        """Nothing to do."""
