"""Other servers' replies as frames that pass by, and clients' REQUESTs to them; built by scapy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from netboot.dhcp.wire import Kind
from netboot.shadow.pcap import Frame
from tests.dhcp.world import (
    NODE_MACS,
    SERVER,
    START,
    STRANGER,
    SYSTEM,
    World,
    inventory,
    message,
    network,
    packed,
)

CARD, FOREIGN = "52:54:00:77:fe:03", "10.77.0.3"
OURS = frozenset({int(SERVER)})


def reply(kind: str = "offer", server: str = FOREIGN, yiaddr: str = "10.77.0.50", op: int = 2) -> Any:
    """A foreign server's reply."""
    options = [("message-type", kind), ("server_id", server), "end"]
    bootp = BOOTP(op=op, yiaddr=yiaddr, chaddr=STRANGER.packed(), xid=1) / DHCP(options=options)
    datagram = IP(src=FOREIGN, dst="255.255.255.255") / UDP(sport=67, dport=68) / bootp
    return Ether(src=CARD, dst="ff:ff:ff:ff:ff:ff") / datagram


def hear(world: World, frame: Any) -> None:
    """Let it pass by."""
    raw = bytes(frame)
    world.server.watch.hear(Frame(START, 1, raw, len(raw), "eth1"), OURS)


@pytest.mark.parametrize("kind", ["offer", "ack", "nak"])
def test_a_foreign_reply_is_reported(kind: str) -> None:
    """Whatever it says, with the card that it came from."""
    world = World()
    for _ in range(3):
        hear(world, reply(kind))
    (text,) = world.reported("dhcp_rival")
    assert FOREIGN in text and CARD in text and STRANGER in text
    assert world.journal.counters["dhcp_replies_of_others"] == 3


@pytest.mark.parametrize(
    "frame",
    [
        reply(server=str(SERVER)),
        reply(kind="discover"),
        reply(op=1),
        Ether(src=CARD) / Dot1Q(vlan=7) / reply()[IP],
        Ether(src=CARD) / IP(src=FOREIGN) / UDP(sport=67, dport=68) / b"junk",
        Ether(src=CARD) / b"junk",
        Ether(src=CARD) / IP(src=str(SERVER)) / UDP(sport=67, dport=68) / reply()[BOOTP],
    ],
    ids=["ours", "no reply", "a request", "another VLAN", "junk in UDP", "junk", "our address"],
)
def test_everything_else_that_passes_by_is_nothing(frame: Any) -> None:
    """Our own replies, frames of another VLAN, broken ones."""
    world = World()
    hear(world, frame)
    assert not world.reported("dhcp_rival")


async def test_a_request_to_another_server_is_reported() -> None:
    """The client chose it; it is not answered by us."""
    world = World()
    chosen = {**SYSTEM, 50: packed("10.77.0.50"), 54: packed(FOREIGN)}
    assert await world.say(message(STRANGER, Kind.REQUEST, chosen)) is None
    (text,) = world.reported("dhcp_rival")
    assert f"{STRANGER} takes 10.77.0.50 from it" in text and "eth1" in text


@pytest.mark.parametrize("server", ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1"])
async def test_a_server_that_cannot_be_is_no_news(server: str) -> None:
    """A broken client names it; it is another server's all the same, and is not answered."""
    world = World()
    chosen = {**SYSTEM, 50: packed("10.77.0.50"), 54: packed(server)}
    assert await world.say(message(STRANGER, Kind.REQUEST, chosen)) is None
    assert not world.reported("dhcp_rival")


async def test_a_relay_agent_that_speaks_for_us_is_no_server() -> None:
    """RFC 5107: it has its own address in option 54, and says so in option 82."""
    world = World(inventory([network(interface=None)]))
    told = {
        **SYSTEM,
        50: packed("10.77.0.20"),
        54: packed("10.77.0.254"),
        82: b"\x0b\x04" + packed("10.77.0.254"),
    }
    await world.say(message(NODE_MACS[0], Kind.REQUEST, told, giaddr="10.77.0.254"))
    assert not world.reported("dhcp_rival")
    told[54] = packed("10.77.0.3")
    await world.say(message(NODE_MACS[0], Kind.REQUEST, told, giaddr="10.77.0.254"))
    (text,) = world.reported("dhcp_rival")
    assert "the relay agent 10.77.0.254" in text


async def test_in_mode_proxy_the_other_server_is_expected() -> None:
    """It gives the addresses there."""
    world = World(inventory([replace(network(), mode="proxy", ranges=())]))
    hear(world, reply())
    chosen = {**SYSTEM, 50: packed("10.77.0.50"), 54: packed(FOREIGN)}
    await world.say(message(STRANGER, Kind.REQUEST, chosen))
    assert not world.reported("dhcp_rival")
