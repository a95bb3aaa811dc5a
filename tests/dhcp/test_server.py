"""The server: facts, claim, send; what survives a restart, a full disk, a race and a flood."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netboot.boot.stall import DISK
from netboot.dhcp import allocation
from netboot.dhcp import server as server_module
from netboot.dhcp.wire import FLAG_BROADCAST, Kind, Op, encode
from netboot.model.boot import Boot
from netboot.model.inventory import Network, Node
from netboot.model.lease import Lease
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
    address,
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


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 300,
        encode(discover(STRANGER))[:100],
        encode(discover(STRANGER, {82: b"\x01\x01x"})),
        encode(discover(STRANGER, giaddr="10.77.0.1")),
        encode(discover(STRANGER)._replace(op=Op.REPLY)),
        encode(discover(STRANGER)._replace(chaddr=b"\xff" * 6)),
        encode(discover(STRANGER)._replace(htype=6)),
        b"\x01\x01\x06\0" + b"\xff" * 5000,
    ],
)
async def test_a_malformed_datagram_is_counted_and_logged_once(data: bytes) -> None:
    """No answer, no harm; the next machine is served."""
    world = World()
    for _ in range(10):
        assert await world.say(data, source="10.77.0.66") is None
    assert world.journal.counters["dhcp_malformed"] == 10
    assert len(world.reported("dhcp_malformed")) == 1
    assert (await world.get_address(NODE_MACS[0])).yiaddr == int(NODE_ADDRESS)


async def test_each_card_that_sends_bad_octets_is_named() -> None:
    """Machines without an address all come from 0.0.0.0: there the card tells one from another."""
    world = World()
    for mac in (STRANGER, OTHER_STRANGER, STRANGER):
        await world.say(encode(discover(mac))[:243] + b"\x0c\xff")
    assert len(world.reported("dhcp_malformed")) == 2


async def test_bootp_is_left_alone() -> None:
    """A request without option 53 is not ours, and no offence."""
    world = World()
    assert await world.say(discover(STRANGER)._replace(options={})) is None
    assert world.journal.counters["dhcp_malformed"] == 0 and world.journal.counters["dhcp_ignored"] == 1


async def test_an_error_of_ours_costs_one_datagram() -> None:
    """Whatever goes wrong with one packet is reported, and the server goes on."""
    world = World()

    def fail(boot: Boot) -> None:
        raise RuntimeError("observer broke")

    world.server.on_boot.append(fail)
    assert await world.say(discover(STRANGER, PXE_X64)) is None
    assert "observer broke" in world.reported("dhcp_internal_error")[0]
    assert await world.say(discover(STRANGER)) is not None


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


async def test_a_proxied_network_is_not_leased_in() -> None:
    """Another DHCP server gives the addresses there."""
    world = World(inventory([replace(network(), mode="proxy")]))
    assert await world.say(discover(STRANGER)) is None


async def test_what_waits_for_the_store_delays_nobody_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the claim of one waits others are answered, and too many are dropped."""
    world = World()
    gate = asyncio.Event()
    claim = world.store.claim_lease

    async def slow(lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        await gate.wait()
        return await claim(lease, seen, displaced)

    offer = await world.say(discover(STRANGER))
    assert offer is not None
    world.store.claim_lease = slow  # type: ignore[method-assign]
    world.server._drain(Feed(world, [encode(selecting(STRANGER, offer)), encode(discover(OTHER_STRANGER))]))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert [p.kind for _, p in world.port.sent] == [Kind.OFFER, Kind.OFFER]
    monkeypatch.setattr(server_module, "IN_FLIGHT", 1)
    world.server._drain(Feed(world, [encode(discover(OTHER_STRANGER))]))  # type: ignore[arg-type]
    assert world.journal.counters["dhcp_overload"] == 1
    gate.set()
    await asyncio.sleep(0.01)
    assert world.port.sent[-1][1].kind is Kind.ACK and not world.server._waiting


async def test_a_full_house_still_takes_declared_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented ones are dropped first; beyond twice as many nobody is taken."""
    world = World()
    gate = asyncio.Event()
    claim = world.store.claim_lease

    async def slow(lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        await gate.wait()
        return await claim(lease, seen, displaced)

    offers = [(mac, await world.say(discover(mac))) for mac in (STRANGER, *NODE_MACS)]
    world.store.claim_lease = slow  # type: ignore[method-assign]
    monkeypatch.setattr(server_module, "IN_FLIGHT", 1)
    taken = [encode(selecting(mac, offer)) for mac, offer in offers if offer is not None]
    world.server._drain(Feed(world, taken))  # type: ignore[arg-type]
    assert len(world.server._waiting) == 2, "the stranger's, one declared machine's"
    world.server._drain(Feed(world, [encode(discover(OTHER_STRANGER))]))  # type: ignore[arg-type]
    assert world.journal.counters["dhcp_overload"] == 2
    gate.set()
    await asyncio.sleep(0.01)
    assert not world.server._waiting


async def test_the_end_of_the_server_leaves_nothing_waiting() -> None:
    """A claim whose answer comes after the end sends nothing any more."""
    world = World()
    offer = await world.say(discover(STRANGER))
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def never(lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        return await answer

    world.store.claim_lease = never  # type: ignore[method-assign]
    assert offer is not None
    running = asyncio.ensure_future(world.server.run([]))
    await asyncio.sleep(0)
    world.server._drain(Feed(world, [encode(selecting(STRANGER, offer))]))  # type: ignore[arg-type]
    assert len(world.server._waiting) == 1
    running.cancel()
    await asyncio.wait([running])
    answer.set_result(True)
    await asyncio.sleep(0)
    assert len(world.port.sent) == 1


class Feed:
    """The world's port with datagrams that wait."""

    def __init__(self, world: World, waiting: list[bytes]) -> None:
        self._port = world.port
        self._waiting = waiting

    def __getattr__(self, name: str) -> object:
        return getattr(self._port, name)

    def receive(self, most: int) -> list[tuple[bytes, str]]:
        """What waits."""
        return [(data, "0.0.0.0") for data in self._waiting[:most]]


async def test_a_running_server_drains_its_sockets_and_lets_go_of_them() -> None:
    """`run` reads what arrives on each endpoint, answers many in one go, and ends when it is cancelled."""
    world = World()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with ours, theirs:
        running = asyncio.ensure_future(world.server.run([Wire(world, ours)]))  # type: ignore[list-item]
        await asyncio.sleep(0)
        for i in range(100):
            theirs.send(encode(discover(machine(i))))
        async with asyncio.timeout(10):
            while len(world.port.sent) < 100:  # noqa: ASYNC110
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        assert not asyncio.get_running_loop().remove_reader(ours.fileno())


class Wire(Feed):
    """The world's port on a real socket."""

    def __init__(self, world: World, own: socket.socket) -> None:
        super().__init__(world, [])
        self._socket = own

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def receive(self, most: int) -> list[tuple[bytes, str]]:
        """What arrived."""
        found = []
        while len(found) < most:
            try:
                found.append((self._socket.recv(4096), "0.0.0.0"))
            except BlockingIOError:
                break
        return found
