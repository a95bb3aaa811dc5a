"""The inventory that is in force counts, and a bad option of it costs that option alone."""

from __future__ import annotations

from netboot.dhcp.wire import Kind
from netboot.model.inventory import Node
from tests.dhcp.world import (
    NODE_ADDRESS,
    NODE_MACS,
    World,
    address,
    inventory,
    message,
    network,
)


async def test_a_reload_counts_from_the_next_datagram_on() -> None:
    """A changed inventory gives new options and moves the node's address."""
    world = World()
    await world.get_address(NODE_MACS[0])
    moved = Node("m1", "lab", NODE_MACS, address("10.77.0.21"))
    world.inventory = inventory([network(options={26: 9000})], nodes=[moved])
    renewal = message(NODE_MACS[0], Kind.REQUEST, {55: bytes([26])}, ciaddr=str(NODE_ADDRESS))
    reply = await world.say(renewal, source=str(NODE_ADDRESS))
    assert reply is not None and reply.kind is Kind.NAK
    ack = await world.get_address(NODE_MACS[0], options={55: bytes([26])})
    assert (ack.yiaddr, ack.options[26]) == (int(address("10.77.0.21")), b"\x23\x28")
    (lease,) = await world.store.leases()
    assert lease.address == address("10.77.0.21")


async def test_a_bad_option_costs_that_option_alone() -> None:
    """A value that is no option's is reported, and the node boots."""
    world = World(inventory(node_options={26: "not a number"}))
    ack = await world.get_address(NODE_MACS[0])
    assert 26 not in ack.options and "mtu-interface" in world.reported("dhcp_bad_option")[0]
