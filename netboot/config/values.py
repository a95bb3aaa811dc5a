"""Single values of the operator's file: from what stands there to what it means.

Each function takes a value as `yaml_source` gives it and returns its meaning, or raises `Bad` with what
is wrong and what to write instead.
"""

from __future__ import annotations

import difflib
import re
import uuid as uuid_module
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path

from netboot.config.problems import Bad, Many, shown
from netboot.model.image import split_reference
from netboot.model.inventory import INFINITE, AddressRange
from netboot.model.machine import Mac
from netboot.model.manners import UNLIMITED, Rate

MAX_SECONDS = 0xFFFFFFFE
"""The longest time that a DHCP lease can tell; one more means infinite (RFC 2131 3.3)."""

_DURATION = re.compile(r"(?:([0-9]{1,7})d)?(?:([0-9]{1,7})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,10})s)?")
_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])")
MAX_MIRRORS = 512
"""Characters of one image's mirrors; the kernel's command line has 2,048 in all."""

_MIRROR = re.compile(r"http://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/%+:@-]*)?")
_BANDWIDTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([kKMGT]?)bit")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_MAKER = re.compile(r"[0-9a-f][02468ace]:[0-9a-f]{2}:[0-9a-f]{2}")
_MULTIPLES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def text(value: object) -> str:
    """Any scalar as the text that it was written as."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if value is None:
        raise Bad("it has no value", 'write one, or "" for an empty text')
    raise Bad("it is not a single value", "write a text")


def line(value: object) -> str:
    """A text of one line without control characters."""
    plain = text(value)
    if not plain or any(ord(c) < 32 or ord(c) == 127 for c in plain):
        raise Bad("it is empty, or holds line breaks or control characters", "write one plain line")
    return plain


def matching(pattern: re.Pattern[str], what: str, remedy: str) -> Callable[[object], str]:
    """A reader of texts that match `pattern` as a whole."""

    def read(value: object) -> str:
        plain = text(value)
        if not pattern.fullmatch(plain):
            raise Bad(f"{shown(plain)} is not {what}", remedy)
        return plain

    return read


name = matching(
    _NAME,
    "a name",
    "use up to 63 letters, digits, dots, dashes and underscores, a letter or digit at both ends",
)
interface = matching(
    _INTERFACE, "a network interface's name", "write it as `ip link` shows it, at most 15 characters"
)
account = matching(_ACCOUNT, "an account's name", "write a name of /etc/passwd")


def boolean(value: object) -> bool:
    """true or false, and no other spelling of them."""
    if isinstance(value, bool):
        return value
    raise Bad(f"{_any(value)} is neither true nor false", "write true or false")


def integer(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Bad(f"{_any(value)} is not a whole number from {low} to {high}", "write such a number")
        return value

    return read


def choice(*words: str) -> Callable[[object], str]:
    """A reader of one of these words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise Bad(f"{_any(value)} is not one of {', '.join(words)}", "write one of them")
        return value

    return read


def duration(low: float, high: float, *, infinite: bool = False) -> Callable[[object], float]:
    """A reader of times in seconds, written like 90s, 15m or 10h30m, within `low` to `high`."""

    def read(value: object) -> float:
        if value == "infinite" and infinite:
            return INFINITE
        match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
        if not match:
            more = " or infinite" if infinite else ""
            raise Bad(f"{_any(value)} is not a duration", f"write one like 90s, 15m, 10h30m{more}")
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if not low <= total <= high:
            raise Bad(f"{_any(value)} is out of bounds", f"write {_seconds(low)} to {_seconds(high)}")
        return float(total)

    return read


def _seconds(amount: float) -> str:
    for unit, length in (("h", 3600), ("m", 60)):
        if amount >= length and amount % length == 0:
            return f"{int(amount // length)}{unit}"
    return f"{int(amount)}s"


def rate(value: object) -> Rate:
    """`20/s`, `60/m`, `100/h` or `unlimited`."""
    if value == "unlimited":
        return UNLIMITED
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise Bad(f"{_any(value)} is not a rate", "write one like 20/s or 60/m, or unlimited")
    return Rate(int(match[1]), _SECONDS[match[2]])


def bandwidth(value: object) -> float:
    """Bits per second, written like `8Gbit` or `500Mbit`; infinite for `unlimited`."""
    if value == "unlimited":
        return INFINITE
    match = _BANDWIDTH.fullmatch(value) if isinstance(value, str) else None
    if not match or not float(match[1]):
        raise Bad(f"{_any(value)} is not a bandwidth", "write one like 8Gbit or 500Mbit, or unlimited")
    return float(match[1]) * _MULTIPLES[match[2]]


def limit(value: object) -> float:
    """A count of at least one; infinite for `unlimited`."""
    if value == "unlimited":
        return INFINITE
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
        raise Bad(f"{_any(value)} is not a limit", "write a whole number of at least 1, or unlimited")
    return value


def workers(value: object) -> int | None:
    """The number of bulk processes; None for `auto`."""
    return None if value == "auto" else integer(1, 256)(value)


def mac_or_maker(value: object) -> str:
    """A MAC, or the first half of one: all cards of its maker."""
    text = value.lower().replace("-", ":") if isinstance(value, str) else ""
    return text if _MAKER.fullmatch(text) else mac(value)


def mac(value: object) -> Mac:
    """An Ethernet address, in any usual notation; no multicast address and not all zeros."""
    try:
        address = Mac(value)  # type: ignore[arg-type]
    except (ValueError, AttributeError):
        raise Bad(f"{_any(value)} is not a MAC address", "write one like 52:54:00:12:34:56") from None
    if not address.of_a_card:
        raise Bad(
            f"{_any(value)} is no machine's own MAC address", "write the one printed on its network card"
        )
    return address


def macs(value: object) -> tuple[Mac, ...]:
    """The MACs of one machine, at least one."""
    if not isinstance(value, list):
        raise Bad("it is not a list", "write [...], or one `- ` line per item")
    if not value:
        raise Bad("no MAC stands here", "write at least one")
    found: list[Mac] = []
    wrong: list[tuple[str | int, Bad]] = []
    for index, item in enumerate(value):
        try:
            found.append(mac(item))
        except Bad as bad:
            wrong.append((index, bad))
    if wrong:
        raise Many(wrong)
    return tuple(found)


def ipv4(value: object) -> IPv4Address:
    """An IPv4 address that a machine can have."""
    try:
        address = IPv4Address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None or address.is_multicast or address.is_unspecified or address.packed[0] in (0, 255):
        raise Bad(f"{_any(value)} is not a machine's IPv4 address", "write one like 10.28.0.2")
    return address


def any_ip(value: object) -> str:
    """An IPv4 or IPv6 address in its canonical text."""
    try:
        return str(ip_address(text(value)))
    except ValueError:
        raise Bad(f"{_any(value)} is not an IP address", "write one like 10.28.0.9 or fd00:28::9") from None


def subnet(value: object) -> IPv4Network:
    """An IPv4 subnet with room for machines."""
    try:
        network = IPv4Network(text(value))
    except ValueError as error:
        remedy = "write one like 10.28.0.0/16"
        if "host bits set" in str(error):
            remedy = f"write {IPv4Network(text(value), strict=False)}"
        raise Bad(f"{_any(value)} is not a subnet", remedy) from None
    if "/" not in text(value) or not 8 <= network.prefixlen <= 30:
        raise Bad(f"{_any(value)} is not a subnet of /8 to /30", "write one like 10.28.0.0/16")
    return network


def ranges(value: object) -> tuple[AddressRange, ...]:
    """One range `FIRST-LAST` or a list of them."""
    items = value if isinstance(value, list) else [value]
    return tuple(_range(item) for item in items)


def _range(value: object) -> AddressRange:
    first, dash, last = text(value).partition("-")
    if not dash:
        raise Bad(f"{_any(value)} is not a range", "write one like 10.28.72.10-10.28.72.250")
    both = AddressRange(ipv4(first.strip()), ipv4(last.strip()))
    if both.first > both.last:
        raise Bad(f"{_any(value)} ends before it starts", "write the lower address first")
    return both


def hostname(value: object) -> str:
    """A node's name, good as a host name (RFC 1123) and as the name of a Node object."""
    plain = text(value)
    if not plain or len(plain) > 63 or not all(_LABEL.fullmatch(part) for part in plain.split(".")):
        remedy = "use lower-case letters, digits and dashes, at most 63, a letter or digit at both ends"
        raise Bad(f"{shown(plain)} is not a host name (RFC 1123)", remedy)
    return plain


def domain(value: object) -> str:
    """A DNS name of any length that DNS allows, in either case."""
    plain = text(value)
    parts = plain.lower().split(".")
    if len(plain) > 253 or not all(_LABEL.fullmatch(part) for part in parts):
        raise Bad(
            f"{shown(plain)} is not a DNS name", "write one like infra.example.org, without a final dot"
        )
    return plain


def endpoint(value: object) -> str:
    """`HOST:PORT` of an API server; an IPv6 address stands in brackets."""
    plain = text(value)
    host, colon, port = plain.rpartition(":")
    if colon and port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535 and _is_host(host):
        return plain
    raise Bad(f"{shown(plain)} is not host:port", "write one like 10.28.36.72:6443 or [fd00:28::71]:6443")


def _is_host(host: str) -> bool:
    try:
        if host.startswith("[") and host.endswith("]"):
            return bool(IPv6Address(host[1:-1]))
        if host.replace(".", "").isdigit():
            return bool(ipv4(host))
        return bool(domain(host))
    except ValueError:
        return False


def listen(value: object) -> tuple[str, int]:
    """Address and port that we listen on."""
    plain = text(value)
    host, _, port = plain.rpartition(":")
    try:
        bracketed = host.startswith("[") and host.endswith("]")
        address = IPv6Address(host[1:-1]) if bracketed else IPv4Address(host)
        if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
            raise ValueError
    except ValueError:
        raise Bad(f"{shown(plain)} is not address:port", "write one like 127.0.0.1:8443") from None
    return str(address), int(port)


def path(value: object) -> Path:
    """An absolute path on this host."""
    plain = line(value)
    if not plain.startswith("/") or ".." in plain.split("/"):
        raise Bad(f"{shown(plain)} is not an absolute path", "write it from / on, without ..")
    return Path(plain)


def image(value: object) -> str:
    """`NAME`, or `NAME@sha256:HEX` for one generation."""
    plain = text(value)
    try:
        split_reference(plain)
    except ValueError:
        raise Bad(
            f"{shown(plain)} is not an image", "write its name, or NAME@sha256:HEX for one generation"
        ) from None
    return plain


def uuid(value: object) -> str:
    """A UUID in lower case, as the Node object's systemUUID shows it."""
    try:
        parsed = uuid_module.UUID(text(value))
    except ValueError:
        raise Bad(
            f"{_any(value)} is not a UUID", "write one like 4c4c4544-0042-3510-8054-b4c04f564232"
        ) from None
    if parsed.int in (0, (1 << 128) - 1):
        raise Bad(f"{_any(value)} names no machine", "write the machine's own UUID, or leave it out")
    return str(parsed)


_PAIRS = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){2,}")
"""Octets as ISC, Kea, dnsmasq and tcpdump print them: `01:52:54:00:12:34:56`."""


def octets(value: object) -> bytes:
    """Bytes: a text as it stands, or `hex:...`. What other programs print for octets is refused as a text."""
    plain = line(value)
    if _PAIRS.fullmatch(plain):
        raise Bad(
            f"{shown(plain)} may be meant as octets or as a text",
            f'write "hex:{plain}" for these octets, or "hex:..." with the octets of the text',
        )
    try:
        raw = bytes.fromhex(re.sub("[:-]", "", plain[4:])) if plain.startswith("hex:") else plain.encode()
    except ValueError:
        raise Bad(
            f"{shown(plain)} is not hexadecimal", 'write pairs of hex digits, like "hex:0a0b0c"'
        ) from None
    if not 1 <= len(raw) <= 255:
        raise Bad(f"{len(raw)} octets do not fit", "write 1 to 255")
    return raw


def node_name(value: object) -> str:
    """The pattern that names undeclared machines: `{mac}` becomes twelve hex digits."""
    plain = text(value)
    if plain.count("{mac}") != 1:
        raise Bad(
            f"{shown(plain)} does not hold {{mac}} once", 'write one like "node-{mac}", so that names differ'
        )
    try:
        hostname(plain.replace("{mac}", "0" * 12))
    except Bad as bad:
        raise Bad(f"{shown(plain)} makes no host names (RFC 1123)", bad.remedy) from None
    return plain


def url(value: object) -> str:
    """An http or https URL without blanks."""
    plain = line(value)
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s]*", plain):
        raise Bad(f"{shown(plain)} is not a URL", "write one like https://10.28.1.29")
    return plain


def mirrors(value: object) -> tuple[str, ...]:
    """Base URLs as the initrd takes them: plain http (the checksum guards), one word without a comma each."""
    if not isinstance(value, list):
        raise Bad(
            f"{_any(value)} is not a list", 'write a list of base URLs, like ["http://10.28.0.3/images"]'
        )
    found = tuple(_mirror(each) for each in value)
    if sum(len(each) + 1 for each in found) > MAX_MIRRORS:
        raise Bad(
            f"these mirrors have more than {MAX_MIRRORS} characters",
            "name fewer, or by shorter URLs: they travel on the kernel's command line",
        )
    return found


def _mirror(value: object) -> str:
    plain = line(value)
    if not _MIRROR.fullmatch(plain):
        raise Bad(
            f"{shown(plain)} is no base URL that a booting node can ask", "write one like http://HOST/images"
        )
    return plain.rstrip("/")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The remedy for a misspelt word, None where nothing known looks like it."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else None


def _any(value: object) -> str:
    """What a message shows of a value that may be of any type."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else shown(value)
