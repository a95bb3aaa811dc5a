"""The timeline of each boot, kept in memory and written to the store once a second."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import replace
from heapq import nlargest
from ipaddress import IPv4Address
from typing import TypedDict, Unpack

from netboot.boot.stall import last_step, likely_cause, overdue
from netboot.errors import StoreError
from netboot.events.journal import Journal
from netboot.events.redact import clean
from netboot.model.boot import STEPS, Boot, Step
from netboot.model.machine import Mac
from netboot.store import BootStore

log = logging.getLogger("netboot")


_KNOCKING = ("discover", "offer")
"""The steps of a boot that hold nothing yet: neither an address nor anything else of ours."""


def boot_id(now: float, random: bytes) -> str:
    """A boot's id: 8 hex digits of its second, so that ids sort by time, and 8 of `random` (4 bytes)."""
    return f"{int(now) & 0xFFFFFFFF:08x}{random[:4].hex()}"


class Facts(TypedDict, total=False):
    """What `Boots.annotate` may set."""

    node: str
    cluster: str
    image: str | None
    generation: str | None
    address: IPv4Address | None
    system_uuid: str | None
    claimed: bool
    doubt: str


class Boots:
    """The timeline of every boot, bounded in memory, written to the store in batches once a second.

    A boot that fell silent is `stopped` with `ended` still None: it goes on when the machine speaks again.
    A boot with `ended` is over for good.
    """

    PER_MACHINE = 8
    QUIRKS = 16
    """Quirks kept per boot."""
    LIMIT = 20_000
    """Boots in memory, whatever happens."""
    VISITORS = 2000
    """Boots in memory of machines that nobody declared and that took no address yet. They are written
    nowhere and told to nobody: anybody can invent such machines by the thousand each second."""
    REMEMBERED = 5000
    """Boots of earlier runs that a start reads again, the newest."""
    BATCH = 1000
    WATCHED_PER_TICK = 1000

    def __init__(
        self, store: BootStore, journal: Journal, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self.on_end: list[Callable[[Boot], None]] = []
        self._store = store
        self._journal = journal
        self._clock = clock
        self._new_id = new_id
        self._boots: dict[str, Boot] = {}
        self._machines: OrderedDict[str, deque[str]] = OrderedDict()
        self._macs: dict[Mac, str] = {}
        self._heard: OrderedDict[str, float] = OrderedDict()  # boots that are not over: their last progress
        self._dirty: dict[str, None] = {}
        self._visitors: OrderedDict[str, None] = OrderedDict()
        self._store_failed = False

    async def start(self) -> None:
        """Read the boots of earlier runs; our own downtime counts as nobody's silence. Raises StoreError."""
        now = self._clock()
        for boot in reversed(await self._store.boots(limit=self.REMEMBERED)):
            self._file(boot)
            if boot.ended is None:
                self._heard[boot.id] = now
        await self._learn_claims([i for i in self._heard if not self._boots[i].claimed])

    async def _learn_claims(self, boot_ids: list[str]) -> None:
        """A key that was burnt right before a kill: the claim is on disk, the boot's last second is not."""
        claims = await asyncio.gather(*(self._store.claim_of(boot_id) for boot_id in boot_ids))
        for claim in claims:
            if claim is not None:
                self.step(claim.boot_id, "claim", at=claim.claimed)
                self.annotate(claim.boot_id, claimed=True, address=claim.address)
                if claim.kept is not None:
                    self.annotate(claim.boot_id, node=claim.kept.node, cluster=claim.kept.cluster)

    async def run(self) -> None:
        """Watch for stalls and write what changed, each half second, for ever."""
        while True:
            await asyncio.sleep(0.5)
            self.watch()
            await self.flush()

    async def flush(self) -> None:
        """Write every changed boot; where the store fails they stay queued, and it is reported once."""
        while self._dirty:
            batch = list(self._dirty)[: self.BATCH]
            boots = [self._boots[i] for i in batch if i in self._boots]
            for i in batch:
                del self._dirty[i]
            try:
                await self._store.save_boots(boots)
            except StoreError as error:
                self._dirty = {**dict.fromkeys(i for i in batch if i in self._boots), **self._dirty}
                self._report_store(error)
                return
            self._report_store(None)

    def current(self, mac: Mac) -> Boot | None:
        """The newest boot of the machine that this card belongs to, in whatever state."""
        return self.of_node(self._macs.get(mac, ""))

    def of_node(self, name: str) -> Boot | None:
        """The newest boot under a node name."""
        ring = self._machines.get(name)
        return self._boots[ring[-1]] if ring else None

    def get(self, boot_id: str) -> Boot | None:
        """A boot by its id."""
        return self._boots.get(boot_id)

    def all(self, mac: Mac | None = None, limit: int = 100) -> list[Boot]:
        """The newest boots, newest first: of the machine of one card, or of all."""
        if mac is None:
            return nlargest(limit, self._boots.values(), key=lambda b: (b.started, b.id))
        return self.of_machine(self._macs.get(mac, ""))[:limit]

    def of_machine(self, name: str) -> list[Boot]:
        """The boots under a node name that are remembered, newest first."""
        return [self._boots[i] for i in reversed(self._machines.get(name, ()))]

    def discovered(self, mac: Mac, *, node: str, cluster: str, now: float, declared: bool = True) -> Boot:
        """The boot that this firmware's DISCOVER belongs to: the machine's current one, or a new one."""
        current = self.of_node(node)
        if current is None or _over(current, now):
            return self._open(Boot(self._fresh_id(), mac, node, cluster, started=now), declared)
        self._macs[mac] = node
        if current.mac != mac:
            self._put(replace(current, mac=mac))
        self.step(current.id, "discover", at=now)
        return self._boots[current.id]

    def step(
        self,
        boot_id: str,
        step: str,
        *,
        detail: str = "",
        bytes: int | None = None,
        of: int | None = None,
        at: float | None = None,
    ) -> None:
        """Record that a boot reached a step, or how far the step is; unknown and ended boots are left alone.

        The first `at` of a step stays; a time outside of the boot (a node's wrong clock) is replaced by ours.
        """
        boot = self._boots.get(boot_id)
        if boot is None or boot.ended is not None or step not in STEPS:
            self._journal.counters["boot_steps_ignored"] += 1
            return
        now = self._clock()
        at = at if at is not None and boot.started <= at <= now else now
        old = boot.step(step)
        new = _progressed(old, Step(step, at, bytes, of, clean(detail) if detail else ""))
        if new == old:
            return
        self._heard[boot_id] = now
        self._put(replace(_revived(boot), steps=_with(boot.steps, new)))
        if old is None:
            self._note("boot_step", boot, f"{boot.node} {step}", detail=new.detail or None)

    def annotate(self, boot_id: str, **facts: Unpack[Facts]) -> None:
        """Add what became known of a boot: image, generation, address, system_uuid ..."""
        boot = self._boots.get(boot_id)
        if boot is not None and (changed := replace(boot, **facts)) != boot:
            if changed.node != boot.node:
                self._unfile(boot)
                self._file(changed)
            self._put(changed)

    def followed(self, boot_id: str, quirks: tuple[str, ...]) -> None:
        """Add the quirks that a reply of this boot followed, each once."""
        boot = self._boots.get(boot_id)
        new = [q for q in quirks if q not in boot.quirks] if boot is not None and boot.ended is None else []
        if boot is not None and new:
            self._put(replace(boot, quirks=(*boot.quirks, *map(clean, new))[: self.QUIRKS]))

    def stop(self, boot_id: str, step: str, cause: str) -> None:
        """End a boot for good as stopped at `step` because of `cause`."""
        boot = self._boots.get(boot_id)
        if boot is not None and boot.ended is None:
            self._end(replace(boot, state="stopped", stopped_at=step, cause=clean(cause)))

    def joined(self, boot_id: str) -> None:
        """End a boot as joined; records `ready`, unless the machine was to join nothing."""
        boot = self._boots.get(boot_id)
        if boot is None or boot.ended is not None:
            return
        join = boot.step("join")
        if join is None or join.detail != "none":
            self.step(boot_id, "ready")
        self._end(replace(_revived(self._boots[boot_id]), state="joined"))

    def claimed(self, boot_id: str) -> None:
        """This boot's key was burnt: its earlier boots are superseded, whose sessions end by that."""
        boot = self._boots.get(boot_id)
        if boot is None:
            return
        self.step(boot_id, "claim")
        self.annotate(boot_id, claimed=True)
        for earlier in [b for i in self._heard if (b := self._boots[i]).id != boot_id and _same(b, boot)]:
            last = last_step(earlier)
            cause = f"superseded: the machine started again as boot {boot_id} before this one was through"
            self.stop(earlier.id, earlier.stopped_at or (last.step if last else "discover"), cause)

    def watch(self) -> None:
        """Mark the boots that fell silent, and end those that are over their hour; bounded work per call."""
        now = self._clock()
        for _ in range(min(self.WATCHED_PER_TICK, len(self._heard))):
            boot_id, heard = next(iter(self._heard.items()))
            self._heard.move_to_end(boot_id)
            self._watch_one(self._boots[boot_id], heard, now)

    def _watch_one(self, boot: Boot, heard: float, now: float) -> None:
        if end := overdue(boot, now):
            self.stop(boot.id, end.step, end.cause)
        elif boot.state == "booting" and (stall := likely_cause(boot, now, heard)):
            self._put(replace(boot, state="stopped", stopped_at=stall.step, cause=stall.cause))
            text = f"{boot.node} stopped at {stall.step}: {stall.cause}"
            self._note("boot_stalled", boot, text, level=logging.WARNING)

    def _open(self, boot: Boot, declared: bool) -> Boot:
        self._file(boot)
        if not declared:
            self._visitors[boot.id] = None
            if len(self._visitors) > self.VISITORS:
                self._dismiss(next(iter(self._visitors)))
        self._heard[boot.id] = boot.started
        self._journal.counters["boots_opened"] += 1
        self.step(boot.id, "discover", at=boot.started)
        self._evict()
        return self._boots[boot.id]

    def _end(self, boot: Boot) -> None:
        ended = replace(boot, ended=self._clock())
        self._heard.pop(boot.id, None)
        self._put(ended)
        if boot.state == "joined":
            self._note("boots_joined", boot, f"{boot.node} joined {boot.cluster}")
        else:
            text = f"{boot.node} stopped at {boot.stopped_at}: {boot.cause}"
            self._note("boots_stopped", boot, text, level=logging.WARNING)
        for callback in self.on_end:
            try:
                callback(ended)
            except Exception:
                log.exception("what follows the end of boot %s failed", boot.id)

    def _dismiss(self, boot_id: str) -> None:
        """Forget a visitor; it opens another boot when it comes again."""
        self._unfile(self._boots[boot_id])
        self._forget(boot_id)

    def _put(self, boot: Boot) -> None:
        """Replace a boot's state, to be written at the next flush; a visitor's once it took an address."""
        self._boots[boot.id] = boot
        if boot.id in self._visitors:
            if boot.steps[-1].step in _KNOCKING:
                return
            del self._visitors[boot.id]
        self._dirty[boot.id] = None
        self._journal.publish(("boot", boot))

    def _file(self, boot: Boot) -> None:
        """Put a boot under its machine's name and its card, and forget the machine's oldest where full."""
        self._boots[boot.id] = boot
        self._macs[boot.mac] = boot.node
        ring = self._machines.setdefault(boot.node, deque())
        ring.append(boot.id)
        self._machines.move_to_end(boot.node)
        if len(ring) > self.PER_MACHINE:
            self._forget(ring.popleft())

    def _unfile(self, boot: Boot) -> None:
        ring = self._machines[boot.node]
        ring.remove(boot.id)
        if not ring:
            del self._machines[boot.node]

    def _evict(self) -> None:
        """Forget whole machines while there are too many boots: first such that never took an address."""
        while len(self._boots) > self.LIMIT:
            names = [name for name, _ in zip(self._machines, range(64), strict=False)]
            name = next((n for n in names if not self._got_address(n)), names[0])
            for boot_id in self._machines.pop(name):
                self._forget(boot_id)

    def _got_address(self, name: str) -> bool:
        return any(self._boots[i].step("ack") for i in self._machines[name])

    def _forget(self, boot_id: str) -> None:
        boot = self._boots.pop(boot_id)
        self._heard.pop(boot_id, None)
        self._dirty.pop(boot_id, None)
        self._visitors.pop(boot_id, None)
        if self._macs.get(boot.mac) == boot.node and boot.node not in self._machines:
            del self._macs[boot.mac]

    def _fresh_id(self) -> str:
        while (fresh := self._new_id()) in self._boots:
            pass
        return fresh

    def _note(
        self, kind: str, boot: Boot, text: str, level: int = logging.INFO, detail: str | None = None
    ) -> None:
        if boot.id in self._visitors:
            self._journal.counters[kind] += 1
            return
        address = str(boot.address) if boot.address else None
        steps = kind == "boot_step"  # the timeline has them: the machine's ring is for what it does not tell
        self._journal.note(
            kind,
            text,
            mac=boot.mac,
            address=address,
            level=level,
            ring=not steps,
            boot=boot.id,
            detail=detail,
        )

    def _report_store(self, error: StoreError | None) -> None:
        if error is not None and not self._store_failed:
            self._journal.note("store_failed", f"boots cannot be written: {error}", level=logging.ERROR)
        elif error is None and self._store_failed:
            self._journal.note("store_healed", "boots are written again")
        self._store_failed = error is not None


def _over(boot: Boot, now: float) -> bool:
    """Whether a DISCOVER opens a new boot; a boot that only fell silent counts as one in progress."""
    return (boot if boot.ended is not None else _revived(boot)).superseded_by_discover(now)


def _revived(boot: Boot) -> Boot:
    """The boot in progress, whatever its silence made of it."""
    return boot if boot.state == "booting" else replace(boot, state="booting", stopped_at=None, cause=None)


def _same(earlier: Boot, boot: Boot) -> bool:
    """Whether `earlier` is a boot of the same machine from before `boot`."""
    return (earlier.node == boot.node or earlier.mac == boot.mac) and earlier.started <= boot.started


def _progressed(old: Step | None, new: Step) -> Step:
    """A step with what is newly known: first time kept, bytes never going back, no detail lost."""
    if old is None:
        return new
    same_size = new.of is None or old.of is None or new.of == old.of
    sent = max((b for b in (old.bytes, new.bytes) if b is not None), default=None) if same_size else new.bytes
    return Step(old.step, old.at, sent, new.of if new.of is not None else old.of, new.detail or old.detail)


def _with(steps: tuple[Step, ...], new: Step) -> tuple[Step, ...]:
    others = [s for s in steps if s.step != new.step]
    return tuple(sorted([*others, new], key=lambda s: STEPS.index(s.step)))
