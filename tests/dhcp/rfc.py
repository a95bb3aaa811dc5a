"""Clients and a reader that share nothing with our codec: requests by scapy, replies read by offsets."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from scapy.all import BOOTP, DHCP  # type: ignore[attr-defined]

from netboot.dhcp.origin import Origin
from netboot.model.inventory import Inventory
from netboot.model.machine import Mac
from tests.dhcp.world import NODE_ADDRESS, NODE_MACS, SERVER, RecordingPort, World, inventory, network

OFFER, ACK, NAK = 2, 5, 6
"""Option 53 of replies."""

NODE = NODE_MACS[0]
LINK_RELAY = "10.77.0.5"
"""A relay agent on the very link of our network."""

PXE = ("vendor_class_id", b"PXEClient:Arch:00000:UNDI:002001")


def request(mac: str, kind: str, *options: tuple[object, ...] | str, **fields: object) -> bytes:
    """A message as scapy writes it; `fields` are those of BOOTP (xid, flags, secs, ciaddr, giaddr, hops)."""
    head = BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), **{"xid": 0x01020304, **fields})
    return bytes(head / DHCP(options=[("message-type", kind), *options, "end"]))


def raw_request(mac: str, options: bytes, **fields: object) -> bytes:
    """A message whose options are these octets, END and padding included."""
    head = BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), **{"xid": 0x01020304, **fields})
    return bytes(head).split(b"\x63\x82\x53\x63")[0][:236].ljust(236, b"\0") + b"\x63\x82\x53\x63" + options


@dataclass(frozen=True)
class Answer:
    """One reply, read by offsets (RFC 2131 figure 1), and the way that it went."""

    raw: bytes
    way: str

    @property
    def op(self) -> int:
        """1 or 2."""
        return self.raw[0]

    @property
    def head(self) -> tuple[int, ...]:
        """htype, hlen, hops, xid, secs, flags."""
        return struct.unpack("!BBBIHH", self.raw[1:12])

    def address(self, name: str) -> str:
        """ciaddr, yiaddr, siaddr or giaddr."""
        at = {"ciaddr": 12, "yiaddr": 16, "siaddr": 20, "giaddr": 24}[name]
        return str(IPv4Address(self.raw[at : at + 4]))

    @property
    def chaddr(self) -> bytes:
        """All 16 octets."""
        return self.raw[28:44]

    @property
    def sname(self) -> bytes:
        """All 64 octets."""
        return self.raw[44:108]

    @property
    def file(self) -> bytes:
        """All 128 octets."""
        return self.raw[108:236]

    @property
    def parts(self) -> list[tuple[int, bytes]]:
        """Every option as it stands, in order, up to END."""
        assert self.raw[236:240] == bytes([99, 130, 83, 99]), "no magic cookie"
        found, at = [], 240
        while self.raw[at] != 255:
            size = self.raw[at + 1]
            found.append((self.raw[at], self.raw[at + 2 : at + 2 + size]))
            at += 2 + size
        return found

    @property
    def codes(self) -> list[int]:
        """The options' codes, in order."""
        return [code for code, _ in self.parts]

    def option(self, code: int) -> bytes | None:
        """An option's whole value, parts joined; None where it is absent."""
        values = [value for each, value in self.parts if each == code]
        return b"".join(values) if values else None

    @property
    def kind(self) -> int | None:
        """Option 53."""
        raw = self.option(53)
        return raw[0] if raw else None

    def number(self, code: int) -> int:
        """An option of four octets."""
        raw = self.option(code)
        assert raw is not None and len(raw) == 4, f"option {code} is {raw!r}"
        return int.from_bytes(raw, "big")


class RawPort(RecordingPort):
    """Keeps the octets that leave."""

    def __init__(self, name: str = "eth1", addresses: tuple[IPv4Address, ...] = (SERVER,)) -> None:
        super().__init__(name, addresses)
        self.raw: list[Answer] = []

    def _keep(self, way: str, payload: bytes) -> None:
        super()._keep(way, payload)
        self.raw.append(Answer(payload, way))


class Site(World):
    """A server that is only spoken to in octets."""

    def __init__(self, stock: Inventory | None = None) -> None:
        super().__init__(stock)
        self.port = RawPort()
        self.store.log = self.port.log

    async def hear(self, data: bytes, source: str = "0.0.0.0", to_all: bool = False) -> Answer | None:
        """The reply to one datagram, perhaps a broadcast; None for silence."""
        assert isinstance(self.port, RawPort)
        before = len(self.port.raw)
        await self.server.handle(data, Origin(source, 68, to_all), self.port)
        assert len(self.port.raw) - before <= 1, "more than one reply"
        return self.port.raw[-1] if len(self.port.raw) > before else None

    async def answer(self, data: bytes, source: str = "0.0.0.0", to_all: bool = False) -> Answer:
        """The reply to one datagram, which there has to be."""
        found = await self.hear(data, source, to_all)
        assert found is not None, f"silence: {[e.text for e in self.journal.events()]}"
        return found

    async def lease(self, mac: Mac | str, *options: tuple[object, ...], **fields: object) -> Answer:
        """The ACK of a whole exchange."""
        offer = await self.answer(request(mac, "discover", *options, **fields))
        assert offer.kind == 2
        chosen = (("requested_addr", offer.address("yiaddr")), ("server_id", str(SERVER)))
        ack = await self.answer(request(mac, "request", *chosen, *options, **fields))
        assert ack.kind == 5
        return ack


def site(**fields: object) -> Site:
    """A site whose one network has these fields."""
    return Site(inventory([replace(network(), **fields)]))  # type: ignore[arg-type]


def selecting(mac: str, address: object, *options: tuple[object, ...], **fields: object) -> bytes:
    """A REQUEST that chose us."""
    chosen = (("requested_addr", str(address)), ("server_id", str(SERVER)))
    return request(mac, "request", *chosen, *options, **fields)


async def every_reply(mac: str = NODE) -> dict[str, Answer]:
    """One of each kind of reply to requests with every field set that comes back."""
    world, fields = site(), {"xid": 0xA1B2C3D4, "secs": 7, "flags": 0x8000}
    return {
        "OFFER": await world.answer(request(mac, "discover", **fields)),
        "ACK": await world.answer(selecting(mac, NODE_ADDRESS, **fields)),
        "NAK": await world.answer(selecting(mac, "10.77.0.9", **fields)),
        "INFORM": await world.answer(request(mac, "inform", ciaddr="10.77.0.20", **fields)),
    }
