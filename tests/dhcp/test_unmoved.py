"""A running system keeps name and address over an assignment, until it boots again."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from netboot.dhcp.wire import Kind, Packet
from netboot.model.overlay import overlaid
from netboot.model.placement import Placement
from tests.dhcp.world import NODE_ADDRESS, NODE_MACS, PXE_X64, STRANGER, SYSTEM, World, message

CARD = NODE_MACS[0]
NEW = IPv4Address("10.77.0.90")


def renewing(mac: str, address: IPv4Address) -> Packet:
    """The REQUEST of a running system at half of its lease."""
    return message(CARD if mac == CARD else STRANGER, Kind.REQUEST, SYSTEM, ciaddr=str(address))


def assign(world: World, placement: Placement) -> None:
    """At this moment, later than the boot."""
    world.now += 60
    world.inventory = overlaid(world.inventory, [replace(placement, since=world.now)]).inventory
    world.now += 60


async def test_a_declared_machine_keeps_its_name_and_address_while_it_runs() -> None:
    """Its renewal is granted; the next boot has the new ones, in firmware and in the system."""
    world = World()
    await world.get_address(CARD, options=PXE_X64)
    assign(world, Placement("m1", NODE_MACS, cluster="blue", name="m9", address=NEW))
    for _ in range(2):
        ack = await world.say(renewing(CARD, NODE_ADDRESS))
        assert ack is not None and ack.kind is Kind.ACK and ack.options[12] == b"m1"
        assert ack.yiaddr == int(NODE_ADDRESS)
    world.now += 700
    ack = await world.get_address(CARD, options=PXE_X64)
    assert (ack.options[12], ack.yiaddr) == (b"m9", int(NEW))
    ack = await world.get_address(CARD, options=SYSTEM)
    assert (ack.options[12], ack.yiaddr) == (b"m9", int(NEW))
    lease = await world.store.lease_of("m1", "lab")
    assert lease is not None and (lease.name, lease.address) == ("m9", NEW)


async def test_a_machine_that_nobody_declared_keeps_its_own_too() -> None:
    """Its lease stays filed under its MAC; the boot after that it is the node that it was made."""
    world = World()
    given = IPv4Address((await world.get_address(STRANGER, options=PXE_X64)).yiaddr)
    placed = Placement(str(STRANGER), (STRANGER,), cluster="blue", name="n7", address=NEW, home="unknown")
    assign(world, placed)
    ack = await world.say(renewing(STRANGER, given))
    assert ack is not None and ack.kind is Kind.ACK
    assert ack.options[12] == b"node-" + STRANGER.digits.encode() and ack.yiaddr == int(given)
    world.now += 700
    ack = await world.get_address(STRANGER, options=PXE_X64)
    assert (ack.options[12], ack.yiaddr) == (b"n7", int(NEW))
    lease = await world.store.lease_of(str(STRANGER), "lab")
    assert lease is not None and lease.address == NEW


async def test_a_machine_on_its_way_home_keeps_what_it_was_assigned_while_it_runs() -> None:
    """Until its next boot."""
    world, declared = World(), World().inventory
    away = Placement("m1", NODE_MACS, cluster="blue", name="m9", address=NEW, since=world.now)
    world.inventory = overlaid(declared, [away]).inventory
    world.now += 1
    assert (await world.get_address(CARD, options=PXE_X64)).options[12] == b"m9"
    world.now += 60
    world.inventory = overlaid(declared, [Placement("m1", NODE_MACS, since=world.now)]).inventory
    ack = await world.say(renewing(CARD, NEW))
    assert ack is not None and (ack.kind, ack.options[12]) == (Kind.ACK, b"m9")
    world.now += 700
    ack = await world.get_address(CARD, options=PXE_X64)
    assert (ack.options[12], ack.yiaddr) == (b"m1", int(NODE_ADDRESS))
