"""What each noun looks like in an answer, and nothing more: no setting, no secret, no file's content.

Times are seconds since the epoch. Each function has its schema beside it; `openapi` shows the schemas, and
a test holds answers against them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from netboot.errors import ImageError
from netboot.events import Event
from netboot.model.access import ROLE_WORDS, ApiToken, AuditEntry
from netboot.model.boot import STEPS, Boot
from netboot.model.health import ClusterState
from netboot.model.image import Generation
from netboot.model.inventory import INFINITE, Assignment, Cluster, Network, Pool
from netboot.model.lease import Lease, Rest, Usage
from netboot.model.machine import Mac
from netboot.web.api import assignment_shapes, cluster_shapes
from netboot.web.api.schema import FLAG, INTEGER, NUMBER, TEXT, TEXTS, optional, shape
from netboot.web.api.schema import Json as Json

STEP = shape(
    step={"type": "string", "enum": list(STEPS)},
    at=NUMBER,
    bytes=optional(INTEGER),
    of=optional(INTEGER),
    detail=TEXT,
)
BOOT = shape(
    id=TEXT,
    mac=TEXT,
    node=TEXT,
    cluster=TEXT,
    image=optional(TEXT),
    generation=optional(TEXT),
    state={"type": "string", "enum": ["booting", "joined", "stopped"]},
    started=NUMBER,
    ended=optional(NUMBER),
    steps={"type": "array", "items": STEP},
    quirks=TEXTS,
    stopped_at=optional(TEXT),
    cause=optional(TEXT),
)


def boot(value: Boot) -> Json:
    """One boot with its timeline. `stopped` with `ended` null fell silent, and may go on."""
    steps = [
        {"step": s.step, "at": s.at, "bytes": s.bytes, "of": s.of, "detail": s.detail} for s in value.steps
    ]
    return {
        "id": value.id,
        "mac": value.mac,
        "node": value.node,
        "cluster": value.cluster,
        "image": value.image,
        "generation": value.generation,
        "state": value.state,
        "started": value.started,
        "ended": value.ended,
        "steps": steps,
        "quirks": list(value.quirks),
        "stopped_at": value.stopped_at,
        "cause": value.cause,
    }


REST = shape(
    since=NUMBER, until=NUMBER, cause={"type": "string", "enum": ["declined", "conflict"]}, mac=optional(TEXT)
)
LEASE = shape(
    address=TEXT,
    state={"type": "string", "enum": ["live", "expired", "released", "resting"]},
    mac=optional(TEXT),
    holder=optional(TEXT),
    name=optional(TEXT),
    network=TEXT,
    expires=optional(NUMBER),
    last_seen=optional(NUMBER),
    live=FLAG,
    boot=optional(TEXT),
    rest=optional(REST),
)


def lease(value: Lease, now: float, rest: Rest | None = None) -> Json:
    """One lease; `expires` is null for an infinite one. `rest` says why nobody is given the address now."""
    return {
        "address": str(value.address),
        "state": "resting" if rest else _state(value, now),
        "mac": value.mac,
        "holder": value.holder,
        "name": value.name,
        "network": value.network,
        "expires": None if math.isinf(value.expires) else value.expires,
        "last_seen": value.last_seen,
        "live": value.live(now),
        "boot": value.boot_id,
        "rest": _rest(rest),
    }


def resting(value: Rest) -> Json:
    """An address that rests and of which nobody has a lease."""
    nothing = dict.fromkeys(("mac", "holder", "name", "expires", "last_seen", "boot"))
    return {
        "address": str(value.address),
        "state": "resting",
        "network": value.network,
        "live": False,
        **nothing,
        "rest": _rest(value),
    }


def _state(value: Lease, now: float) -> str:
    if value.released:
        return "released"
    return "live" if value.live(now) else "expired"


def _rest(value: Rest | None) -> Json | None:
    if value is None:
        return None
    return {"since": value.since, "until": value.until, "cause": value.cause, "mac": value.mac}


NODE = shape(
    name=TEXT,
    declared=FLAG,
    macs=TEXTS,
    address=optional(TEXT),
    pool=TEXT,
    cluster=TEXT,
    network=TEXT,
    image=optional(TEXT),
    reason=TEXT,
    assignment=optional({"$ref": "#/components/schemas/Assignment"}),
    admission={"type": "string", "enum": ["automatic", "waiting", "admitted"]},
    drift=optional(TEXTS),
    held=optional(TEXT),
    boot=optional({"$ref": "#/components/schemas/Boot"}),
)


def node(
    assignment: Assignment,
    macs: tuple[Mac, ...],
    lease: Lease | None,
    newest: Boot | None,
    *,
    placed: Json | None,
    admission: str,
    drift: Sequence[str] | None,
    held: str = "",
) -> Json:
    """One machine: what it belongs to and why, the address it holds or will be given, its newest boot.

    `placed` is its run-time assignment; `admission` tells whether an operator has to let it in; `drift` is in
    what its Node object differs from what is declared, null where that is not known; `held` is why nobody is
    given a credential under its name, which a list does not tell.
    """
    address = assignment.address or (lease.address if lease else None)
    return {
        "name": assignment.name,
        "declared": assignment.node is not None and assignment.node.declared,
        "macs": list(macs),
        "address": str(address) if address else None,
        "pool": assignment.pool.name,
        "cluster": assignment.cluster.name,
        "network": assignment.network.name,
        "image": assignment.image,
        "reason": assignment.reason,
        "assignment": placed,
        "admission": admission,
        "drift": None if drift is None else list(drift),
        "held": held or None,
        "boot": boot(newest) if newest else None,
    }


USAGE = shape(
    ranges=TEXTS, size=INTEGER, used=INTEGER, free=INTEGER, resting=INTEGER, exhausted_since=optional(NUMBER)
)
POOL = shape(
    name=TEXT,
    cluster=TEXT,
    network=TEXT,
    image=optional(TEXT),
    tags=TEXTS,
    priority=INTEGER,
    catch_all=FLAG,
    nodes=INTEGER,
    addresses=optional(USAGE),
    holders=optional({"type": "array", "items": {"$ref": "#/components/schemas/Lease"}}),
)


def pool(value: Pool, nodes: int, addresses: Json | None, holders: list[Json] | None) -> Json:
    """One pool, how many nodes are in it now, and the dynamic addresses of its network.

    `holders` is null in a list.
    """
    return {
        "name": value.name,
        "cluster": value.cluster,
        "network": value.network,
        "image": value.image,
        "tags": list(value.tags),
        "priority": value.priority,
        "catch_all": value.catch_all,
        "nodes": nodes,
        "addresses": addresses,
        "holders": holders,
    }


def usage(network: Network, value: Usage) -> Json:
    """How full the ranges of a network are; all its pools share them."""
    return {
        "ranges": [f"{r.first}-{r.last}" for r in network.ranges],
        "size": value.size,
        "used": value.used,
        "free": value.free,
        "resting": value.resting,
        "exhausted_since": value.exhausted_since,
    }


CLUSTER = shape(
    name=TEXT,
    endpoint=TEXT,
    image=optional(TEXT),
    tags=TEXTS,
    join=shape(method=TEXT, bind=TEXT, discovery=TEXT, role=TEXT),
    pools=TEXTS,
    problem=optional(TEXT),
    state={"type": "string", "enum": ["unknown", "up", "down"]},
    since=optional(NUMBER),
    next_try=optional(NUMBER),
    nodes=optional(INTEGER),
    max_nodes=optional(INTEGER),
    unwatched=optional(TEXT),
    waiting=INTEGER,
)


def cluster(value: Cluster, pools: list[str], problem: str | None, state: ClusterState) -> Json:
    """One cluster; `problem` says why its nodes get no credential now, `unwatched` why nobody counts them."""
    how = value.join
    return {
        "name": value.name,
        "endpoint": value.endpoint,
        "image": value.image,
        "tags": list(value.tags),
        "join": {"method": how.method, "bind": how.bind, "discovery": how.discovery, "role": how.role},
        "pools": pools,
        "problem": problem,
        "state": state.state,
        "since": state.since,
        "next_try": state.next_try,
        "nodes": state.nodes,
        "max_nodes": None if how.max_nodes == INFINITE else int(how.max_nodes),
        "unwatched": state.unwatched,
        "waiting": state.waiting,
    }


IMAGE = shape(
    name=TEXT,
    generation=optional(TEXT),
    generations=TEXTS,
    created=optional(TEXT),
    min_ram_mib=optional(INTEGER),
    size=optional(INTEGER),
    problem=optional(TEXT),
)


def image(name: str, generations: tuple[str, ...], latest: Generation | ImageError) -> Json:
    """One image: its latest generation, or why that is not offered."""
    sound = latest if isinstance(latest, Generation) else None
    return {
        "name": name,
        "generation": sound.id if sound else None,
        "generations": list(generations),
        "created": sound.created if sound else None,
        "min_ram_mib": sound.min_ram_mib if sound else None,
        "size": sum(file.size for file in sound.files.values()) if sound else None,
        "problem": None if sound else str(latest),
    }


EVENT = shape(
    number=INTEGER,
    at=NUMBER,
    kind=TEXT,
    text=TEXT,
    mac=optional(TEXT),
    address=optional(TEXT),
    facts={"type": "object", "additionalProperties": TEXT},
)


def event(value: Event) -> Json:
    """One event."""
    return {
        "number": value.number,
        "at": value.at,
        "kind": value.kind,
        "text": value.text,
        "mac": value.mac,
        "address": value.address,
        "facts": dict(value.facts),
    }


AUDIT = shape(
    id=INTEGER,
    at=NUMBER,
    name=optional(TEXT),
    role=optional(TEXT),
    source=TEXT,
    method=TEXT,
    path=TEXT,
    request={"type": "object", "additionalProperties": TEXT},
    refused=FLAG,
    why=optional(TEXT),
    status=optional(INTEGER),
    operation=optional(TEXT),
)


def audit(value: AuditEntry) -> Json:
    """One change or refused try, and `why` it was; `status` is null where no answer left."""
    return {
        "id": value.id,
        "at": value.at,
        "name": value.name,
        "role": value.role,
        "source": value.source,
        "method": value.method,
        "path": value.path,
        "request": dict(value.request),
        "refused": value.refused,
        "why": value.why,
        "status": value.status,
        "operation": value.operation,
    }


SELF = shape(name=TEXT, role={"type": "string", "enum": list(ROLE_WORDS)})


def caller(value: ApiToken) -> Json:
    """Whose token it is."""
    return {"name": value.name, "role": value.role.word}


PROBLEM = shape(status=INTEGER, reason=TEXT, remedy=TEXT)

SCHEMAS: Mapping[str, Json] = {
    "Boot": BOOT,
    "Lease": LEASE,
    "Node": NODE,
    "Pool": POOL,
    "Cluster": CLUSTER,
    "Image": IMAGE,
    "Event": EVENT,
    "Audit": AUDIT,
    "Self": SELF,
    "Problem": PROBLEM,
    **assignment_shapes.SCHEMAS,
    **cluster_shapes.SCHEMAS,
}


def listing(noun: str) -> Json:
    """A list of one noun; `total` counts them before `limit` cut the list."""
    return shape(items={"type": "array", "items": {"$ref": f"#/components/schemas/{noun}"}}, total=INTEGER)
