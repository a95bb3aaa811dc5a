"""Operations from an operator's word to their end: one at a time per machine, on disk at each step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netboot.cluster import Clusters
from netboot.errors import Refused, StoreError
from netboot.events import Journal
from netboot.fleet import orders
from netboot.fleet.plan import parted, plan, repeated, undone
from netboot.fleet.reassign import STEPS, Outcome, Patience, Timelines, new_boot
from netboot.fleet.roster import Roster
from netboot.fleet.undo import BACK
from netboot.model.boot import TokenRecord
from netboot.model.inventory import Inventory
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.model.operation import Operation, Order, restarted, turned, waiting
from netboot.model.placement import Admission, Placement
from netboot.power import PowerDriver
from netboot.store import OperationStore

log = logging.getLogger("netboot.fleet")

KEPT = 2000
"""Ended operations in memory, the newest; `operations` lists them."""

ASSIGNMENTS = "`netboot assignment list` (GET /api/v1/assignments) tells which machines were assigned"
OPERATIONS = "`netboot operation list` (GET /api/v1/operations) tells which there are"

STORE_RETRY = 1.0
OWN_ERROR_RETRY = 10.0


class Memory(OperationStore, Protocol):
    """The part of the store that operations need."""

    async def leases(self) -> Sequence[Lease]:
        """Every lease."""

    async def tokens_of(self, boot_id: str) -> Sequence[TokenRecord]:
        """The tokens of a boot that are not deleted yet."""


@dataclass(frozen=True, slots=True)
class _Running:
    """An operation that is followed."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a step is taken."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Operations:
    """Begins, follows, cancels and remembers operations; `start`, then `run` beside the servers."""

    def __init__(
        self,
        *,
        roster: Roster,
        clusters: Clusters,
        boots: Timelines,
        store: Memory,
        revoke: Callable[[str], Awaitable[None]],
        journal: Journal,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        placed: Callable[[Operation], None] = lambda _: None,
        power: PowerDriver | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`placed` is told of each operation that has just changed what the machine is assigned to."""
        self.clusters = clusters
        self.boots = boots
        self.power = power
        self.patience = patience or Patience()
        self._roster = roster
        self._store = store
        self._revoke = revoke
        self._journal = journal
        self._clock = clock
        self._new_id = new_id
        self._placed = placed
        self._of: dict[str, Operation] = {}
        self._running: dict[str, _Running] = {}
        self._turns = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None
        self._admitted: dict[Mac, Admission] = {}

    # What the steps see of the world

    def inventory(self) -> Inventory:
        """The inventory in force."""
        return self._roster.inventory()

    def clock(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    async def revoke(self, boot_id: str) -> None:
        """Take back whatever a boot was given."""
        await self._revoke(boot_id)

    async def unrevoked(self, boot_id: str) -> int:
        """How many credentials of a boot are not taken back yet. Raises StoreError."""
        return len(await self._store.tokens_of(boot_id))

    # Life

    async def start(self) -> None:
        """Read what earlier runs left; `run` goes on with what was under way. Raises StoreError."""
        for operation in reversed(await self._store.operations(limit=KEPT)):
            self._of[operation.id] = operation
        self._admitted = {each.mac: each for each in await self._store.admissions()}
        for operation in [o for o in self._of.values() if o.ended is None]:
            await self._keep(Outcome(restarted(operation, self._clock())))

    async def run(self) -> None:
        """Follow every operation that is under way, for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for operation in self.operations(limit=KEPT):
                if operation.ended is None:
                    self._follow(operation.id)
            await asyncio.Event().wait()

    def _follow(self, operation_id: str) -> None:
        if self._group is not None and operation_id not in self._running:
            self._running[operation_id] = _Running()
            self._group.create_task(self._go_on(operation_id, self._running[operation_id]))

    async def _go_on(self, operation_id: str, running: _Running) -> None:
        while (operation := self._of[operation_id]).ended is None:
            running.wake.clear()
            async with running.turn:
                pause = await self._advance(self._of[operation.id])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await running.wake.wait()
        del self._running[operation_id]

    async def _advance(self, operation: Operation) -> float:
        """One step, or one try of it; seconds until the next."""
        steps = BACK if operation.state == "rolling back" else STEPS
        try:
            outcome = await steps[operation.step](self, operation)
            if outcome.operation != operation or outcome.place or outcome.remove:
                await self._keep(outcome)
            return outcome.pause
        except StoreError as error:
            log.warning("operation %s waits for the disk: %s", operation.id, error)
            return STORE_RETRY
        except Exception as error:
            log.exception("operation %s met an error of our own at %s", operation.id, operation.step)
            told = f"an error of the appliance's own: {type(error).__name__}; see its log"
            self._of[operation.id] = waiting(operation, told, self._clock())
            return OWN_ERROR_RETRY

    async def _keep(self, outcome: Outcome) -> None:
        """On disk first, then in force; to its end, whoever stops waiting for it. Raises StoreError."""
        await asyncio.shield(asyncio.get_running_loop().create_task(self._kept(outcome)))

    async def _kept(self, outcome: Outcome) -> None:
        operation = outcome.operation
        await self._store.save_operation(operation, place=outcome.place, remove=outcome.remove)
        before, self._of[operation.id] = self._of.get(operation.id), operation
        if outcome.place is not None:
            self._roster.place(outcome.place)
        if outcome.remove is not None:
            self._roster.remove(outcome.remove)
        if outcome.place is not None or outcome.remove is not None:
            self._placed(operation)
        self._tell(before, operation)
        if operation.ended is None:
            self._follow(operation.id)
        else:
            self._forget()

    def _tell(self, before: Operation | None, operation: Operation) -> None:
        told = frozenset(before.timeline if before is not None else ())  # a long one has lost its first lines
        for line in operation.timeline:
            if line in told:
                continue
            text = f"operation {operation.id}, {operation.machine}: {line.step}: {line.text}"
            mac = operation.macs[0] if operation.macs else None
            self._journal.note("operation", text, mac=mac, operation=operation.id)

    def _forget(self) -> None:
        ended = [o for o in self._of.values() if o.ended is not None]
        for operation in sorted(ended, key=lambda o: o.started)[: max(0, len(ended) - KEPT)]:
            del self._of[operation.id]

    # What operators ask for

    async def assign(self, which: str, order: Order, *, by: str = "", dry_run: bool = False) -> Operation:
        """Begin a reassignment; the same order again is the same operation. On disk when it returns.

        Raises Refused: 404 for no such machine, 409 for what cannot be or another operation under way.
        """
        async with self._turns:
            leases, now = await self._store.leases(), self._clock()
            machine = orders.machine_of(which, self.inventory(), leases, order)
            if (forsaken := self._forsaken(which)) is not None and forsaken.machine != machine.key:
                raise Refused(
                    409,
                    f"{machine.key} is assigned as {forsaken.machine}, which is not declared any more",
                    f"`netboot node unassign {forsaken.machine}` first",
                )
            if (same := self._repeated(machine.key, order)) is not None:
                return repeated(same, now) if dry_run else same
            self._refuse_second(machine.key)
            orders.check_unused(machine, order, leases, now)
            operation = orders.operation_of(
                machine, order, self._roster, self.boots, new_id=self._new_id(), now=now, by=by
            )
            if not dry_run:
                await self._keep(Outcome(operation))
                return operation
        return await plan(self, operation)

    async def unassign(self, which: str, order: Order, *, by: str = "", dry_run: bool = False) -> Operation:
        """Return a machine to what the file declares; a running operation is rolled back instead.

        Raises Refused as `assign` does, and 404 where nothing was assigned.
        """
        key = await self.machine(which)
        running = self._running_of(key)
        if running is not None and not running.order.returns:
            if running.former is not None:
                self._refuse_second(key)
            if not dry_run:
                return await self.cancel(running.id)
            if running.state == "running":
                self._may_cancel(running)
            return undone(running, self._clock())
        self._assigned(key)
        if self._roster.broken(key) is not None:
            return await self._part(key, order, by=by, dry_run=dry_run)
        return await self.assign(which, order, by=by, dry_run=dry_run)

    async def _part(self, machine: str, order: Order, *, by: str, dry_run: bool) -> Operation:
        """End an assignment that is broken: the machine is treated as the file declares it already."""
        async with self._turns:
            if (same := self._repeated(machine, order)) is not None:
                return same
            self._refuse_second(machine)
            placement = self._assigned(machine)
            operation = orders.parting(
                placement, order, self.inventory(), new_id=self._new_id(), now=self._clock(), by=by
            )
            if dry_run:
                return parted(operation, self._roster.broken(machine) or "", self._clock())
            await self._keep(Outcome(operation))
            return operation

    def _assigned(self, machine: str) -> Placement:
        """The run-time assignment of a machine. Raises Refused (404) where it has none."""
        if (placement := self._roster.placement(machine)) is None:
            raise Refused(404, f"{machine} has no run-time assignment", ASSIGNMENTS)
        return placement

    def _forsaken(self, which: str) -> Placement | None:
        """The broken assignment of a machine that the file does not know any more by this name or MAC."""
        mac, inventory = orders.mac_of(which), self.inventory()
        if which in inventory.by_name or mac in inventory.by_mac:
            return None
        broken = (p for p in self._roster.placements() if self._roster.broken(p.machine) is not None)
        return next((p for p in broken if which == p.machine or mac in p.macs), None)

    async def cancel(self, operation_id: str) -> Operation:
        """Roll an operation back. Raises Refused: 404 for none, 409 where the machine has moved already."""
        async with self._turns:
            operation = self.operation(operation_id)
            if operation is None:
                raise Refused(404, f"there is no operation {operation_id}", OPERATIONS)
            if operation.state in ("rolling back", "rolled back"):
                return operation
            running = self._running.get(operation_id) or _Running()
            async with running.turn:  # the step that is being taken comes to its end
                operation = self._of[operation_id]
                self._may_cancel(operation)
                await self._keep(Outcome(turned(operation, "cancelled by an operator", self._clock())))
            running.wake.set()
            return self._of[operation_id]

    def _may_cancel(self, operation: Operation) -> None:
        if operation.ended is not None:
            remedy = "Assign the machine once more, or `netboot node unassign` it"
            raise Refused(409, f"operation {operation.id} is {operation.state} already", remedy)
        if not operation.undoable or new_boot(self, operation) is not None:
            raise Refused(
                409,
                f"operation {operation.id} cannot be cancelled any more: the machine boots into cluster "
                f"{operation.new.cluster} already",
                "Assign it once more when it is through",
            )

    def _refuse_second(self, machine: str) -> None:
        """Raises Refused (409) where an operation of this machine runs."""
        if (running := self._running_of(machine)) is not None:
            undoing = running.state == "rolling back"
            what = "is being rolled back" if undoing else "runs, and asks for something else"
            raise Refused(
                409,
                f"operation {running.id} of {machine} {what}",
                f"Wait for its end (`netboot operation show {running.id} --wait`), or roll it back "
                f"(`netboot operation cancel {running.id}`, DELETE /api/v1/operations/{running.id})",
            )

    def _repeated(self, machine: str, order: Order) -> Operation | None:
        """The operation of this very order, where it runs, or where its outcome still stands."""
        known = [o for o in self.operations(limit=KEPT) if o.machine == machine]
        newest = known[0] if known else None
        if newest is None or newest.order != order:
            return None
        if newest.ended is None and newest.state == "running":
            return newest
        placement = self._roster.placement(machine)
        stands = placement is not None and placement.operation == newest.id and newest.state == "done"
        return newest if stands and self._roster.broken(machine) is None else None

    def _running_of(self, machine: str) -> Operation | None:
        return next((o for o in self._of.values() if o.machine == machine and o.ended is None), None)

    # What operators are shown

    def operations(self, *, limit: int) -> list[Operation]:
        """The newest operations, newest first."""
        return sorted(self._of.values(), key=lambda o: (o.started, o.id), reverse=True)[:limit]

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""
        return self._of.get(operation_id)

    async def machine(self, which: str) -> str:
        """What assignments of the machine of a MAC or name are filed under. Raises Refused and StoreError."""
        if (forsaken := self._forsaken(which)) is not None:
            return forsaken.machine
        mac = orders.mac_of(which)
        if mac is not None and mac not in self.inventory().by_mac:
            return str(mac)
        return orders.machine_of(which, self.inventory(), await self._store.leases(), Order()).key

    def placements(self) -> Sequence[Placement]:
        """Every run-time assignment."""
        return self._roster.placements()

    def placement(self, machine: str) -> Placement | None:
        """The run-time assignment of a machine."""
        return self._roster.placement(machine)

    def broken(self, machine: str) -> str | None:
        """Why a machine's assignment does not count; None where it does."""
        return self._roster.broken(machine)

    def drift(self, machine: str) -> Sequence[str]:
        """How a machine departs from what the file declares, in words."""
        return self._roster.drift(machine)

    # Admission

    def admitted(self, mac: Mac) -> bool:
        """Whether an operator let this machine in."""
        return mac in self._admitted

    async def admit(self, mac: Mac, by: str) -> Admission:
        """Let a machine join; on disk when it returns. Raises StoreError."""
        if (before := self._admitted.get(mac)) is not None:
            return before
        admission = Admission(mac, self._clock(), by)
        await self._store.admit(admission)
        self._admitted[mac] = admission
        self._journal.note("admitted", f"{mac} may join: an operator let it in", mac=mac)
        return admission

    async def end_admission(self, mac: Mac) -> Admission:
        """Let it join no longer; what was ended. Raises Refused and StoreError."""
        if (admission := self._admitted.get(mac)) is None:
            raise Refused(404, f"{mac} was not let in", "`netboot node list` tells who waits, and who was")
        await self._store.end_admission(mac)
        del self._admitted[mac]
        self._journal.note("admission_ended", f"{mac} may not join any more", mac=mac)
        return admission
