"""Who a machine is: by MAC, UUID, client identifier or relay agent; two machines that say they are one."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from ipaddress import IPv4Address
from uuid import UUID

import pytest

from netboot.dhcp.identity import Cards, is_second
from netboot.dhcp.wire import Kind, Packet
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory, Node
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from tests.dhcp.test_engine import profile
from tests.dhcp.world import (
    IPXE,
    NODE_ADDRESS,
    NODE_MACS,
    OTHER_STRANGER,
    PXE_X64,
    SERVER,
    START,
    STRANGER,
    SYSTEM,
    World,
    address,
    discover,
    inventory,
    message,
    network,
    packed,
    selecting,
)

UUID_TEXT = "4c4c4544-0042-3510-8054-b4c04f564232"
WIRE = b"\0" + UUID(UUID_TEXT).bytes
SWAPPED = b"\0" + UUID(UUID_TEXT).bytes_le
NEW_CARD = Mac("52:54:00:77:00:99")
CLONE = Mac("52:54:00:77:00:98")
RELAY, OTHER_RELAY = "10.77.0.5", "10.77.0.6"
FIRMWARE = {**PXE_X64, 97: WIRE}


def stock(
    *, relays: tuple[str, ...] = (RELAY,), place: IPv4Address | None = NODE_ADDRESS, **further: object
) -> Inventory:
    """One node with two cards and further identities; a catch-all pool takes the others."""
    node = Node("m1", "lab", NODE_MACS, place, **further)  # type: ignore[arg-type]
    here = replace(network(), relays=tuple(map(IPv4Address, relays)))
    return inventory([here], nodes=[node])


def by_uuid() -> World:
    """A world whose node is known by its UUID, too."""
    return World(stock(uuid=UUID_TEXT))


def agent(circuit: bytes = b"", remote: bytes = b"") -> bytes:
    """Option 82."""
    parts = [bytes([code, len(raw)]) + raw for code, raw in ((1, circuit), (2, remote)) if raw]
    return b"".join(parts)


def given(ack: Packet | None) -> str:
    """The address of an answer; empty for silence."""
    return str(IPv4Address(ack.yiaddr)) if ack else ""


@pytest.mark.parametrize("raw", [WIRE, SWAPPED], ids=["as in the Node object", "as on SMBIOS' wire"])
async def test_a_card_that_nobody_listed_is_its_node_by_the_uuid(raw: bytes) -> None:
    """In either byte order: the node's address and name, under the node's one lease."""
    world = by_uuid()
    ack = await world.get_address(NEW_CARD, options={**PXE_X64, 97: raw})
    assert (ack.yiaddr, ack.options[12]) == (int(NODE_ADDRESS), b"m1")
    (lease,) = await world.store.leases()
    assert (lease.holder, lease.mac) == ("m1", NEW_CARD)


async def test_a_node_is_known_by_its_client_identifier() -> None:
    """The whole of option 61, as it was declared."""
    world = World(stock(client_id=b"\xff\0\0\0\1abc"))
    ack = await world.get_address(NEW_CARD, options={**SYSTEM, 61: b"\xff\0\0\0\1abc"})
    assert ack.options[12] == b"m1" and ack.options[61] == b"\xff\0\0\0\1abc"
    other = await world.get_address(STRANGER, options={**SYSTEM, 61: b"\xff\0\0\0\1abcd"})
    assert other.options[12] == b"node-525400990001"


@pytest.mark.parametrize(
    ("declared", "said", "known"),
    [
        ({"circuit_id": b"ge1"}, agent(b"ge1", b"sw1"), True),
        ({"remote_id": b"sw1"}, agent(b"ge1", b"sw1"), True),
        ({"circuit_id": b"ge1", "remote_id": b"sw1"}, agent(b"ge1", b"sw1"), True),
        ({"circuit_id": b"ge1", "remote_id": b"sw1"}, agent(b"ge1", b"sw2"), False),
        ({"circuit_id": b"ge1", "remote_id": b"sw1"}, agent(b"ge1"), False),
        ({"circuit_id": b"ge1"}, agent(b"ge11"), False),
        ({"circuit_id": b"ge1"}, b"", False),
    ],
)
async def test_a_node_is_known_by_its_place_at_a_relay_agent(
    declared: dict[str, bytes], said: bytes, known: bool
) -> None:
    """Circuit id, remote id, or both of them where both are declared."""
    world = World(stock(**declared))
    offer = await world.say(discover(NEW_CARD, {82: said}, giaddr=RELAY), source=RELAY)
    assert offer is not None and (offer.options[12] == b"m1") is known


async def test_only_a_listed_relay_agent_is_believed() -> None:
    """Whoever can send to us could say that he is any switch's port; option 82 goes back all the same."""
    world = World(stock(circuit_id=b"ge1"))
    said = {82: agent(b"ge1")}
    offer = await world.say(discover(NEW_CARD, said, giaddr=OTHER_RELAY), source=OTHER_RELAY)
    assert offer is not None and offer.options[12] == b"node-525400770099"
    assert offer.options[82] == said[82]


async def test_the_mac_is_stronger_than_what_a_machine_says() -> None:
    """A declared card that says another node's UUID and identifier stays the node of its card."""
    other = Node("m2", "lab", (STRANGER,), address("10.77.0.21"), uuid=UUID_TEXT, client_id=b"\0two")
    first = Node("m1", "lab", NODE_MACS, NODE_ADDRESS)
    world = World(inventory(nodes=[first, other]))
    ack = await world.get_address(NODE_MACS[0], options={**FIRMWARE, 61: b"\0two"})
    assert ack.options[12] == b"m1"
    both_told(world, NODE_MACS[0], STRANGER)


async def test_the_uuid_is_stronger_than_the_client_identifier_and_that_than_the_place() -> None:
    """In the documented order."""
    nodes = [
        Node("u", "lab", (Mac("52:54:00:77:01:01"),), address("10.77.0.21"), uuid=UUID_TEXT),
        Node("c", "lab", (Mac("52:54:00:77:01:02"),), address("10.77.0.22"), client_id=b"\0c"),
        Node("p", "lab", (Mac("52:54:00:77:01:03"),), address("10.77.0.23"), circuit_id=b"p"),
    ]
    world = World(inventory([replace(network(), relays=(IPv4Address(RELAY),))], nodes=nodes))
    said = {97: WIRE, 61: b"\0c", 82: agent(b"p")}
    names = []
    for _ in range(3):
        offer = await world.say(discover(NEW_CARD, said, giaddr=RELAY), source=RELAY)
        assert offer is not None
        names.append(offer.options[12])
        said.pop(next(iter(said)))
    assert names == [b"u", b"c", b"p"]


async def test_firmware_and_system_of_an_unlisted_card_keep_one_address() -> None:
    """The system says no UUID: it is known by the lease that its firmware took, on every way of asking."""
    world = by_uuid()
    await world.get_address(NEW_CARD, options=FIRMWARE)
    await world.get_address(NEW_CARD, options={**IPXE, 97: WIRE})
    for options in ({**SYSTEM, 61: b"\xff1234"}, SYSTEM):
        ack = await world.get_address(NEW_CARD, options=options)
        assert (ack.yiaddr, ack.options[12]) == (int(NODE_ADDRESS), b"m1")
    renewal = message(NEW_CARD, Kind.REQUEST, SYSTEM, ciaddr=str(NODE_ADDRESS))
    renewed = await world.say(renewal, source=str(NODE_ADDRESS))
    assert renewed is not None and renewed.kind is Kind.ACK


async def test_an_unlisted_card_keeps_its_node_over_our_restart() -> None:
    """From the leases on disk, those that still run."""
    world = by_uuid()
    await world.get_address(NEW_CARD, options=FIRMWARE)
    world.restart()
    running = asyncio.ensure_future(world.server.run([]))
    await asyncio.sleep(0)
    ack = await world.get_address(NEW_CARD, options=SYSTEM)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert ack.options[12] == b"m1"


def both_told(world: World, *macs: Mac) -> None:
    """One event names the machines."""
    (text,) = world.reported("dhcp_identity_twice")
    assert all(str(mac) in text for mac in macs), text


@pytest.mark.parametrize("place", [NODE_ADDRESS, None], ids=["reserved", "dynamic"])
async def test_a_second_machine_with_the_same_uuid_is_told_apart(place: IPv4Address | None) -> None:
    """While the first lives it is what its card is: undeclared, with an address and a boot of its own."""
    world = World(stock(uuid=UUID_TEXT, place=place))
    first = await world.get_address(NODE_MACS[0], options=FIRMWARE)
    boot = world.boots.of_node("m1")
    second = await world.get_address(CLONE, options=FIRMWARE)
    assert second.yiaddr != first.yiaddr and second.options[12] == b"node-525400770098"
    assert world.boots.of_node("m1") == boot, "the first one's boot is untouched"
    both_told(world, NODE_MACS[0], CLONE)
    again = await world.get_address(NODE_MACS[0], options=FIRMWARE)
    assert again.yiaddr == first.yiaddr


async def test_two_unlisted_cards_with_one_identifier_are_told_apart() -> None:
    """A cloned client identifier: the first that came is the node, the other is not, in every order."""
    world = World(stock(client_id=b"\0one"))
    said = {**SYSTEM, 61: b"\0one"}
    got = [given(await world.get_address(mac, options=said)) for mac in (NEW_CARD, CLONE, NEW_CARD, CLONE)]
    assert got[0] == got[2] == str(NODE_ADDRESS)
    assert got[1] == got[3] != got[0]
    both_told(world, NEW_CARD, CLONE)


async def test_a_second_card_at_a_relay_agents_port_is_told_apart() -> None:
    """It says the same words of the same relay agent, and is offered an address of its own all the same."""
    world = World(stock(circuit_id=b"eth1/7"))
    said = {**SYSTEM, 82: agent(b"eth1/7")}
    first = await world.get_address(NEW_CARD, options=said, giaddr=RELAY)
    second = await world.get_address(CLONE, options=said, giaddr=RELAY)
    assert first.yiaddr == int(NODE_ADDRESS) != second.yiaddr
    both_told(world, NEW_CARD, CLONE)


async def test_of_two_that_were_offered_the_address_one_gets_it() -> None:
    """Nobody held it when both asked; the one whose REQUEST comes later is refused."""
    world = by_uuid()
    offers = {mac: await world.say(discover(mac, FIRMWARE)) for mac in (NEW_CARD, CLONE)}
    replies = [
        await world.say(selecting(mac, offer, FIRMWARE)) for mac, offer in offers.items() if offer is not None
    ]
    assert [reply.kind for reply in replies if reply] == [Kind.ACK, Kind.NAK]
    assert [lease.mac for lease in await world.store.leases()] == [NEW_CARD]


async def test_of_two_that_claim_at_once_one_gets_the_lease() -> None:
    """The later claim is lost, and the facts that are gathered again show who was faster."""
    world = by_uuid()
    offers = {mac: await world.say(discover(mac, FIRMWARE)) for mac in (NEW_CARD, CLONE)}
    claim, waiting = world.store.claim_lease, asyncio.Event()

    async def slow(lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        if lease.mac == CLONE and seen is None:
            await waiting.wait()
        return await claim(lease, seen, displaced)

    world.store.claim_lease = slow  # type: ignore[method-assign]
    assert offers[CLONE] and offers[NEW_CARD]
    late = asyncio.ensure_future(world.say(selecting(CLONE, offers[CLONE], FIRMWARE)))
    await asyncio.sleep(0)
    ack = await world.say(selecting(NEW_CARD, offers[NEW_CARD], FIRMWARE))
    waiting.set()
    await late
    assert ack is not None and ack.kind is Kind.ACK
    assert world.port.sent[-1][1].kind is Kind.NAK
    assert [lease.mac for lease in await world.store.leases()] == [NEW_CARD]


async def test_a_declared_card_waits_for_the_living_machine_that_is_its_node_already() -> None:
    """Never one address to both: nothing is offered, a REQUEST is refused, no boot is taken over."""
    world = by_uuid()
    await world.get_address(NEW_CARD, options=FIRMWARE)
    boot = world.boots.of_node("m1")
    assert await world.say(discover(NODE_MACS[0], FIRMWARE)) is None
    asked = message(NODE_MACS[0], Kind.REQUEST, {50: NODE_ADDRESS.packed, 54: SERVER.packed})
    nak = await world.say(asked)
    assert nak is not None and nak.kind is Kind.NAK
    foreign = message(NODE_MACS[0], Kind.REQUEST, {50: NODE_ADDRESS.packed, 54: packed("10.77.0.2")})
    assert await world.say(foreign) is None, "it chose another server"
    assert world.boots.of_node("m1") == boot
    both_told(world, NEW_CARD, NODE_MACS[0])


def gave_up(world: World) -> None:
    """The node's boot stopped."""
    boot = world.boots.of_node("m1")
    assert boot is not None
    world.boots.stop(boot.id, "script", "test")


async def test_when_the_first_is_gone_the_next_card_is_the_node() -> None:
    """A card was swapped: once the old one's lease and boot are over the new one is the node."""
    world = by_uuid()
    await world.get_address(NODE_MACS[0], options=FIRMWARE)
    gave_up(world)
    world.now += 301
    ack = await world.get_address(NEW_CARD, options=FIRMWARE)
    assert ack.options[12] == b"m1" and world.reported("dhcp_identity_twice") == []
    gave_up(world)
    world.now += 43201
    assert (await world.get_address(NODE_MACS[0], options=SYSTEM)).options[12] == b"m1"
    stranger = await world.get_address(NEW_CARD, options=SYSTEM)
    assert stranger.options[12] == b"node-525400770099", "the node's lease is with another card now"


async def test_a_card_whose_lease_was_let_go_is_nobodys_until_it_says_who_it_is() -> None:
    """An operator released it by force: the memory of the card goes with the lease."""
    world = by_uuid()
    await world.get_address(NEW_CARD, options=FIRMWARE)
    (lease,) = await world.store.leases()
    world.store.by_holder.clear()
    world.store.by_address.clear()
    ack = await world.get_address(NEW_CARD, options=SYSTEM)
    assert ack.options[12] == b"node-525400770099" and ack.yiaddr != int(lease.address)
    assert (await world.get_address(CLONE, options=FIRMWARE)).options[12] == b"m1"


async def test_the_listed_cards_of_a_node_never_wait_for_one_another() -> None:
    """They are one machine."""
    world = by_uuid()
    for mac in (*NODE_MACS, *NODE_MACS):
        assert (await world.get_address(mac, options=FIRMWARE)).options[12] == b"m1"
    assert world.reported("dhcp_identity_twice") == []


async def test_without_a_catch_all_pool_a_second_machine_hears_nothing() -> None:
    """It is reported, and the first one is not harmed."""
    node = Node("m1", "lab", NODE_MACS, NODE_ADDRESS, uuid=UUID_TEXT)
    world = World(inventory(catch_all=False, nodes=[node]))
    await world.get_address(NODE_MACS[0], options=FIRMWARE)
    assert await world.say(discover(CLONE, FIRMWARE)) is None
    both_told(world, NODE_MACS[0], CLONE)


async def test_on_a_full_disk_a_declared_card_is_served_and_an_unlisted_one_is_not() -> None:
    """Who cannot be told apart from another machine gets nothing."""
    world = by_uuid()
    world.store.broken = True
    assert (await world.get_address(NODE_MACS[0])).yiaddr == int(NODE_ADDRESS)
    assert await world.say(discover(NEW_CARD, FIRMWARE)) is None


async def test_a_machine_of_another_network_is_not_caught_there() -> None:
    """Its UUID says that somebody knows it; the event says where it belongs."""
    near = network()
    far = network(
        name="far", subnet="10.99.0.0/24", first="10.99.0.100", last="10.99.0.199", interface="eth2"
    )
    node = Node("m1", "lab", NODE_MACS, NODE_ADDRESS, uuid=UUID_TEXT)
    world = World(inventory([near, far], nodes=[node]))
    world.port.name = "eth2"
    assert await world.say(discover(NEW_CARD, FIRMWARE)) is None
    assert "m1, known by its UUID, is declared in network lab" in world.reported("dhcp_no_match")[0]


LEASE = Lease("m1", NEW_CARD, NODE_ADDRESS, "lab", "m1", START + 10, START)
BOOT = Boot("b1", NEW_CARD, "m1", "blue", started=START)


@pytest.mark.parametrize(
    ("mac", "lease", "boot", "second"),
    [
        (CLONE, None, None, False),
        (CLONE, LEASE, None, True),
        (NEW_CARD, LEASE, None, False),
        (CLONE, replace(LEASE, expires=START - 1), None, False),
        (CLONE, replace(LEASE, expires=START - 1), BOOT, True),
        (CLONE, replace(LEASE, expires=START - 1), replace(BOOT, mac=CLONE), False),
        (CLONE, replace(LEASE, expires=START - 1), replace(BOOT, state="stopped"), False),
        (CLONE, replace(LEASE, expires=START - 1), replace(BOOT, state="joined", ended=START), False),
        (NODE_MACS[0], replace(LEASE, mac=NODE_MACS[1]), BOOT, False),
    ],
)
def test_a_second_machine_is_one_beside_a_living_first(
    mac: Mac, lease: Lease | None, boot: Boot | None, second: bool
) -> None:
    """Life: its lease runs, or it boots; the listed cards are one machine."""
    assert is_second(mac, profile(NODE_MACS[0]), lease, boot, START) is second


def test_there_is_one_unlisted_card_per_node() -> None:
    """The newest that the lease went to; a listed card ends it."""
    cards, node = Cards(), profile(NODE_MACS[0])
    cards.leased(NEW_CARD, node)
    cards.leased(CLONE, node)
    assert (cards.node_of(NEW_CARD), cards.node_of(CLONE)) == ("", "m1")
    cards.leased(NODE_MACS[0], node)
    assert cards.node_of(CLONE) == ""


def test_only_running_leases_of_nodes_with_further_identities_are_learnt() -> None:
    """A card that was taken out of the file does not come back by its old lease."""
    cards = Cards()
    cards.learn([LEASE], stock(), START)
    assert cards.node_of(NEW_CARD) == ""
    known = stock(uuid=UUID_TEXT)
    cards.learn([replace(LEASE, expires=START - 1), replace(LEASE, mac=NODE_MACS[0])], known, START)
    assert cards.node_of(NEW_CARD) == cards.node_of(NODE_MACS[0]) == ""
    cards.learn([LEASE, replace(LEASE, holder=str(OTHER_STRANGER), mac=OTHER_STRANGER)], known, START)
    assert (cards.node_of(NEW_CARD), cards.node_of(OTHER_STRANGER)) == ("m1", "")
