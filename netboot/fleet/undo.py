"""The way back of a reassignment that cannot go on, or that an operator cancelled."""

from __future__ import annotations

from dataclasses import replace

from netboot.errors import ClusterError, ClusterRefused
from netboot.fleet import ownership
from netboot.fleet.patient import Patient
from netboot.fleet.reassign import (
    CHANGED,
    Outcome,
    Step,
    World,
    awaits_deletion,
    boots_of,
    leftover,
    new_boot,
)
from netboot.model.operation import Operation, again, lacking, passed, waiting


async def withdraw(world: World, operation: Operation) -> Outcome:
    """The former assignment again, or what the file declares."""
    now = world.clock()
    if (late := new_boot(world, operation)) is not None:
        text = f"too late to roll back: boot {late.id} belongs to cluster {operation.new.cluster}"
        return Outcome(again(replace(operation, state="running"), "boot", text, now))
    if operation.placed is None:
        return Outcome(passed(operation, "no assignment was in force", now))
    if operation.former is not None:
        text = f"assigned to {operation.former.target} again"
        return Outcome(passed(operation, text, now), place=operation.former)
    return Outcome(passed(operation, "as the file declares it", now), remove=operation.machine)


async def uncordon(world: World, operation: Operation) -> Outcome:
    """Schedulable again, where it was this operation that cordoned it."""
    now, old = world.clock(), world.inventory().clusters.get(operation.old.cluster)
    if old is None or not old.join.has_api or not old.node_actions.cordon:
        if operation.cordoned:
            why = f"not uncordoned: node_actions.cordon of cluster {operation.old.cluster} is not on any more"
            return Outcome(passed(_still(operation), why, now))
        return Outcome(passed(operation, "nothing was cordoned", now))
    try:
        text = await _uncordon(operation, Patient(world.clusters.api(old.name)))
    except ClusterRefused as error:
        if error.status in CHANGED:
            return Outcome(operation, 0.2)
        return Outcome(passed(_still(operation), f"not uncordoned: {error}", now))
    except ClusterError as error:
        if now - operation.since > world.patience.old or operation.order.force:
            return Outcome(passed(_still(operation), f"not uncordoned: {error}", now))
        text = f"cluster {old.name} does not answer: {error}"
        return Outcome(waiting(operation, text, now), world.patience.retry)
    return Outcome(passed(operation, text, now))


async def _uncordon(operation: Operation, api: Patient) -> str:
    node = await api.node(operation.old.node)
    if node is None or not ownership.cordoned_by_us(node, operation):
        return "nothing was cordoned"
    await api.schedule(node, {ownership.CORDONED_BY: None}, on=True)
    return f"Node {node.name} is schedulable again"


def _still(operation: Operation) -> Operation:
    what = f"Node {operation.old.node} of cluster {operation.old.cluster} may still be cordoned"
    return lacking(operation, what)


async def revoke_back(world: World, operation: Operation) -> Outcome:
    """Take back what boots were given for the cluster that the machine does not go to."""
    left = 0
    for boot in boots_of(world, operation):
        if boot.cluster == operation.new.cluster != operation.old.cluster:
            await world.revoke(boot.id)
            left += await world.unrevoked(boot.id)
    if (wait := awaits_deletion(world, operation, left)) is not None:
        return wait
    return Outcome(passed(operation, leftover(left, "nothing is left over"), world.clock()))


BACK: dict[str, Step] = {"withdraw": withdraw, "uncordon": uncordon, "revoke back": revoke_back}
