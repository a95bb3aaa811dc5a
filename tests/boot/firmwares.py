"""Firmware on the wire, as scapy writes it or a capture has it, and our answers as scapy reads them.

`Told` holds one reply; nothing of it went through our own codec on the client's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from scapy.all import BOOTP, DHCP, raw  # type: ignore[attr-defined]
from scapy.layers.dhcp import DHCPOptionsField

from netboot.model.inventory import BootOverride, Inventory, Network, Node, OptionValue
from netboot.model.machine import Mac
from tests.captures import FOLDER, messages
from tests.dhcp.world import RecordingPort, World, inventory, network

DISCOVER, REQUEST, DECLINE, ACK, NAK, RELEASE = 1, 3, 4, 5, 6, 7
ADDRESS = "10.77.0.20"
SERVER = "10.77.0.1"

ASKS_AS_PXE = bytes((1, 3, 43, 60, 66, 67, *range(128, 136)))
"""Option 55 of many PXE ROMs."""


def message(mac: str, options: Mapping[int, bytes], *, kind: int = DISCOVER, **fields: object) -> bytes:
    """A request of a card, written by scapy: option 53, then `options` in their order."""
    header = {"op": 1, "chaddr": Mac(mac).packed(), "xid": 0x26F30339, **fields}
    said = [(53, bytes((kind,))), *options.items(), "end"]
    return bytes(raw(BOOTP(**header) / DHCP(options=said)))


def pxe(arch: int, **more: bytes) -> dict[int, bytes]:
    """What PXE firmware of an architecture says of itself (RFC 4578 section 2)."""
    undi = (2, 1) if arch == 0 else (3, 0)
    said = {
        55: ASKS_AS_PXE,
        93: arch.to_bytes(2, "big"),
        94: bytes((1, *undi)),
        97: b"\0" + bytes(range(16)),
        60: f"PXEClient:Arch:{arch:05}:UNDI:{undi[0]:03}{undi[1]:03}".encode(),
    }
    return said | {int(code.removeprefix("o")): value for code, value in more.items()}


def http(arch: int) -> dict[int, bytes]:
    """What UEFI HTTP boot says of itself (UEFI 2.10 section 24.7.2)."""
    return pxe(arch) | {60: f"HTTPClient:Arch:{arch:05}:UNDI:003000".encode()}


PI_SERIAL = b"\0" + bytes.fromhex("4c6cb616") * 4
RASPBERRY_PI_3 = {
    55: bytes((43, 60, 67, *range(128, 136), 66, 1, 3)),
    93: b"\0\0",
    94: b"\x01\x02\x01",
    97: PI_SERIAL,
    60: b"PXEClient:Arch:00000:UNDI:002001",
}
"""The boot ROM of a Raspberry Pi 3 (tcpdump in raspberrypi/firmware 871 and 1265)."""
RASPBERRY_PI_4 = {**RASPBERRY_PI_3, 55: ASKS_AS_PXE}
"""The EEPROM of a Raspberry Pi 4 (wireshark in raspberrypi/rpi-eeprom 58)."""

IPXE_FEATURES = bytes.fromhex(
    "b105011af41000eb03010000170101220101130101110101270101190101290101100102210101150101"
)
"""Option 175 of Debian's iPXE as captured, but for its last entries; 13 01 01 is HTTP."""


def ipxe(features: bytes = IPXE_FEATURES, user_class: bytes = b"iPXE", arch: int = 0) -> dict[int, bytes]:
    """What iPXE says of itself: the firmware's class, its own user class without a length, its features."""
    return pxe(arch) | {77: user_class, 175: features}


def captured(name: str, kind: int = DISCOVER, *, vendor: bytes = b"") -> bytes:
    """The first request of a kind in a capture, whose option 60 begins so."""
    for m in messages(FOLDER / f"{name}.pcapng"):
        packet = BOOTP(m.payload)
        said = options_of(m.payload)
        if packet.op == 1 and said[53] == bytes((kind,)) and said.get(60, b"").startswith(vendor):
            return m.payload
    raise LookupError(f"no such message in {name}")


def tftp_requests(name: str) -> list[bytes]:
    """What the clients of a capture asked of TFTP's port, datagram by datagram."""
    from scapy.all import UDP, PcapNgReader  # type: ignore[attr-defined]

    with PcapNgReader(str(Path(FOLDER / f"{name}.pcapng"))) as frames:
        return [bytes(f[UDP].payload) for f in frames if UDP in f and f[UDP].dport == 69]


def options_of(payload: bytes) -> dict[int, bytes]:
    """A message's options by code as scapy reads them, values as octets; parts of one option are joined."""
    writer, found = DHCPOptionsField("options", []), {}
    for option in BOOTP(payload)[DHCP].options:
        if isinstance(option, tuple):
            octets = bytes(writer.i2m(None, [option]))
            found[octets[0]] = found.get(octets[0], b"") + octets[2:]
    return found


@dataclass(frozen=True)
class Told:
    """One reply as scapy reads it."""

    payload: bytes
    way: str
    world: World

    @property
    def header(self) -> BOOTP:
        """The fixed fields."""
        return BOOTP(self.payload)

    @property
    def options(self) -> dict[int, bytes]:
        """The options by code."""
        return options_of(self.payload)

    @property
    def file(self) -> bytes:
        """The header's file name without its zeros."""
        return bytes(self.header.file).rstrip(b"\0")

    @property
    def quirks(self) -> list[str]:
        """What the boot record says that was applied: the ids."""
        boot = self.world.boots.of_node("m1")
        return [text.split()[0] for text in boot.quirks] if boot else []


class _Port(RecordingPort):
    """Keeps the octets as they leave."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[bytes] = []

    def _keep(self, way: str, payload: bytes) -> None:
        self.payloads.append(payload)
        super()._keep(way, payload)


class Bench:
    """A server that has declared the machine m1 with this card, and what it is to be told."""

    def __init__(
        self,
        *,
        quirks: tuple[str, ...] = (),
        program: str | None = None,
        options: Mapping[int, OptionValue] | None = None,
        networks: list[Network] | None = None,
        provided: frozenset[str] = frozenset(),
        tag_options: dict[int, OptionValue] | None = None,
        declared: bool = True,
        at: str = ADDRESS,
    ) -> None:
        self._node = {"boot": BootOverride(program, quirks), "options": dict(options or {})}
        self._networks = networks or [network()]
        self._tags = tag_options
        self._provided = provided
        self._declared = declared
        self._address = IPv4Address(at)
        self._world: World | None = None

    def stock(self, mac: Mac) -> Inventory:
        """The snapshot of the operator's file."""
        node = Node("m1", "lab", (mac,), self._address, **self._node)  # type: ignore[arg-type]
        nodes = [node] if self._declared else []
        return inventory(self._networks, nodes=nodes, tag_options=self._tags)

    async def told(self, payload: bytes) -> Told:
        """The reply to one request; fails where there is none. Later requests meet the same server."""
        replies, world = await self.say(payload)
        assert len(replies) == 1, "no reply"
        return Told(replies[0], world.way, world)

    async def say(self, payload: bytes) -> tuple[list[bytes], World]:
        """Hand the server one request: what it sent, and the world that it sent it in."""
        if self._world is None:
            self._world = World(self.stock(Mac.from_bytes(bytes(BOOTP(payload).chaddr)[:6])))
            self._world.port = _Port()
            self._world.store.log = self._world.port.log
            self._world.server.present.provided = lambda: self._provided
        port = self._world.port
        assert isinstance(port, _Port)
        before = len(port.payloads)
        await self._world.say(payload)
        return port.payloads[before:], self._world


async def told(payload: bytes, **bench: object) -> Told:
    """The reply of a fresh server to one request."""
    return await Bench(**bench).told(payload)  # type: ignore[arg-type]


def number(octets: bytes) -> str:
    """Four octets as an address."""
    return str(IPv4Address(octets))
