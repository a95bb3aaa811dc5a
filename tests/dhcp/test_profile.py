"""What a machine is told, as bytes: ranks of options, lease times, room in the message, sharing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netboot.dhcp.options import client_of
from netboot.dhcp.profile import Group, group_of, lease_options, shared
from netboot.dhcp.wire import Packet, decode, encode_with
from netboot.model.inventory import INFINITE, Assignment, BootOverride, Inventory, OptionValue
from netboot.model.machine import Mac
from tests.dhcp.world import (
    NODE_MACS,
    PXE_BIOS,
    PXE_X64,
    SERVER,
    STRANGER,
    SYSTEM,
    World,
    discover,
    inventory,
    network,
    packed,
)


def assignment(mac: Mac = NODE_MACS[0], stock: Inventory | None = None) -> Assignment:
    """What a card belongs to."""
    stock = stock or inventory()
    found = stock.match(client_of(discover(mac)), stock.networks.values())
    assert isinstance(found, Assignment)
    return found


def told(group: Group, options: dict[int, bytes], limit: int = 1200, duration: float | None = 60.0) -> Packet:
    """The options of a reply, read back."""
    request = discover(NODE_MACS[0], options)
    client = client_of(request)
    tail = group.tail(client, group.quirks(client), options.get(55, b""), duration, limit)
    assert len(tail.before) + len(tail.after) <= limit
    return decode(encode_with(request, tail.before + tail.after))


def group(node_options: dict[int, OptionValue] | None = None, **fields: dict[int, OptionValue]) -> Group:
    """The group of the declared node."""
    return group_of(assignment(stock=inventory(node_options=node_options, **fields)), SERVER, 80)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("duration", "fields", "expected"),
    [
        (300.0, {}, (300, 150, 262)),
        (43200.0, {}, (43200, 21600, 37800)),
        (43200.0, {"renew": 60.0, "rebind": 90.0}, (43200, 60, 90)),
        (300.0, {"renew": 60.0, "rebind": 90.0}, (300, 150, 262)),
        (INFINITE, {"renew": 60.0}, (0xFFFFFFFF,)),
    ],
)
def test_t1_and_t2_follow_the_lease_that_is_given(
    duration: float, fields: dict[str, float], expected: tuple[int, ...]
) -> None:
    """`renew` and `rebind` count for the network's whole lease; the boot lease has its own half and 7/8."""
    raw = lease_options(replace(network(), **fields), duration)  # type: ignore[arg-type]
    found = decode(encode_with(discover(STRANGER), b"".join(raw.values()))).options
    assert tuple(int.from_bytes(found[code], "big") for code in (51, 58, 59) if code in found) == expected


def test_the_stronger_option_wins() -> None:
    """Node over tag over network; the network's own keys are the weakest."""
    mine = group({3: "10.77.0.9"}, tag_options={3: "10.77.0.8", 6: "10.77.0.7"})
    found = told(mine, SYSTEM).options
    assert (found[3], found[6], found[15]) == (packed("10.77.0.9"), packed("10.77.0.7"), b"lab.test")


def test_an_option_that_cannot_be_written_is_named_and_left_out() -> None:
    """The others stay."""
    mine = group({26: "wide", 42: "10.77.0.9"})
    assert len(mine.skipped) == 1 and "mtu-interface" in mine.skipped[0]
    assert 42 in told(mine, {}).options and 26 not in told(mine, {}).options


def test_what_the_protocol_computes_is_never_the_operators() -> None:
    """51, 54 and 12 come from the lease, the network and the name."""
    found = told(group({51: 5, 54: "10.9.9.9", 12: "other"}), {}).options
    assert found[54] == SERVER.packed and found[51] == (60).to_bytes(4, "big") and 12 not in found


def test_the_least_important_is_left_out_first() -> None:
    """Server and lease times stay in the smallest message, then mask, router and the boot file."""
    mine = group(tag_options={code: "hex:" + "ab" * 100 for code in range(224, 240)})
    assert set(told(mine, PXE_BIOS, limit=120).options) >= {54, 51, 58, 59, 1, 3, 66, 67, 43, 60}
    assert set(told(mine, PXE_BIOS, limit=24).options) == {54, 51, 58, 59}


def test_the_same_question_is_answered_from_the_same_bytes() -> None:
    """A limit that bites once does not spoil what others get."""
    mine = group()
    full = told(mine, PXE_X64).options
    told(mine, PXE_X64, limit=40)
    assert told(mine, PXE_X64).options == full


async def test_machines_of_one_pool_share_what_they_are_told() -> None:
    """A hundred thousand nodes cost one set of options, and each has its own name all the same."""
    world = World()
    names = set()
    for i in range(50):
        ack = await world.get_address(Mac.from_bytes(b"\x02\0\0\0\0" + bytes([i])), options=SYSTEM)
        names.add(ack.options[12])
    assert len(names) == 50
    assert len(world.server.present.site()) == 1


def test_a_node_with_options_of_its_own_shares_nothing() -> None:
    """Neither do nodes whose firmware is told something else."""
    assert shared(assignment()) and shared(assignment(STRANGER))
    assert not shared(assignment(stock=inventory(node_options={26: 9000})))
    assert not shared(assignment(stock=inventory(boot=BootOverride(program="own.efi"))))
