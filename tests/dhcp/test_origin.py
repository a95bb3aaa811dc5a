"""Whether a program without rights may have sent a message in its machine's firmware's name."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netboot.dhcp.origin import Origin, forgeable
from netboot.dhcp.wire import Kind, Packet
from netboot.model.boot import Boot
from tests.dhcp.test_identity import RELAY, UUID_TEXT, stock
from tests.dhcp.world import (
    EVERYBODY,
    IPXE,
    NODE_ADDRESS,
    NODE_MACS,
    PXE_X64,
    SERVER,
    SYSTEM,
    World,
    discover,
    message,
)

NODE = str(NODE_ADDRESS)
PROCESS = Origin(NODE, 40000)
LOUD_PROCESS = Origin(NODE, 40000, to_all=True)
CONTAINER = Origin(NODE, 68)
CONTAINER_AS_RELAY = Origin(NODE, 67)
GIADDR = IPv4Address("10.77.0.9")
LISTED = {IPv4Address("10.9.0.1")}


@pytest.mark.parametrize(
    ("origin", "giaddr", "leased", "why"),
    [
        (EVERYBODY, None, False, ""),
        (Origin(NODE, 68, to_all=True), None, False, ""),
        (Origin("10.77.0.9", 67), GIADDR, False, ""),
        (Origin("10.9.0.1", 40000), GIADDR, False, ""),
        (Origin("10.9.0.1", 67), GIADDR, True, ""),
        (Origin("10.9.0.1", 40000), None, False, "UDP port 40000"),
        (PROCESS, None, False, "UDP port 40000"),
        (LOUD_PROCESS, None, False, "UDP port 40000"),
        (CONTAINER, None, False, "to our address alone"),
        (PROCESS, GIADDR, True, "UDP port 40000"),
        (Origin("10.77.0.9", 1024), GIADDR, False, "UDP port 1024"),
        (CONTAINER_AS_RELAY, GIADDR, True, "a machine's address and no listed relay agent's"),
    ],
)
def test_what_firmware_or_a_relay_agent_alone_can_send_is_no_forgery(
    origin: Origin, giaddr: IPv4Address | None, leased: bool, why: str
) -> None:
    """By broadcast from BOOTP's port, or by a relay agent from it; a listed relay agent from any port."""
    said = forgeable(origin, giaddr, LISTED, leased=leased)
    assert why in said and bool(said) is bool(why)


def boot_of(world: World) -> Boot:
    """The newest boot of m1."""
    found = world.boots.of_node("m1")
    assert found is not None
    return found


def taking(**fields: object) -> Packet:
    """iPXE's REQUEST for the node's address."""
    chosen = {50: NODE_ADDRESS.packed, 54: SERVER.packed}
    return message(NODE_MACS[0], Kind.REQUEST, {**IPXE, **chosen}, **fields)  # type: ignore[arg-type]


FORGED = [
    (PROCESS, "0.0.0.0"),
    (LOUD_PROCESS, "0.0.0.0"),
    (CONTAINER, "0.0.0.0"),
    (PROCESS, "10.77.0.9"),
    (CONTAINER_AS_RELAY, "10.77.0.9"),
    (CONTAINER_AS_RELAY, NODE),
]


@pytest.mark.parametrize(("origin", "giaddr"), FORGED)
async def test_a_forged_discover_follows_no_claimed_boot(origin: Origin, giaddr: str) -> None:
    """The running node's boot stays the newest one; who forged gets an address and is reported."""
    world = World()
    opened: list[Boot] = []
    await world.get_address(NODE_MACS[0], options=PXE_X64)
    boot = boot_of(world)
    world.boots.claimed(boot.id)
    world.boots.joined(boot.id)
    world.server.on_boot.append(opened.append)
    offer = await world.say(discover(NODE_MACS[0], IPXE, giaddr=giaddr), origin=origin)
    ack = await world.say(taking(giaddr=giaddr), origin=origin)
    assert offer and ack and ack.kind is Kind.ACK and ack.yiaddr == int(NODE_ADDRESS)
    assert boot_of(world).id == boot.id and not opened
    (text,) = world.reported("dhcp_identity_doubted")
    assert NODE in text and text.endswith("it gets an address and no secret")


@pytest.mark.parametrize(("origin", "giaddr"), FORGED)
async def test_a_boot_that_a_forged_message_opens_is_doubted(origin: Origin, giaddr: str) -> None:
    """DISCOVER, or a REQUEST without any boot; the REQUEST that follows takes no doubt away."""
    for first in (discover(NODE_MACS[0], IPXE, giaddr=giaddr), taking(giaddr=giaddr)):
        world = World()
        await world.get_address(NODE_MACS[0], options=SYSTEM)
        await world.say(first, origin=origin)
        await world.say(taking(giaddr=giaddr), origin=origin)
        assert f"was sent by {NODE}" in boot_of(world).doubt


async def test_the_machines_own_firmware_takes_the_doubt_away() -> None:
    """A forged DISCOVER right before a machine starts does not keep it from booting."""
    world = World()
    await world.get_address(NODE_MACS[0], options=SYSTEM)
    await world.say(discover(NODE_MACS[0], IPXE), origin=PROCESS)
    doubted = boot_of(world)
    await world.get_address(NODE_MACS[0], options=PXE_X64)
    assert (boot_of(world).id, boot_of(world).doubt) == (doubted.id, "")


async def test_a_forged_message_changes_nothing_of_a_boot_under_way() -> None:
    """Neither is an honest boot doubted for it, nor a doubted one believed."""
    world = World()
    await world.get_address(NODE_MACS[0], options=PXE_X64)
    await world.say(discover(NODE_MACS[0], IPXE), origin=PROCESS)
    assert boot_of(world).doubt == ""
    world = World(stock(uuid=UUID_TEXT))
    await world.say(discover(NODE_MACS[0], {**PXE_X64, 97: b"\0" + bytes(range(16))}))
    await world.say(discover(NODE_MACS[0], PXE_X64), origin=PROCESS)
    assert "UUID" in boot_of(world).doubt


async def test_a_running_systems_own_renewals_are_no_forgery() -> None:
    """They go to the server alone and open no boot; nor does an INFORM from any port."""
    world = World()
    await world.get_address(NODE_MACS[0], options=PXE_X64)
    for speaker, origin in ((SYSTEM, Origin(NODE, 68)), (PXE_X64, PROCESS)):
        for kind in (Kind.REQUEST, Kind.INFORM):
            ack = await world.say(message(NODE_MACS[0], kind, speaker, ciaddr=NODE), origin=origin)
            assert ack and ack.kind is Kind.ACK
    assert not world.reported("dhcp_identity_doubted") and boot_of(world).doubt == ""


async def test_a_relay_agent_with_a_lease_of_ours_is_believed_where_it_is_listed() -> None:
    """What is forgeable by its address is not where the operator names it."""
    world = World(stock())
    await world.say(discover(NODE_MACS[0], PXE_X64, giaddr=RELAY), origin=Origin(RELAY, 40000))
    assert boot_of(world).doubt == "" and not world.reported("dhcp_identity_doubted")
