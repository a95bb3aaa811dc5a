"""`admit` and `limits` at the server: who hears nothing, and what an operator is told."""

from __future__ import annotations

from dataclasses import replace

from netboot.dhcp.wire import Kind
from netboot.model.machine import Mac
from netboot.model.manners import Admit, Limits, Rate
from tests.dhcp.world import (
    NODE_MACS,
    OTHER_STRANGER,
    PXE_BIOS,
    STRANGER,
    SYSTEM,
    World,
    discover,
    inventory,
    message,
    network,
    packed,
)


def world(admit: Admit | None = None, limits: Limits | None = None) -> World:
    """A server whose one network has these manners."""
    return World(inventory([replace(network(), admit=admit, limits=limits)]))


def card(i: int) -> Mac:
    """A machine that nobody declared."""
    return Mac.from_bytes(b"\x02\x99" + i.to_bytes(4, "big"))


async def test_who_is_not_admitted_hears_nothing() -> None:
    """No message of it is answered, it takes no address, and one event says why; declared or not."""
    shut = world(Admit(macs=frozenset({STRANGER})))
    for mac in (OTHER_STRANGER, NODE_MACS[0]):
        for kind in (Kind.DISCOVER, Kind.REQUEST, Kind.INFORM):
            assert await shut.say(message(mac, kind, {**PXE_BIOS, 50: packed("10.77.0.20")})) is None
    first, second = shut.reported("dhcp_not_admitted")
    assert str(NODE_MACS[0]) in first and "it is not in admit.macs" in first and "m1" in first
    assert str(OTHER_STRANGER) in second
    assert not shut.boots.all(), "it opens no boot either"
    assert await shut.get_address(STRANGER, options=SYSTEM)


async def test_a_machine_let_in_as_firmware_goes_on_as_a_system() -> None:
    """Its running system says another class; while it holds its lease it is renewed."""
    shut = world(Admit(vendors=("PXEClient",)))
    assert await shut.say(discover(STRANGER, SYSTEM)) is None
    ack = await shut.get_address(STRANGER, options=PXE_BIOS)
    assert (await shut.get_address(STRANGER, options=SYSTEM)).yiaddr == ack.yiaddr
    shut.now += 13 * 3600
    assert await shut.say(discover(STRANGER, SYSTEM)) is None


async def test_one_loud_client_is_answered_at_its_rate() -> None:
    """The rest of what it sends is dropped and told; others are answered."""
    limited = world(limits=Limits(per_client=Rate(5, 1.0)))
    answers = [await limited.say(discover(STRANGER, xid=i)) for i in range(20)]
    assert sum(a is not None for a in answers) == 5
    assert limited.journal.counters["dhcp_client_limited"] == 15
    assert await limited.say(discover(OTHER_STRANGER)) is not None


async def test_new_macs_are_limited_and_nobody_else() -> None:
    """A flood of invented MACs leaves declared machines and those with a lease alone."""
    limited = world(limits=Limits(new_macs=Rate(10, 1.0)))
    await limited.get_address(STRANGER, options=SYSTEM)
    limited.now += 1
    answers = [await limited.say(discover(card(i))) for i in range(1000)]
    assert sum(a is not None for a in answers) == 10
    (text,) = limited.reported("dhcp_new_macs_limited")
    assert "limits.new_macs" in text
    assert await limited.get_address(NODE_MACS[0], options=PXE_BIOS)
    limited.now += 100
    for i in range(20):
        await limited.say(discover(card(2000 + i)))
    assert await limited.get_address(STRANGER, options=SYSTEM), "its lease lives"


async def test_a_reload_changes_the_limits() -> None:
    """The next datagram is judged by the new ones."""
    limited = world(limits=Limits(per_client=Rate(1, 60.0)))
    assert await limited.say(discover(STRANGER)) is not None
    assert await limited.say(discover(STRANGER)) is None
    limited.inventory = inventory([network()])
    assert await limited.say(discover(STRANGER)) is not None
