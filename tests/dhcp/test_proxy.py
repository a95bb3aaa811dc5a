"""Beside another DHCP server: what to boot and never an address, for each firmware, on both ports."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netboot.dhcp import proxy
from netboot.dhcp.origin import Origin
from netboot.dhcp.route import Unicast
from netboot.dhcp.wire import FLAG_BROADCAST, Kind, Packet, encode
from netboot.model.inventory import BootOverride, Inventory, Network
from netboot.model.machine import Mac
from tests.dhcp.world import (
    HTTP_X64,
    IPXE,
    NODE_ADDRESS,
    NODE_MACS,
    PXE_BIOS,
    PXE_X64,
    SERVER,
    STRANGER,
    SYSTEM,
    World,
    discover,
    inventory,
    message,
    network,
    packed,
)

OTHER = "10.77.0.3"
"""The network's own DHCP server."""
UUID = {97: bytes(17)}


def proxied(**fields: object) -> Network:
    """The lab's network, its addresses in the hands of another server."""
    return replace(network(), mode="proxy", ranges=(), **fields)  # type: ignore[arg-type]


def world(stock: Inventory | None = None) -> World:
    """A server beside another one."""
    return World(stock or inventory([proxied()]))


def taking(mac: Mac, wanted: str, options: dict[int, bytes], **fields: object) -> Packet:
    """The broadcast REQUEST by which a machine takes an address of the other server."""
    chosen = {50: packed(wanted), 54: packed(OTHER)}
    return message(mac, Kind.REQUEST, {**chosen, **options}, **fields)  # type: ignore[arg-type]


async def ask_4011(at: World, packet: Packet, host: str = "10.77.0.50", port: int = 4011) -> Packet | None:
    """One request on port 4011; what comes back."""
    before = len(at.port.sent)
    await at.server.handle(encode(packet), Origin(host, port), at.port, Unicast(host, port))
    return at.port.sent[-1][1] if len(at.port.sent) > before else None


@pytest.mark.parametrize(
    ("said", "vendor", "program", "option_43"),
    [
        (PXE_BIOS, b"PXEClient", b"undionly.kpxe", bytes.fromhex("060108ff")),
        (PXE_X64, b"PXEClient", b"snponly.efi", None),
        (HTTP_X64, b"HTTPClient", b"http://10.77.0.1/programs/snponly.efi", None),
        (IPXE, b"PXEClient", b"http://10.77.0.1/boot.ipxe", None),
    ],
    ids=["bios", "uefi", "uefi-http", "ipxe"],
)
async def test_an_offer_says_what_to_boot_and_carries_no_address(
    said: dict[int, bytes], vendor: bytes, program: bytes, option_43: bytes | None
) -> None:
    """Class, server, file in each field where firmware looks, the UUID as it came; no lease, no router."""
    beside = world()
    offer = await beside.say(discover(STRANGER, {**said, **UUID, 55: bytes([1, 3, 6, 51, 66, 67])}))
    assert offer is not None and offer.kind is Kind.OFFER
    assert (offer.yiaddr, offer.ciaddr, offer.siaddr) == (0, 0, int(SERVER))
    assert offer.options[54] == SERVER.packed
    assert offer.options[60] == vendor
    assert offer.options[67] == program + b"\0" and offer.file == program
    assert offer.options.get(43) == option_43
    assert offer.options[97] == UUID[97]
    assert offer.options.keys() <= {43, 53, 54, 60, 66, 67, 97, 150}
    assert beside.way == "broadcast" and offer.flags & FLAG_BROADCAST
    assert not await beside.store.leases()


async def test_ipxe_is_not_told_to_ignore_proxies() -> None:
    """`no-pxedhcp` in option 175, which a whole server's offer has, would be said of ourselves."""
    offer = await world().say(discover(STRANGER, IPXE))
    assert offer is not None and 175 not in offer.options


@pytest.mark.parametrize("kind", [Kind.DISCOVER, Kind.REQUEST, Kind.INFORM, Kind.RELEASE, Kind.DECLINE])
async def test_a_running_system_is_never_answered(kind: Kind) -> None:
    """It belongs to the other server, declared or not; nothing of it is written down."""
    beside = world()
    for mac in (STRANGER, NODE_MACS[0]):
        said = {**SYSTEM, 50: packed("10.77.0.50"), 54: packed(OTHER)}
        assert await beside.say(message(mac, kind, said, ciaddr="10.77.0.50")) is None
    assert not await beside.store.leases() and not beside.boots.all()
    assert not beside.journal.events(), "it is no news that machines run"


@pytest.mark.parametrize("port", [68, 4011])
async def test_port_4011_acknowledges_to_the_port_that_asked(port: int) -> None:
    """EDK2 asks from 4011, BIOS ROMs from 68; no address there either, but ciaddr as it came."""
    beside = world()
    asked = message(STRANGER, Kind.REQUEST, {**PXE_X64, **UUID}, ciaddr="10.77.0.50")
    ack = await ask_4011(beside, asked, port=port)
    assert ack is not None and ack.kind is Kind.ACK
    assert beside.way == f"udp 10.77.0.50:{port}"
    assert (ack.yiaddr, ack.ciaddr) == (0, int(IPv4Address("10.77.0.50")))
    assert (ack.file, ack.siaddr) == (b"snponly.efi", int(SERVER))
    assert ack.options[60] == b"PXEClient" and ack.options[54] == SERVER.packed
    assert 43 not in ack.options


async def test_a_boot_server_request_from_port_4011_raises_no_doubt() -> None:
    """Any program may take that port, but such a request opens no boot where its DISCOVER was heard."""
    beside = world()
    await beside.say(discover(STRANGER, PXE_X64))
    asked = message(STRANGER, Kind.REQUEST, {**PXE_X64, **UUID}, ciaddr="10.77.0.50")
    assert await ask_4011(beside, asked)
    (boot,) = beside.boots.all()
    assert boot.doubt == "" and not beside.reported("dhcp_identity_doubted")


async def test_port_4011_answers_who_has_no_address_by_broadcast() -> None:
    """A ROM that found no server in the offer asks everybody there."""
    beside = world()
    assert await ask_4011(beside, discover(STRANGER, PXE_BIOS), host="0.0.0.0", port=68) is not None
    assert beside.way == "broadcast"


async def test_port_4011_leaves_running_systems_and_whole_servers_networks_alone() -> None:
    """It is there for firmware beside another server."""
    assert await ask_4011(world(), message(STRANGER, Kind.REQUEST, SYSTEM, ciaddr="10.77.0.50")) is None
    asked = message(STRANGER, Kind.REQUEST, PXE_X64, ciaddr="10.77.0.50")
    assert await ask_4011(World(), asked) is None


async def test_the_timeline_tells_what_was_asked_where() -> None:
    """OFFER, the other server's address, port 4011: so that a boot shows which of them is missing."""
    beside = world()
    await beside.say(discover(STRANGER, PXE_X64))
    await beside.say(taking(STRANGER, "10.77.0.50", PXE_X64))
    for _ in range(2):
        await ask_4011(beside, message(STRANGER, Kind.REQUEST, PXE_X64, ciaddr="10.77.0.50"))
    boot = beside.boots.current(STRANGER)
    assert boot is not None
    assert [(s.step, s.detail) for s in boot.steps[1:]] == [
        ("offer", "no address: its own DHCP server gives it one; snponly.efi"),
        ("ack", "10.77.0.50 of its DHCP server 10.77.0.3; port 4011: snponly.efi"),
    ]


async def test_unknown_systems_are_no_news_where_another_server_has_all_of_them() -> None:
    """An office's laptops are not ours to report; firmware that nobody declared is."""
    beside = world(inventory([proxied()], catch_all=False))
    assert await beside.say(discover(STRANGER, SYSTEM)) is None
    assert not beside.journal.events()
    assert await beside.say(discover(STRANGER, PXE_X64)) is None
    assert beside.reported("dhcp_no_match")


async def test_a_request_on_port_4011_proves_no_address() -> None:
    """Only the broadcast REQUEST to the DHCP server is taken for the machine's address."""
    beside = world()
    await ask_4011(beside, message(STRANGER, Kind.REQUEST, PXE_X64, ciaddr="10.77.0.50"))
    assert not await beside.store.leases()


async def test_a_boot_item_comes_back_as_it_was_asked_for() -> None:
    """Type 0 is a bootstrap server, which we are; items of menus that we never showed are not ours."""
    beside = world()
    item = bytes.fromhex("470400000000ff")
    ack = await ask_4011(beside, message(STRANGER, Kind.REQUEST, {**PXE_X64, 43: item}, ciaddr="10.77.0.50"))
    assert ack is not None and ack.options[43] == item
    other = bytes.fromhex("470400010000ff")
    asked = message(STRANGER, Kind.REQUEST, {**PXE_X64, 43: other}, ciaddr="10.77.0.50")
    assert await ask_4011(beside, asked) is None


@pytest.mark.parametrize("raw", ["", "47", "4704", "470400", "4705000000", "ff", "0000", "4703000000"])
def test_a_broken_option_43_asks_for_no_item(raw: str) -> None:
    """Cut or padded sub-options are read as far as they are whole."""
    assert proxy.boot_item(message(STRANGER, Kind.REQUEST, {43: bytes.fromhex(raw)})) is None


async def test_a_relayed_machine_is_offered_through_its_relay() -> None:
    """Relays forward to several servers; the relay must broadcast, for we give no address to send to."""
    beside = world(inventory([proxied(interface=None)]))
    agent = b"\x01\x03ge1"
    offer = await beside.say(discover(STRANGER, {**PXE_BIOS, 82: agent}, giaddr="10.77.0.254"))
    assert offer is not None and offer.flags & FLAG_BROADCAST
    assert beside.way == "udp 10.77.0.254:67"
    assert list(offer.options.items())[-1] == (82, agent)


async def test_one_interface_may_have_networks_of_both_modes() -> None:
    """A declared machine is answered as its own network wants it."""
    second = replace(proxied(), name="office")
    stock = inventory([replace(network(subnet="10.78.0.0/24"), name="lab"), second], catch_all=False)
    both = World(
        replace(
            stock,
            pools={**stock.pools, "far": replace(stock.pools["lab"], name="far", network="office")},
            nodes=(
                *stock.nodes,
                replace(stock.nodes[0], name="m2", pool="far", macs=(STRANGER,), address=None),
            ),
        )
    )
    whole = await both.say(discover(NODE_MACS[0], PXE_BIOS))
    bare = await both.say(discover(STRANGER, PXE_BIOS))
    assert whole is not None and whole.yiaddr == int(NODE_ADDRESS)
    assert bare is not None and bare.yiaddr == 0


async def test_a_nodes_own_program_and_options_count_here_too() -> None:
    """What the table is wrong about, the operator says for one node."""
    own = inventory([proxied()], boot=BootOverride("own.efi", ("no-option-60",)))
    offer = await world(own).say(discover(NODE_MACS[0], PXE_X64))
    assert offer is not None and offer.file == b"own.efi" and 60 not in offer.options
    menu = inventory([proxied()], node_options={43: "hex:0a0400504b45ff", 67: "menu.efi"})
    offer = await world(menu).say(discover(NODE_MACS[0], PXE_X64))
    assert offer is not None and offer.options[43] == bytes.fromhex("0a0400504b45ff")
    assert offer.file == b"menu.efi"


async def test_a_nodes_own_server_and_long_names_find_their_fields() -> None:
    """Another TFTP server is told at last on port 4011: UEFI asks that port of the server in the OFFER."""
    own = inventory([proxied()], node_options={66: "10.77.0.9", 67: "x" * 200})
    beside = world(own)
    offer = await beside.say(discover(NODE_MACS[0], PXE_X64))
    assert offer is not None and (offer.siaddr, offer.sname) == (int(SERVER), b"10.77.0.9")
    assert offer.file == b"" and offer.options[67].startswith(b"xxx")
    ack = await ask_4011(beside, message(NODE_MACS[0], Kind.REQUEST, PXE_X64, ciaddr="10.77.0.50"))
    assert ack is not None and ack.siaddr == int(IPv4Address("10.77.0.9"))
    bios = await beside.say(discover(NODE_MACS[0], PXE_BIOS))
    assert bios is not None and bios.siaddr == int(IPv4Address("10.77.0.9"))


async def test_firmware_without_a_program_of_ours_hears_nothing() -> None:
    """There is nothing to add to the other server's answer; one event says so."""
    beside = world()
    assert await beside.say(discover(STRANGER, {**PXE_X64, 93: b"\0\x06"})) is None
    (text,) = beside.reported("dhcp_no_program")
    assert "32-bit" in text


_OPTIONS = st.dictionaries(st.sampled_from([43, 50, 54, 60, 77, 82, 93, 97, 175]), st.binary(max_size=40))


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(Kind), options=_OPTIONS, port_4011=st.booleans(), flags=st.sampled_from([0, 0x8000])
)
def test_whatever_is_said_no_address_leaves(
    kind: Kind, options: dict[int, bytes], port_4011: bool, flags: int
) -> None:
    """Any message with any options: silence, or a reply without address, and no error of ours."""
    beside = world()
    packet = encode(message(STRANGER, kind, options, flags=flags, ciaddr="10.77.0.50"))
    sender = Unicast("10.77.0.50", 68) if port_4011 else None
    asyncio.run(beside.server.handle(packet, Origin("10.77.0.50", 68), beside.port, sender))
    assert all(reply.yiaddr == 0 for _, reply in beside.port.sent)
    assert not beside.journal.counters["dhcp_internal_error"]
