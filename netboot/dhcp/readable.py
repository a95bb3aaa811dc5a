"""Options as an operator reads them: the way back from bytes to what the file would say."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address

from netboot.dhcp.option_values import Type
from netboot.dhcp.options import BY_CODE
from netboot.dhcp.wire import Kind

_SPECIAL_TEXT = frozenset({60, 77})
"""Written as octets by an operator, and text on the wire nearly always."""


def name_of(code: int) -> str:
    """`6 domain-server`; the number alone where the table has no row."""
    option = BY_CODE.get(code)
    return f"{code} {option.name}" if option else str(code)


def text_of(code: int, raw: bytes) -> str:
    """A value as one printable line. Never raises: what does not have its type's form is shown as octets."""
    if code == 53 and len(raw) == 1 and raw[0] in set(Kind):
        return Kind(raw[0]).name
    if code == 97 and len(raw) == 17 and raw[0] == 0:
        return str(uuid.UUID(bytes=raw[1:]))
    option = BY_CODE.get(code)
    kind = option.type if option else Type.TEXT
    if kind is Type.RAW and code in _SPECIAL_TEXT:
        kind = Type.TEXT
    found = _READERS.get(kind, _octets)(raw)
    return _octets(raw) if found is None else found


def _octets(raw: bytes) -> str:
    return "hex:" + raw.hex() if raw else '""'


def _addresses(raw: bytes) -> str | None:
    if not raw or len(raw) % 4:
        return None
    return ", ".join(str(IPv4Address(raw[i : i + 4])) for i in range(0, len(raw), 4))


def _number(size: int, *, signed: bool = False) -> Callable[[bytes], str | None]:
    def read(raw: bytes) -> str | None:
        return str(int.from_bytes(raw, "big", signed=signed)) if len(raw) == size else None

    return read


def _u16s(raw: bytes) -> str | None:
    if not raw or len(raw) % 2:
        return None
    return ", ".join(str(raw[i] << 8 | raw[i + 1]) for i in range(0, len(raw), 2))


def _bool(raw: bytes) -> str | None:
    return {b"\0": "false", b"\1": "true"}.get(raw)


def _text(raw: bytes) -> str | None:
    plain = raw.rstrip(b"\0")
    return plain.decode("ascii") if plain and all(32 <= octet < 127 for octet in plain) else None


def _domains(raw: bytes) -> str | None:
    """Names in RFC 1035 form, with the pointers of RFC 3397; None for what is none."""
    names, at = [], 0
    while at < len(raw):
        found = _domain(raw, at)
        if found is None:
            return None
        name, at = found
        names.append(name)
    return ", ".join(names) or None


def _domain(raw: bytes, at: int) -> tuple[str, int] | None:
    labels: list[str] = []
    end, jumps = None, 0
    while at < len(raw):
        size = raw[at]
        if size == 0:
            return ".".join(labels) or ".", at + 1 if end is None else end
        if size >= 0xC0 and at + 1 < len(raw) and jumps < 16:
            end = at + 2 if end is None else end
            at, jumps = (size & 0x3F) << 8 | raw[at + 1], jumps + 1
            continue
        label = _text(raw[at + 1 : at + 1 + size])
        if size > 63 or label is None or at + 1 + size > len(raw) or len(labels) > 127:
            return None
        labels.append(label)
        at += 1 + size
    return None


def _routes(raw: bytes) -> str | None:
    routes = list(_each_route(raw))
    return ", ".join(routes) if routes and None not in routes else None  # type: ignore[arg-type]


def _each_route(raw: bytes) -> Iterator[str | None]:
    at = 0
    while at < len(raw):
        width = raw[at]
        size = (width + 7) // 8
        if width > 32 or at + 5 + size > len(raw):
            yield None
            return
        network = IPv4Address(raw[at + 1 : at + 1 + size].ljust(4, b"\0"))
        yield f"{network}/{width} via {IPv4Address(raw[at + 1 + size : at + 5 + size])}"
        at += 5 + size


def _flag(raw: bytes) -> str | None:
    return "set" if not raw else None


_READERS: Mapping[Type, Callable[[bytes], str | None]] = {
    Type.ADDRESS: _addresses,
    Type.MASK: _addresses,
    Type.ADDRESSES: _addresses,
    Type.PAIRS: _addresses,
    Type.FILTERS: _addresses,
    Type.U8: _number(1),
    Type.U16: _number(2),
    Type.U16S: _u16s,
    Type.U32: _number(4),
    Type.I32: _number(4, signed=True),
    Type.BOOL: _bool,
    Type.TEXT: _text,
    Type.DOMAIN: _domains,
    Type.DOMAINS: _domains,
    Type.SEARCH_LIST: _domains,
    Type.ROUTES: _routes,
    Type.FLAG: _flag,
}
