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

MACHINES = "`netboot node list` (GET /api/v1/nodes) tells which machines there are"
CHOICES = (
    "`netboot cluster list`, `pool list` and `node list` tell what there is and who has what; tags stand in "
    "the operator's file"
)


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
    mac = mac_of(which)
    node = inventory.by_mac.get(mac) if mac is not None else inventory.by_name.get(which)
    if node is None and mac is None:
        named = next((lease for lease in leases if lease.name == which), None)
        if named is None:
            raise Refused(404, f"there is no machine {which}", MACHINES)
        mac, node = named.mac, inventory.by_mac.get(named.mac)
    if node is not None:
        home = None if node.declared else node.pool
        return Machine(node.holder, node.macs, node, home)
    assert mac is not None
    return Machine(str(mac), (mac,), None, _home(mac, inventory, leases, order).name)


def mac_of(which: str) -> Mac | None:
    """The MAC address that a machine is named by, None for any other name. Raises Refused."""
    try:
        mac = Mac(which)
    except ValueError:
        return None
    if not mac.of_a_card:
        raise Refused(400, f"{mac} is no machine's own MAC address", "Write the one of its network card")
    return mac


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
            f"{mac} is not declared, and {where} has no catch-all pool",
            "Declare the machine, or a catch-all pool, in the operator's file",
        )
    raise Refused(
        409,
        f"nobody declared {mac} and it was never seen, so that its network is not known",
        "Boot it once, or assign it to a pool",
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


def check_unused(machine: Machine, order: Order, leases: Sequence[Lease], now: float) -> None:
    """A name or an address that another machine has at this moment is not taken away. Raises Refused."""
    for lease in leases:
        if lease.mac in machine.macs or lease.holder == machine.key or not lease.live(now):
            continue
        remedy = f"Choose another one, or wait until {lease.mac} has given it back"
        if lease.address == order.address:
            raise Refused(409, f"{lease.address} is leased to {lease.name} ({lease.mac})", remedy)
        if lease.name == order.name:
            raise Refused(409, f"{lease.mac} runs under the name {lease.name}", remedy)


def operation_of(
    machine: Machine, order: Order, roster: Roster, boots: Timelines, *, new_id: str, now: float, by: str
) -> Operation:
    """The operation of an order, at its beginning. Raises Refused where the assignment cannot be."""
    placement = placement_of(machine, order, now, new_id)
    after, why = roster.with_(placement)
    if why is not None:
        raise Refused(409, why, CHOICES)
    inventory = roster.inventory()
    present, wanted = _assigned(inventory, machine), _assigned(after, machine)
    known = _boots_of(machine, present, boots)
    uuid, uuid_is = _uuid(machine, known)
    lives, new = _lives(known, inventory), _side(wanted)
    return Operation(
        id=new_id,
        machine=machine.key,
        macs=machine.macs,
        order=order,
        old=lives or _side(present),
        new=new,
        settled=lives is not None and lives.at(new) and _same(present, wanted),
        placement=placement,
        former=roster.placement(machine.key),
        by=by,
        uuid=uuid,
        uuid_is=uuid_is,
        since=now,
        started=now,
    )


def parting(
    placement: Placement, order: Order, inventory: Inventory, *, new_id: str, now: float, by: str
) -> Operation:
    """The end of a broken assignment: its machine, if it is still there, is treated as declared already."""
    machine = Machine(placement.machine, placement.macs, None, placement.home)
    there = _node_of(inventory, machine) is not None or placement.home in inventory.pools
    side = Side(placement.cluster or "", placement.pool or "", placement.name or placement.machine)
    present = _side(_assigned(inventory, machine)) if there else side
    return Operation(
        id=new_id,
        machine=machine.key,
        macs=machine.macs,
        order=order,
        old=present,
        new=present,
        placement=placement_of(machine, order, now, new_id),
        former=placement,
        by=by,
        step="finish",
        since=now,
        started=now,
    )


def _assigned(inventory: Inventory, machine: Machine) -> Assignment:
    node = _node_of(inventory, machine)
    if node is not None:
        return inventory.assign(node)
    assert machine.home is not None
    return inventory.catch(machine.macs[0], inventory.pools[machine.home])


def _node_of(inventory: Inventory, machine: Machine) -> Node | None:
    found = (inventory.by_mac.get(mac) for mac in machine.macs)
    return next((node for node in found if node is not None), None) or inventory.by_name.get(machine.key)


def _same(present: Assignment, wanted: Assignment) -> bool:
    """Whether a machine would boot into just what it is."""
    pairs = (
        (a.cluster.name, a.pool.name, a.name, a.address, a.image, a.settings, a.options)
        for a in (present, wanted)
    )
    return next(pairs) == next(pairs)


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
