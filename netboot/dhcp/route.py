"""Where a reply goes (RFC 2131 section 4.1), as a value: `net` knows how to send it there."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.dhcp.wire import FLAG_BROADCAST, Kind, Packet
from netboot.model.machine import Mac

SERVER_PORT, CLIENT_PORT = 67, 68


@dataclass(frozen=True, slots=True)
class Unicast:
    """A plain UDP datagram: to a relay agent, or to a client that has its address already."""

    host: str
    """The address as text, as a socket takes it."""
    port: int


@dataclass(frozen=True, slots=True)
class LinkLayer:
    """A frame to a card whose machine cannot answer ARP for `address` yet."""

    mac: Mac
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Broadcast:
    """To everybody on the link that the request came from."""


Destination = Unicast | LinkLayer | Broadcast

BROADCAST = Broadcast()


def destination(
    request: Packet, kind: Kind, mac: Mac, yiaddr: IPv4Address | None, *, on_link: bool = True
) -> Destination:
    """Where the reply of this kind to this request goes; `yiaddr` is the address it gives, None for none.

    A DISCOVER's ciaddr is ignored: it has to be zero, and what broken clients leave there is not theirs.
    `on_link`: whether a broadcast reaches the client. A NAK to one that renews past its relay agent does not.
    """
    if request.giaddr:
        return _unicast(request.giaddr, SERVER_PORT)
    if kind is Kind.NAK:
        return _unicast(request.ciaddr, CLIENT_PORT) if request.ciaddr and not on_link else BROADCAST
    if request.ciaddr and kind is Kind.ACK:
        return _unicast(request.ciaddr, CLIENT_PORT)
    if request.flags & FLAG_BROADCAST or yiaddr is None:
        return BROADCAST
    return LinkLayer(mac, yiaddr)


@functools.lru_cache(maxsize=1024)
def _unicast(number: int, port: int) -> Unicast:
    return Unicast(str(IPv4Address(number)), port)


def reply_flags(request: Packet, kind: Kind) -> int:
    """`flags` of the reply: the request's, and a relayed NAK asks the relay to broadcast (section 4.3.2)."""
    relayed_nak = kind is Kind.NAK and request.giaddr != 0
    return request.flags | FLAG_BROADCAST if relayed_nak else request.flags
