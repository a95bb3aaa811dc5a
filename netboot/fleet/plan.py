"""What an operation would do, found out by looking alone: nothing is changed anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netboot.cluster import ClusterApi, NodeObject
from netboot.errors import ClusterError
from netboot.fleet import ownership
from netboot.fleet.drain import survey
from netboot.fleet.reassign import World, boots_of, unfit
from netboot.model.inventory import Cluster
from netboot.model.operation import Line, Operation


async def plan(world: World, operation: Operation) -> Operation:
    """The operation as `planned`, its timeline what each step would do."""
    now = world.clock()
    begin = [
        ("check", await _check(world, operation)),
        ("assign", f"assign {operation.machine} to {operation.placement.target}"),
    ]
    if operation.settled:
        lives = f"it lives in cluster {operation.new.cluster} as {operation.new.node} already"
        return _planned(operation, [*begin, ("finish", lives)], now)
    texts = [
        *begin,
        *await _leave(world, operation),
        ("boot", "wait for the machine's next boot" if world.power is None else "restart the machine"),
        ("ready", f"wait until Node {operation.new.node} is Ready in cluster {operation.new.cluster}"),
        ("delete", await _delete(world, operation)),
    ]
    return _planned(operation, texts, now)


def repeated(operation: Operation, now: float) -> Operation:
    """The same order once more: nothing would be begun."""
    how = "does this already" if operation.ended is None else "has done this"
    return _planned(operation, [("check", f"operation {operation.id} {how}: nothing would be begun")], now)


def undone(operation: Operation, now: float) -> Operation:
    """One that runs would be rolled back."""
    then = f"assigned to {operation.former.target} again" if operation.former else "as the file declares it"
    return _planned(operation, [("withdraw", f"roll operation {operation.id} back: {then}")], now)


def parted(operation: Operation, broken: str, now: float) -> Operation:
    """A broken assignment would be forgotten."""
    return _planned(operation, [("finish", f"forget the assignment, which does not count: {broken}")], now)


def _planned(operation: Operation, texts: Sequence[tuple[str, str]], now: float) -> Operation:
    lines = tuple(Line(step, now, text) for step, text in texts)
    return replace(operation, state="planned", reason="", timeline=lines)


async def _check(world: World, operation: Operation) -> str:
    name = operation.new.cluster
    target = world.inventory().clusters.get(name)
    if target is None:
        return f"would be refused: cluster {name} is not declared"
    try:
        why = await unfit(world, operation, target)
    except ClusterError as error:
        why = f"cluster {name} does not answer, or refuses us: {error}"
    return f"would be refused: {why}" if why else f"cluster {name} answers, and its credentials work"


async def _leave(world: World, operation: Operation) -> list[tuple[str, str]]:
    """Cordon, drain and revoke."""
    given = sum([await world.unrevoked(boot.id) for boot in boots_of(world, operation)])
    revoke = ("revoke", f"delete {given} live credentials" if given else "no credential is live")
    old = world.inventory().clusters.get(operation.old.cluster)
    if old is None or not old.join.has_api:
        return [("cordon", "the old cluster has no API"), revoke]
    try:
        api = world.clusters.api(old.name)
        node = await api.node(operation.old.node)
        return [
            ("cordon", _cordon(operation, old, node)),
            ("drain", await _drain(operation, old, node, api)),
            revoke,
        ]
    except ClusterError as error:
        return [("cordon", f"wait for cluster {old.name}, which does not answer: {error}"), revoke]


def _cordon(operation: Operation, old: Cluster, node: NodeObject | None) -> str:
    if not old.node_actions.cordon:
        return f"skip: node_actions.cordon of cluster {old.name} is off"
    if node is None:
        return f"no Node object {operation.old.node} is there"
    doubt = ownership.doubt(operation, node) if operation.uuid else ""
    return f"leave Node {node.name} alone: {doubt}" if doubt else f"cordon Node {node.name}"


async def _drain(operation: Operation, old: Cluster, node: NodeObject | None, api: ClusterApi) -> str:
    if not operation.order.drain:
        return "not asked for"
    if not old.node_actions.drain:
        return f"skip: node_actions.drain of cluster {old.name} is off"
    if node is None:
        return "nothing to drain"
    found = survey(await api.pods_on(node.name))
    if found.alone and not operation.order.force:
        return f"would be refused: {len(found.alone)} pods without a controller; --force evicts them, too"
    gone = len(found.evict) + len(found.alone)
    return f"evict {gone} pods, as their PodDisruptionBudgets let them; {found.stay} stay"


async def _delete(world: World, operation: Operation) -> str:
    old = world.inventory().clusters.get(operation.old.cluster)
    if operation.stays:
        return "it is the same Node object"
    if old is None or not old.join.has_api:
        return "the old cluster has no API"
    if not old.node_actions.delete:
        return f"skip: node_actions.delete of cluster {old.name} is off"
    try:
        node = await world.clusters.api(old.name).node(operation.old.node)
    except ClusterError as error:
        return f"wait for cluster {old.name}, which does not answer: {error}"
    if node is None:
        return "no Node object is left"
    doubt = ownership.doubt(operation, node)
    if doubt and not operation.order.force:
        return f"leave Node {node.name}: {doubt}; --force deletes it"
    return f"delete Node {node.name} from cluster {old.name}"
