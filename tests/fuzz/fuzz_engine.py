"""Target `engine`: sequences of datagrams of several machines, each promise checked after each of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from ipaddress import IPv4Address

from netboot.dhcp.wire import Kind, Packet, encode
from netboot.model.machine import Mac
from tests.dhcp.world import HTTP_X64, IPXE, PXE_BIOS, SYSTEM, message
from tests.fuzz.bites import Bites
from tests.fuzz.house import ELSEWHERE, MACHINES, MOVED, OURS, RELAY, House

MAX_LENGTH = 256
MAX_STEPS = 40

ADDRESSES = (
    *(int(IPv4Address(f"10.77.0.{i}")) for i in (0, 1, 20, 99, 100, 101, 102, 103, 104, 105, 254, 255)),
    *(int(IPv4Address(f"10.78.0.{i}")) for i in (1, 30, 100, 101, 102)),
    MOVED, ELSEWHERE, 0, 0xFFFFFFFF,
)  # fmt: skip
SERVERS = (*sorted(OURS), ELSEWHERE, 0)
RELAYS = (0, 0, 0, 0, RELAY, RELAY, ELSEWHERE, 0x7F000001)
SPEAKERS: tuple[Mapping[int, bytes], ...] = ({}, SYSTEM, PXE_BIOS, HTTP_X64, IPXE)
PASSING = (1.0, 9.0, 59.0, 400.0, 1001.0, 4000.0)


def one_input(data: bytes) -> None:
    """Read the octets as steps and take them."""
    bites, house = Bites(data), House()
    for _ in range(MAX_STEPS):
        if not bites.left:
            return
        STEPS[bites.byte() % len(STEPS)](house, bites)


def request(bites: Bites, kind: Kind, mac: Mac, options: dict[int, bytes], ciaddr: int = 0) -> Packet:
    """A message of a machine; the next octet chooses relay and speaker."""
    flavour = bites.byte()
    giaddr = RELAYS[flavour & 7]
    said = {**SPEAKERS[(flavour >> 3) % len(SPEAKERS)], **options}
    if flavour & 0x80:
        said[82] = b"\1\3ge1"
    plain = _plain(mac, kind)
    flags = 0x8000 if flavour & 0x40 else 0
    return plain._replace(
        flags=flags, xid=flavour, ciaddr=ciaddr, giaddr=giaddr, options={**plain.options, **said}
    )


@functools.cache
def _plain(mac: Mac, kind: Kind) -> Packet:
    return message(mac, kind)


def discover(house: House, bites: Bites) -> None:
    """A DISCOVER, perhaps with a wish."""
    mac, wish = bites.pick(MACHINES), bites.pick(ADDRESSES)
    options = {50: wish.to_bytes(4, "big")} if wish else {}
    house.say(encode(request(bites, Kind.DISCOVER, mac, options)))


def select(house: House, bites: Bites) -> None:
    """Take the last OFFER, each as a good client does, or with somebody else's numbers."""
    mac = bites.pick(MACHINES)
    offer = house.offers.get(mac)
    if offer is None:
        return discover(house, bites)
    options = {50: offer.yiaddr.to_bytes(4, "big"), 54: offer.options[54]}
    house.say(encode(request(bites, Kind.REQUEST, mac, options)._replace(giaddr=offer.giaddr)))
    return None


def claim(house: House, bites: Bites) -> None:
    """A REQUEST with any address and any server, in any state."""
    mac, asked, server = bites.pick(MACHINES), bites.pick(ADDRESSES), bites.pick(SERVERS)
    options = {50: asked.to_bytes(4, "big")} if asked else {}
    if server:
        options[54] = server.to_bytes(4, "big")
    house.say(encode(request(bites, Kind.REQUEST, mac, options)))


def renew(house: House, bites: Bites) -> None:
    """A REQUEST from an address, the machine's own or another."""
    mac, address = bites.pick(MACHINES), bites.pick(ADDRESSES)
    own = [number for number, held in house.held.items() if held.mac == mac]
    house.say(encode(request(bites, Kind.REQUEST, mac, {}, own[0] if own and address else address)))


def give_back(house: House, bites: Bites) -> None:
    """RELEASE or DECLINE, by the holder or by anybody."""
    kind = bites.pick((Kind.RELEASE, Kind.DECLINE))
    mac, address, server = bites.pick(MACHINES), bites.pick(ADDRESSES), bites.pick(SERVERS)
    own = [number for number, held in house.held.items() if held.mac == mac]
    address = own[0] if own and address > MOVED else address
    options = {54: server.to_bytes(4, "big")} if server else {}
    if kind is Kind.DECLINE:
        options[50] = address.to_bytes(4, "big")
    house.say(encode(request(bites, kind, mac, options, address if kind is Kind.RELEASE else 0)))


def inform(house: House, bites: Bites) -> None:
    """An INFORM."""
    mac, address = bites.pick(MACHINES), bites.pick(ADDRESSES)
    house.say(encode(request(bites, Kind.INFORM, mac, {}, address)))


def odd(house: House, bites: Bites) -> None:
    """Any kind with any options."""
    packet = request(bites, Kind(1 + bites.byte() % 8), bites.pick(MACHINES), {})
    raw = bites.take(bites.byte())
    house.say(encode(packet)[: 240 + 3] + raw)


def raw(house: House, bites: Bites) -> None:
    """A good message with an octet of its header changed, or no message at all."""
    whole = bytearray(encode(request(bites, Kind.DISCOVER, bites.pick(MACHINES), {})))
    at = bites.byte()
    whole[at % len(whole)] = bites.byte()
    house.say(bytes(whole) if at & 0x80 else bites.take(bites.byte()))


def pass_time(house: House, bites: Bites) -> None:
    """Wait."""
    house.pass_time(bites.pick(PASSING))


def happen(house: House, bites: Bites) -> None:
    """A restart, a reload, a disk that fills up or heals."""
    what = bites.byte() % 4
    if what == 0:
        house.restart()
    elif what == 1:
        house.reload()
    else:
        house.break_disk(what == 2)


STEPS = (discover, select, select, claim, claim, renew, give_back, inform, odd, raw, pass_time, happen)


def seeds() -> list[bytes]:
    """Whole exchanges, one in each state, and a crowd."""
    exchange = bytes([0, 4, 17, 0, 1, 4, 0])
    others = [bytes([0, mac, 17, 0, 1, mac, 0]) for mac in range(len(MACHINES))]
    return [
        exchange,
        exchange + bytes([5, 4, 1, 0]),
        exchange + bytes([6, 0, 4, 18, 0, 0]),
        exchange + bytes([10, 4]) + others[5],
        exchange + bytes([11, 1]) + others[2],
        b"".join(others),
        bytes([0, 4, 17, 4, 1, 4, 4, 7, 4, 13, 0, 11, 0, 3, 4, 5, 0, 4]),
    ]
