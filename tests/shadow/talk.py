"""What tests of shadow mode share: exchanges as frames, and a file to hold them beside."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path

from netboot.dhcp.wire import Kind, Op, Packet, encode
from netboot.model.machine import Mac
from netboot.net import ipv4_udp
from netboot.shadow.frame import Datagram
from netboot.shadow.pcap import Frame
from tests.dhcp.world import discover, message

NODE = Mac("52:54:00:77:00:00")
STRANGER = Mac("52:54:00:99:00:01")
FOREIGN = "10.77.0.2"
UUID = "4c4c4544-0042-3510-8054-b4c04f564232"

CONFIG = """
networks:
  - {name: lab, subnet: 10.77.0.0/24, interface: eth1, address: 10.77.0.1,
     range: 10.77.0.100-10.77.0.199, gateway: 10.77.0.254, dns: [10.77.0.253], domain: lab.test}
clusters: [{name: blue, endpoint: "10.77.0.1:6443", join: {method: none}}]
pools:
  - name: compute
    cluster: blue
    network: lab
    nodes:
      - {name: m1, macs: ["52:54:00:77:00:00"], address: 10.77.0.20}
"""
CATCH_ALL = "  - {name: unknown, cluster: blue, network: lab, catch_all: true}\n"


def config(folder: Path, extra: str = "") -> Path:
    """An operator's file."""
    path = folder / "netboot.yaml"
    path.write_text(CONFIG + extra)
    return path


def answer(request: Packet, kind: Kind, address: str, *, server: str = FOREIGN, **said: object) -> Packet:
    """What a foreign server says; options may be given as `options`, header fields by name."""
    options = {
        53: bytes([kind]),
        54: IPv4Address(server).packed,
        51: (3600).to_bytes(4, "big"),
        1: IPv4Address("255.255.255.0").packed,
    }
    return request._replace(
        op=Op.REPLY,
        yiaddr=int(IPv4Address(address)),
        siaddr=int(IPv4Address(str(said.get("siaddr", "0.0.0.0")))),
        file=bytes(said.get("file", b"")),  # type: ignore[call-overload]
        ciaddr=request.ciaddr if kind is Kind.ACK else 0,
        options={**options, **said.get("options", {})},  # type: ignore[dict-item]
    )


AS_OURS = {3: IPv4Address("10.77.0.254").packed, 6: IPv4Address("10.77.0.253").packed, 15: b"lab.test"}
"""The options that our server would send, too."""


def four(
    mac: Mac,
    address: str,
    client: dict[int, bytes] | None = None,
    *,
    xid: int = 7,
    giaddr: str = "0.0.0.0",
    server: str = FOREIGN,
    **said: object,
) -> list[Packet]:
    """DISCOVER, OFFER, REQUEST, ACK with one foreign server."""
    asks = discover(mac, client, xid=xid, giaddr=giaddr)
    offer = answer(asks, Kind.OFFER, address, server=server, **said)
    taken = {50: IPv4Address(address).packed, 54: IPv4Address(server).packed, **(client or {})}
    takes = message(mac, Kind.REQUEST, taken, xid=xid, giaddr=giaddr)
    return [asks, offer, takes, answer(takes, Kind.ACK, address, server=server, **said)]


def datagrams(packets: Iterable[Packet], *, at: float = 1000.0, interface: str = "eth1") -> list[Datagram]:
    """Packets as they would be heard, 10 ms apart."""
    return [datagram(packet, at + i / 100, interface) for i, packet in enumerate(packets)]


def datagram(packet: Packet, at: float = 1000.0, interface: str = "eth1") -> Datagram:
    """One packet as it would be heard."""
    source, source_port, to, port = ends(packet)
    return Datagram(at, interface, IPv4Address(source), source_port, IPv4Address(to), port, encode(packet))


def ends(packet: Packet) -> tuple[str, int, str, int]:
    """Where it comes from and goes to."""
    server = str(IPv4Address(packet.options.get(54, b"\0\0\0\0")))
    if packet.op == Op.REPLY:
        return server, 67, "255.255.255.255", 68
    return str(IPv4Address(packet.ciaddr)), 68, "255.255.255.255", 67


def ethernet(packet: Packet, tags: bytes = b"") -> bytes:
    """The frame of a packet, with VLAN tags where wanted."""
    source, source_port, to, port = (e if isinstance(e, int) else int(IPv4Address(e)) for e in ends(packet))
    head = b"\xff" * 6 + packet.chaddr + tags + b"\x08\x00"
    return head + ipv4_udp(encode(packet), source, source_port, to, port, 1)


def frames(packets: Iterable[Packet], interface: str = "", at: float = 1000.0) -> list[Frame]:
    """Packets as captured Ethernet frames."""
    made = [ethernet(packet) for packet in packets]
    return [Frame(at + i / 100, 1, data, len(data), interface) for i, data in enumerate(made)]


def pcap(frames: Iterable[bytes], *, order: str = "<", nano: bool = False, link: int = 1) -> bytes:
    """A classic capture."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    rows = (struct.pack(order + "IIII", 1000 + i, 5, len(f), len(f)) + f for i, f in enumerate(frames))
    return head + b"".join(rows)
