"""What assignments, operations and admissions look like in an answer; see `shapes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netboot.model.operation import BACK, STATES, STEPS, Operation, Order, Side
from netboot.model.placement import Admission, Placement
from netboot.web.api.schema import FLAG, INTEGER, NUMBER, TEXT, TEXTS, Json, optional, shape

WANTED: Mapping[str, Json] = {
    "cluster": optional(TEXT),
    "pool": optional(TEXT),
    "name": optional(TEXT),
    "address": optional(TEXT),
    "tags": optional(TEXTS),
}
"""What an operator asks for, and what is in force then."""
ASSIGNMENT = shape(
    machine=TEXT,
    macs=TEXTS,
    **WANTED,
    since=NUMBER,
    operation=TEXT,
    broken=optional(TEXT),
    drift=TEXTS,
)


def assignment(value: Placement, broken: str | None, drift: Sequence[str]) -> Json:
    """One run-time assignment: `broken` says why it does not count, `drift` how it departs from the file.

    With neither cluster nor pool the machine is on its way back to what the file declares.
    """
    return {
        "machine": value.machine,
        "macs": list(value.macs),
        **_wanted(value),
        "since": value.since,
        "operation": value.operation,
        "broken": broken,
        "drift": list(drift),
    }


ADMISSION = shape(mac=TEXT, at=NUMBER, by=TEXT)


def admission(value: Admission) -> Json:
    """One machine that was let in, when, and whose token it was."""
    return {"mac": value.mac, "at": value.at, "by": value.by}


ORDER: Json = {
    "type": "object",
    "properties": {
        **WANTED,
        "drain": FLAG,
        "force": FLAG,
        "dry_run": FLAG,
    },
    "oneOf": [
        {"required": [one], "properties": {one: TEXT, other: {"type": "null"}}}
        for one, other in (("cluster", "pool"), ("pool", "cluster"))
    ],
    "additionalProperties": False,
}
SIDE = shape(cluster=TEXT, node=TEXT)
OPERATION = shape(
    id=TEXT,
    kind={"type": "string", "enum": ["assign", "unassign"]},
    machine=TEXT,
    macs=TEXTS,
    **WANTED,
    drain=FLAG,
    force=FLAG,
    source=SIDE,
    target=SIDE,
    state={"type": "string", "enum": list(STATES)},
    step={"type": "string", "enum": [*STEPS, *BACK]},
    reason=TEXT,
    left=TEXT,
    boot=optional(TEXT),
    resumed=INTEGER,
    by=TEXT,
    started=NUMBER,
    ended=optional(NUMBER),
    steps={"type": "array", "items": shape(step=TEXT, at=NUMBER, text=TEXT)},
)


def operation(value: Operation) -> Json:
    """One operation: what was asked for, from where to where, how far it is, what it waits for, what is left.

    A `planned` one is the answer to a dry run: its steps say what each would do.
    """
    order = value.order
    return {
        "id": value.id,
        "kind": "unassign" if order.returns else "assign",
        "machine": value.machine,
        "macs": list(value.macs),
        **_wanted(order),
        "drain": order.drain,
        "force": order.force,
        "source": _side(value.old),
        "target": _side(value.new),
        "state": value.state,
        "step": value.step,
        "reason": value.reason,
        "left": value.left,
        "boot": value.boot or None,
        "resumed": value.resumed,
        "by": value.by,
        "started": value.started,
        "ended": value.ended,
        "steps": [{"step": line.step, "at": line.at, "text": line.text} for line in value.timeline],
    }


def _wanted(value: Order | Placement) -> Json:
    return {
        "cluster": value.cluster,
        "pool": value.pool,
        "name": value.name,
        "address": str(value.address) if value.address else None,
        "tags": list(value.tags) if value.tags is not None else None,
    }


def _side(value: Side) -> Json:
    return {"cluster": value.cluster, "node": value.node}


SCHEMAS: Mapping[str, Json] = {
    "Assignment": ASSIGNMENT,
    "Admission": ADMISSION,
    "Order": ORDER,
    "Operation": OPERATION,
}
