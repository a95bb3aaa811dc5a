"""What a machine's boot shows of its DHCP, and which requests open one."""

from __future__ import annotations

import pytest

from netboot.boot.stall import DISK
from netboot.model.boot import Boot
from netboot.model.machine import Mac
from tests.dhcp.test_identity import OTHER_RELAY, RELAY, SWAPPED, UUID_TEXT, WIRE, agent, stock
from tests.dhcp.world import (
    IPXE,
    NODE_ADDRESS,
    NODE_MACS,
    PXE_X64,
    STRANGER,
    SYSTEM,
    World,
    discover,
    selecting,
)


async def test_a_boot_shows_the_disk_that_its_lease_could_not_be_written_to() -> None:
    """At its ack where it was acknowledged all the same, else at its offer; and only until it is written."""
    world = World()
    offers = {mac: await world.say(discover(mac, PXE_X64)) for mac in (STRANGER, NODE_MACS[0])}
    world.store.full = True
    for mac, offer in offers.items():
        assert offer
        await world.say(selecting(mac, offer, PXE_X64))
    assert DISK in detail(world, STRANGER, "offer") and DISK in detail(world, NODE_MACS[0], "ack")
    world.store.full = False
    for mac in offers:
        await world.get_address(mac, options=PXE_X64)
        assert DISK not in detail(world, mac, "offer") + detail(world, mac, "ack")


def detail(world: World, mac: Mac, step: str) -> str:
    """What a step of a machine's newest boot says."""
    boot = world.boots.current(mac)
    found = boot.step(step) if boot else None
    return found.detail if found else ""


async def test_firmware_opens_a_boot_and_a_system_does_not() -> None:
    """discover, offer and ack stand in the boot, whose id is committed with the lease."""
    world = World()
    seen: list[Boot] = []
    world.server.on_boot.append(seen.append)
    await world.get_address(NODE_MACS[0], options=SYSTEM)
    assert world.boots.of_node("m1") is None and seen == []
    await world.get_address(NODE_MACS[0], options=PXE_X64)
    await world.get_address(NODE_MACS[0], options=IPXE)
    boot = world.boots.of_node("m1")
    assert boot is not None and [b.id for b in seen] == [boot.id]
    assert [step.step for step in boot.steps] == ["discover", "offer", "ack"]
    assert boot.address == NODE_ADDRESS and boot.steps[2].detail == "10.77.0.20 http://10.77.0.1/boot.ipxe"
    (lease,) = await world.store.leases()
    assert lease.boot_id == boot.id


async def test_a_claimed_boot_is_followed_by_a_new_one() -> None:
    """The next DISCOVER of firmware opens it; the system's own requests keep the old one's id."""
    world = World()
    await world.get_address(NODE_MACS[0], options=PXE_X64)
    first = world.boots.of_node("m1")
    assert first is not None
    world.boots.claimed(first.id)
    await world.get_address(NODE_MACS[0], options=SYSTEM)
    assert (await world.store.leases())[0].boot_id == first.id
    await world.get_address(NODE_MACS[0], options=PXE_X64)
    second = world.boots.of_node("m1")
    assert second is not None and second.id != first.id
    assert (await world.store.leases())[0].boot_id == second.id


async def test_a_request_after_our_restart_still_has_a_boot() -> None:
    """Its DISCOVER's boot was not yet written: the REQUEST opens one, so that its script finds it."""
    world = World()
    offer = await world.say(discover(NODE_MACS[0], PXE_X64))
    world.restart()
    assert offer is not None
    await world.say(selecting(NODE_MACS[0], offer, PXE_X64))
    boot = world.boots.of_node("m1")
    assert boot is not None and (await world.store.leases())[0].boot_id == boot.id


PLACE = {"circuit_id": b"eth1/7"}


@pytest.mark.parametrize(
    ("declared", "said", "giaddr", "doubt"),
    [
        ({"uuid": UUID_TEXT}, {97: WIRE}, None, ""),
        ({"uuid": UUID_TEXT}, {97: SWAPPED}, None, ""),
        ({"uuid": UUID_TEXT}, {}, None, ""),
        ({"uuid": UUID_TEXT}, {97: b"\0" + bytes(range(16))}, None, "its firmware's UUID is 00010203-"),
        (PLACE, {82: agent(b"eth1/7")}, RELAY, ""),
        (PLACE, {82: agent(b"eth1/8")}, RELAY, "circuit id is 657468312f38"),
        (PLACE, {}, RELAY, "circuit id is none"),
        (PLACE, {82: agent(b"eth1/7")}, OTHER_RELAY, "past the listed relay agents"),
        (PLACE, {}, None, "past the listed relay agents"),
        ({"remote_id": b"sw1"}, {82: agent(b"eth1/7", b"sw2")}, RELAY, "remote id is 737732"),
    ],
)
async def test_a_boot_tells_what_does_not_fit_its_node(
    declared: dict[str, object], said: dict[int, bytes], giaddr: str | None, doubt: str
) -> None:
    """By its MAC it is the node and gets its address; what else was declared decides about secrets."""
    world = World(stock(**declared))
    ack = await world.get_address(NODE_MACS[0], options={**PXE_X64, **said}, giaddr=giaddr or "0.0.0.0")
    boot = world.boots.of_node("m1")
    assert ack.yiaddr == int(NODE_ADDRESS) and boot is not None
    assert doubt in boot.doubt and bool(boot.doubt) is bool(doubt)
    assert bool(world.reported("dhcp_identity_doubted")) is bool(doubt)


async def test_a_client_identifier_raises_no_doubt() -> None:
    """Firmware, boot loaders and systems each send their own."""
    world = World(stock(client_id=b"\xff\0\0\0\1abc"))
    await world.get_address(NODE_MACS[0], options={**PXE_X64, 61: b"\0other"})
    boot = world.boots.of_node("m1")
    assert boot is not None and boot.doubt == ""


async def test_what_a_machine_says_last_counts() -> None:
    """A doubtful DISCOVER that somebody sends meanwhile holds up nobody's boot for good."""
    world = World(stock(uuid=UUID_TEXT))
    await world.say(discover(NODE_MACS[0], {**PXE_X64, 97: b"\0" + bytes(range(16))}))
    await world.get_address(NODE_MACS[0], options={**PXE_X64, 97: WIRE})
    boot = world.boots.of_node("m1")
    assert boot is not None and boot.doubt == ""
