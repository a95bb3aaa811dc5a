"""The DHCP options: one row for each, values to bytes, and what a machine says of itself in them.

Names are those of IANA's registry (bootp-dhcp-parameters) in lower case with hyphens; aliases are Kea's.
"""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import MappingProxyType

from netboot.boot.quirks import RASPBERRY_PI, U_BOOT
from netboot.dhcp import option_values
from netboot.dhcp.option_values import Type
from netboot.dhcp.wire import Packet, encode_option
from netboot.errors import MalformedPacket
from netboot.model.inventory import OptionValue
from netboot.model.machine import Client, Mac, Speaker


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its code, IANA's name, the type of its value, and other names that are understood."""

    code: int
    name: str
    type: Type
    aliases: tuple[str, ...] = ()
    among: range | tuple[int, ...] | None = None
    """The numbers that its RFC allows, where these are fewer than its type has."""

    @property
    def wanted(self) -> str:
        """What an operator is to write."""
        if isinstance(self.among, range):
            several = "a list of numbers" if self.type is Type.U16S else "a number"
            return f"{several} from {self.among[0]} to {self.among[-1]}"
        if self.among:
            return f"one of {', '.join(map(str, self.among))}"
        return self.type.value

    def encode(self, value: OptionValue) -> bytes:
        """The octets of an operator's value. Raises ValueError, OverflowError or UnicodeError."""
        raw = option_values.encode(self.type, value)
        if self.among is not None and any(n not in self.among for n in option_values.numbers(value)):
            raise ValueError("its RFC does not allow that number")
        return raw


def _row(
    code: int, name: str, kind: Type, *aliases: str, among: range | tuple[int, ...] | None = None
) -> Option:
    return Option(code, name, kind, aliases, among)


_T = Type

TABLE: tuple[Option, ...] = (
    _row(1, "subnet-mask", _T.MASK),
    _row(2, "time-offset", _T.I32),
    _row(3, "router", _T.ADDRESSES, "routers"),
    _row(4, "time-server", _T.ADDRESSES, "time-servers"),
    _row(5, "name-server", _T.ADDRESSES, "name-servers"),
    _row(6, "domain-server", _T.ADDRESSES, "domain-name-servers"),
    _row(7, "log-server", _T.ADDRESSES, "log-servers"),
    _row(8, "quotes-server", _T.ADDRESSES, "cookie-servers"),
    _row(9, "lpr-server", _T.ADDRESSES, "lpr-servers"),
    _row(10, "impress-server", _T.ADDRESSES, "impress-servers"),
    _row(11, "rlp-server", _T.ADDRESSES, "resource-location-servers"),
    _row(12, "hostname", _T.TEXT, "host-name"),
    _row(13, "boot-file-size", _T.U16, "boot-size"),
    _row(14, "merit-dump-file", _T.TEXT, "merit-dump"),
    _row(15, "domain-name", _T.TEXT),
    _row(16, "swap-server", _T.ADDRESS),
    _row(17, "root-path", _T.TEXT),
    _row(18, "extension-file", _T.TEXT, "extensions-path"),
    _row(19, "forward-on-off", _T.BOOL, "ip-forwarding"),
    _row(20, "srcrte-on-off", _T.BOOL, "non-local-source-routing"),
    _row(21, "policy-filter", _T.FILTERS),
    _row(22, "max-dg-assembly", _T.U16, "max-dgram-reassembly", among=range(576, 65536)),
    _row(23, "default-ip-ttl", _T.U8, among=range(1, 256)),
    _row(24, "mtu-timeout", _T.U32, "path-mtu-aging-timeout"),
    _row(25, "mtu-plateau", _T.U16S, "path-mtu-plateau-table", among=range(68, 65536)),
    _row(26, "mtu-interface", _T.U16, "interface-mtu", among=range(68, 65536)),
    _row(27, "mtu-subnet", _T.BOOL, "all-subnets-local"),
    _row(28, "broadcast-address", _T.ADDRESS),
    _row(29, "mask-discovery", _T.BOOL, "perform-mask-discovery"),
    _row(30, "mask-supplier", _T.BOOL),
    _row(31, "router-discovery", _T.BOOL),
    _row(32, "router-request", _T.ADDRESS, "router-solicitation-address"),
    _row(33, "static-route", _T.PAIRS, "static-routes"),
    _row(34, "trailers", _T.BOOL, "trailer-encapsulation"),
    _row(35, "arp-timeout", _T.U32, "arp-cache-timeout"),
    _row(36, "ethernet", _T.BOOL, "ieee802-3-encapsulation"),
    _row(37, "default-tcp-ttl", _T.U8, among=range(1, 256)),
    _row(38, "keepalive-time", _T.U32, "tcp-keepalive-interval"),
    _row(39, "keepalive-data", _T.BOOL, "tcp-keepalive-garbage"),
    _row(40, "nis-domain", _T.TEXT),
    _row(41, "nis-servers", _T.ADDRESSES),
    _row(42, "ntp-servers", _T.ADDRESSES),
    _row(43, "vendor-specific", _T.RAW, "vendor-encapsulated-options"),
    _row(44, "netbios-name-srv", _T.ADDRESSES, "netbios-name-servers"),
    _row(45, "netbios-dist-srv", _T.ADDRESSES, "netbios-dd-server"),
    _row(46, "netbios-node-type", _T.U8, among=(1, 2, 4, 8)),
    _row(47, "netbios-scope", _T.TEXT),
    _row(48, "x-window-font", _T.ADDRESSES, "font-servers"),
    _row(49, "x-window-manager", _T.ADDRESSES, "x-display-manager"),
    _row(50, "address-request", _T.ADDRESS, "dhcp-requested-address"),
    _row(51, "address-time", _T.U32, "dhcp-lease-time"),
    _row(52, "overload", _T.U8, "dhcp-option-overload"),
    _row(53, "dhcp-msg-type", _T.U8, "dhcp-message-type"),
    _row(54, "dhcp-server-id", _T.ADDRESS, "dhcp-server-identifier"),
    _row(55, "parameter-list", _T.RAW, "dhcp-parameter-request-list"),
    _row(56, "dhcp-message", _T.TEXT),
    _row(57, "dhcp-max-msg-size", _T.U16, "dhcp-max-message-size"),
    _row(58, "renewal-time", _T.U32, "dhcp-renewal-time"),
    _row(59, "rebinding-time", _T.U32, "dhcp-rebinding-time"),
    _row(60, "class-id", _T.TEXT, "vendor-class-identifier"),
    _row(61, "client-id", _T.RAW, "dhcp-client-identifier"),
    _row(62, "netware-ip-domain", _T.TEXT, "nwip-domain-name"),
    _row(63, "netware-ip-option", _T.RAW, "nwip-suboptions"),
    _row(64, "nis-domain-name", _T.TEXT, "nisplus-domain-name"),
    _row(65, "nis-server-addr", _T.ADDRESSES, "nisplus-servers"),
    _row(66, "server-name", _T.TEXT, "tftp-server-name"),
    _row(67, "bootfile-name", _T.TEXT, "boot-file-name"),
    _row(68, "home-agent-addrs", _T.ADDRESSES, "mobile-ip-home-agent"),
    _row(69, "smtp-server", _T.ADDRESSES),
    _row(70, "pop3-server", _T.ADDRESSES, "pop-server"),
    _row(71, "nntp-server", _T.ADDRESSES),
    _row(72, "www-server", _T.ADDRESSES),
    _row(73, "finger-server", _T.ADDRESSES),
    _row(74, "irc-server", _T.ADDRESSES),
    _row(75, "streettalk-server", _T.ADDRESSES),
    _row(76, "stda-server", _T.ADDRESSES, "streettalk-directory-assistance-server"),
    _row(77, "user-class", _T.RAW),
    _row(78, "directory-agent", _T.AGENTS, "slp-directory-agent"),
    _row(79, "service-scope", _T.SCOPE, "slp-service-scope"),
    _row(80, "rapid-commit", _T.FLAG),
    _row(81, "client-fqdn", _T.RAW, "fqdn"),
    _row(82, "relay-agent-information", _T.RAW, "dhcp-agent-options"),
    _row(83, "isns", _T.RAW),
    _row(85, "nds-servers", _T.ADDRESSES),
    _row(86, "nds-tree-name", _T.TEXT),
    _row(87, "nds-context", _T.TEXT),
    _row(88, "bcmcs-controller-domain-name-list", _T.DOMAINS, "bcms-controller-names"),
    _row(89, "bcmcs-controller-ipv4-address-option", _T.ADDRESSES, "bcms-controller-address"),
    _row(90, "authentication", _T.RAW, "authenticate"),
    _row(91, "client-last-transaction-time-option", _T.U32, "client-last-transaction-time"),
    _row(92, "associated-ip-option", _T.ADDRESSES, "associated-ip"),
    _row(93, "client-system", _T.U16S),
    _row(94, "client-ndi", _T.RAW),
    _row(95, "ldap", _T.TEXT),
    _row(97, "uuid-guid", _T.RAW),
    _row(98, "user-auth", _T.TEXT, "uap-servers"),
    _row(99, "geoconf-civic", _T.RAW),
    _row(100, "pcode", _T.TEXT),
    _row(101, "tcode", _T.TEXT),
    _row(108, "ipv6-only-preferred", _T.U32, "v6-only-preferred"),
    _row(109, "option-dhcp4o6-s46-saddr", _T.RAW),
    _row(112, "netinfo-address", _T.ADDRESSES, "netinfo-server-address"),
    _row(113, "netinfo-tag", _T.TEXT, "netinfo-server-tag"),
    _row(114, "dhcp-captive-portal", _T.TEXT, "v4-captive-portal"),
    _row(116, "auto-config", _T.U8, among=(0, 1)),
    _row(117, "name-service-search", _T.U16S),
    _row(118, "subnet-selection-option", _T.ADDRESS, "subnet-selection"),
    _row(119, "domain-search", _T.SEARCH_LIST),
    _row(120, "sip-servers-dhcp-option", _T.DOMAINS_OR_ADDRESSES, "sip-servers"),
    _row(121, "classless-static-route-option", _T.ROUTES, "classless-static-route"),
    _row(122, "ccc", _T.RAW),
    _row(123, "geoconf-option", _T.RAW),
    _row(124, "v-i-vendor-class", _T.ENTERPRISES, "vivco-suboptions"),
    _row(125, "v-i-vendor-specific-information", _T.ENTERPRISES, "vivso-suboptions"),
    _row(136, "option-pana-agent", _T.ADDRESSES, "pana-agent"),
    _row(137, "option-v4-lost", _T.DOMAIN, "v4-lost"),
    _row(138, "option-capwap-ac-v4", _T.ADDRESSES, "capwap-ac-v4"),
    _row(139, "option-ipv4-address-mos", _T.RAW),
    _row(140, "option-ipv4-fqdn-mos", _T.RAW),
    _row(141, "sip-ua-configuration-service-domains", _T.DOMAINS, "sip-ua-cs-domains"),
    _row(142, "option-ipv4-address-andsf", _T.ADDRESSES),
    _row(143, "option-v4-sztp-redirect", _T.URIS, "v4-sztp-redirect"),
    _row(144, "geoloc", _T.RAW),
    _row(145, "forcerenew-nonce-capable", _T.RAW),
    _row(146, "rdnss-selection", _T.RAW),
    _row(147, "option-v4-dots-ri", _T.DOMAIN),
    _row(148, "option-v4-dots-address", _T.ADDRESSES),
    _row(150, "tftp-server-address", _T.ADDRESSES),
    _row(151, "status-code", _T.RAW),
    _row(152, "base-time", _T.U32),
    _row(153, "start-time-of-state", _T.U32),
    _row(154, "query-start-time", _T.U32),
    _row(155, "query-end-time", _T.U32),
    _row(156, "dhcp-state", _T.U8),
    _row(157, "data-source", _T.U8),
    _row(158, "option-v4-pcp-server", _T.COUNTED_ADDRESSES),
    _row(159, "option-v4-portparams", _T.RAW, "v4-portparams"),
    _row(161, "option-mud-url-v4", _T.TEXT),
    _row(162, "option-v4-dnr", _T.RAW, "v4-dnr"),
    _row(175, "etherboot", _T.RAW),
    _row(208, "pxelinux-magic", _T.RAW),
    _row(209, "configuration-file", _T.TEXT),
    _row(210, "path-prefix", _T.TEXT),
    _row(211, "reboot-time", _T.U32),
    _row(212, "option-6rd", _T.SIXRD, "6rd"),
    _row(213, "option-v4-access-domain", _T.DOMAIN, "v4-access-domain"),
    _row(220, "subnet-allocation-option", _T.RAW),
    _row(221, "virtual-subnet-selection-vss-option", _T.RAW),
    _row(249, "ms-classless-static-route", _T.ROUTES, "microsoft-classless-static-route"),
    _row(252, "web-proxy-auto-discovery", _T.TEXT, "wpad"),
)
"""Every option that an operator may write; codes without a row take text or "hex:..."."""

BY_CODE: Mapping[int, Option] = MappingProxyType({option.code: option for option in TABLE})
BY_NAME: Mapping[str, Option] = MappingProxyType(
    {name: option for option in TABLE for name in (*option.aliases, option.name)}
)

PROTOCOL_CODES = frozenset({12, 50, 51, 52, 53, 54, 55, 57, 58, 59, 61, 80, 82, 97, 118})
"""What the protocol computes: an operator's value for one of these has no effect."""

BOOT_CODES = frozenset({43, 60, 66, 67})
"""What comes from the boot plan; only a node's own `options` may replace it."""

LONGEST = 1200
"""Octets of a value: a longer one fits into no client's largest message."""


def code_of(key: int | str) -> int:
    """The code of an option written by number or name. Raises ValueError for any other key."""
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 5:
        key = int(key)
    if isinstance(key, int):
        if isinstance(key, bool) or not 0 < key < 255:
            raise ValueError(f"{key} is not the code of a DHCP option (1 to 254)")
        return key
    option = BY_NAME.get(key.strip().lower().replace("_", "-"))
    if option is None:
        raise ValueError(f"{key!r} is not the name of a DHCP option; its number always works")
    return option.code


def encode_value(code: int, value: OptionValue) -> bytes:
    """The bytes of an option from the value that the operator wrote. Raises ValueError with what it takes."""
    raw = _encode_value(code, value)
    if len(raw) > LONGEST:
        raise ValueError(
            f"option {code} has {len(raw)} octets, more than the {LONGEST} that fit into a message"
        )
    return raw


def _encode_value(code: int, value: OptionValue) -> bytes:
    if isinstance(value, str) and value.startswith("hex:"):
        try:
            return option_values.octets(value[4:])
        except ValueError:
            raise ValueError(f"option {code}: {value[4:]!r} is not a row of hexadecimal octets") from None
    option = BY_CODE.get(code)
    if option is None:
        if isinstance(value, str):
            return value.encode()
        raise ValueError(f'option {code} has no known type: write its bytes as "hex:..."')
    try:
        return option.encode(value)
    except (ValueError, OverflowError, UnicodeError) as error:
        wanted = f"option {code} ({option.name}) takes {option.wanted}"
        raise ValueError(f"{wanted}, not {value!r}: {error}") from None


@functools.lru_cache(maxsize=16384)
def encoded(code: int, value: OptionValue) -> bytes:
    """A whole option from the operator's value; equal ones are shared in memory. Raises ValueError."""
    return encode_option(code, encode_value(code, value))


def client_of(packet: Packet) -> Client:
    """What a machine says of itself in one request. Raises MalformedPacket for what is no Ethernet card's."""
    chaddr = packet.chaddr
    if packet.htype != 1 or packet.hlen != 6:
        raise MalformedPacket(f"hardware type {packet.htype} with {packet.hlen} octets is not Ethernet")
    if chaddr[0] & 1 or chaddr == b"\0\0\0\0\0\0":
        raise MalformedPacket(f"{chaddr.hex(':')} is no card's own address")
    return _client(chaddr, packet.giaddr, *map(packet.options.get, _NAMING))


_NAMING = (12, 60, 61, 77, 82, 93, 97, 118, 175)
"""The options that `_client` takes, in its order."""


@functools.lru_cache(maxsize=4096)
def _client(
    chaddr: bytes,
    giaddr: int,
    hostname: bytes | None,
    vendor: bytes | None,
    client_id: bytes | None,
    user: bytes | None,
    agent: bytes | None,
    system: bytes | None,
    machine: bytes | None,
    subnet: bytes | None,
    etherboot: bytes | None,
) -> Client:
    """The client from the options that name it; a machine says the same in each message of an exchange."""
    relay = sub_options(agent or b"")
    vendor_class, user_class = _words(vendor or b""), _user_class(user or b"")
    mac = Mac.from_bytes(chaddr)
    bare = mac[:8] in RASPBERRY_PI and vendor is client_id is hostname is None
    return Client(
        mac=mac,
        speaker=_speaker(vendor_class, user_class, etherboot is not None, bare or system is not None),
        arch=_arch(system or b"", vendor_class),
        uuid=_uuid(machine or b""),
        client_id=client_id,
        vendor_class=vendor_class,
        user_class=user_class,
        ipxe_features=frozenset(sub_options(etherboot or b"")),
        hostname=_words(hostname or b""),
        nul_strings=any(raw is not None and raw.endswith(b"\0") for raw in (hostname, vendor)),
        subnet=_some_address(subnet),
        giaddr=IPv4Address(giaddr) if giaddr else None,
        circuit_id=relay.get(1),
        remote_id=relay.get(2),
        link=_some_address(relay.get(5)),
        server_id=_some_address(relay.get(11)),
    )


def _some_address(raw: bytes | None) -> IPv4Address | None:
    """Four octets that may be a machine's or a subnet's address; None for anything else."""
    if raw is None or len(raw) != 4 or raw[0] in (0, 127) or raw[0] >= 224:
        return None
    return IPv4Address(raw)


def _words(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("ascii", "replace") if raw else ""


def _user_class(raw: bytes) -> str:
    """Option 77: counted texts as RFC 3004 has them, of which iPXE's counts, or the plain text of iPXE."""
    words = [_words(word) for word in counted(raw)] or [_words(raw)]
    return "iPXE" if "iPXE" in words else words[0]


def counted(raw: bytes) -> list[bytes]:
    """Texts that each stand after their length (RFC 3004 section 4); empty where they do not fill `raw`."""
    found, at = [], 0
    while at < len(raw):
        end = at + 1 + raw[at]
        found.append(raw[at + 1 : end])
        at = end
    return found if at == len(raw) and all(found) else []


def _speaker(vendor_class: str, user_class: str, etherboot: bool, firmware: bool) -> Speaker:
    """Who is talking. iPXE first: it sends the class of the firmware that it replaces, too.

    Other firmware (`firmware`) has option 93, or it is a Raspberry Pi that names itself in no way: its ROM
    leaves the class out of its REQUEST, its systems never send so little. U-Boot has a class of its own.
    """
    if user_class == "iPXE" or etherboot:
        return Speaker.IPXE
    if vendor_class.startswith(("PXEClient", U_BOOT)):
        return Speaker.PXE
    if vendor_class.startswith("HTTPClient"):
        return Speaker.HTTP
    return Speaker.PXE if firmware else Speaker.SYSTEM


_CLASS_ARCH = re.compile(r"(?:PXE|HTTP)Client:Arch:(\d{5})(?!\d)")


def _arch(raw: bytes, vendor_class: str) -> int | None:
    """Option 93's first architecture, else the one that the vendor class names (RFC 4578 section 2.1)."""
    if raw and len(raw) % 2 == 0:
        return raw[0] << 8 | raw[1]
    match = _CLASS_ARCH.match(vendor_class) if vendor_class else None
    return min(int(match[1]), 0xFFFF) if match else None


def _uuid(raw: bytes) -> str | None:
    """Option 97 where it is type 0 and 16 octets that somebody set (RFC 4578 section 2.3)."""
    if len(raw) != 17 or raw[0] or raw[1:] in (b"\0" * 16, b"\xff" * 16):
        return None
    return str(uuid.UUID(bytes=raw[1:]))


def sub_options(raw: bytes) -> dict[int, bytes]:
    """Encapsulated options (43, 82, 175) by code; what is cut short at the end is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        code = raw[at]
        if code in (0, 255):
            at += 1
            continue
        if at + 2 > len(raw) or at + 2 + raw[at + 1] > len(raw):
            break
        end = at + 2 + raw[at + 1]
        found[code] = raw[at + 2 : end]
        at = end
    return found
