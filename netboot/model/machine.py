"""What a machine is and what it says about itself on the wire."""

from __future__ import annotations

import enum
import re
import uuid as uuid_module
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address

_MAC = re.compile(r"[0-9a-f]{2}([:-]?)[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}")


class Mac(str):
    """An Ethernet address, always written `52:54:00:12:34:56`; compares and hashes as that text."""

    __slots__ = ()

    def __new__(cls, text: str) -> Mac:
        """Parse colons, dashes, dots or bare digits; raises ValueError for anything else."""
        lowered = text.strip().lower()
        if re.fullmatch(r"[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}", lowered):
            lowered = lowered.replace(".", "")
        if not _MAC.fullmatch(lowered):
            raise ValueError(f"{text!r} is not a MAC address like 52:54:00:12:34:56")
        digits = re.sub("[:-]", "", lowered)
        return super().__new__(cls, ":".join(digits[i : i + 2] for i in range(0, 12, 2)))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Mac:
        """Six octets as they stand on the wire; raises ValueError for another length."""
        if len(raw) != 6:
            raise ValueError(f"a MAC address has 6 octets, not {len(raw)}")
        return super().__new__(cls, raw.hex(":"))

    def packed(self) -> bytes:
        """The six octets."""
        return bytes.fromhex(self.digits)

    @property
    def digits(self) -> str:
        """Twelve hex digits without separators, as in the names of undeclared nodes."""
        return self.replace(":", "")

    @property
    def of_a_card(self) -> bool:
        """Whether a network card can have it: no group of them, and not all zeros (IEEE 802, 8.2)."""
        return self[1] not in "13579bdf" and self != "00:00:00:00:00:00"

    @property
    def dashed(self) -> str:
        """`52-54-00-12-34-56`, as BOOTIF, pxelinux and iPXE's `${mac:hexhyp}` write it."""
        return self.replace(":", "-")


class Arch(enum.IntEnum):
    """Client system architectures, DHCP option 93 (RFC 4578 2.1 and IANA's registry)."""

    BIOS = 0
    EFI_IA32 = 6
    EFI_X64 = 7  # RFC 4578 as published swaps 7 and 9; real firmware uses both for x64
    EFI_BC = 9
    EFI_ARM32 = 10
    EFI_ARM64 = 11
    EFI_X86_HTTP = 15
    EFI_X64_HTTP = 16
    EFI_BC_HTTP = 17
    EFI_ARM32_HTTP = 18
    EFI_ARM64_HTTP = 19
    UBOOT_ARM32 = 21
    UBOOT_ARM64 = 22
    UBOOT_ARM32_HTTP = 23
    UBOOT_ARM64_HTTP = 24
    EFI_RISCV64 = 27
    EFI_RISCV64_HTTP = 28
    EFI_LOONGARCH64 = 39
    EFI_LOONGARCH64_HTTP = 40
    RASPBERRY_PI = 41


class Speaker(enum.Enum):
    """Which program of a machine is talking: it decides what the machine can be told to load next."""

    PXE = "pxe"  # firmware that loads its next program by TFTP
    HTTP = "http"  # UEFI HTTP boot: class HTTPClient, loads a URL
    IPXE = "ipxe"  # iPXE, from a ROM or chain-loaded: understands script URLs
    SYSTEM = "system"  # a running operating system or an initrd: opens no boot

    __hash__ = object.__hash__  # Enum's own is a call in Python, for each packet


@dataclass(frozen=True, slots=True)
class Client:
    """What one machine says in one DHCP packet; every field but `mac` is a claim that nobody checked."""

    mac: Mac
    speaker: Speaker = Speaker.SYSTEM
    arch: int | None = None
    """Option 93 as sent: an `Arch` where we know it, any 16-bit number else."""
    uuid: str | None = None
    """Option 97 in RFC 4122 text form, lower case, bytes in wire order; None where absent or all zero."""
    client_id: bytes | None = None
    vendor_class: str = ""
    user_class: str = ""
    ipxe_features: frozenset[int] = frozenset()
    hostname: str = ""
    nul_strings: bool = False
    """It ends its host name or class with a NUL."""
    subnet: IPv4Address | None = None
    """The subnet that it asks for an address in (RFC 3011)."""
    giaddr: IPv4Address | None = None
    """The relay agent that its packet came through; what follows is that agent's claim, not the machine's."""
    circuit_id: bytes | None = None
    remote_id: bytes | None = None
    link: IPv4Address | None = None
    """The link that it is on, where giaddr is not of that link (RFC 3527)."""
    server_id: IPv4Address | None = None
    """The server identifier that it shall be told, so that renewals pass the relay, too (RFC 5107)."""

    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        claims = tuple(getattr(self, name) for name in _CLAIMS)
        object.__setattr__(self, "_hash", hash(claims))

    def __hash__(self) -> int:
        """Made once, for what a client leads to is looked up for each packet; of every claim, so that no
        flood of clients with one MAC finds the same place in our caches."""
        return self._hash


_CLAIMS = tuple(each.name for each in fields(Client) if each.compare)


def smbios_uuid(wire_order: uuid_module.UUID) -> uuid_module.UUID:
    """The same UUID with its first three fields in the other byte order.

    SMBIOS stores them little endian, firmware disagrees on what it sends in option 97, and the Node
    object's systemUUID shows the kernel's reading: so both orders name one machine.
    """
    return uuid_module.UUID(bytes_le=wire_order.bytes)


def other_order(text: str) -> str:
    """`smbios_uuid` on a UUID's canonical text: the lookup of a machine asks for both."""
    first, second, third, rest = text[:8], text[9:13], text[14:18], text[18:]
    swapped = (bytes.fromhex(part)[::-1].hex() for part in (first, second, third))
    return "-".join(swapped) + rest


def uuid_of(text: str) -> str | None:
    """A UUID in its canonical text; None for any other text, and for those that name no machine."""
    try:
        parsed = uuid_module.UUID(text)
    except ValueError:
        return None
    return None if parsed.int in (0, (1 << 128) - 1) else str(parsed)
