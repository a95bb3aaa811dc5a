"""The values of options: from what an operator writes to the octets that each type has on the wire.

Every function raises ValueError with what is wrong; whoever asks knows which option it is about.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from netboot.model.inventory import OptionValue


class Type(enum.Enum):
    """What an operator writes as an option's value."""

    ADDRESS = "an IPv4 address"
    MASK = "a subnet mask like 255.255.255.0"
    ADDRESSES = "a list of IPv4 addresses"
    COUNTED_ADDRESSES = "a list of IPv4 addresses of one server"
    PAIRS = "a list of pairs of IPv4 addresses like `10.1.0.0 10.0.0.1`"
    FILTERS = "a list of subnets like `10.1.0.0/16`, or of addresses and masks"
    U8 = "a number from 0 to 255"
    U16 = "a number from 0 to 65535"
    U16S = "a list of numbers from 0 to 65535"
    U32 = "a number from 0 to 4294967295"
    I32 = "a number from -2147483648 to 2147483647"
    BOOL = "true or false"
    TEXT = "a text"
    DOMAIN = "a domain name"
    DOMAINS = "a list of domain names"
    SEARCH_LIST = "a list of domain names to search in"
    DOMAINS_OR_ADDRESSES = "a list of domain names, or one of IPv4 addresses"
    ROUTES = "a list of routes like `10.0.0.0/8 via 10.1.0.1`"
    URIS = "a list of URIs"
    SIXRD = "a 6rd prefix, the length of the IPv4 mask and border relays, like `2001:db8::/32 8 192.0.2.1`"
    ENTERPRISES = "a list of an enterprise number and its data, like `4491 hex:0102` or `4491 text`"
    AGENTS = "true or false (mandatory or not), then a list of IPv4 addresses"
    SCOPE = "true or false (mandatory or not), then a text"
    FLAG = "an empty text"
    RAW = 'bytes as "hex:..."'


def encode(kind: Type, value: OptionValue) -> bytes:
    """The octets of a value of this type. Raises ValueError with what is wrong with it."""
    return _ENCODERS[kind](value)


def octets(digits: str) -> bytes:
    """Octets from hexadecimal digits, with or without colons between them. Raises ValueError."""
    return bytes.fromhex(digits.replace(":", ""))


def _items(value: OptionValue) -> tuple[int | str, ...]:
    if isinstance(value, tuple):
        items = value
    elif isinstance(value, str):
        items = tuple(part for part in re.split(r"\s*,\s*", value.strip()) if part)
    else:
        items = (value,)
    if not items:
        raise ValueError("it is empty")
    return items


def _words(value: OptionValue) -> list[str]:
    """All words of a list or a text, however they are parted."""
    return [word for item in _items(value) for word in str(item).split()]


def _address(value: OptionValue) -> bytes:
    if not isinstance(value, str):
        raise ValueError("it is no text like 10.0.0.1")
    return IPv4Address(value.strip()).packed


def _mask(value: OptionValue) -> bytes:
    raw = _address(value)
    bits = f"{int.from_bytes(raw, 'big'):032b}"
    if "01" in bits or bits[0] == "0":
        raise ValueError("its ones do not stand together at its start")
    return raw


def _addresses(value: OptionValue) -> bytes:
    return b"".join(_address(item) for item in _items(value))


def _counted_addresses(value: OptionValue) -> bytes:
    raw = _addresses(value)
    return bytes([len(raw)]) + raw


_PAIR = re.compile(r"(\S+)\s+(?:via\s+)?(\S+)")


def _pairs(value: OptionValue) -> bytes:
    """Pairs in one list item each, or all addresses one after the other."""
    found = []
    for item in _items(value):
        pair = _PAIR.fullmatch(item.strip()) if isinstance(item, str) else None
        found += [_address(pair[1]), _address(pair[2])] if pair else [_address(item)]
    if len(found) % 2:
        raise ValueError("an address is missing its partner")
    if b"\0\0\0\0" in found[::2]:
        raise ValueError("0.0.0.0 is no destination here (RFC 2132 section 5.8): write the router")
    return b"".join(found)


def _filters(value: OptionValue) -> bytes:
    """Addresses and masks, also as subnets (RFC 2132 section 4.3)."""
    items = _items(value)
    if any(isinstance(item, str) and "/" in item for item in items):
        networks = [IPv4Network(str(item).strip()) for item in items]
        return b"".join(n.network_address.packed + n.netmask.packed for n in networks)
    found = [_address(word) for word in _words(value)]
    if len(found) % 2:
        raise ValueError("an address is missing its mask")
    return b"".join(found)


_NUMBER = re.compile(r"[+-]?[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}")


def _number(value: OptionValue) -> int:
    if isinstance(value, tuple):
        raise ValueError("it is a list")
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            raise ValueError("it is no number")
        return int(value, 16 if "x" in value.lower() else 10)
    return int(value)


def _integer(size: int, *, signed: bool = False) -> Callable[[OptionValue], bytes]:
    return lambda value: _number(value).to_bytes(size, "big", signed=signed)


def _u16s(value: OptionValue) -> bytes:
    return b"".join(_number(item).to_bytes(2, "big") for item in _items(value))


def _bool(value: OptionValue) -> bytes:
    words = {"true": 1, "false": 0, "0": 0, "1": 1}
    number = words.get(str(value).strip().lower())
    if number is None:
        raise ValueError("it is neither")
    return bytes([number])


def _text(value: OptionValue) -> bytes:
    if isinstance(value, tuple):
        raise ValueError("it is a list")
    raw = str(value).encode()
    if not raw or b"\0" in raw:
        raise ValueError("a text has at least one octet and no NUL")
    return raw


def _labels(name: str) -> list[bytes]:
    """A domain name's labels, each with its length before it (RFC 1035 section 3.1)."""
    labels = [label.encode("ascii") for label in name.strip().removesuffix(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise ValueError(f"{name!r} is not a domain name")
    if any(octet <= 32 or octet == 127 for label in labels for octet in label):
        raise ValueError(f"{name!r} holds blanks or control characters")
    return [bytes([len(label)]) + label for label in labels]


def _domain(value: OptionValue) -> bytes:
    if not isinstance(value, str):
        raise ValueError("it is no single name")
    return b"".join(_labels(value)) + b"\0"


def _domains(value: OptionValue) -> bytes:
    return b"".join(_domain(str(item)) for item in _items(value))


def _search_list(value: OptionValue) -> bytes:
    """Domain names, ends that were there before as pointers to them (RFC 3397 section 2, RFC 1035 4.1.4)."""
    raw, seen = bytearray(), dict[tuple[bytes, ...], int]()
    for item in _items(value):
        labels = _labels(str(item))
        for at in range(len(labels)):
            end = tuple(label.lower() for label in labels[at:])
            if end in seen:
                raw += (0xC000 | seen[end]).to_bytes(2, "big")
                break
            if len(raw) < 0x4000:
                seen[end] = len(raw)
            raw += labels[at]
        else:
            raw += b"\0"
    return bytes(raw)


def _domains_or_addresses(value: OptionValue) -> bytes:
    """With the octet before it that tells which of them (RFC 3361 section 3)."""
    items = _items(value)
    if all(isinstance(item, str) and re.fullmatch(r"[0-9. ]+", item) for item in items):
        return b"\1" + _addresses(items)
    return b"\0" + _domains(items)


_ROUTE = re.compile(r"(\S+?)\s*(?:\s+via\s+|\s+-\s+|\s+|->)\s*(\S+)")


def _routes(value: OptionValue) -> bytes:
    return b"".join(_route(str(item)) for item in _items(value))


def _route(text: str) -> bytes:
    """A classless route: prefix length, its significant octets, the router (RFC 3442)."""
    match = _ROUTE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a route")
    network = IPv4Network(match[1] if match[1] != "default" else "0.0.0.0/0")
    significant = (network.prefixlen + 7) // 8
    packed = network.network_address.packed[:significant]
    return bytes([network.prefixlen]) + packed + IPv4Address(match[2]).packed


def _uris(value: OptionValue) -> bytes:
    """Each after its length in two octets (RFC 8572 section 8.3)."""
    found = [str(item).strip().encode("ascii") for item in _items(value)]
    return b"".join(len(uri).to_bytes(2, "big") + uri for uri in found)


def _sixrd(value: OptionValue) -> bytes:
    """Mask length, prefix length, prefix, border relays (RFC 5969 section 7.1.1)."""
    words = _words(value)
    if len(words) < 3:
        raise ValueError("prefix, mask length or border relay is missing")
    prefix, mask = IPv6Network(words[0]), _number(words[1])
    if not 0 <= mask <= 32 or 32 - mask + prefix.prefixlen > 128:
        raise ValueError("the mask's length fits neither IPv4 nor the prefix")
    head = bytes([mask, prefix.prefixlen]) + prefix.network_address.packed
    return head + b"".join(map(_address, words[2:]))


def _enterprises(value: OptionValue) -> bytes:
    """Each one's number in four octets, then its data after its length (RFC 3925)."""
    items = value if isinstance(value, tuple) else (value,)
    return b"".join(map(_enterprise, items))


def _enterprise(item: int | str) -> bytes:
    number, _, data = str(item).strip().partition(" ")
    data = data.strip()
    raw = octets(data[4:]) if data.startswith("hex:") else data.encode()
    if not raw or len(raw) > 255:
        raise ValueError(f"{len(raw)} octets of data, not 1 to 255")
    return _number(number).to_bytes(4, "big") + bytes([len(raw)]) + raw


def _mandatory(value: OptionValue) -> tuple[bytes, tuple[int | str, ...]]:
    first, *rest = _items(value)
    if not rest:
        raise ValueError("nothing stands behind true or false")
    return _bool(first), tuple(rest)


def _agents(value: OptionValue) -> bytes:
    mandatory, rest = _mandatory(value)
    return mandatory + _addresses(rest)


def _scope(value: OptionValue) -> bytes:
    mandatory, rest = _mandatory(value)
    return mandatory + _text(",".join(map(str, rest)))


def _flag(value: OptionValue) -> bytes:
    if value not in ("", True):
        raise ValueError("it carries no value")
    return b""


def _raw(value: OptionValue) -> bytes:
    raise ValueError('its structure is its own: write "hex:" and its octets')


_ENCODERS: Mapping[Type, Callable[[OptionValue], bytes]] = {
    Type.ADDRESS: _address,
    Type.MASK: _mask,
    Type.ADDRESSES: _addresses,
    Type.COUNTED_ADDRESSES: _counted_addresses,
    Type.PAIRS: _pairs,
    Type.FILTERS: _filters,
    Type.U8: _integer(1),
    Type.U16: _integer(2),
    Type.U16S: _u16s,
    Type.U32: _integer(4),
    Type.I32: _integer(4, signed=True),
    Type.BOOL: _bool,
    Type.TEXT: _text,
    Type.DOMAIN: _domain,
    Type.DOMAINS: _domains,
    Type.SEARCH_LIST: _search_list,
    Type.DOMAINS_OR_ADDRESSES: _domains_or_addresses,
    Type.ROUTES: _routes,
    Type.URIS: _uris,
    Type.SIXRD: _sixrd,
    Type.ENTERPRISES: _enterprises,
    Type.AGENTS: _agents,
    Type.SCOPE: _scope,
    Type.FLAG: _flag,
    Type.RAW: _raw,
}


def numbers(value: OptionValue) -> Iterable[int]:
    """The numbers of a value, for whoever bounds them."""
    return map(_number, _items(value))
