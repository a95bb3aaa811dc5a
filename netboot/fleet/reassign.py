"""The steps of a reassignment: each looks at the world, does one thing, and may be done again.

An operation is on disk before and after each step. Whoever is killed in the middle takes the same step
again: what was done already is seen and left alone. `undo` has the way back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from netboot.cluster import Access, Clusters
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from netboot.fleet import drain, ownership
from netboot.fleet.drain import drain_once
from netboot.fleet.patient import Patient
from netboot.model.boot import Boot
from netboot.model.inventory import Cluster, Inventory
from netboot.model.machine import Mac
from netboot.model.operation import Operation, again, lacking, passed, turned, waiting
from netboot.model.placement import Placement
from netboot.power import PowerDriver

CHANGED = (404, 409, 422)
"""Statuses of a write to an object that is not any more what was read."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each kind of obstacle is waited for, in seconds; `force` waits for none of them."""

    target: float = 30.0
    """For the new cluster's API before anything is changed."""
    old: float = 300.0
    """For the old cluster's API before cordon and drain."""
    drain: float = 900.0
    """For all pods to go."""
    delete: float = 86400.0
    """For the old cluster's API to delete the Node object that is left."""
    look: float = 1.0
    """Between two looks at a boot."""
    retry: float = 5.0
    """Between two questions to a cluster that does not answer, at most."""
    held: float = 10.0
    """Between two rounds of evictions that a PodDisruptionBudget holds, at most."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step made of an operation. Both are written in one commit with it."""

    operation: Operation
    pause: float = 0.0
    """Seconds until the next step, or the next try of this one."""
    place: Placement | None = None
    remove: str | None = None


class Timelines(Protocol):
    """The part of `events.Boots` that is looked at."""

    def get(self, boot_id: str) -> Boot | None:
        """A boot by its id."""

    def current(self, mac: Mac) -> Boot | None:
        """The newest boot of the machine that a card belongs to."""

    def of_node(self, name: str) -> Boot | None:
        """The newest boot under a name."""

    def of_machine(self, name: str) -> list[Boot]:
        """The boots under a name, newest first."""


class World(Protocol):
    """Where the steps look and act."""

    clusters: Clusters
    boots: Timelines
    power: PowerDriver | None
    patience: Patience

    def inventory(self) -> Inventory:
        """The inventory in force."""

    def broken(self, machine: str) -> str | None:
        """Why a machine's assignment does not count; None where it does, or where there is none."""

    def clock(self) -> float:
        """Seconds since the epoch."""

    async def revoke(self, boot_id: str) -> None:
        """Take back whatever a boot was given; tried again until it is gone."""

    async def unrevoked(self, boot_id: str) -> int:
        """How many credentials of a boot are not taken back yet."""


Step = Callable[[World, Operation], Awaitable[Outcome]]


async def check(world: World, operation: Operation) -> Outcome:
    """Is the new cluster there, does it know us, may we make credentials, and is the name free?"""
    now, target = world.clock(), _cluster(world, operation.new.cluster)
    if target is None:
        return Outcome(turned(operation, f"cluster {operation.new.cluster} is not declared any more", now))
    try:
        why = await unfit(world, operation, target)
    except ClusterUnavailable as error:
        reason = f"cluster {target.name} does not answer: {error.reason}"
        if now - operation.since < world.patience.target:
            return Outcome(waiting(operation, reason, now), min(error.retry_after, world.patience.retry))
        return Outcome(turned(operation, f"{reason}. Nothing was changed", now))
    except ClusterError as error:
        return Outcome(
            turned(operation, f"cluster {target.name} refuses us: {error}. Nothing was changed", now)
        )
    if why:
        return Outcome(turned(operation, f"{why}. Nothing was changed", now))
    text = f"cluster {target.name} answers, and its credentials work"
    return Outcome(
        passed(operation, text if target.join.has_api else f"cluster {target.name} has no API", now)
    )


async def unfit(world: World, operation: Operation, target: Cluster) -> str:
    """Why the machine cannot join the new cluster; empty where it can. Raises ClusterError."""
    if not target.join.has_api:
        return ""
    api = Patient(world.clusters.api(target.name))
    node = await api.node(operation.new.node)
    stranger = node is not None and operation.uuid is not None and ownership.doubt(operation, node)
    if node is not None and stranger and node.ready == "True" and not operation.order.force:
        return f"another machine lives as Node {node.name} in cluster {target.name} ({stranger})"
    if target.join.method == "kubeadm":
        mint = Access("create", "secrets", namespace="kube-system")
        if not await api.may(mint):
            return f"our account in cluster {target.name} may not {mint}: no node can be given a credential"
    return ""


async def assign(world: World, operation: Operation) -> Outcome:
    """Put the assignment into force: from here on the machine's next boot leads to the new cluster."""
    now, text = world.clock(), f"assigned to {operation.placement.target}"
    if operation.settled:
        text += f"; it lives in cluster {operation.new.cluster} as {operation.new.node} already"
    done = passed(replace(operation, placed=now), text, now)
    after = replace(done, step="finish") if operation.settled else done
    return Outcome(after, place=replace(operation.placement, since=now))


async def cordon(world: World, operation: Operation) -> Outcome:
    """No new pods on the old Node object."""
    old = _cluster(world, operation.old.cluster)
    if old is None or not old.join.has_api:
        return _skip(world, operation, "the old cluster has no API")
    if not old.node_actions.cordon:
        return _skip(world, operation, f"skipped: node_actions.cordon of cluster {old.name} is off")
    try:
        return await _cordon(world, operation, Patient(world.clusters.api(old.name)))
    except ClusterRefused as error:
        if error.status in CHANGED:
            return Outcome(operation, 0.2)
        return _skip(world, operation, f"not cordoned: cluster {old.name} refuses: {error}", left=True)
    except ClusterError as error:
        text = f"cluster {old.name} does not answer: {error}"
        return _wait_or(world, operation, text, world.patience.old, "not cordoned")


async def _cordon(world: World, operation: Operation, api: Patient) -> Outcome:
    node, now = await api.node(operation.old.node), world.clock()
    if node is None:
        return Outcome(passed(operation, f"no Node object {operation.old.node} is there", now))
    doubt = ownership.doubt(operation, node) if operation.uuid else ""
    if doubt and not operation.order.force:
        return _skip(world, operation, f"Node {node.name} is left alone: {doubt}")
    ours = ownership.cordoned_by_us(node, operation)
    if node.unschedulable and not ours:
        return Outcome(passed(operation, f"Node {node.name} was cordoned already", now))
    if not ours:
        await api.schedule(node, {ownership.CORDONED_BY: operation.id}, on=False)
    return Outcome(passed(replace(operation, cordoned=True), f"Node {node.name} is cordoned", now))


async def drain_node(world: World, operation: Operation) -> Outcome:
    """Have the pods of the old Node object go, as their PodDisruptionBudgets let them, for a time."""
    old = _cluster(world, operation.old.cluster)
    if not operation.order.drain:
        return _skip(world, operation, "not asked for")
    if old is None or not old.join.has_api:
        return _skip(world, operation, "the old cluster has no API")
    if not old.node_actions.drain:
        return _skip(world, operation, f"skipped: node_actions.drain of cluster {old.name} is off")
    now = world.clock()
    late = now - operation.since > world.patience.drain
    try:
        done = await _drain(world, operation, Patient(world.clusters.api(old.name)))
    except ClusterRefused as error:
        return Outcome(turned(operation, f"cluster {old.name} refuses: {error}", now))
    except ClusterError as error:
        text = f"cluster {old.name} does not answer: {error}"
        if operation.order.force:
            return _skip(world, operation, f"not drained: {text}", left=True)
        if now - operation.since > world.patience.old:
            return Outcome(turned(operation, f"not drained: {text}; --force goes on without", now))
        return Outcome(waiting(operation, text, now), world.patience.retry)
    if done.refused or (done.left and late and not operation.order.force):
        limit = "" if done.refused else f" after {world.patience.drain:.0f} s: {done.left} pods are left"
        return Outcome(turned(operation, f"not drained{limit}: {done.text}", now))
    if done.left and late:
        return _skip(world, operation, f"{done.left} pods were not waited for: {done.text}", left=True)
    if done.left:
        return Outcome(
            waiting(operation, f"{done.left} pods to go: {done.text}", now),
            min(done.pause, world.patience.held),
        )
    return Outcome(passed(operation, done.text, now))


async def _drain(world: World, operation: Operation, api: Patient) -> drain.Round:
    node = await api.node(operation.old.node)
    if node is None:
        return drain.Round(0, f"no Node object {operation.old.node} is there")
    doubt = ownership.doubt(operation, node) if operation.uuid else ""
    if doubt and not operation.order.force:
        return drain.Round(0, f"Node {node.name} is left alone: {doubt}")
    return await drain_once(api, node.name, alive=node.ready == "True", force=operation.order.force)


async def revoke(world: World, operation: Operation) -> Outcome:
    """Take back what earlier boots were given; one that joins at this moment keeps its own to its end."""
    left = await _taken_back(world, operation, spare_running=True)
    return Outcome(passed(operation, leftover(left, "no credential is live"), world.clock()))


async def _taken_back(world: World, operation: Operation, *, spare_running: bool = False) -> int:
    """Revoke for every boot of the machine before the one that joins the new cluster."""
    left = 0
    newest = world.boots.get(operation.boot)
    for boot in boots_of(world, operation):
        running = boot.claimed and boot.ended is None
        if boot.id == operation.boot or (running and spare_running):
            continue
        if newest is not None and boot.started > newest.started:
            continue
        await world.revoke(boot.id)
        left += await world.unrevoked(boot.id)
    return left


async def power(world: World, operation: Operation) -> Outcome:
    """Restart the machine, where there is a way to."""
    now = world.clock()
    if world.power is None:
        return Outcome(passed(operation, "restart the machine: its next boot joins the new cluster", now))
    why = await world.power.cycle(operation.machine)
    return Outcome(passed(operation, f"not restarted: {why}" if why else "restarted", now))


async def boot(world: World, operation: Operation) -> Outcome:
    """Wait until a boot was claimed that belongs to the new cluster."""
    now, found = world.clock(), new_boot(world, operation)
    if found is None:
        return Outcome(waiting(operation, _awaited(world, operation), now), world.patience.look)
    text = f"boot {found.id} belongs to cluster {operation.new.cluster}"
    return Outcome(passed(replace(operation, boot=found.id), text, now))


def _awaited(world: World, operation: Operation) -> str:
    """Why there is no boot into the new cluster yet, and what to do."""
    if (broken := world.broken(operation.machine)) is not None:
        return f"{broken}{_AS_DECLARED}"
    if not operation.reason or operation.reason.endswith(_AS_DECLARED):
        return "waits for the machine's next boot: restart it"
    return operation.reason  # of the boot that stopped


_AS_DECLARED = ": the machine boots as the file declares it. Bring that back, or cancel this operation"


async def ready(world: World, operation: Operation) -> Outcome:
    """Wait until the machine is Ready in the new cluster, and schedulable as far as it is ours to say."""
    now, newest = world.clock(), new_boot(world, operation)
    if newest is not None and newest.id != operation.boot:
        operation = replace(operation, boot=newest.id)
    known = world.boots.get(operation.boot)
    if known is not None and known.state == "stopped" and known.ended is not None:
        text = f"boot {known.id} stopped at {known.stopped_at}: {known.cause}; restart the machine"
        return Outcome(again(operation, "boot", text, now))
    if known is not None and known.state != "joined":
        return Outcome(waiting(operation, f"boot {known.id} is under way", now), world.patience.look)
    target = _cluster(world, operation.new.cluster)
    if target is None or not target.join.has_api:
        return Outcome(passed(operation, f"boot {operation.boot} is through", now))
    try:
        return await _ready(world, operation, Patient(world.clusters.api(target.name)))
    except ClusterError as error:
        text = f"cluster {target.name} does not tell whether Node {operation.new.node} is Ready: {error}"
        return Outcome(waiting(operation, text, now), world.patience.retry)


async def _ready(world: World, operation: Operation, api: Patient) -> Outcome:
    node, now = await api.node(operation.new.node), world.clock()
    if node is None or node.ready != "True":
        state = "not there" if node is None else f"not Ready: {node.ready_message or node.ready}"
        text = f"Node {operation.new.node} is {state}"
        return Outcome(waiting(operation, text, now), world.patience.look)
    text = f"Node {node.name} is Ready in cluster {operation.new.cluster}"
    if not ownership.cordoned_by_us(node):
        return Outcome(passed(operation, text, now))
    try:
        await api.schedule(node, {ownership.CORDONED_BY: None}, on=True)
    except ClusterRefused as error:
        if error.status in CHANGED:
            return Outcome(operation, 0.2)
        return _skip(world, operation, f"{text}, and still cordoned by us: {error}", left=True)
    return Outcome(passed(operation, text, now))


async def delete(world: World, operation: Operation) -> Outcome:
    """Delete the Node object that the machine left behind, if it is certain that it is the machine's."""
    old = _cluster(world, operation.old.cluster)
    if operation.stays:
        return _skip(world, operation, "it is the same Node object")
    if old is None or not old.join.has_api:
        return _skip(world, operation, "the old cluster has no API")
    if not old.node_actions.delete:
        return _skip(world, operation, f"skipped: node_actions.delete of cluster {old.name} is off")
    try:
        return await _delete(world, _with_uuid(world, operation), Patient(world.clusters.api(old.name)))
    except ClusterRefused as error:
        if error.status in CHANGED:
            return Outcome(operation, 0.2)
        text = f"Node {operation.old.node} of cluster {old.name} is left: {error}"
        return _skip(world, operation, text, left=True)
    except ClusterError as error:
        text = f"cluster {old.name} does not answer: {error}"
        kept = f"Node {operation.old.node} of cluster {old.name} is left"
        return _wait_or(world, operation, text, world.patience.delete, kept)


async def _delete(world: World, operation: Operation, api: Patient) -> Outcome:
    node, now = await api.node(operation.old.node), world.clock()
    if node is None:
        return Outcome(passed(operation, f"no Node object {operation.old.node} is left", now))
    if (doubt := ownership.doubt(operation, node)) and not operation.order.force:
        text = f"Node {node.name} of cluster {operation.old.cluster} is left: {doubt}; --force deletes it"
        return _skip(world, operation, text, left=True)
    await api.delete_node(node)
    return Outcome(
        passed(operation, f"Node {node.name} is deleted from cluster {operation.old.cluster}", now)
    )


def _with_uuid(world: World, operation: Operation) -> Operation:
    """Where nothing told the machine's UUID before: what it sent at the boot that joined just now."""
    known = world.boots.get(operation.boot)
    if operation.uuid is not None or known is None or known.system_uuid is None:
        return operation
    return replace(operation, uuid=known.system_uuid, uuid_is="of its last joined boot")


async def finish(world: World, operation: Operation) -> Outcome:
    """Nothing of the old cluster may stay live; a machine that went home needs its assignment no more."""
    left = await _taken_back(world, operation, spare_running=not operation.boot)
    if not operation.stays and (wait := awaits_deletion(world, operation, left)) is not None:
        return wait
    home = operation.machine if operation.order.returns else None
    text = leftover(left, "nothing is left over")
    return Outcome(passed(operation, text, world.clock()), remove=home)


def awaits_deletion(world: World, operation: Operation, left: int) -> Outcome | None:
    """Wait until the credentials are deleted, but not for ever: that goes on by itself. None: go on."""
    now = world.clock()
    if not left or operation.order.force or now - operation.since > world.patience.old:
        return None
    return Outcome(waiting(operation, f"{left} credentials are not deleted yet", now), world.patience.retry)


def leftover(left: int, nothing: str) -> str:
    """What is said of credentials that are live still; `nothing` where there are none."""
    return f"{left} credentials are deleted as soon as the cluster answers" if left else nothing


STEPS: dict[str, Step] = {
    "check": check,
    "assign": assign,
    "cordon": cordon,
    "drain": drain_node,
    "revoke": revoke,
    "power": power,
    "boot": boot,
    "ready": ready,
    "delete": delete,
    "finish": finish,
}


# What the steps share


def boots_of(world: World, operation: Operation) -> list[Boot]:
    """The boots of the machine that are remembered, under each of its names."""
    cards = [boot.node for mac in operation.macs if (boot := world.boots.current(mac))]
    names = dict.fromkeys((operation.old.node, operation.new.node, *cards))
    return list({boot.id: boot for name in names for boot in world.boots.of_machine(name)}.values())


def new_boot(world: World, operation: Operation) -> Boot | None:
    """The newest boot that was claimed under the new assignment."""
    placed = operation.placed
    found = [
        boot
        for boot in boots_of(world, operation)
        if placed is not None
        and (claimed := boot.step("claim")) is not None
        and claimed.at >= placed
        and (boot.cluster, boot.node) == (operation.new.cluster, operation.new.node)
    ]
    return max(found, key=lambda boot: (boot.started, boot.id), default=None)


def _cluster(world: World, name: str) -> Cluster | None:
    return world.inventory().clusters.get(name)


def _skip(world: World, operation: Operation, text: str, *, left: bool = False) -> Outcome:
    return Outcome(passed(lacking(operation, text) if left else operation, text, world.clock()))


def _wait_or(world: World, operation: Operation, reason: str, limit: float, lack: str) -> Outcome:
    """Wait for the old cluster, but neither for ever nor against the operator's `force`."""
    now = world.clock()
    if operation.order.force or now - operation.since > limit:
        return _skip(world, operation, f"{lack}: {reason}", left=True)
    return Outcome(waiting(operation, reason, now), world.patience.retry)
