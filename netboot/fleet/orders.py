"""What an order means for one machine: which it is, where it lives, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netboot.errors import Refused
from netboot.fleet.reassign import Timelines
from netboot.fleet.roster import Roster
from netboot.model.boot import Boot
from netboot.model.inventory import Assignment, Inventory, Node, Pool
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.model.operation import Operation, Order, Side
from netboot.model.placement import Placement


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that is to be assigned."""

    key: str
    """What its lease is held under."""
    macs: tuple[Mac, ...]
    node: Node | None
    """None for one that nobody declared and that was not assigned before."""
    home: str | None
    """The catch-all pool of one that nobody declared."""


def machine_of(which: str, inventory: Inventory, leases: Sequence[Lease], order: Order) -> Machine:
    """The machine of a MAC or a name. Raises Refused."""
    try:
        mac: Mac | None = Mac(which)
    except ValueError:
        mac = None
    node = inventory.by_mac.get(mac) if mac is not None else inventory.by_name.get(which)
    if node is None and mac is None:
        named = next((lease for lease in leases if lease.name == which), None)
        if named is None:
            raise Refused(404, f"there is no machine {which}")
        mac, node = named.mac, inventory.by_mac.get(named.mac)
    if node is not None:
        home = None if node.declared else node.pool
        return Machine(node.holder, node.macs, node, home)
    assert mac is not None
    return Machine(str(mac), (mac,), None, _home(mac, inventory, leases, order).name)


def _home(mac: Mac, inventory: Inventory, leases: Sequence[Lease], order: Order) -> Pool:
    """The catch-all pool that a machine which nobody declared is in, or will be. Raises Refused."""
    catch_all = [pool for pool in inventory.pools.values() if pool.catch_all]
    network = next((lease.network for lease in leases if lease.mac == mac), None)
    if network is None and (wanted := inventory.pools.get(order.pool or "")) is not None:
        network = wanted.network
    found = [pool for pool in catch_all if network in (None, pool.network)]
    if len(found) == 1:
        return found[0]
    if not found:
        where = f"network {network}" if network else "any network"
        raise Refused(
            409,
            f"{mac} is not declared, and {where} has no catch-all pool: declare it in the operator's file",
        )
    raise Refused(
        409, f"nobody declared {mac} and it was never seen: boot it once, so that its network is known"
    )


def placement_of(machine: Machine, order: Order, now: float, operation: str) -> Placement:
    """The assignment that an order asks for."""
    return Placement(
        machine=machine.key,
        macs=machine.macs,
        cluster=order.cluster,
        pool=order.pool,
        name=order.name,
        address=order.address,
        tags=order.tags,
        home=machine.home,
        since=now,
        operation=operation,
    )


def operation_of(
    machine: Machine, order: Order, roster: Roster, boots: Timelines, *, new_id: str, now: float, by: str
) -> Operation:
    """The operation of an order, at its beginning. Raises Refused where the assignment cannot be."""
    placement = placement_of(machine, order, now, new_id)
    after, why = roster.with_(placement)
    if why is not None:
        raise Refused(409, why)
    inventory = roster.inventory()
    old, new = _assigned(inventory, machine), _assigned(after, machine)
    known = _boots_of(machine, old, boots)
    uuid, uuid_is = _uuid(machine, known)
    return Operation(
        id=new_id,
        machine=machine.key,
        macs=machine.macs,
        order=order,
        old=_lives(known, inventory) or _side(old),
        new=_side(new),
        placement=placement,
        former=roster.placement(machine.key),
        by=by,
        uuid=uuid,
        uuid_is=uuid_is,
        since=now,
        started=now,
    )


def _assigned(inventory: Inventory, machine: Machine) -> Assignment:
    found = (inventory.by_mac.get(mac) for mac in machine.macs)
    node = next((node for node in found if node is not None), None) or inventory.by_name.get(machine.key)
    if node is not None:
        return inventory.assign(node)
    assert machine.home is not None
    return inventory.catch(machine.macs[0], inventory.pools[machine.home])


def _side(assignment: Assignment) -> Side:
    return Side(assignment.cluster.name, assignment.pool.name, assignment.name)


def _boots_of(machine: Machine, present: Assignment, boots: Timelines) -> list[Boot]:
    """The boots of the machine, newest first."""
    cards = [boot.node for mac in machine.macs if (boot := boots.current(mac))]
    names = dict.fromkeys((present.name, machine.key, *cards))
    found = {boot.id: boot for name in names for boot in boots.of_machine(name)}
    return sorted(found.values(), key=lambda boot: (boot.started, boot.id), reverse=True)


def _lives(known: Sequence[Boot], inventory: Inventory) -> Side | None:
    """Where its newest claimed boot belongs: there its Node object is, whatever it was assigned since."""
    newest = next((boot for boot in known if boot.claimed), None)
    if newest is None or newest.cluster not in inventory.clusters:
        return None
    return Side(newest.cluster, "", newest.node)


def _uuid(machine: Machine, known: Sequence[Boot]) -> tuple[str | None, str]:
    """R17: the declared one, else what it sent at its last joined boot."""
    if machine.node is not None and machine.node.uuid:
        return machine.node.uuid, "declared"
    joined = next((boot for boot in known if boot.state == "joined" and boot.system_uuid), None)
    return (joined.system_uuid, "of its last joined boot") if joined else (None, "")
