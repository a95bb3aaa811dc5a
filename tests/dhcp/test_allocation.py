"""Who gets which address: probed before it is offered, resting where somebody uses it, kept by who lives."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netboot.dhcp import allocation
from netboot.dhcp.allocation import RESTS, TRIES
from netboot.dhcp.conflict import Answer
from netboot.dhcp.server import DhcpServer
from netboot.dhcp.wire import Kind, Packet, encode
from netboot.errors import StoreError
from netboot.model.inventory import Inventory, Node
from netboot.model.lease import Lease, Rest
from netboot.model.machine import Mac
from netboot.store.memory import MemoryStore
from tests.dhcp.world import (
    EVERYBODY,
    NODE_ADDRESS,
    NODE_MACS,
    OTHER_STRANGER,
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

SQUATTER = Mac("52:54:00:66:66:66")
LEASE = 43200.0


class Asked(World):
    """A world whose addresses answer when they are asked, as `users` says."""

    def __init__(self, stock: Inventory | None = None) -> None:
        self.users: dict[int, Mac | None] = {}
        self.asked: list[tuple[IPv4Address, str | None]] = []
        self.pending: list[asyncio.Future[Answer | None]] | None = None
        super().__init__(stock)

    def new_server(self) -> DhcpServer:
        """The server of a process that has just started, with a prober."""
        return DhcpServer(
            inventory=lambda: self.inventory,
            leases=self.store,
            boots=self.boots,
            journal=self.journal,
            clock=lambda: self.now,
            boot_port=80,
            ask=self.ask,
        )

    def ask(self, address: IPv4Address, link: str | None) -> asyncio.Future[Answer | None] | None:
        """Answer at once, or keep everybody waiting."""
        self.asked.append((address, link))
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        if self.pending is not None:
            self.pending.append(future)
        else:
            number = int(address)
            future.set_result(Answer(self.users[number]) if number in self.users else None)
        return future

    async def usage(self) -> tuple[int, int, int, int]:
        """Size, used, free, resting."""
        found = await self.server.usage(self.inventory.networks["lab"])
        return found.size, found.used, found.free, found.resting


def small(last: str = "10.77.0.103") -> Inventory:
    """A range of a few addresses from .100 on."""
    return inventory([network(first="10.77.0.100", last=last)])


def machine(i: int) -> Mac:
    """A machine that nobody declared."""
    return Mac.from_bytes(b"\x02\x99\0" + i.to_bytes(3, "big"))


def yiaddr(packet: Packet | None) -> IPv4Address:
    """The address of a reply, which must be there."""
    assert packet is not None
    return IPv4Address(packet.yiaddr)


# Asking first


async def test_a_new_machines_address_is_asked_for_on_its_link() -> None:
    """Also where a relay agent of that link sent it; without a link of ours there, through the router."""
    world = Asked()
    offer = yiaddr(await world.say(discover(STRANGER)))
    other = yiaddr(await world.say(discover(OTHER_STRANGER, giaddr="10.77.0.9")))
    assert world.asked == [(offer, "eth1"), (other, "eth1")]
    world.inventory = inventory([network(interface=None)])
    third = yiaddr(await world.say(discover(machine(3), giaddr="10.77.0.9")))
    assert world.asked[2:] == [(third, None)]


async def test_a_reservation_is_never_asked_for() -> None:
    """It is the operator's word."""
    world = Asked()
    world.users[int(NODE_ADDRESS)] = SQUATTER
    await world.get_address(NODE_MACS[0])
    assert world.asked == []


async def test_a_machine_that_comes_back_is_not_asked_for() -> None:
    """A power cycle gets the old address at once; long after its lease somebody else may use it."""
    world = Asked()
    first = yiaddr(await world.get_address(STRANGER, options=PXE_X64))
    world.asked.clear()
    world.now += LEASE - 1
    assert yiaddr(await world.say(discover(STRANGER, PXE_X64))) == first and world.asked == []
    world.now += 10 * LEASE
    assert yiaddr(await world.say(discover(STRANGER))) == first and world.asked == [(first, "eth1")]


async def test_an_answer_of_the_machine_itself_is_no_conflict() -> None:
    """A running system may answer for its old address."""
    world = Asked()
    first = yiaddr(await world.get_address(STRANGER, options=SYSTEM))
    world.now += 10 * LEASE
    world.users[int(first)] = STRANGER
    assert yiaddr(await world.say(discover(STRANGER))) == first
    assert world.store.resting == {}


async def test_an_address_that_somebody_uses_rests_and_another_is_offered() -> None:
    """Reported with the card that has it; it is offered again when the rest is over."""
    world = Asked(small("10.77.0.101"))
    first = int(IPv4Address("10.77.0.100"))
    world.users[first] = SQUATTER
    for i in range(4):
        offer = await world.say(discover(machine(i)))
        assert yiaddr(offer) == IPv4Address("10.77.0.101")
        world.now += 11  # that offer lapses
    (text,) = world.reported("dhcp_conflict")
    assert "10.77.0.100" in text and str(SQUATTER) in text
    (rest,) = await world.server.resting()
    assert (rest.cause, rest.mac) == ("conflict", SQUATTER)
    assert [address for address, _ in world.asked].count(IPv4Address(first)) == 1
    world.users.clear()
    world.now += RESTS
    got = {yiaddr(await world.get_address(machine(i))) for i in (10, 11)}
    assert IPv4Address(first) in got and await world.server.resting() == [] and world.store.resting == {}


async def test_a_rest_outlives_a_restart() -> None:
    """What is in use is in use, whoever found it."""
    world = Asked(small("10.77.0.100"))
    world.users[int(IPv4Address("10.77.0.100"))] = None
    assert await world.say(discover(STRANGER)) is None
    world.restart()
    world.users.clear()
    assert await world.say(discover(STRANGER)) is None
    world.now += RESTS
    assert await world.say(discover(STRANGER)) is not None


async def test_a_rest_that_cannot_be_written_counts_until_a_restart() -> None:
    """The disk is full: it is said, and the address is given to nobody all the same."""
    world = Asked(small("10.77.0.101"))
    world.users[int(IPv4Address("10.77.0.100"))] = SQUATTER
    world.store.full = True
    for i in range(3):
        assert yiaddr(await world.say(discover(machine(i)))) == IPv4Address("10.77.0.101")
        world.now += 11
    assert len(world.reported("dhcp_rest_unwritten")) == 1


async def test_a_request_for_a_resting_address_is_refused() -> None:
    """Whoever held it before, or was offered it: somebody else uses it now."""
    world = Asked(small())
    offer = await world.say(discover(STRANGER))
    assert offer is not None
    world.users[offer.yiaddr] = SQUATTER
    world.store.resting[yiaddr(offer)] = Rest(yiaddr(offer), "lab", START, START + 60, "conflict", None)
    world.restart()
    reply = await world.say(selecting(STRANGER, offer))
    assert reply is not None and reply.kind is Kind.NAK


async def test_a_link_where_everything_answers_costs_a_bounded_number_of_questions() -> None:
    """A router with proxy ARP: the machine hears nothing this time, and may ask again."""
    world = Asked(inventory([network(first="10.77.0.10", last="10.77.0.199")]))
    world.users = {int(IPv4Address("10.77.0.0")) + i: SQUATTER for i in range(256)}
    assert await world.say(discover(STRANGER)) is None
    assert len(world.asked) == TRIES


async def test_rests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound an address in use is passed over and not remembered."""
    monkeypatch.setattr(allocation, "MOST_RESTS", 3)
    world = Asked(inventory([network(first="10.77.0.10", last="10.77.0.199")]))
    world.users = {int(IPv4Address("10.77.0.0")) + i: SQUATTER for i in range(256)}
    assert await world.say(discover(STRANGER)) is None
    assert len(world.store.resting) == 3


async def test_others_are_answered_while_one_waits() -> None:
    """The question keeps only its own machine waiting, and two that wait are offered different addresses."""
    world = Asked(small())
    world.pending = []
    waiting = [asyncio.ensure_future(world.say(discover(machine(i)))) for i in range(2)]
    await asyncio.sleep(0)
    assert len(world.asked) == 2 and not any(task.done() for task in waiting)
    await world.get_address(NODE_MACS[0])
    for future in world.pending:
        future.set_result(None)
    await asyncio.gather(*waiting)
    assert len({packet.yiaddr for _, packet in world.port.sent[-2:]}) == 2


async def test_a_machine_that_repeats_its_discover_is_answered_twice_while_its_address_is_asked_for() -> None:
    """Both requests wait for one question, as the server's own loop runs them."""
    world = Asked()
    world.pending = []
    running = asyncio.ensure_future(world.server.run([]))
    await asyncio.sleep(0)
    answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
    world.server.allocation._ask = lambda *_: answer
    for xid in (1, 2):
        world.server.intake.start(
            world.server.handle(encode(discover(STRANGER, xid=xid)), EVERYBODY, world.port)
        )
    await asyncio.sleep(0)
    assert not world.port.sent
    answer.set_result(None)
    for _ in range(3):
        await asyncio.sleep(0)
    assert [packet.xid for _, packet in world.port.sent] == [1, 2]
    running.cancel()
    await asyncio.wait([running])


async def test_a_machine_that_repeats_its_discover_is_promised_one_address() -> None:
    """While we ask, and when it asks again after the offer."""
    world = Asked()
    world.pending = []
    waiting = [asyncio.ensure_future(world.say(discover(STRANGER))) for _ in range(3)]
    await asyncio.sleep(0)
    for future in world.pending:
        future.set_result(None)
    await asyncio.gather(*waiting)
    world.pending = None
    await world.say(discover(STRANGER))
    assert len({packet.yiaddr for _, packet in world.port.sent}) == 1


async def test_an_address_that_was_leased_while_we_asked_is_not_offered() -> None:
    """Somebody else's REQUEST was faster."""
    world = Asked(small("10.77.0.101"))
    world.pending = []
    waiting = asyncio.ensure_future(world.say(discover(STRANGER)))
    await asyncio.sleep(0)
    (taken, _), (future,) = world.asked[0], world.pending
    world.pending = None
    world.store.put(lease(OTHER_STRANGER, taken))
    future.set_result(None)
    assert yiaddr(await waiting) != taken


def lease(mac: Mac, address: IPv4Address, seen: float = START, **fields: object) -> Lease:
    """A lease of an undeclared machine."""
    made = Lease(str(mac), mac, address, "lab", f"node-{mac.digits}", seen + LEASE, seen)
    return replace(made, **fields)  # type: ignore[arg-type]


# Signs of life


@pytest.mark.parametrize("card", [STRANGER, None])
async def test_a_holder_that_answers_keeps_its_address(card: Mac | None) -> None:
    """Its lease is long over, but it lives: by its card, or behind a router by the mere answer."""
    world = Asked(small("10.77.0.100"))
    held = yiaddr(await world.get_address(STRANGER))
    world.now += 10 * LEASE
    world.users[int(held)] = card
    assert await world.say(discover(OTHER_STRANGER)) is None
    assert world.store.resting == {} and len(world.reported("dhcp_holder_lives")) == 1
    assert world.store.by_address[held].last_seen == world.now
    world.users.clear()
    world.now += LEASE - 1
    assert await world.say(discover(OTHER_STRANGER)) is None, "that answer counts as a packet of its own"
    world.now += 2
    assert yiaddr(await world.get_address(OTHER_STRANGER)) == held


async def test_another_card_on_a_gone_holders_address_is_a_conflict() -> None:
    """Not a sign of the holder's life."""
    world = Asked(small("10.77.0.100"))
    held = yiaddr(await world.get_address(STRANGER))
    world.now += 10 * LEASE
    world.users[int(held)] = SQUATTER
    assert await world.say(discover(OTHER_STRANGER)) is None
    assert held in world.store.resting


async def test_an_address_that_was_given_back_is_free_at_once() -> None:
    """RELEASE is a goodbye; until somebody needs the address, its machine gets it again."""
    world = Asked(small("10.77.0.100"))
    held = yiaddr(await world.get_address(STRANGER, options=SYSTEM))
    await world.say(message(STRANGER, Kind.RELEASE, {54: SERVER.packed}, ciaddr=str(held)))
    assert (await world.usage())[1:3] == (0, 1)
    assert yiaddr(await world.get_address(OTHER_STRANGER)) == held
    assert (await world.usage())[1:3] == (1, 0)


async def test_the_longest_gone_holder_gives_way_first() -> None:
    """Where nothing is free any more, also after a restart."""
    world = Asked(small())
    held = []
    for i in range(4):
        held.append(yiaddr(await world.get_address(machine(i))))
        world.now += 100
    world.restart()
    world.now += 2 * LEASE
    got = [yiaddr(await world.get_address(machine(10 + i))) for i in range(4)]
    assert got == held


async def test_many_old_holders_that_live_do_not_hide_one_that_is_gone() -> None:
    """Each request looks at a few, and asking again finds it."""
    world = Asked(inventory([network(first="10.77.0.1", last="10.77.1.250", subnet="10.77.0.0/16")]))
    gone = machine(300)
    size = (await world.usage())[0]
    for i in range(size):
        address = IPv4Address(yiaddr(await world.say(discover(machine(i)))))
        world.store.put(lease(machine(i), address, START + i))
        world.server.allocation._stocks["lab"].leased(world.store.by_address[address])
    assert len(world.store.by_address) == size
    world.server.signs_of_life.append(lambda lease: lease.mac != gone)
    world.now += 10 * LEASE
    for _ in range(20):
        if (offer := await world.say(discover(STRANGER))) is not None:
            break
        world.now += 1
    assert offer is not None and world.store.by_address[yiaddr(offer)].mac == gone


# Fair and bounded


async def test_free_choice_is_uniform_through_the_whole_server() -> None:
    """3,000 machines that each come alone spread over 100 addresses (chi-squared; fixed MACs)."""
    counts: Counter[int] = Counter()
    world = World()
    for i in range(3000):
        counts[yiaddr(await world.say(discover(machine(i))))._ip] += 1  # type: ignore[attr-defined]
        world.now += 11
    chi = sum((counts[int(IPv4Address("10.77.0.100")) + i] - 30) ** 2 / 30 for i in range(100))
    assert 50 < chi < 165


async def test_a_range_that_is_nearly_full_costs_as_little_as_an_empty_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """20,000 addresses, 20 free: each DISCOVER looks at a handful of leases and finds one."""
    world = World(inventory([network(subnet="10.64.0.0/10", first="10.64.0.1", last="10.64.78.255")]))
    network_of = world.inventory.networks["lab"]
    await world.server.usage(network_of)
    addresses = world.server.allocation._stocks["lab"].addresses
    for place in range(20, addresses.places):
        at = IPv4Address(addresses.at(place))
        world.store.put(lease(machine(place), at))
    world.restart()
    await world.server.usage(network_of)
    looks = 0
    lease_at = world.store.lease_at

    async def counted(address: IPv4Address) -> Lease | None:
        nonlocal looks
        looks += 1
        return await lease_at(address)

    monkeypatch.setattr(world.store, "lease_at", counted)
    got = set()
    for i in range(20):
        got.add(yiaddr(await world.get_address(Mac.from_bytes(b"\x02\x98\0" + i.to_bytes(3, "big")))))
    assert len(got) == 20 and looks <= 20 * 8
    looks = 0
    assert await world.say(discover(STRANGER)) is None
    assert looks <= 2, "exhausted is known without a search"


async def test_when_the_range_ran_out_is_told_until_there_is_an_address_again() -> None:
    """Since when machines are turned away."""
    world = World(small("10.77.0.101"))
    lab = world.inventory.networks["lab"]
    for i in range(2):
        await world.get_address(machine(i))
    assert (await world.server.usage(lab)).exhausted_since is None, "nobody was turned away yet"
    world.now += 5
    for _ in range(2):
        assert await world.say(discover(machine(9))) is None
        world.now += 5
    assert (await world.server.usage(lab)).exhausted_since == START + 5
    await world.server.forget(await world.store.lease_at(IPv4Address("10.77.0.100")), force=True)  # type: ignore[arg-type]
    assert await world.say(discover(machine(9))) is not None
    assert (await world.server.usage(lab)).exhausted_since is None


async def test_a_reload_moves_the_ranges() -> None:
    """Leases of the old range are renewed no more, new machines get addresses of the new one."""
    world = World(small())
    old = yiaddr(await world.get_address(STRANGER))
    world.inventory = inventory([network(first="10.77.0.150", last="10.77.0.151")])
    got = {yiaddr(await world.get_address(machine(i))) for i in range(2)}
    assert got == {IPv4Address("10.77.0.150"), IPv4Address("10.77.0.151")}
    reply = await world.say(message(STRANGER, Kind.REQUEST, ciaddr=str(old)))
    assert reply is not None and reply.kind is Kind.NAK
    world.inventory = small()
    assert yiaddr(await world.get_address(STRANGER)) == old


# What an operator does


@pytest.mark.parametrize(("answering", "kind"), [(NODE_MACS[0], None), (None, Kind.OFFER)])
async def test_a_card_that_a_reload_took_from_its_node_keeps_the_address_while_it_answers(
    answering: Mac | None, kind: Kind | None
) -> None:
    """The node's new card waits for a machine that is still on, and is served at once where it is gone."""
    world = Asked(inventory(nodes=[Node("m1", "lab", NODE_MACS[:1], NODE_ADDRESS)]))
    await world.get_address(NODE_MACS[0])
    world.inventory = inventory(nodes=[Node("m1", "lab", NODE_MACS[1:], NODE_ADDRESS)])
    world.users = {int(NODE_ADDRESS): answering} if answering else {}
    offer = await world.say(discover(NODE_MACS[1]))
    assert (offer.kind if offer else None) is kind
    reboot = await world.say(message(NODE_MACS[1], Kind.REQUEST, {50: NODE_ADDRESS.packed}))
    assert reboot is not None and reboot.kind is (Kind.ACK if kind else Kind.NAK)
    assert [text for text in world.reported("dhcp_address_held") if str(NODE_MACS[0]) in text] or kind
    assert {address for address, _ in world.asked} == {NODE_ADDRESS}


async def test_two_nodes_that_swap_their_cards_never_share_an_address() -> None:
    """Each running machine is refused at its renewal, and gets its new address when that is silent."""
    one, two = (IPv4Address("10.77.0.21"), IPv4Address("10.77.0.22"))
    a, b = NODE_MACS
    world = Asked(inventory(nodes=[Node("n1", "lab", (a,), one), Node("n2", "lab", (b,), two)]))
    world.users = {int((await world.get_address(mac)).yiaddr): mac for mac in (a, b)}
    world.inventory = inventory(nodes=[Node("n1", "lab", (b,), one), Node("n2", "lab", (a,), two)])
    refused = await world.say(message(a, Kind.REQUEST, ciaddr=str(one)), source=str(one))
    assert refused is not None and refused.kind is Kind.NAK
    del world.users[int(one)]
    assert await world.say(discover(a)) is None  # b still answers there
    refused = await world.say(message(b, Kind.REQUEST, ciaddr=str(two)), source=str(two))
    assert refused is not None and refused.kind is Kind.NAK
    del world.users[int(two)]
    assert (await world.get_address(b)).yiaddr == int(one)
    assert (await world.get_address(a)).yiaddr == int(two)


async def test_a_machine_renews_its_address_after_its_network_got_another_name() -> None:
    """Its lease is filed under the old name; it is the same card's all the same."""
    world = Asked(inventory(nodes=[]))
    world.store = MemoryStore()  # type: ignore[assignment]
    world.restart()
    held = (await world.get_address(STRANGER)).yiaddr
    world.inventory = inventory([network(name="renamed")], nodes=[])
    pools = {name: replace(pool, network="renamed") for name, pool in world.inventory.pools.items()}
    world.inventory = replace(world.inventory, pools=pools)
    renewal = message(STRANGER, Kind.REQUEST, ciaddr=str(IPv4Address(held)))
    reply = await world.say(renewal, source=str(IPv4Address(held)))
    assert reply is not None and (reply.kind, reply.yiaddr) == (Kind.ACK, held)
    (lease,) = await world.store.leases()
    assert (lease.network, int(lease.address)) == ("renamed", held)


async def test_an_operator_releases_what_nobody_uses_and_the_rest_by_force() -> None:
    """The reason says which sign of life there is."""
    world = Asked(small())
    boots = yiaddr(await world.get_address(STRANGER, options=PXE_X64))
    runs = yiaddr(await world.get_address(OTHER_STRANGER, options=SYSTEM))
    server, at = world.server, world.store.by_address
    assert "boots (boot boot-1)" in await server.forget(at[boots], force=False)
    assert "the lease of" in await server.forget(at[runs], force=False)
    world.now += LEASE + 1
    world.users[int(runs)] = None
    assert "answers" in await server.forget(at[runs], force=False)
    world.users.clear()
    world.server.signs_of_life.append(lambda _: True)
    assert "Node object" in await server.forget(at[runs], force=False)
    world.server.signs_of_life.clear()
    world.store.put(replace(at[runs], expires=world.now - 1, last_seen=world.now - 10))
    assert "less than one lease ago" in await server.forget(at[runs], force=False)
    world.now += LEASE
    assert await server.forget(at[runs], force=False) == "" and runs not in at
    stale = replace(at[boots], last_seen=1.0)
    assert "renewed" in await server.forget(stale, force=True)
    assert await server.forget(at[boots], force=True) == "" and at == {}
    assert (await world.usage())[1:3] == (0, 4)


async def test_a_disk_that_refuses_keeps_the_lease() -> None:
    """The operator is told instead of being deceived."""
    world = Asked(small())
    held = yiaddr(await world.get_address(STRANGER))
    world.store.full = True
    with pytest.raises(StoreError):
        await world.server.forget(world.store.by_address[held], force=True)
    assert held in world.store.by_address


async def test_a_decline_rests_the_address_and_shows_who_said_so() -> None:
    """And counts as resting, not as used."""
    world = Asked(small())
    held = yiaddr(await world.get_address(STRANGER, options=SYSTEM))
    await world.say(encode(message(STRANGER, Kind.DECLINE, {50: held.packed, 54: SERVER.packed})))
    (rest,) = await world.server.resting()
    assert (rest.address, rest.cause, rest.mac, rest.until) == (held, "declined", STRANGER, START + RESTS)
    assert await world.usage() == (4, 0, 3, 1)
