"""Requests answered: facts, claim, send; what survives a restart, a full disk and a race."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from netboot.dhcp import allocation
from netboot.dhcp.wire import FLAG_BROADCAST, Kind, encode
from netboot.model.inventory import Network, Node
from netboot.model.machine import Mac
from tests.dhcp.world import (
    HTTP_X64,
    IPXE,
    NODE_ADDRESS,
    NODE_MACS,
    OTHER_STRANGER,
    PXE_BIOS,
    PXE_X64,
    SERVER,
    START,
    STRANGER,
    SYSTEM,
    World,
    discover,
    inventory,
    message,
    network,
    selecting,
)


def machine(i: int) -> Mac:
    """A machine that nobody declared."""
    return Mac.from_bytes(b"\x02\x99\0" + i.to_bytes(3, "big"))


async def test_both_cards_of_a_node_get_its_one_address_and_name() -> None:
    """Whichever card asks: same lease, same name."""
    world = World()
    for mac in NODE_MACS:
        ack = await world.get_address(mac, options=SYSTEM)
        assert (ack.yiaddr, ack.options[12]) == (int(NODE_ADDRESS), b"m1")
    (lease,) = await world.store.leases()
    assert (lease.holder, lease.mac) == ("m1", NODE_MACS[1])


async def test_an_undeclared_machine_gets_a_dynamic_address_and_a_name_of_its_mac() -> None:
    """The catch-all pool of the network takes it."""
    world = World()
    ack = await world.get_address(STRANGER, options=SYSTEM)
    assert IPv4Address(ack.yiaddr) in network().ranges[0]
    assert ack.options[12] == b"node-525400990001"


async def test_without_a_catch_all_pool_an_unknown_machine_hears_nothing() -> None:
    """Silence, and one event that says why, however often it asks."""
    world = World(inventory(catch_all=False))
    for _ in range(5):
        assert await world.say(discover(STRANGER)) is None
    (text,) = world.reported("dhcp_no_match")
    assert str(STRANGER) in text and "no catch-all pool" in text
    assert world.journal.counters["dhcp_no_match"] == 5
    assert await world.say(message(STRANGER, Kind.REQUEST, {50: SERVER.packed})) is None


async def test_a_lease_is_on_disk_before_its_ack_leaves() -> None:
    """The store is asked first, and the ACK is sent when it has answered."""
    world = World()
    await world.get_address(STRANGER)
    given = next(iter(world.store.by_address))
    assert world.port.log == ["sent OFFER", f"claimed {given}", "sent ACK"]


async def test_an_offer_writes_nothing() -> None:
    """A flood of DISCOVERs costs the disk nothing."""
    world = World()
    for i in range(20):
        await world.say(discover(machine(i)))
    assert await world.store.leases() == []


async def test_addresses_survive_a_restart_and_their_own_expiry() -> None:
    """The same machine gets the same address from a new process, also days later."""
    world = World()
    before = {mac: (await world.get_address(mac)).yiaddr for mac in (NODE_MACS[0], *map(machine, range(20)))}
    assert len(set(before.values())) == len(before)
    world.restart()
    world.now += 10 * 86400
    after = {mac: (await world.get_address(mac)).yiaddr for mac in reversed(before)}
    assert after == before


async def test_firmware_ipxe_and_system_keep_one_address() -> None:
    """They send different client identifiers; the card decides."""
    world = World()
    said = [
        {**PXE_BIOS, 61: b"\x01abc"},
        {**IPXE, 61: b"\xff\0\0\0\1xyz"},
        {**HTTP_X64},
        {**SYSTEM, 61: b"other"},
    ]
    got = {(await world.get_address(STRANGER, options=options)).yiaddr for options in said}
    assert len(got) == 1


async def test_two_new_machines_are_not_offered_the_same_address() -> None:
    """Even before either of them has taken its offer, while there are others."""
    world = World(inventory([network(first="10.77.0.100", last="10.77.0.119")]))
    offers = [await world.say(discover(machine(i))) for i in range(20)]
    assert len({offer.yiaddr for offer in offers if offer}) == 20


async def test_a_pool_is_given_out_to_its_last_address_then_there_is_silence() -> None:
    """The one who comes too late hears nothing, and one event names the network."""
    world = World(inventory([network(first="10.77.0.100", last="10.77.0.103")]))
    got = {(await world.get_address(machine(i))).yiaddr for i in range(4)}
    assert len(got) == 4
    for i in range(4, 9):
        assert await world.say(discover(machine(i))) is None
    (text,) = world.reported("dhcp_pool_exhausted")
    assert "network lab" in text


async def test_a_full_pool_serves_again_when_a_holder_is_gone() -> None:
    """After its lease and another one of silence, the longest gone machine's address is free."""
    world = World(inventory([network(first="10.77.0.100", last="10.77.0.101")]))
    first = (await world.get_address(machine(0))).yiaddr
    world.now += 1000
    await world.get_address(machine(1))
    world.now = START + 43199
    assert await world.say(discover(machine(2))) is None, "both were seen within one lease"
    world.now = START + 43201
    ack = await world.get_address(machine(2))
    assert ack.yiaddr == first


async def test_a_living_holders_address_is_never_given_away() -> None:
    """A boot in progress, or whatever else knows that the machine lives, keeps an expired lease's address."""
    world = World(inventory([network(first="10.77.0.100", last="10.77.0.100")]))
    await world.get_address(STRANGER, options=PXE_X64)
    world.now += 43201
    boot = world.boots.of_node("node-525400990001")
    assert boot is not None and boot.ended is None
    assert await world.say(discover(OTHER_STRANGER)) is None
    world.boots.stop(boot.id, "script", "test")
    world.now += 2
    world.server.signs_of_life.append(lambda lease: lease.mac == STRANGER)
    assert await world.say(discover(OTHER_STRANGER)) is None
    world.server.signs_of_life.clear()
    world.now += 2
    assert await world.say(discover(OTHER_STRANGER)) is not None


async def test_a_lost_claim_gathers_again_and_gives_up_in_the_end() -> None:
    """Another replica was faster: the facts are gathered anew, a few times."""
    world = World()
    world.store.lost_claims = 2
    await world.get_address(STRANGER)
    world.store.lost_claims = 100
    offer = await world.say(discover(OTHER_STRANGER))
    assert offer is not None
    assert await world.say(selecting(OTHER_STRANGER, offer)) is None
    assert len(world.reported("dhcp_claim_lost")) == 1


async def test_two_machines_that_race_for_one_address_do_not_both_get_it() -> None:
    """Both were offered the last address: one ACK, one NAK."""
    world = World(inventory([network(first="10.77.0.100", last="10.77.0.100")]))
    offers = {mac: await world.say(discover(mac)) for mac in (STRANGER, OTHER_STRANGER)}
    replies = [await world.say(selecting(mac, offer)) for mac, offer in offers.items() if offer]
    assert [reply.kind for reply in replies if reply] == [Kind.ACK, Kind.NAK]


async def test_on_a_full_disk_declared_nodes_are_served_and_others_refused() -> None:
    """The declared address stands in the file; both are reported, and it heals by itself."""
    world = World()
    world.store.broken = True
    ack = await world.get_address(NODE_MACS[0])
    assert ack.yiaddr == int(NODE_ADDRESS)
    assert len(world.reported("dhcp_lease_unwritten")) == 1
    assert await world.say(discover(STRANGER)) is None
    assert len(world.reported("dhcp_store_failed")) == 1
    world.store.broken = False
    await world.get_address(STRANGER)


async def test_a_dynamic_ack_never_leaves_unwritten() -> None:
    """The disk fills between OFFER and REQUEST: no ACK, but for a declared node."""
    world = World()
    offers = {mac: await world.say(discover(mac)) for mac in (STRANGER, NODE_MACS[0])}
    world.store.full = True
    replies = [await world.say(selecting(mac, offer)) for mac, offer in offers.items() if offer]
    assert [reply.kind if reply else None for reply in replies] == [None, Kind.ACK]


async def test_replies_travel_as_their_clients_can_hear_them() -> None:
    """Frame, broadcast, relay and ciaddr through the port's four ways."""
    world = World()
    await world.say(discover(NODE_MACS[0]))
    assert world.way == f"frame {NODE_MACS[0]} {NODE_ADDRESS}"
    await world.say(discover(NODE_MACS[0], flags=FLAG_BROADCAST))
    assert world.way == "broadcast"
    await world.say(discover(NODE_MACS[0], giaddr="10.77.0.5"), source="10.77.0.5")
    assert world.way == "udp 10.77.0.5:67"
    await world.say(message(NODE_MACS[0], Kind.REQUEST, ciaddr="10.77.0.20"), source="10.77.0.20")
    assert world.way == "udp 10.77.0.20:68"


def relayed_network() -> Network:
    """A network behind a relay agent; no interface of ours is on it."""
    return network(
        name="far",
        subnet="10.99.0.0/24",
        first="10.99.0.100",
        last="10.99.0.199",
        interface=None,
        server="10.77.0.1",
    )


async def test_a_relayed_request_belongs_to_the_network_of_its_relay() -> None:
    """Not to the interface that it arrived on; a relay of no network of ours is answered nothing."""
    stock = inventory([relayed_network(), network()])
    world = World(stock)
    offer = await world.say(discover(STRANGER, {82: b"\x01\x01x"}, giaddr="10.99.0.1"), source="10.99.0.1")
    assert offer is not None and IPv4Address(offer.yiaddr) in relayed_network().ranges[0]
    assert offer.options[82] == b"\x01\x01x" and world.way == "udp 10.99.0.1:67"
    assert await world.say(discover(STRANGER, giaddr="10.55.0.1"), source="10.55.0.1") is None
    (text,) = world.reported("dhcp_no_match")
    assert "relay agent 10.55.0.1" in text and "no network of ours" in text


async def test_a_renewal_that_comes_routed_belongs_to_its_own_network() -> None:
    """A client behind a relay renews by unicast, without the relay."""
    world = World(inventory([relayed_network(), network()]))
    offer = await world.say(discover(STRANGER, giaddr="10.99.0.1"))
    assert offer is not None
    await world.say(selecting(STRANGER, offer, giaddr="10.99.0.1"))
    own = str(IPv4Address(offer.yiaddr))
    ack = await world.say(message(STRANGER, Kind.REQUEST, SYSTEM, ciaddr=own), source=own)
    assert ack is not None and ack.kind is Kind.ACK and world.way == f"udp {own}:68"


async def test_a_node_declared_in_another_network_is_not_answered() -> None:
    """Its address would be of no use there; the event names both."""
    near, far = network(), relayed_network()
    stock = inventory([near, far], nodes=[Node("m1", "lab", NODE_MACS, NODE_ADDRESS)])
    world = World(stock)
    assert await world.say(discover(NODE_MACS[0], giaddr="10.99.0.1")) is None
    assert "declared in network lab" in world.reported("dhcp_no_match")[0]


async def test_bootp_is_left_alone() -> None:
    """A request without option 53 is not ours, and no offence."""
    world = World()
    assert await world.say(discover(STRANGER)._replace(options={})) is None
    assert world.journal.counters["dhcp_malformed"] == 0 and world.journal.counters["dhcp_ignored"] == 1


async def test_a_stranger_cannot_release_or_decline_anothers_address() -> None:
    """The lease stays as it is."""
    world = World()
    ack = await world.get_address(STRANGER)
    own = str(IPv4Address(ack.yiaddr))
    before = await world.store.leases()
    await world.say(message(OTHER_STRANGER, Kind.RELEASE, {54: SERVER.packed}, ciaddr=own), source=own)
    await world.say(
        message(OTHER_STRANGER, Kind.DECLINE, {50: ack.yiaddr.to_bytes(4, "big"), 54: SERVER.packed})
    )
    assert await world.store.leases() == before
    assert len(world.reported("dhcp_release_refused")) == len(world.reported("dhcp_decline_refused")) == 1


async def test_a_release_ends_the_lease_and_its_machine_gets_the_address_again() -> None:
    """The memory of the address stays."""
    world = World()
    ack = await world.get_address(STRANGER)
    own = str(IPv4Address(ack.yiaddr))
    await world.say(message(STRANGER, Kind.RELEASE, {54: SERVER.packed}, ciaddr=own), source=own)
    (lease,) = await world.store.leases()
    assert lease.expires == START
    assert (await world.get_address(STRANGER)).yiaddr == ack.yiaddr


def decline(mac: Mac, number: int) -> bytes:
    """A DECLINE of an address."""
    return encode(message(mac, Kind.DECLINE, {50: number.to_bytes(4, "big"), 54: SERVER.packed}))


async def test_a_declined_dynamic_address_rests() -> None:
    """Its client gets another one, others do not get it either, until the rest is over."""
    world = World(inventory([network(first="10.77.0.100", last="10.77.0.101")]))
    first = (await world.get_address(STRANGER)).yiaddr
    await world.say(decline(STRANGER, first))
    assert "in use by another machine" in world.reported("dhcp_decline")[0]
    second = (await world.get_address(STRANGER)).yiaddr
    assert second != first
    assert await world.say(discover(OTHER_STRANGER)) is None
    world.now += allocation.RESTS + 1
    offer = await world.say(discover(OTHER_STRANGER))
    assert offer is not None and offer.yiaddr == first


async def test_a_reservation_is_never_benched() -> None:
    """A DECLINE of it is reported, and the node gets it again."""
    world = World()
    await world.get_address(NODE_MACS[0])
    await world.say(decline(NODE_MACS[0], int(NODE_ADDRESS)))
    assert len(world.reported("dhcp_decline")) == 1
    assert (await world.get_address(NODE_MACS[0])).yiaddr == int(NODE_ADDRESS)


async def test_one_machine_cannot_bench_the_pool() -> None:
    """A few declines an hour are believed."""
    world = World()
    for _ in range(10):
        ack = await world.get_address(STRANGER)
        await world.say(decline(STRANGER, ack.yiaddr))
    assert len(world.store.resting) == allocation.DECLINES


async def test_a_proxied_network_is_not_leased_in() -> None:
    """Another DHCP server gives the addresses there."""
    world = World(inventory([replace(network(), mode="proxy")]))
    assert await world.say(discover(STRANGER)) is None
