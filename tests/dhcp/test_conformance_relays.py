"""Relay agents and several networks: RFC 3046, 3527, 5107 and 3011, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netboot.model.inventory import Network, Pool
from tests.dhcp.rfc import (
    ACK,
    LINK_RELAY,
    NAK,
    NODE,
    Site,
    raw_request,
    request,
    selecting,
    site,
)
from tests.dhcp.world import OTHER_STRANGER, SERVER, STRANGER, inventory, network

# RFC 3046, 3527, 5107, 3011: relay agents


FAR = network(
    name="far",
    subnet="10.99.0.0/24",
    first="10.99.0.100",
    last="10.99.0.199",
    interface=None,
    server="10.77.0.1",
)


def relayed(*, relays: tuple[str, ...] = ("10.99.0.1",), also: Network | None = None) -> Site:
    """A network on the link and one behind a relay agent, each with a catch-all pool."""
    far = replace(FAR, relays=tuple(map(IPv4Address, relays)))
    stock = inventory([network(), far])
    pools = {**stock.pools, "far": Pool("far", "blue", "far", catch_all=True)}
    return Site(replace(stock, pools=pools))


@pytest.mark.parametrize("relays", [("10.99.0.1",), ()], ids=["listed", "not listed"])
async def test_relay_agent_information_goes_back_whole_and_last(relays: tuple[str, ...]) -> None:
    """RFC 3046 section 2.2: in every reply, unchanged, unknown sub-options too."""
    world = relayed(relays=relays)
    agent = b"\x01\x04ge-1\x02\x06\xaa\xbb\xcc\xdd\xee\xff\x97\x03abc"
    said = (("client_id", b"\x01abc"), ("relay_agent_information", agent))
    offer = await world.answer(request(STRANGER, "discover", *said, giaddr="10.99.0.1"))
    own = offer.address("yiaddr")
    ack = await world.answer(selecting(STRANGER, own, *said, giaddr="10.99.0.1"))
    nak = await world.answer(selecting(STRANGER, "10.9.9.9", *said, giaddr="10.99.0.1"))
    informed = await world.answer(request(STRANGER, "inform", *said, ciaddr=own, giaddr="10.99.0.1"))
    for reply in (offer, ack, nak, informed):
        assert reply.codes[-1] == 82 and reply.option(82) == agent and reply.codes.count(82) == 1


async def test_relay_agent_information_of_more_than_255_octets_goes_back_whole() -> None:
    """Split by RFC 3396, as it came."""
    agent = b"\x01\xc8" + b"a" * 200 + b"\x02\x64" + b"b" * 100
    parts = (
        b"\x35\x01\x01" + b"\x52\xff" + agent[:255] + bytes([0x52, len(agent) - 255]) + agent[255:] + b"\xff"
    )
    offer = await relayed().answer(raw_request(STRANGER, parts, giaddr="10.99.0.1"))
    assert offer.option(82) == agent and offer.codes[-2:] == [82, 82]


async def test_relay_agent_information_without_a_relay_agent_is_dropped() -> None:
    """On the link nobody may add it (RFC 3046 section 2.1.1; architecture 3)."""
    said = ("relay_agent_information", b"\x01\x03ge1")
    assert await site().hear(request(NODE, "discover", said)) is None


async def test_a_relayed_client_belongs_to_giaddrs_subnet() -> None:
    """RFC 2131 section 4.3.1: whether or not an interface of ours is on it."""
    world = relayed()
    offer = await world.answer(request(STRANGER, "discover", giaddr="10.99.0.1"))
    assert offer.address("yiaddr").startswith("10.99.0.") and offer.way == "udp 10.99.0.1:67"
    assert offer.option(3) == bytes([10, 99, 0, 254])
    near = await world.answer(request(STRANGER, "discover"))
    assert near.address("yiaddr").startswith("10.77.0.")
    assert await world.hear(request(STRANGER, "discover", giaddr="10.55.0.1")) is None


async def test_a_renewal_past_the_relay_is_answered_to_the_client() -> None:
    """It is routed to us: the network is ciaddr's."""
    world = relayed()
    own = (await world.lease(STRANGER, giaddr="10.99.0.1")).address("yiaddr")
    ack = await world.answer(request(STRANGER, "request", ciaddr=own), source=own)
    assert (ack.kind, ack.way) == (ACK, f"udp {own}:68")
    assert await world.hear(request(STRANGER, "release", ("server_id", str(SERVER)), ciaddr=own)) is None
    assert [lease.live(world.now) for lease in await world.store.leases()] == [False]


async def test_a_refusal_past_the_relay_reaches_its_client() -> None:
    """No broadcast of ours does (section 4.1 has only clients on the link in mind)."""
    nak = await relayed().answer(request(STRANGER, "request", ciaddr="10.99.0.150"), source="10.99.0.150")
    assert (nak.kind, nak.way) == (NAK, "udp 10.99.0.150:68")


async def test_a_machine_that_moved_behind_a_relay_is_told_to_start_again() -> None:
    """RFC 2131 section 4.3.2: it asks for an address of the wrong network."""
    world = relayed()
    own = (await world.lease(STRANGER)).address("yiaddr")
    nak = await world.answer(request(STRANGER, "request", ("requested_addr", own), giaddr="10.99.0.1"))
    assert (nak.kind, nak.head[5]) == (NAK, 0x8000)


LINK = ("relay_agent_information", b"\x05\x04" + bytes([10, 99, 0, 0]))


async def test_link_selection_of_a_listed_relay_chooses_the_subnet() -> None:
    """RFC 3527: the address is of that subnet, the reply goes to giaddr, which is of another."""
    world = relayed(relays=("10.55.0.1",))
    offer = await world.answer(request(STRANGER, "discover", LINK, giaddr="10.55.0.1"))
    assert offer.address("yiaddr").startswith("10.99.0.") and offer.way == "udp 10.55.0.1:67"
    assert offer.option(82) == LINK[1]


async def test_link_selection_of_an_unlisted_relay_is_not_believed() -> None:
    """giaddr alone counts."""
    world = relayed(relays=("10.99.0.1",))
    assert await world.hear(request(STRANGER, "discover", LINK, giaddr="10.55.0.1")) is None
    near = await world.answer(request(STRANGER, "discover", LINK, giaddr=LINK_RELAY))
    assert near.address("yiaddr").startswith("10.77.0.")


OVERRIDE = ("relay_agent_information", b"\x0b\x04" + bytes([10, 99, 0, 1]))


async def test_the_server_identifier_is_what_a_listed_relay_wants() -> None:
    """RFC 5107: in OFFER, ACK and NAK; a REQUEST with it chose us."""
    world = relayed()
    offer = await world.answer(request(STRANGER, "discover", OVERRIDE, giaddr="10.99.0.1"))
    assert offer.option(54) == bytes([10, 99, 0, 1])
    assert offer.address("siaddr") == "10.77.0.1", "what boots is still fetched from us"
    chosen = (("requested_addr", offer.address("yiaddr")), ("server_id", "10.99.0.1"), OVERRIDE)
    ack = await world.answer(request(STRANGER, "request", *chosen, giaddr="10.99.0.1"))
    assert (ack.kind, ack.option(54)) == (ACK, bytes([10, 99, 0, 1]))
    wrong = (("requested_addr", "10.9.9.9"), ("server_id", "10.99.0.1"), OVERRIDE)
    nak = await world.answer(request(STRANGER, "request", *wrong, giaddr="10.99.0.1"))
    assert (nak.kind, nak.option(54)) == (NAK, bytes([10, 99, 0, 1]))


async def test_an_unlisted_relay_does_not_say_who_we_are() -> None:
    """Its sub-option goes back, and that is all."""
    world = relayed(relays=())
    offer = await world.answer(request(STRANGER, "discover", OVERRIDE, giaddr="10.99.0.1"))
    assert offer.option(54) == SERVER.packed and offer.option(82) == OVERRIDE[1]


def two_on_one_link() -> Site:
    """Two networks on one interface, both with a catch-all pool."""
    second = network(
        name="two", subnet="10.78.0.0/24", first="10.78.0.100", last="10.78.0.199", server="10.78.0.1"
    )
    stock = inventory([network(), second])
    return Site(replace(stock, pools={**stock.pools, "two": Pool("two", "blue", "two", catch_all=True)}))


@pytest.mark.parametrize(
    ("subnet", "inside", "echoed"),
    [("10.78.0.0", "10.78.0.", True), ("10.77.0.0", "10.77.0.", True), ("10.99.0.0", "10.77.0.", False)],
)
async def test_subnet_selection_chooses_among_the_networks_of_the_link(
    subnet: str, inside: str, echoed: bool
) -> None:
    """RFC 3011: the option comes back where it was followed; a subnet of elsewhere is not given out here."""
    offer = await two_on_one_link().answer(request(STRANGER, "discover", ("subnet-selection", subnet)))
    assert offer.address("yiaddr").startswith(inside)
    assert (offer.option(118) == IPv4Address(subnet).packed) is echoed


async def test_a_reboot_finds_its_network_among_several_on_a_link() -> None:
    """By the address that it asks for; a wish of elsewhere changes nothing."""
    world = two_on_one_link()
    second = ("subnet-selection", "10.78.0.0")
    own = (await world.lease(STRANGER, second)).address("yiaddr")
    assert own.startswith("10.78.0.")
    ack = await world.answer(request(STRANGER, "request", ("requested_addr", own)))
    assert (ack.kind, ack.address("yiaddr")) == (ACK, own)
    wish = await world.answer(request(STRANGER, "discover", ("requested_addr", own)))
    assert wish.address("yiaddr") == own
    other = await world.answer(request(OTHER_STRANGER, "discover", ("requested_addr", "10.99.0.120")))
    assert other.address("yiaddr").startswith("10.77.0.")


async def test_the_current_binding_tells_the_network_of_a_link_then_the_old_one() -> None:
    """RFC 2131 section 4.3.1: both come before the address that it asks for; then the first network."""
    world = two_on_one_link()
    own = (await world.lease(STRANGER, ("subnet-selection", "10.78.0.0"))).address("yiaddr")
    for asked in ((), (("requested_addr", "10.77.0.150"),)):
        assert (await world.answer(request(STRANGER, "discover", *asked))).address("yiaddr") == own
    assert (await world.answer(selecting(STRANGER, own))).kind == ACK
    world.now += 10 * world.inventory.networks["lab"].lease
    assert (await world.answer(request(STRANGER, "discover"))).address("yiaddr") == own, "expired"
    chosen = await world.answer(request(STRANGER, "discover", ("subnet-selection", "10.77.0.0")))
    assert chosen.address("yiaddr").startswith("10.77.0."), "a subnet that it selects"
    other = await world.answer(request(OTHER_STRANGER, "discover"))
    assert other.address("yiaddr").startswith("10.77.0.")


async def test_of_two_bindings_on_a_link_the_living_one_counts() -> None:
    """A machine that selected each of the two subnets once."""
    world = two_on_one_link()
    await world.lease(STRANGER, ("subnet-selection", "10.78.0.0"))
    world.now += 10 * world.inventory.networks["two"].lease
    first = (await world.lease(STRANGER, ("subnet-selection", "10.77.0.0"))).address("yiaddr")
    assert (await world.answer(request(STRANGER, "discover"))).address("yiaddr") == first


async def test_a_binding_that_left_the_range_tells_no_network() -> None:
    """A reload took the address out of the second network's range."""
    world = two_on_one_link()
    await world.lease(STRANGER, ("subnet-selection", "10.78.0.0"))
    networks = dict(world.inventory.networks)
    networks["two"] = replace(networks["two"], ranges=())
    world.inventory = replace(world.inventory, networks=networks)
    assert (await world.answer(request(STRANGER, "discover"))).address("yiaddr").startswith("10.77.0.")


async def test_a_rebind_by_broadcast_finds_its_network_among_several_on_a_link() -> None:
    """It says its address in ciaddr alone (RFC 2131 section 4.3.2)."""
    world = two_on_one_link()
    own = (await world.lease(STRANGER, ("subnet-selection", "10.78.0.0"))).address("yiaddr")
    ack = await world.answer(request(STRANGER, "request", ciaddr=own), own, to_all=True)
    assert (ack.kind, ack.address("yiaddr"), ack.way) == (ACK, own, f"udp {own}:68")


async def test_a_rebind_by_broadcast_is_from_a_machine_on_the_link() -> None:
    """One that was moved here from behind a relay agent is refused; a routed renewal is not."""
    world = relayed()
    own = (await world.lease(STRANGER, giaddr="10.99.0.1")).address("yiaddr")
    renewal = request(STRANGER, "request", ciaddr=own)
    routed = await world.answer(renewal, own)
    assert (routed.kind, routed.way) == (ACK, f"udp {own}:68")
    before = world.store.by_address[IPv4Address(own)]
    world.now += 5
    moved = await world.answer(renewal, own, to_all=True)
    assert (moved.kind, moved.way) == (NAK, "broadcast")
    assert world.store.by_address[IPv4Address(own)] == before, "and prolongs nothing"


async def test_a_rebind_through_a_relay_agent_of_a_machine_from_the_link_is_refused() -> None:
    """The other way round; the agent is asked to hand the refusal to everybody."""
    world = relayed()
    own = (await world.lease(STRANGER)).address("yiaddr")
    world.now += 120
    moved = await world.answer(request(STRANGER, "request", ciaddr=own, giaddr="10.99.0.1"), "10.99.0.1")
    assert (moved.kind, moved.way, moved.head[-1]) == (NAK, "udp 10.99.0.1:67", 0x8000)


async def test_a_declared_machine_finds_its_network_among_several_on_a_link() -> None:
    """Its pool's."""
    world = two_on_one_link()
    assert (await world.answer(request(NODE, "discover"))).address("yiaddr") == "10.77.0.20"
