"""From a captured frame to the DHCP datagram in it: link headers, VLAN tags, IPv4, UDP.

Checksums are not looked at: a host that captures its own packets sees them before its card computed them.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import NamedTuple

from netboot.shadow.pcap import Frame

PORTS = frozenset({67, 68, 4011})
"""DHCP's server and client, and the boot server of PXE."""

_IPV4 = 0x0800
_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
_MOST_TAGS = 4
_UDP = 17
_FRAGMENT = 0x3FFF
"""More fragments follow, or this is not the first one."""


class Datagram(NamedTuple):
    """One UDP datagram of DHCP, and how it travelled."""

    at: float
    interface: str
    """Where it was heard; empty where a capture does not say."""
    source: IPv4Address
    source_port: int
    to: IPv4Address
    port: int
    payload: bytes
    vlans: tuple[int, ...] = ()


class LeftOut(NamedTuple):
    """A frame that is none of ours (no reason), or DHCP that cannot be read."""

    reason: str = ""


_OTHER = LeftOut()


def datagram(frame: Frame) -> Datagram | LeftOut:
    """The datagram of a frame. Never raises."""
    reader = _LINKS.get(frame.link)
    if reader is None:
        return LeftOut(f"frames of link type {frame.link}, which is not known here")
    protocol, at, vlans = reader(frame.data)
    return _ip(frame, at, vlans) if protocol == _IPV4 else _OTHER


_Link = tuple[int, int, tuple[int, ...]]
"""The protocol (an ethertype, 0 for none of ours), where it starts, the VLAN tags before it."""

_NOTHING: _Link = (0, 0, ())


def _ethernet(data: bytes) -> _Link:
    return _tagged(data, 12)


def _tagged(data: bytes, at: int) -> _Link:
    """From an ethertype on, over the VLAN tags (IEEE 802.1Q, 802.1ad)."""
    vlans: tuple[int, ...] = ()
    while len(data) >= at + 2:
        protocol = data[at] << 8 | data[at + 1]
        if protocol not in _TAGS:
            return protocol, at + 2, vlans
        if len(vlans) >= _MOST_TAGS or len(data) < at + 4:
            break
        vlans += ((data[at + 2] << 8 | data[at + 3]) & 0x0FFF,)
        at += 4
    return _NOTHING


def _cooked(data: bytes) -> _Link:
    """Linux cooked capture: 14 octets, then the ethertype."""
    return _tagged(data, 14)


def _cooked2(data: bytes) -> _Link:
    """Linux cooked capture, version 2: the ethertype, then 18 octets; a tag stands after them."""
    if len(data) < 20:
        return _NOTHING
    protocol = data[0] << 8 | data[1]
    if protocol not in _TAGS:
        return protocol, 20, ()
    if len(data) < 24:
        return _NOTHING
    inner, at, vlans = _tagged(data, 22)
    return inner, at, ((data[20] << 8 | data[21]) & 0x0FFF, *vlans)


def _raw(data: bytes) -> _Link:
    return (_IPV4, 0, ()) if data and data[0] >> 4 == 4 else _NOTHING


def _loopback(data: bytes) -> _Link:
    """BSD's loopback: the address family in four octets, in either byte order; AF_INET is 2 everywhere."""
    return (
        (_IPV4, 4, ()) if 2 in struct.unpack("<I", data[:4].ljust(4, b"\0")) or _is_inet(data) else _NOTHING
    )


def _is_inet(data: bytes) -> bool:
    return data[:4] == b"\0\0\0\2"


_LINKS = {
    0: _loopback,
    1: _ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: _loopback,
    113: _cooked,
    228: _raw,
    276: _cooked2,
}
"""How each link type is read."""


def _ip(frame: Frame, at: int, vlans: tuple[int, ...]) -> Datagram | LeftOut:
    data = frame.data
    if len(data) < at + 20 or data[at] >> 4 != 4 or data[at + 9] != _UDP:
        return _OTHER
    udp = at + (data[at] & 15) * 4
    pieces = data[at + 6] << 8 | data[at + 7]
    if udp < at + 20 or len(data) < udp + 8 or pieces & 0x1FFF:
        return _OTHER  # further fragments have no ports; the first one was counted
    source_port, port, size, _ = struct.unpack_from("!HHHH", data, udp)
    if source_port not in PORTS and port not in PORTS:
        return _OTHER
    if pieces & _FRAGMENT:
        return LeftOut("DHCP messages in IP fragments")
    if size < 8 or udp + size > len(data):
        cut = frame.size > len(data)
        return LeftOut("DHCP messages that the capture cut (tcpdump -s 0 keeps all)" if cut else "broken UDP")
    source, to = IPv4Address(data[at + 12 : at + 16]), IPv4Address(data[at + 16 : at + 20])
    payload = data[udp + 8 : udp + size]
    return Datagram(frame.at, frame.interface, source, source_port, to, port, payload, vlans)
