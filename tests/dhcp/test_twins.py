"""One MAC at two places at once is told apart; what two relays hand on, and a machine that moved, is not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from netboot.dhcp.places import AT_ONCE
from netboot.dhcp.wire import Kind
from netboot.model.inventory import Inventory, Pool
from netboot.model.machine import Mac
from tests.dhcp.rfc import NODE, Site, request
from tests.dhcp.world import NODE_ADDRESS, PXE_X64, STRANGER, discover, inventory, message, network


def relayed(mac: str, giaddr: str, xid: int) -> bytes:
    """A DISCOVER through a relay agent."""
    return request(mac, "discover", giaddr=giaddr, xid=xid)


async def test_a_cloned_mac_at_another_relay_gets_nothing_while_the_first_lives() -> None:
    """Never the same address to both; one event names both places."""
    for mac in (NODE, STRANGER):
        world = Site()
        first = await world.lease(mac, giaddr="10.77.0.5", xid=1)
        world.now += 20
        assert await world.hear(relayed(mac, "10.77.0.6", 2)) is None
        (text,) = world.reported("dhcp_mac_twice")
        assert mac in text and "10.77.0.5" in text and "10.77.0.6" in text
        again = await world.answer(relayed(mac, "10.77.0.5", 3))
        assert again.address("yiaddr") == first.address("yiaddr")


async def test_a_cloned_mac_on_another_interface_gets_nothing_while_the_first_lives() -> None:
    """The place is the interface, too."""
    world = Site(both_links())
    await world.lease(STRANGER, xid=1)
    world.port.name = "eth2"
    firmware = message(STRANGER, Kind.DISCOVER, PXE_X64, xid=2)
    assert await world.say(firmware) is None
    assert "eth1" in world.reported("dhcp_mac_twice")[0] and "eth2" in world.reported("dhcp_mac_twice")[0]
    boot = world.boots.of_node(f"node-{STRANGER.digits}")
    assert boot is None, "no boot of the other machine's name is opened or taken over"


def both_links() -> Inventory:
    """Two networks on two interfaces, both with a catch-all pool."""
    second = network(
        name="two", subnet="10.78.0.0/24", first="10.78.0.100", last="10.78.0.199", interface="eth2"
    )
    stock = inventory([network(), replace(second, address=IPv4Address("10.78.0.1"))])
    return replace(stock, pools={**stock.pools, "two": Pool("two", "blue", "two", catch_all=True)})


async def test_a_system_may_speak_in_several_networks_with_one_mac() -> None:
    """VLANs on one card: an address in each."""
    world = Site(both_links())
    first = await world.lease(STRANGER, xid=1)
    world.port.name = "eth2"
    second = await world.lease(STRANGER, xid=2)
    assert first.address("yiaddr").startswith("10.77.") and second.address("yiaddr").startswith("10.78.")
    assert world.reported("dhcp_mac_twice") == []


async def test_two_relays_that_hand_on_one_broadcast_are_both_answered() -> None:
    """In each boot stage, whichever comes first; with one address, without an event."""
    world = Site()
    got = set()
    for xid, order in (
        (1, ("10.77.0.5", "10.77.0.6")),
        (2, ("10.77.0.6", "10.77.0.5")),
        (3, ("10.77.0.5", "10.77.0.6")),
    ):
        for relay in order:
            got.add((await world.answer(relayed(NODE, relay, xid))).address("yiaddr"))
        for relay in order:
            chosen = (("requested_addr", str(NODE_ADDRESS)), ("server_id", "10.77.0.1"))
            ack = await world.answer(request(NODE, "request", *chosen, giaddr=relay, xid=xid))
            assert ack.kind == 5
        world.now += 5
    assert got == {str(NODE_ADDRESS)} and world.reported("dhcp_mac_twice") == []


async def test_a_broadcast_that_comes_directly_and_through_a_relay_is_one() -> None:
    """A relay agent on our own link."""
    world = Site()
    for xid in (1, 2):
        assert (await world.answer(request(NODE, "discover", xid=xid))).kind == 2
        assert (await world.answer(relayed(NODE, "10.77.0.5", xid))).kind == 2
    assert world.reported("dhcp_mac_twice") == []


async def test_a_machine_that_was_moved_is_believed_after_a_minute() -> None:
    """It keeps its address."""
    world = Site()
    first = await world.lease(STRANGER, giaddr="10.77.0.5", xid=1)
    world.now += AT_ONCE
    second = await world.lease(STRANGER, giaddr="10.77.0.6", xid=2)
    assert first.address("yiaddr") == second.address("yiaddr")


async def test_a_renewal_past_the_relay_is_no_other_place() -> None:
    """It arrives without the relay agent."""
    world = Site()
    own = (await world.lease(STRANGER, giaddr="10.77.0.5", xid=1)).address("yiaddr")
    for xid in (2, 3):
        world.now += 10
        assert (await world.answer(request(STRANGER, "request", ciaddr=own, xid=xid), source=own)).kind == 5
    assert world.reported("dhcp_mac_twice") == []


async def test_on_a_full_disk_a_declared_machine_is_answered_at_two_places() -> None:
    """Nothing is known of where it lives, so that nothing is held against it."""
    world = Site()
    world.store.broken = True
    assert await world.say(discover(Mac(NODE), giaddr="10.77.0.5", xid=1)) is not None
    assert await world.say(discover(Mac(NODE), giaddr="10.77.0.6", xid=2)) is not None
