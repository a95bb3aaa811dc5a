"""An operation: what an operator asked for that takes minutes, its steps, and how far it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from netboot.model.machine import Mac
from netboot.model.placement import Placement

STEPS = ("check", "assign", "cordon", "drain", "revoke", "power", "boot", "ready", "delete", "finish")
"""The steps of a reassignment, in order. Up to `boot` it can be rolled back."""

BACK = ("withdraw", "uncordon", "revoke back")
"""The steps of rolling one back."""

STATES = ("planned", "running", "done", "rolling back", "rolled back")

LINES = 200
"""Lines of one timeline."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, in full: two orders that are equal are one operation."""

    cluster: str | None = None
    pool: str | None = None
    name: str | None = None
    address: IPv4Address | None = None
    tags: tuple[str, ...] | None = None
    drain: bool = False
    force: bool = False

    @property
    def returns(self) -> bool:
        """Whether the machine goes back to what the file declares."""
        return self.cluster is None and self.pool is None


@dataclass(frozen=True, slots=True)
class Side:
    """What the machine belongs to before, or after."""

    cluster: str
    pool: str
    node: str
    """The name of its Node object there."""

    def at(self, other: Side) -> bool:
        """Whether both are the same Node object."""
        return (self.cluster, self.node) == (other.cluster, other.node)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a timeline."""

    step: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One reassignment of one machine. Times are seconds since the epoch."""

    id: str
    machine: str
    """As in `Placement`."""
    macs: tuple[Mac, ...]
    order: Order
    old: Side
    new: Side
    placement: Placement
    """What it puts into force."""
    former: Placement | None = None
    """What was in force before, and is again when it is rolled back."""
    by: str = ""
    """Whose token asked for it."""
    uuid: str | None = None
    """By which a Node object is known to be this machine's (R17)."""
    uuid_is: str = ""
    """Where that comes from: `declared`, or `of its last joined boot`."""
    state: str = "running"
    step: str = STEPS[0]
    since: float = 0.0
    """When this step began."""
    started: float = 0.0
    ended: float | None = None
    placed: float | None = None
    """When the assignment came into force."""
    settled: bool = False
    """The machine is there already, and nothing about it changes: it is neither cordoned nor waited for."""
    cordoned: bool = False
    """The old Node object was cordoned by this operation."""
    boot: str = ""
    """The boot that joined, or is about to join, the new cluster."""
    reason: str = ""
    """What it waits for, or why it was rolled back."""
    left: str = ""
    """What it could not do, and an operator has to."""
    resumed: int = 0
    """How many restarts of the appliance it went through."""
    timeline: tuple[Line, ...] = ()

    @property
    def undoable(self) -> bool:
        """Whether it can still be rolled back: the machine has not claimed its boot into the new cluster."""
        return self.state == "running" and STEPS.index(self.step) <= STEPS.index("boot")

    @property
    def stays(self) -> bool:
        """Whether old and new are the same Node object."""
        return self.old.at(self.new)


def noted(operation: Operation, text: str, now: float) -> Operation:
    """With one more line at its present step; the same one twice is said once."""
    last = operation.timeline[-1:]
    if last and (last[0].step, last[0].text) == (operation.step, text):
        return operation
    line = Line(operation.step, now, text)
    return replace(operation, timeline=(*operation.timeline, line)[-LINES:])


def waiting(operation: Operation, reason: str, now: float) -> Operation:
    """It waits at its present step, and why."""
    if operation.reason == reason:
        return operation
    return replace(noted(operation, reason, now), reason=reason)


def passed(operation: Operation, text: str, now: float) -> Operation:
    """The present step is done; the next one begins, or the operation ends."""
    told = replace(noted(operation, text, now), reason="", since=now)
    steps = BACK if operation.state == "rolling back" else STEPS
    at = steps.index(operation.step) + 1
    if at < len(steps):
        return replace(told, step=steps[at])
    if operation.state == "rolling back":
        return replace(told, state="rolled back", ended=now, reason=_why(operation))
    return replace(told, state="done", ended=now, reason=told.left)


def again(operation: Operation, step: str, text: str, now: float) -> Operation:
    """Back to an earlier step."""
    return replace(noted(operation, text, now), step=step, since=now, reason=text)


def turned(operation: Operation, why: str, now: float) -> Operation:
    """From here on it is rolled back; `why` stays its reason in the end."""
    told = noted(operation, f"{_TURNED}{why}", now)
    return replace(told, state="rolling back", step=BACK[0], since=now, reason=why)


def lacking(operation: Operation, what: str) -> Operation:
    """Something could not be done, and an operator has to."""
    return replace(operation, left="; ".join(filter(None, (operation.left, what))))


def restarted(operation: Operation, now: float) -> Operation:
    """The appliance was restarted meanwhile."""
    return replace(noted(operation, "resumed after a restart", now), resumed=operation.resumed + 1)


_TURNED = "rolled back: "


def _why(operation: Operation) -> str:
    found = [line.text for line in operation.timeline if line.text.startswith(_TURNED)]
    return found[-1].removeprefix(_TURNED) if found else operation.reason
