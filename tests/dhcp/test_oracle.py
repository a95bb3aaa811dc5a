"""scapy as the oracle of the codec, in both directions: what one side builds, the other reads as the same.

Where the two disagree on purpose, the reason stands beside the case: scapy looks at one option at a time, and
it forgives what a server must refuse.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.all import BOOTP, DHCP, Field  # type: ignore[attr-defined]
from scapy.layers.dhcp import DHCPOptions

from netboot.dhcp.option_values import Type
from netboot.dhcp.options import TABLE, Option, encode_value
from netboot.dhcp.wire import MAGIC, Kind, Op, Packet, decode, encode
from netboot.errors import MalformedPacket
from netboot.model.inventory import OptionValue
from netboot.model.machine import Mac
from tests.dhcp.world import message

logging.getLogger("scapy").setLevel(logging.CRITICAL)

MAC = Mac("52:54:00:77:00:00")
FEW = settings(max_examples=60, deadline=None)
MANY = settings(max_examples=250, deadline=None)
NOT_PLAIN = (0, 52, 255)
"""PAD, END, and the option that says where others stand."""

octets = st.binary(min_size=1, max_size=60)
addresses = st.integers(1, 0xFFFFFFFE).map(lambda n: str(IPv4Address(n)))


def octets_of(code: int, values: tuple[Any, ...]) -> bytes:
    """What scapy's values of an option are on the wire, by scapy's own fields."""
    field = DHCPOptions.get(code)
    if isinstance(field, Field):
        return b"".join(field.addfield(DHCP(), b"", field.any2i(None, value)) for value in values)
    return b"".join(v if isinstance(v, bytes) else str(v).encode() for v in values)


CODES = {field.name if isinstance(field, Field) else field: code for code, field in DHCPOptions.items()}


def parts(options: list[Any]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """scapy's options with their codes, in order, PAD and END left out."""
    for row in options:
        if isinstance(row, tuple):
            name, *values = row
            yield (name if isinstance(name, int) else CODES[name]), tuple(values)


def joined(options: list[Any]) -> dict[int, bytes]:
    """scapy's options as we hold them: each code once, its parts joined, which scapy leaves to its reader."""
    found: dict[int, bytes] = {}
    for code, values in parts(options):
        found[code] = found.get(code, b"") + octets_of(code, values)
    return found


# What we write, scapy reads


VALUES: dict[Type, st.SearchStrategy[OptionValue]] = {
    Type.ADDRESS: addresses,
    Type.ADDRESSES: st.lists(addresses, min_size=1, max_size=70).map(tuple),
    Type.MASK: st.integers(0, 32).map(lambda n: str(IPv4Network((0, n)).netmask)),
    Type.U8: st.integers(0, 255),
    Type.U16: st.integers(0, 65535),
    Type.U16S: st.lists(st.integers(0, 65535), min_size=1, max_size=150).map(tuple),
    Type.U32: st.integers(0, 0xFFFFFFFF),
    Type.I32: st.integers(-(2**31), 2**31 - 1),
    Type.PAIRS: st.lists(st.tuples(addresses, addresses), min_size=1, max_size=40).map(
        lambda rows: tuple(f"{a} {b}" for a, b in rows)
    ),
    Type.BOOL: st.booleans().map(lambda b: "true" if b else "false"),
    Type.TEXT: st.text("abcxyz09-./: ", min_size=1, max_size=400).filter(lambda t: not t.startswith("hex:")),
    Type.ROUTES: st.lists(
        st.tuples(st.integers(0, 32), st.integers(0, 0xFFFFFFFF), addresses), min_size=1, max_size=8
    ).map(lambda rows: tuple(f"{IPv4Network((n, p), strict=False)} via {r}" for p, n, r in rows)),
}


def meant(option: Option, value: OptionValue) -> tuple[Any, ...] | None:
    """What scapy has to read of an operator's value, in its own types; None where it has none for it."""
    items = value if isinstance(value, tuple) else (value,)
    field = DHCPOptions.get(option.code)
    if not isinstance(field, Field) or field.__class__.__name__ == "StrField":
        return (str(value).encode(),) if option.type is Type.TEXT else None
    if option.type in (Type.ADDRESS, Type.ADDRESSES, Type.MASK):
        return tuple(map(str, items))
    if option.type is Type.ROUTES:
        return ([text.replace(" via ", ":") for text in map(str, items)],)
    if option.type is Type.PAIRS:
        return tuple(" ".join(map(str, items)).split())
    if option.type is Type.BOOL:
        return (int(value == "true"),)
    if option.type is Type.I32:  # scapy takes the offset from UTC for unsigned; RFC 2132 section 3.4 does not
        return (int(str(value)) & 0xFFFFFFFF,)
    return items


def typed_rows() -> list[Any]:
    """Every option with a type that we can invent values for."""
    return [pytest.param(option, id=option.name) for option in TABLE if option.type in VALUES]


@pytest.mark.parametrize("option", typed_rows())
@FEW
@given(data=st.data())
def test_scapy_reads_the_operators_value_out_of_our_octets(option: Option, data: st.DataObject) -> None:
    """Addresses, numbers, texts and routes of every row of the table; long ones in parts (RFC 3396)."""
    value = data.draw(VALUES[option.type])
    try:
        raw = encode_value(option.code, value)
    except ValueError:
        return  # its RFC allows fewer numbers than its type has
    if option.code in NOT_PLAIN:
        return
    theirs = BOOTP(encode(message(MAC, Kind.ACK, {option.code: raw})._replace(op=Op.REPLY)))
    assert _octets_in(theirs)[option.code] == raw
    wanted = meant(option, value)
    if len(raw) <= 255 and wanted is not None:  # of parts scapy makes what it can, each by itself
        assert [v for code, v in parts(theirs[DHCP].options) if code == option.code] == [wanted]


@MANY
@given(
    st.dictionaries(st.integers(1, 254).filter(lambda c: c != 52), st.binary(max_size=700), max_size=8),
    st.tuples(*[st.integers(0, 0xFFFFFFFF)] * 5),
    st.tuples(st.integers(0, 255), st.integers(0, 65535), st.integers(0, 65535)),
    st.text("abc/._", max_size=63), st.text("abc/._", max_size=127),
)  # fmt: skip
def test_scapy_reads_every_field_and_octet_that_we_write(
    options: dict[int, bytes], numbers: tuple[int, ...], small: tuple[int, ...], sname: str, file: str
) -> None:
    """Header fields by name; options, known to scapy or not, with the same octets."""
    xid, ciaddr, yiaddr, siaddr, giaddr = numbers
    hops, secs, flags = small
    ours = Packet(
        Op.REPLY, 1, 6, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, MAC.packed(),
        sname.encode(), file.encode(), options,
    )  # fmt: skip
    theirs = BOOTP(encode(ours))
    assert (theirs.op, theirs.htype, theirs.hlen, theirs.hops) == (2, 1, 6, hops)
    assert (theirs.xid, theirs.secs, int(theirs.flags)) == (xid, secs, flags)
    assert [theirs.ciaddr, theirs.yiaddr, theirs.siaddr, theirs.giaddr] == [
        str(IPv4Address(n)) for n in numbers[1:]
    ]
    assert theirs.chaddr.rstrip(b"\0") == MAC.packed().rstrip(b"\0")
    assert (theirs.sname.rstrip(b"\0"), theirs.file.rstrip(b"\0")) == (ours.sname, ours.file)
    assert _octets_in(theirs) == {code: raw for code, raw in options.items()}


def _octets_in(theirs: Any) -> dict[int, bytes]:
    """The options of a message by the octets that scapy keeps of them, whatever it takes their types for.

    A value that does not have the length of its type makes scapy give up on all that follows; its octets
    are read by the rule of RFC 2131 section 4.1 then: a code, a length, as many octets.
    """
    raw, at = bytes(theirs[DHCP].original) if DHCP in theirs else b"", 0
    found: dict[int, bytes] = {}
    while at < len(raw) and raw[at] != 255:
        if raw[at] == 0:
            at += 1
            continue
        code, size = raw[at], raw[at + 1]
        found[code] = found.get(code, b"") + raw[at + 2 : at + 2 + size]
        at += 2 + size
    return found


# What scapy writes, we read


def scapy_value(code: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """Values of one option as scapy takes them."""
    field = DHCPOptions[code]
    kind = field.__class__.__name__
    if kind == "IPField":
        return st.lists(addresses, min_size=1, max_size=70).map(tuple)
    if kind in ("ByteField", "ByteEnumField"):
        return st.tuples(st.integers(0, 255))
    if kind == "ShortField":
        return st.lists(st.integers(0, 65535), min_size=1, max_size=100).map(tuple)
    if kind == "IntField":
        return st.tuples(st.integers(0, 0xFFFFFFFF))
    if kind == "_DHCPByteFieldListField":
        return st.tuples(st.lists(st.integers(0, 255), min_size=1, max_size=40))
    if kind == "ClasslessFieldListField":
        nets = st.tuples(st.integers(0, 32), st.integers(0, 0xFFFFFFFF), addresses)
        return st.lists(nets, min_size=1, max_size=5).map(
            lambda rows: ([f"{IPv4Network((n, p), strict=False)}:{r}" for p, n, r in rows],)
        )
    return st.tuples(octets)


@st.composite
def scapy_options(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Some options by scapy's names, each at most once, none longer than one part."""
    codes = draw(
        st.lists(st.sampled_from(sorted(set(DHCPOptions) - set(NOT_PLAIN))), unique=True, max_size=9)
    )
    rows = []
    for code in codes:
        values = draw(scapy_value(code))
        if len(octets_of(code, values)) <= 255:
            field = DHCPOptions[code]
            rows.append((field.name if isinstance(field, Field) else field, *values))
    return rows


def built(*options: Any, **fields: Any) -> bytes:
    """A request as scapy writes it."""
    return bytes(BOOTP(op=1, chaddr=MAC.packed(), **fields) / DHCP(options=list(options)))


@MANY
@given(scapy_options(), st.tuples(*[st.integers(0, 0xFFFFFFFF)] * 4), st.integers(0, 5))
def test_we_read_every_field_and_option_that_scapy_writes(
    options: list[tuple[Any, ...]], numbers: tuple[int, ...], pads: int
) -> None:
    """The same octets under the same codes, in the same order, with PAD anywhere and END at the end."""
    texts = [str(IPv4Address(n)) for n in numbers]
    fields = dict(zip(("ciaddr", "yiaddr", "siaddr", "giaddr"), texts, strict=True))
    ours = decode(built(*["pad"] * pads, *options, "end", xid=7, secs=9, flags="B", hops=3, **fields))
    assert (ours.ciaddr, ours.yiaddr, ours.siaddr, ours.giaddr) == numbers
    assert (ours.xid, ours.secs, ours.flags, ours.hops, ours.chaddr) == (7, 9, 0x8000, 3, MAC.packed())
    assert list(ours.options.items()) == list(joined(options).items())


@MANY
@given(st.integers(1, 254).filter(lambda c: c != 52), st.binary(max_size=1200), st.data())
def test_we_join_what_scapy_splits(code: int, value: bytes, data: st.DataObject) -> None:
    """A long value in parts of any sizes, other options between them: one value (RFC 3396 section 5)."""
    rows: list[Any] = []
    rest = value
    while rest:
        size = data.draw(st.integers(1, 255))
        rows += [(code, rest[:size]), (254 if code != 254 else 253, b"between")]
        rest = rest[size:]
    ours = decode(built(*(_raw(rows)), "end"))
    assert ours.options.get(code, b"") == value


def _raw(rows: list[tuple[int, bytes]]) -> list[bytes]:
    """Options as octets: scapy writes them as they stand, whatever their types."""
    return [bytes((code, len(raw))) + raw for code, raw in rows]


@MANY
@given(scapy_options(), scapy_options(), scapy_options(), st.sampled_from([1, 2, 3]))
def test_we_read_options_that_go_on_in_file_and_sname(
    first: list[tuple[Any, ...]], second: list[tuple[Any, ...]], third: list[tuple[Any, ...]], overload: int
) -> None:
    """Option 52 as scapy builds it by hand: its own reader leaves the fields alone, ours joins in order."""
    in_file, in_sname = _fitting(second, 127), _fitting(third, 63)
    fields = {
        "file": bytes(DHCP(options=[*in_file, "end"])) if overload & 1 else b"program",
        "sname": bytes(DHCP(options=[*in_sname, "end"])) if overload & 2 else b"server",
    }
    ours = decode(built(("dhcp-option-overload", overload), *first, "end", **fields))
    wanted = {52: bytes([overload]), **joined(first)}
    for rows in ([in_file] if overload & 1 else []) + ([in_sname] if overload & 2 else []):
        for code, raw in joined(rows).items():
            wanted[code] = wanted.get(code, b"") + raw
    assert ours.options == wanted
    assert (ours.file, ours.sname) == (
        b"" if overload & 1 else b"program", b"" if overload & 2 else b"server",
    )  # fmt: skip


def _fitting(rows: list[tuple[Any, ...]], room: int) -> list[tuple[Any, ...]]:
    """As many options as a header field holds."""
    kept: list[tuple[Any, ...]] = []
    for row in rows:
        if len(bytes(DHCP(options=[*kept, row, "end"]))) <= room:
            kept.append(row)
    return kept


# Where they differ


@MANY
@given(st.binary(max_size=300))
def test_on_any_octets_scapy_and_we_differ_only_where_a_server_must_refuse(raw: bytes) -> None:
    """An option that is cut short is malformed for us; scapy hands out the rest as octets and goes on.

    What follows END is nothing for us (RFC 2132 section 3.2), further options for scapy. A value whose
    length does not fit its type is a value for us, and the end of the message for scapy.
    """
    data = bytes(BOOTP(op=1, chaddr=MAC.packed(), options=MAGIC)) + raw
    before_end = _before_end(raw)
    try:
        ours = decode(data)
    except MalformedPacket:
        overload = before_end is not None and before_end.get(52)
        assert before_end is None or overload, "we refuse only what is cut short, or a wrong overload"
        return
    assert before_end is not None
    if 52 not in before_end:
        assert ours.options == before_end
    theirs = BOOTP(data)[DHCP].options if raw else []
    whole = [row for row in theirs if isinstance(row, tuple)]
    until_end = theirs[: theirs.index("end")] if "end" in theirs else theirs
    if all(not isinstance(row, bytes) for row in until_end) and 52 not in before_end:
        assert joined([row for row in until_end if row in whole]) == ours.options


def _before_end(raw: bytes) -> dict[int, bytes] | None:
    """Codes and octets up to END by RFC 2132 section 2; None where one is cut short."""
    at, found = 0, dict[int, bytes]()
    while at < len(raw) and raw[at] != 255:
        if raw[at] == 0:
            at += 1
            continue
        if at + 1 >= len(raw) or at + 2 + raw[at + 1] > len(raw):
            return None
        found[raw[at]] = found.get(raw[at], b"") + raw[at + 2 : at + 2 + raw[at + 1]]
        at += 2 + raw[at + 1]
    return found
