"""Target `beside`: datagrams on ports 67 and 4011 of a network in proxy mode, and frames that pass by there.

A proxy gives no addresses: whatever arrives, no reply has one, or a lease time. `admit` and `limits` are on,
so that their rooms are walked through, too.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from ipaddress import IPv4Address

from netboot.dhcp.route import Unicast
from netboot.dhcp.wire import Kind, Op, Packet, encode
from netboot.errors import MalformedPacket
from netboot.model.inventory import Inventory
from netboot.model.manners import Admit, Limits, Rate
from netboot.net import ipv4_udp
from netboot.shadow.pcap import Frame
from tests.dhcp.world import (
    EVERYBODY,
    HTTP_X64,
    IPXE,
    PXE_BIOS,
    SERVER,
    SYSTEM,
    World,
    inventory,
    message,
    network,
)
from tests.fuzz.bites import Bites
from tests.fuzz.house import MACHINES, OURS, request_of, settle

MAX_LENGTH = 700
MAX_STEPS = 12
ETHERNET = 1
SENDERS = (None, Unicast("10.77.0.55", 68), Unicast("10.77.0.55", 4011))
SPEAKERS = (PXE_BIOS, HTTP_X64, IPXE, SYSTEM)


@functools.cache
def stock() -> Inventory:
    """One network beside a foreign server; few are admitted, and not often."""
    limits = Limits(per_client=Rate(3, 1.0), new_macs=Rate(4, 1.0))
    admit = Admit(macs=frozenset({"52:54:00"}), vendors=("PXEClient", "HTTPClient"))
    return inventory([replace(network(), mode="proxy", ranges=(), admit=admit, limits=limits)])


def one_input(data: bytes) -> None:
    """Read the octets as steps and take them."""
    bites, world = Bites(data), World(stock())
    for _ in range(MAX_STEPS):
        if not bites.left:
            break
        step = bites.byte()
        if step % 4 == 3:
            hear(world, bites)
        else:
            ask(world, bites, SENDERS[step % 4])
        world.now += (step >> 4) / 4
    assert not world.reported("dhcp_internal_error"), world.reported("dhcp_internal_error")[-1]
    assert not world.store.by_address or not stock().networks["lab"].ranges


def said(bites: Bites) -> bytes:
    """A datagram: a client's message with its options, an octet changed, or anything."""
    kind, how = Kind(1 + bites.byte() % 8), bites.byte()
    options = {**SPEAKERS[how & 3], **({43: bites.take(bites.byte() % 32)} if how & 4 else {})}
    whole = bytearray(encode(message(MACHINES[(how >> 4) % len(MACHINES)], kind, options)))
    if how & 8:
        whole[bites.byte()] = bites.byte()
    tail = bites.take(bites.byte()) if how & 0x80 else b""
    return bytes(whole[:-60]) + tail if tail else bytes(whole)


def ask(world: World, bites: Bites, sender: Unicast | None) -> None:
    """One datagram to the server, and what it may say to it."""
    octets, before = said(bites), len(world.port.sent)
    settle(world.server.handle(octets, EVERYBODY, world.port, sender))
    sent = world.port.sent[before:]
    assert len(sent) <= 1
    for _, reply in sent:
        request = request_of(octets)
        assert request is not None, "a reply to what is no request"
        expect_no_address(request, reply)


def expect_no_address(request: Packet, reply: Packet) -> None:
    """What a proxy's reply is made of."""
    assert reply.op == Op.REPLY and (reply.xid, reply.chaddr) == (request.xid, request.chaddr)
    assert reply.yiaddr == 0 and not {1, 3, 50, 51, 58, 59} & reply.options.keys()
    assert reply.u32(54) == int(SERVER)


def hear(world: World, bites: Bites) -> None:
    """A frame of somebody: a server's reply, or octets."""
    octets = said(bites)
    if bites.byte() & 1:
        octets = bytes([Op.REPLY]) + octets[1:]
        card = MACHINES[bites.byte() % len(MACHINES)].packed()
        udp = ipv4_udp(octets, int(IPv4Address("10.77.0.66")), 67, 0xFFFFFFFF, 68, 1)
        octets = b"\xff" * 6 + card + b"\x08\0" + udp
    try:
        world.server.watch.hear(Frame(world.now, ETHERNET, octets, len(octets), "eth1"), OURS)
    except MalformedPacket as error:
        raise AssertionError("what passes by is never answered with an exception") from error


def seeds() -> list[bytes]:
    """Each speaker on each port, and a rival's offer."""
    talks = [bytes([port, kind, how]) for port in (0, 1, 2) for kind in (0, 2, 7) for how in (0, 1, 2, 3, 16)]
    menu = bytes([2, 2, 4, 7, 71, 4, 0x80, 0, 0, 0, 255])
    return [
        b"".join(talks[:12]),
        b"".join(talks[12:24]),
        *talks[::5],
        menu,
        bytes([3, 1, 0, 1, 5, 3, 4, 1, 1, 5]),
    ]
