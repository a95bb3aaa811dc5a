"""What real firmware stumbles over, as data: whom a quirk is for, what it changes, and who found it.

A row of `QUIRKS` applies to every client that its `match` holds for, or only where a node names it. What
applies to everybody is a row of `rules`. docs/quirks.md is written from both.

Strength, weakest first: the boot plan, quirks that match, a node's own `boot` and `options`, quirks that the
node names. Options that are no boot options (all but 43, 60, 66 and 67) follow the quirk in any case.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from netboot.model.machine import Arch, Client, Speaker

HTTP = 0x13
"""iPXE's feature "HTTP" in option 175 (DHCP_EB_FEATURE_HTTP in iPXE's features.h)."""

BYPASS_DISCOVERY = bytes.fromhex("060108ff")
"""Option 43 for BIOS PXE: discovery control 8, load the file of this very reply (PXE 2.1, section 2.2.3)."""

RASPBERRY_PI_BOOT = (
    bytes.fromhex("060108") + b"\x0a\x04\x00PXE" + b"\x09\x14\x00\x00\x11Raspberry Pi Boot" + b"\xff"
)
"""Option 43 for a Raspberry Pi: discovery control 8, menu prompt (10) and the menu (9) that it looks for."""

FOR_IPXE = bytes.fromhex("010101b00101")
"""Option 175 for iPXE: `priority` 1, so that it takes our offer of two; `no-pxedhcp` 1, so that it does not
wait two seconds for a proxyDHCP server."""

_NOTHING: Mapping[int, bytes | None] = MappingProxyType({})

_UEFI = frozenset({2, 6, 7, 8, 9, 10, 11, 25, 27, 29, 33, 34, 35, 36, 37, 39})
_UBOOT = frozenset({Arch.UBOOT_ARM32, Arch.UBOOT_ARM64, Arch.UBOOT_ARM32_HTTP, Arch.UBOOT_ARM64_HTTP})
RASPBERRY_PI = (
    "28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01",
)  # fmt: skip
"""First octets of the MACs of Raspberry Pis (IEEE's registry)."""

U_BOOT = "U-Boot"
"""What the class of U-Boot begins with."""

_SPEAKERS = {
    Speaker.PXE: "PXE firmware",
    Speaker.HTTP: "UEFI HTTP boot",
    Speaker.IPXE: "iPXE",
    Speaker.SYSTEM: "a running system",
}


@dataclass(frozen=True, slots=True)
class Match:
    """Which clients: every field that is set has to hold; one without any field holds for everybody."""

    speaker: Speaker | None = None
    archs: frozenset[int | None] = frozenset()
    """Architectures (option 93); None stands for a client that says none."""
    vendor_class: str = ""
    """What option 60 begins with."""
    user_class: str = ""
    """What option 77 is."""
    ouis: tuple[str, ...] = ()
    """First three octets of the MAC."""
    lacks_feature: int | None = None
    """A feature that option 175 does not name, though it is there."""
    nul_strings: bool = False
    """The client ends its own host name or class with a NUL."""

    def holds(self, client: Client) -> bool:
        """Whether this client is meant."""
        return (
            (self.speaker is None or client.speaker is self.speaker)
            and (not self.archs or client.arch in self.archs)
            and client.vendor_class.startswith(self.vendor_class)
            and (not self.user_class or client.user_class == self.user_class)
            and (not self.ouis or client.mac[:8] in self.ouis)
            and (self.lacks_feature is None or self._lacks(client))
            and (not self.nul_strings or client.nul_strings)
        )

    def _lacks(self, client: Client) -> bool:
        return bool(client.ipxe_features) and self.lacks_feature not in client.ipxe_features

    def why(self, client: Client) -> str:
        """Why it holds for this client, with what the client said."""
        arch = "no architecture" if client.arch is None else f"architecture {client.arch}"
        parts = (
            (self.speaker is not None, _said(client)),
            (bool(self.archs), arch),
            (bool(self.vendor_class), f"vendor class {self.vendor_class}"),
            (bool(self.user_class), f"user class {client.user_class}"),
            (bool(self.ouis), f"MAC {client.mac[:8]}"),
            (self.lacks_feature is not None, f"no {_feature(self.lacks_feature)} in option 175"),
            (self.nul_strings, "strings that end in NUL"),
        )
        return ", ".join(text for said, text in parts if said)

    def __str__(self) -> str:
        archs = sorted("none" if a is None else f"{a:03}" for a in self.archs)
        parts = (
            _SPEAKERS[self.speaker] if self.speaker else "",
            f"architecture {', '.join(a.lstrip('0') or '0' for a in archs)}" if archs else "",
            f"vendor class {self.vendor_class}..." if self.vendor_class else "",
            f"user class {self.user_class}" if self.user_class else "",
            f"MAC {', '.join(self.ouis)}" if self.ouis else "",
            f"option 175 without {_feature(self.lacks_feature)}" if self.lacks_feature is not None else "",
            "host name or class ends in NUL" if self.nul_strings else "",
        )
        return "; ".join(filter(None, parts)) or "everybody"


def _said(client: Client) -> str:
    """By what a client is known for who it is: its class, where it has one of firmware."""
    name = client.vendor_class.partition(":")[0]
    known = client.speaker is not Speaker.IPXE and name in ("PXEClient", "HTTPClient")
    return f"class {name}" if known else _SPEAKERS[client.speaker]


def _feature(code: int | None) -> str:
    return "HTTP" if code == HTTP else f"feature {code}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a reply has different; what is None or empty stays as it is."""

    options: Mapping[int, bytes | None] = field(default_factory=lambda: _NOTHING)
    """Options by code: their value, None to leave them out."""
    nul: bool | None = None
    """Whether options 66 and 67 end with a NUL."""
    text_nul: bool | None = None
    """Whether the host name (12) and the domain name (15) end with one."""
    broadcast: bool | None = None
    """Reply by broadcast, and ask relay agents to do so, whatever the client's flag says."""
    limit: int | None = None
    """The largest message in octets, whatever option 57 says."""
    chain: bool | None = None
    """Give this iPXE our own program instead of the script."""
    asks: str = ""
    """No boot file: the firmware asks for files of its own by TFTP, in an operator's words."""

    def and_then(self, later: Effect) -> Effect:
        """Both; the later one wins."""
        return Effect(
            options=MappingProxyType({**self.options, **later.options}),
            nul=self.nul if later.nul is None else later.nul,
            text_nul=self.text_nul if later.text_nul is None else later.text_nul,
            broadcast=self.broadcast if later.broadcast is None else later.broadcast,
            limit=self.limit if later.limit is None else later.limit,
            chain=self.chain if later.chain is None else later.chain,
            asks=later.asks or self.asks,
        )

    def left_out(self, code: int) -> bool:
        """Whether this option must not stand in the reply."""
        return code in self.options and self.options[code] is None

    def __str__(self) -> str:
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        yield from (f"{code} = {shown(value)}" for code, value in self.options.items() if value is not None)
        absent = [str(code) for code, value in self.options.items() if value is None]
        if absent:
            yield f"no option {' and '.join(absent)}"
        if self.nul is not None:
            yield f"66 and 67 {'with' if self.nul else 'without'} a NUL at their end"
        if self.text_nul is not None:
            yield f"12 and 15 {'with' if self.text_nul else 'without'} a NUL at their end"
        if self.broadcast is not None:
            yield "the reply goes by broadcast" if self.broadcast else "the reply goes as the client asks"
        if self.limit is not None:
            yield f"replies of {self.limit} octets at most"
        if self.chain:
            yield "our own iPXE instead of the script"
        if self.asks:
            yield f"no boot file; it asks for {self.asks}"


def shown(value: bytes) -> str:
    """An option's value for people: text where it is text, else octets."""
    return value.decode() if value and all(32 < octet < 127 for octet in value) else value.hex(" ")


@dataclass(frozen=True, slots=True)
class Quirk:
    """One row: `automatic` ones apply where `match` holds, the others where a node names them too."""

    id: str
    match: Match
    effect: Effect
    why: str
    """What the client does otherwise."""
    source: str
    automatic: bool = True
    forced: bool = True
    """Whether a node may name it for clients that `match` does not hold for."""

    @property
    def match_text(self) -> str:
        """Whom it applies to, in words."""
        if self.automatic:
            return str(self.match)
        nodes = "nodes that name it"
        return nodes if self.match == Match() else f"{nodes}; {self.match}"


_PXE, _HTTP, _IPXE = Speaker.PXE, Speaker.HTTP, Speaker.IPXE
_OWN_FILES = Effect({60: None, 43: None}, asks="boot.scr.uimg, then pxelinux.cfg/01-MAC, by TFTP")

QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        "bios-pxe",
        Match(_PXE, archs=frozenset({None, 0})),
        Effect({60: b"PXEClient", 43: BYPASS_DISCOVERY}),
        "a BIOS ROM takes offers of its own class only, and waits for a boot menu unless told to skip it",
        "PXE 2.1 sections 2.2.3 and 2.3; Pixiecore dhcp.go; iPXE dhcp.h (PXEBS_SKIP)",
    ),
    Quirk(
        "uefi-pxe",
        Match(_PXE, archs=_UEFI),
        Effect({60: None, 43: None}),
        "EDK2 asks port 4011 where an offer has 60 without 43; some firmware ignores offers with 43; "
        "Ampere eMAG ignores the file name where an offer has 60",
        "EDK2 PxeBcDhcp4.c (PxeBcParseDhcp4Packet); Pixiecore dhcp.go; dnsmasq rfc2131.c "
        "(pxe_uefi_workaround); tinkerbell/smee PR 228",
    ),
    Quirk(
        "uefi-http",
        Match(_HTTP),
        Effect({60: b"HTTPClient"}),
        "UEFI HTTP boot takes only offers whose class begins with HTTPClient, whatever its option 55 says",
        "UEFI 2.10 section 24.7.2; EDK2 HttpBootDhcp4.c; xcat2/xcat-core 7743",
    ),
    Quirk(
        "ipxe",
        Match(_IPXE),
        Effect({60: b"PXEClient", 175: FOR_IPXE}),
        "iPXE ignores PXE options without the class, waits two seconds for a proxyDHCP server, and takes "
        "the offer of the highest priority",
        "iPXE dhcp.c (dhcp_discovery_rx), dhcp.h (DHCP_EB_PRIORITY, DHCP_EB_NO_PXEDHCP)",
    ),
    Quirk(
        "ipxe-without-http",
        Match(_IPXE, lacks_feature=HTTP),
        Effect(chain=True),
        "it cannot load a script's URL; our own iPXE says that it has HTTP, so that this never loops",
        "iPXE features.h, dhcp.h (DHCP_EB_FEATURE_HTTP)",
        forced=False,
    ),
    Quirk(
        "gpxe",
        Match(_IPXE, user_class="gPXE"),
        Effect(chain=True),
        "gPXE refuses scripts that begin with #!ipxe; our own iPXE says user class iPXE",
        "gPXE image/script.c; iPXE dhcp.c",
        forced=False,
    ),
    Quirk(
        "raspberry-pi",
        Match(_PXE, archs=frozenset({None, 0, Arch.RASPBERRY_PI}), ouis=RASPBERRY_PI),
        Effect(
            {60: b"PXEClient", 43: RASPBERRY_PI_BOOT},
            nul=False,
            asks="bootcode.bin, SERIAL/start4.elf, ... by TFTP (below files_dir)",
        ),
        "it says that it is a BIOS, goes on only where option 43 has the menu `Raspberry Pi Boot`, fails "
        "with a NUL in 66, and names its files itself, whatever 67 says",
        "tinkerbell/smee dhcp.go (AddRPIOpt43); raspberrypi/firmware 871, 862; "
        "raspberrypi/rpi-eeprom 69, 87, 182",
    ),
    Quirk(
        "u-boot",
        Match(_PXE, vendor_class=U_BOOT),
        _OWN_FILES,
        "it says no architecture on x86, asks siaddr for files of its own names, and later once more as UEFI",
        "U-Boot net/bootp.c, config_distro_bootcmd.h, doc/README.pxe; recorded from Debian's u-boot-qemu",
    ),
    Quirk(
        "u-boot-by-architecture",
        Match(_PXE, archs=_UBOOT),
        _OWN_FILES,
        "it asks siaddr for files of its own names; a UEFI program in files_dir goes first",
        "IANA processor architecture types 21 to 24; tinkerbell/smee route_pxelinux.go; Sidero booter",
    ),
    Quirk(
        "nul-strings",
        Match(nul_strings=True),
        Effect(text_nul=True),
        "clients that end their own strings with a NUL (Windows) expect it in ours",
        "dnsmasq rfc2131.c (borken_opt)",
    ),
    Quirk(
        "option-60",
        Match(_PXE),
        Effect({60: b"PXEClient", 43: BYPASS_DISCOVERY}),
        "firmware that follows PXE 2.1 to the letter takes no offer without the class, and with it needs 43 "
        "to load the file of this very offer",
        "PXE 2.1 figure 2-2; tinkerbell/smee PR 149; seen to work with EDK2 in OVMF",
        automatic=False,
    ),
    Quirk(
        "option-43",
        Match(_PXE),
        Effect({43: BYPASS_DISCOVERY}),
        "firmware that takes 60 without 43 for a boot server's offer, and asks it on port 4011",
        "PXE 2.1 section 2.2.3; EDK2 PxeBcDhcp4.c",
        automatic=False,
    ),
    Quirk(
        "no-option-60",
        Match(),
        Effect({60: None}),
        "the firmware ignores the file name of a reply that has the class",
        "tinkerbell/smee PR 228 (Ampere eMAG); FOGProject/fog-docs PR 188",
        automatic=False,
    ),
    Quirk(
        "no-option-43",
        Match(),
        Effect({43: None}),
        "the firmware ignores replies that skip the boot menu",
        "Pixiecore dhcp.go (offerDHCP)",
        automatic=False,
    ),
    Quirk(
        "no-nul",
        Match(),
        Effect(nul=False),
        "the firmware takes the NUL for a part of the name",
        "raspberrypi/firmware 871",
        automatic=False,
    ),
    Quirk(
        "no-option-61",
        Match(),
        Effect({61: None}),
        "clients older than RFC 6842 refuse a reply with their identifier",
        "RFC 6842 section 3; Kea (echo-client-id)",
        automatic=False,
    ),
    Quirk(
        "broadcast",
        Match(),
        Effect(broadcast=True),
        "it cannot receive unicast before it has its address, and does not say so",
        "RFC 2131 section 4.1; dnsmasq --dhcp-broadcast",
        automatic=False,
    ),
    Quirk(
        "small-replies",
        Match(),
        Effect(limit=548),
        "it promises more in option 57 than it can take",
        "RFC 2131 section 2; RFC 2132 section 9.10",
        automatic=False,
    ),
)
"""Weakest first: where two rows change the same thing, the later one wins."""

BY_ID: Mapping[str, Quirk] = MappingProxyType({quirk.id: quirk for quirk in QUIRKS})

NAMES: frozenset[str] = frozenset(
    {quirk.id for quirk in QUIRKS if quirk.forced} | {f"no-{quirk.id}" for quirk in QUIRKS if quirk.automatic}
)
"""What a node's `boot.quirks` may say: the id of a row, or `no-` and the id of one that applies by itself."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A quirk that a client's reply follows, and why."""

    id: str
    why: str

    def __str__(self) -> str:
        return f"{self.id} ({self.why})"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the quirks of one client make together."""

    applied: tuple[Applied, ...]
    effect: Effect
    own: Effect
    """The part that the node names itself: stronger than its own `boot.program` and `options`."""
    texts: tuple[str, ...]
    """All of `applied`, for people."""


@functools.lru_cache(maxsize=4096)
def resolve(client: Client, named: tuple[str, ...] = ()) -> Resolved:
    """The quirks of a client whose node names these. Unknown names do nothing: `check` refuses them."""
    matched = [q for q in QUIRKS if q.automatic and f"no-{q.id}" not in named and q.match.holds(client)]
    own = [q for q in QUIRKS if q.id in named and q.forced and q not in matched and _fits(q, client)]
    applied = (
        *(Applied(q.id, q.match.why(client)) for q in matched),
        *(Applied(q.id, "named by the node") for q in own),
    )
    return Resolved(
        applied,
        _together(q.effect for q in (*matched, *own)),
        _together(q.effect for q in (*(q for q in matched if q.id in named), *own)),
        tuple(map(str, applied)),
    )


def _fits(quirk: Quirk, client: Client) -> bool:
    """Whether a named row can apply: to whom the row is for, or, forced, to firmware that looks otherwise."""
    if not quirk.automatic:
        return quirk.match.holds(client)
    return quirk.match.speaker in (None, client.speaker)


def _together(effects: Iterable[Effect]) -> Effect:
    return functools.reduce(Effect.and_then, effects, Effect())
