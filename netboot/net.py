"""The DHCP sockets of an interface, frames to machines without an address, and what the kernel knows.

The only room that knows DHCP's sockets. They are made as root (or with NET_RAW, NET_ADMIN is not needed)
and used after root is dropped.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from netboot.datagrams import CONTROL, IP_PKTINFO, Arrival, Datagram, Inbox, Outbox, is_to_all
from netboot.errors import StartError
from netboot.model.machine import Mac

MAX_DATAGRAM = 4096
"""Octets read of a datagram; a longer one is cut one octet later, so that its reader can refuse it."""

MAX_REPLY = 1500
"""Octets of a datagram that is sent with others."""

_RECEIVE_BUFFER = 4 * 1024 * 1024
_SIOCGIFHWADDR = 0x8927
_ETHERTYPE_IPV4 = 0x0800
_BROADCAST_MAC = b"\xff" * 6
_BROADCAST = IPv4Address("255.255.255.255")

_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBHII")
_UDP = struct.Struct("!HHHH")


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface as the kernel has it now."""

    name: str
    index: int
    mac: Mac | None
    """None where it has no Ethernet address (lo has zeros)."""
    addresses: tuple[IPv4Address, ...]


def interface(name: str) -> Interface:
    """The facts of one interface. Raises StartError where it does not exist."""
    try:
        index = socket.if_nametoindex(name)
        mac = _hardware_address(name)
    except OSError:
        have = ", ".join(sorted(n for _, n in socket.if_nameindex())) or "none"
        raise StartError(
            f"there is no interface {name}",
            f"Name one that exists in server.interfaces or in the network's interface (here are: {have}).",
        ) from None
    return Interface(name, index, mac, addresses(index))


def _hardware_address(name: str) -> Mac | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, _SIOCGIFHWADDR, struct.pack("256s", name.encode()[:15]))
    raw = answer[18:24]
    return Mac.from_bytes(raw) if any(raw) else None


class Endpoint:
    """One port (67, or 4011) of one interface: datagrams in, and datagrams or frames out. Never blocks."""

    def __init__(
        self, facts: Interface, udp: socket.socket, packet: socket.socket | None, port: int = 67
    ) -> None:
        self.facts = facts
        self._udp = udp
        self._packet = packet
        self._port = port
        self._id = 0
        self._inbox, self._outbox = Inbox(MAX_DATAGRAM + 1), Outbox(MAX_REPLY)

    @property
    def name(self) -> str:
        """The interface's name."""
        return self.facts.name

    @property
    def addresses(self) -> tuple[IPv4Address, ...]:
        """The interface's own addresses, as they were when it was opened."""
        return self.facts.addresses

    def fileno(self) -> int:
        """The socket that becomes readable when a datagram arrives."""
        return self._udp.fileno()

    def sockets(self) -> list[socket.socket]:
        """Every socket, for whoever keeps duplicates of them."""
        return [self._udp, self._packet] if self._packet else [self._udp]

    def first(self) -> Arrival | None:
        """The datagram that waits longest, None where none does: at half the cost of `receive`."""
        try:
            data, control, _, (host, port) = self._udp.recvmsg(MAX_DATAGRAM + 1, CONTROL)
        except OSError:
            return None
        return data, host, port, is_to_all(control)

    def receive(self, most: int) -> list[Arrival]:
        """At most `most` datagrams that wait, each with its source's address and port.

        None while the link is down; the next datagram shows that it is back.
        """
        return self._inbox.receive(self._udp.fileno(), most)

    def unicast(self, payload: bytes, host: str, port: int, source: IPv4Address) -> None:
        """Send a plain datagram to an address written as text, from ours. Raises OSError."""
        if not self._pinned(source):
            self._udp.sendto(payload, (host, port))
            return
        info = struct.pack("@i4s4s", self.facts.index, source.packed, b"\0\0\0\0")
        self._udp.sendmsg([payload], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, (host, port))

    def unicasts(self, datagrams: Sequence[Datagram], source: IPv4Address) -> list[OSError]:
        """Send many plain datagrams, from ours; what went wrong."""
        if not self._pinned(source):
            return self._outbox.send(self._udp.fileno(), datagrams)
        failed = []
        for payload, host, port in datagrams:
            try:
                self.unicast(payload, host, port, source)
            except OSError as error:
                failed.append(error)
        return failed

    def _pinned(self, source: IPv4Address) -> bool:
        """Whether the kernel has to be told the source: not where it is its own choice, nor where it came
        later and cannot be pinned."""
        own = self.facts.addresses
        return len(own) > 1 and source in own[1:]

    def frame(self, payload: bytes, mac: Mac, to: IPv4Address, source: IPv4Address, port: int = 68) -> None:
        """Send to a card whose machine answers no ARP yet; by broadcast where frames are not ours to send.

        Raises OSError.
        """
        self._send(payload, mac.packed(), to, source, port)

    def broadcast(self, payload: bytes, source: IPv4Address, port: int = 68) -> None:
        """Send to everybody on the link. Raises OSError."""
        self._send(payload, _BROADCAST_MAC, _BROADCAST, source, port)

    def _send(self, payload: bytes, mac: bytes, to: IPv4Address, source: IPv4Address, port: int) -> None:
        if self._packet is None or self.facts.mac is None:
            self.unicast(payload, str(_BROADCAST), port, source)
            return
        self._id = (self._id + 1) & 0xFFFF
        datagram = ipv4_udp(payload, int(source), self._port, int(to), port, self._id)
        header = _ETHERNET.pack(mac, self.facts.mac.packed(), _ETHERTYPE_IPV4)
        self._packet.send(header + datagram)

    def close(self) -> None:
        """Close the sockets; the endpoint is not used again."""
        for each in self.sockets():
            each.close()


def open_endpoint(name: str, port: int = 67) -> Endpoint:
    """Bind DHCP's port on one interface. Raises StartError with the remedy."""
    facts = interface(name)
    udp = _bound(name, port)
    try:
        return Endpoint(facts, udp, _packet_socket(facts), port)
    except BaseException:
        udp.close()
        raise


def _bound(name: str, port: int) -> socket.socket:
    """The UDP socket; without SO_REUSEADDR, so that a second DHCP server on the port is noticed."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode() + b"\0")
        _grow_receive_buffer(udp)
        udp.bind(("0.0.0.0", port))
    except OSError as error:
        udp.close()
        raise _cannot_bind(name, port, error) from None
    return udp


def _cannot_bind(name: str, port: int, error: OSError) -> StartError:
    what = f"UDP port {port} on interface {name} cannot be opened: {error.strerror}"
    if isinstance(error, PermissionError):
        return StartError(
            what, "Start as root, or with the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW."
        )
    holder = udp_port_holder(port)
    if holder:
        return StartError(f"{what}; {holder} has it", "Stop that program, or give it other interfaces.")
    return StartError(what, f"Stop the program that has it (`ss -ulnp sport = :{port}` shows it).")


def _grow_receive_buffer(udp: socket.socket) -> None:
    """A rack that powers on at once sends faster than we answer for a moment."""
    force = getattr(socket, "SO_RCVBUFFORCE", 33)
    try:
        udp.setsockopt(socket.SOL_SOCKET, force, _RECEIVE_BUFFER)
    except PermissionError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def _packet_socket(facts: Interface) -> socket.socket | None:
    """A socket that only sends frames (protocol 0 receives none); None without the capability."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        packet = socket.socket(socket.AF_PACKET, kind, 0)
    except PermissionError:
        return None
    packet.bind((facts.name, 0))
    return packet


def ipv4_udp(payload: bytes, source: int, source_port: int, to: int, port: int, identification: int) -> bytes:
    """A UDP datagram in an IPv4 header, both checksums right (RFC 768, RFC 791)."""
    size = _UDP.size + len(payload)
    udp = _UDP.pack(source_port, port, size, 0) + payload
    pseudo = (source >> 16) + (source & 0xFFFF) + (to >> 16) + (to & 0xFFFF) + socket.IPPROTO_UDP + size
    checksum = internet_checksum(udp, pseudo) or 0xFFFF  # zero would say: not computed
    udp = _UDP.pack(source_port, port, size, checksum) + payload
    fields = (0x45, 0, _IPV4.size + size, identification, 0, 64, socket.IPPROTO_UDP)
    header = _IPV4.pack(*fields, 0, source, to)
    return _IPV4.pack(*fields, internet_checksum(header), source, to) + udp


def internet_checksum(data: bytes, start: int = 0) -> int:
    """The one's complement of the one's complement sum of 16-bit words (RFC 1071).

    That sum is the number that the octets spell, modulo 65535: one division instead of a loop.
    """
    if len(data) & 1:
        data += b"\0"
    total = int.from_bytes(data, "big") + start
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))


def udp_port_holder(port: int) -> str:
    """`NAME (pid N)` of a program that has a UDP port open, as far as /proc tells us; else empty."""
    inodes = set(_udp_inodes(port))
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        if _has_socket(process, inodes):
            return f"{_read(process / 'comm').strip() or 'a program'} (pid {process.name})"
    return ""


def _udp_inodes(port: int) -> Iterator[str]:
    for row in _read(Path("/proc/net/udp")).splitlines()[1:]:
        fields = row.split()
        if len(fields) > 9 and int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0":
            yield f"socket:[{fields[9]}]"


def _has_socket(process: Path, inodes: set[str]) -> bool:
    try:
        return any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir())
    except OSError:  # it ended, or is not ours to look into
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


# rtnetlink (linux/rtnetlink.h, linux/neighbour.h): the numbers that we need of it
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_SIOCGARP, _ATF_COM = 0x8954, 0x02
_ARPREQ = struct.Struct("=H2x4s8x16si16x16s")
_MESSAGE = struct.Struct("=IHHII")
_IFADDRMSG = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")


def addresses(index: int) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses of an interface, the kernel's first one first."""
    found = []
    for body in _netlink(
        _RTM_GETADDR, _NLM_F_DUMP, _IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 0), _RTM_NEWADDR
    ):
        *_, where = _IFADDRMSG.unpack_from(body)
        attributes = _attributes(body[_IFADDRMSG.size :])
        raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
        if where == index and raw:
            found.append(IPv4Address(raw))
    return tuple(found)


def neighbour(interface: str, address: IPv4Address) -> Mac | None:
    """The card that the kernel knows for an on-link address; None where it knows none (arp(7), SIOCGARP)."""
    request = _ARPREQ.pack(socket.AF_INET, address.packed, b"", 0, interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGARP, request)
        except OSError:  # no such interface, or nothing known
            return None
    _, _, hardware, flags, _ = _ARPREQ.unpack(answer)
    return Mac.from_bytes(hardware[2:8]) if flags & _ATF_COM else None


def _netlink(request: int, flags: int, body: bytes, wanted: int) -> Iterator[bytes]:
    """Ask the kernel; the bodies of the messages of type `wanted` that it answers, none where it refuses."""
    message = _MESSAGE.pack(_MESSAGE.size + len(body), request, _NLM_F_REQUEST | flags, 1, 0) + body
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as netlink:
        netlink.settimeout(1.0)  # the kernel answers at once
        netlink.send(message)
        more = True
        while more:
            more = flags & _NLM_F_DUMP != 0
            for answer, part in _messages(netlink.recv(65536)):
                if answer in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                if answer == wanted:
                    yield part


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _MESSAGE.size <= len(data):
        size, kind, *_ = _MESSAGE.unpack_from(data, at)
        if size < _MESSAGE.size:
            return
        yield kind, data[at + _MESSAGE.size : at + size]
        at += (size + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            break
        found[kind] = data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    return found
