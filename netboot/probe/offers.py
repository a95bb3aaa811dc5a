"""What firmware makes of the answers that it gets: which address, which boot file, and what is wrong.

The order is EDK2's (PxeBcSelectOffer) and PXE 2.1's: a complete offer of class PXEClient, an address with a
proxy's boot file, a boot server on port 4011, an address with a boot file and no class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.dhcp.options import sub_options
from netboot.dhcp.wire import Packet
from netboot.model.machine import Speaker
from netboot.probe.clients import Guise, discovery_control
from netboot.shadow.compare import boot_of

LOOPING = ("undionly.kpxe", "ipxe.efi", "snponly.efi", "ipxe.pxe", "undionly.kkpxe", "ipxe.kpxe")
"""iPXE itself under its usual names: told to iPXE it would load itself again and again."""

_NO_DISCOVERY = 0x08
"""Discovery control, bit 3: load the file of this very answer."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One server's answer."""

    server: IPv4Address
    """Its identifier, else its source address."""
    source: IPv4Address
    packet: Packet
    took: float
    """Seconds after the request."""

    @property
    def address(self) -> IPv4Address | None:
        """The address that it gives."""
        return IPv4Address(self.packet.yiaddr) if self.packet.yiaddr else None

    @property
    def words(self) -> str:
        """Its class (option 60)."""
        return self.packet.options.get(60, b"").rstrip(b"\0").decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class File:
    """What to load, and from which server."""

    name: str
    """A path for TFTP, or a URL."""
    server: str
    """For a path."""


@dataclass(frozen=True, slots=True)
class BootServer:
    """Ask this server on port 4011 what to load; `why` it has to be asked."""

    server: IPv4Address
    why: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """It boots nothing, for this reason."""

    reason: str


Plan = File | BootServer | Nothing


def chosen(offers: Sequence[Offer]) -> Offer | None:
    """The offer whose address the client takes: one that also tells a boot file, else the first."""
    giving = [offer for offer in offers if offer.address is not None]
    return next((o for o in giving if boot_of(o.packet).file), giving[0] if giving else None)


def plan(guise: Guise, offers: Sequence[Offer]) -> Plan:
    """What firmware does after these answers to its DISCOVER."""
    main = chosen(offers)
    proxies = [o for o in offers if o.address is None and o.words.startswith("PXEClient")]
    if main is None:
        return Nothing("nobody offers it an address")
    if guise.speaker is Speaker.HTTP:
        return _http(main, [o for o in offers if o.address is None and o.words == "HTTPClient"])
    if guise.speaker is Speaker.PXE and main.words.startswith("PXEClient"):
        return _of_class(main)
    for proxy in proxies:
        return _of_proxy(proxy, guise)
    found = file_of(main.packet, main.server)
    if guise.speaker is Speaker.IPXE and found and _is_ipxe(found.name):
        return Nothing(f"iPXE is told {found.name}, which is iPXE itself: it would load itself for ever")
    return found or Nothing(f"{main.server} offers an address and no boot file")


def _is_ipxe(name: str) -> bool:
    return name.rpartition("/")[2].lower() in LOOPING


def _http(main: Offer, proxies: Sequence[Offer]) -> Plan:
    """UEFI HTTP boot takes answers of its own class, a proxy's too, with a URL in them."""
    answers = [main] if main.words == "HTTPClient" else list(proxies)
    if not answers:
        said = f"class {main.words!r}" if main.words else "no class"
        return Nothing(f"{main.server} answers with {said}: HTTP boot takes HTTPClient (option 60) only")
    urls = (file_of(answer.packet, answer.server) for answer in answers)
    found = next((url for url in urls if url and "://" in url.name), None)
    return found or Nothing(f"{answers[0].server} names no URL to boot from")


def _of_class(main: Offer) -> Plan:
    """An answer of class PXEClient: complete in itself by option 43, else it sends firmware to port 4011."""
    control, found = discovery_control(main.packet), file_of(main.packet, main.server)
    if found and control is not None and control & _NO_DISCOVERY:
        return found
    if found and 9 not in sub_options(main.packet.options.get(43, b"")) and 43 in main.packet.options:
        return found
    return BootServer(
        main.server, "the answer says PXEClient (60), and its option 43 does not say to load at once"
    )


def _of_proxy(proxy: Offer, guise: Guise) -> Plan:
    found = file_of(proxy.packet, proxy.server)
    if found and guise.speaker is Speaker.IPXE and _is_ipxe(found.name):
        return Nothing(f"iPXE is told {found.name}, which is iPXE itself: it would load itself for ever")
    return found or BootServer(proxy.server, "the proxyDHCP server names no file")


def file_of(packet: Packet, server: IPv4Address) -> File | None:
    """The boot file of an answer; its server is siaddr, else 66 or 150, else who answered."""
    boot = boot_of(packet)
    return File(boot.file, boot.server or str(server)) if boot.file else None
