"""Properties of the DHCP rooms over arbitrary values: our own error or a value, and sums that come out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netboot.dhcp.admission import GUESTS, KNOWN_CLIENTS, Limiter
from netboot.dhcp.options import BY_CODE, client_of, code_of, encode_value, encoded, sub_options
from netboot.dhcp.pool import Addresses, Free
from netboot.dhcp.readable import text_of
from netboot.dhcp.wire import Kind, decode, encode
from netboot.errors import MalformedPacket
from netboot.model.machine import Mac
from netboot.model.manners import Limits, Rate
from tests.dhcp.world import NODE_MACS, message

PROTOCOLS_OWN = (52, 53)
"""Options that say how a message is read; an operator's file may not have them."""
MANY = settings(max_examples=300, deadline=None)

words = st.one_of(
    st.text(max_size=80),
    st.text("0123456789.:-/, viahextrufls", max_size=60),
    st.from_regex(r"\A(hex:)?([0-9a-f]{2}:?){0,40}\Z"),
    st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?\Z"),
)
scalars = st.one_of(words, st.integers(), st.booleans())
values = st.one_of(scalars, st.lists(scalars, max_size=20).map(tuple))


@MANY
@given(st.integers(1, 254), values)
def test_any_value_of_an_operator_is_octets_or_a_value_error(code: int, value: object) -> None:
    """For every option, known or not; what it is in octets, an operator can be shown in one line."""
    try:
        raw = encode_value(code, value)  # type: ignore[arg-type]
    except ValueError as error:
        assert str(code) in str(error), "the message says which option it is about"
        return
    if code not in PROTOCOLS_OWN:
        assert decode(encode(message(NODE_MACS[0], Kind.ACK, {code: raw}))).options[code] == raw
    assert encoded(code, value)[:1] == bytes([code]) or not raw  # type: ignore[arg-type]
    assert text_of(code, raw).isprintable()


@MANY
@given(st.one_of(st.integers(), st.text(max_size=40), st.sampled_from([o.name for o in BY_CODE.values()])))
def test_any_key_of_an_operator_is_a_code_or_a_value_error(key: int | str) -> None:
    """A number from 1 to 254, a name that is known, or a reason."""
    try:
        assert 1 <= code_of(key) <= 254
    except ValueError as error:
        assert str(error)


identifying = st.sampled_from([12, 43, 60, 61, 77, 82, 93, 94, 97, 118, 124, 175])


@MANY
@given(st.dictionaries(identifying, st.binary(max_size=90)), st.integers(0, 0xFFFFFFFF))
def test_whatever_a_client_says_of_itself_is_a_client(options: dict[int, bytes], giaddr: int) -> None:
    """Vendor, class, UUID, features, relay: any octets; what we show of them is text."""
    packet = message(NODE_MACS[0], Kind.DISCOVER, options)._replace(giaddr=giaddr)
    client = client_of(packet)
    assert client.mac == NODE_MACS[0] and isinstance(hash(client), int)
    assert client.arch is None or 0 <= client.arch <= 0xFFFF
    assert client.uuid is None or len(client.uuid) == 36
    for raw in options.values():
        assert sum(len(value) + 2 for value in sub_options(raw).values()) <= len(raw)


@MANY
@given(st.integers(0, 255), st.binary(min_size=16, max_size=16), st.integers(0, 255))
def test_whatever_a_card_is_it_is_ours_or_malformed(htype: int, chaddr: bytes, hlen: int) -> None:
    """Only Ethernet cards' own addresses: six octets, no group, not zero."""
    packet = message(NODE_MACS[0], Kind.DISCOVER)._replace(htype=htype, hlen=hlen, chaddr=chaddr[:hlen])
    try:
        client = client_of(packet)
    except MalformedPacket:
        return
    assert (htype, hlen) == (1, 6) and not chaddr[0] & 1 and any(chaddr[:6])
    assert client.mac == chaddr[:6].hex(":")


spans = st.lists(st.tuples(st.integers(0x0A000000, 0x0A002000), st.integers(0, 700)), min_size=1, max_size=4)


@MANY
@given(spans, st.sets(st.integers(0x0A000000, 0x0A002800), max_size=12), st.data())
def test_every_place_of_a_range_is_one_address_and_back(
    ranges: list[tuple[int, int]], never: set[int], data: st.DataObject
) -> None:
    """Places and addresses are one to one, in order, whatever the ranges; the taken ones are never given."""
    apart, at = [], 0
    for first, size in sorted(ranges):
        if first > at:
            apart.append((first, first + size))
            at = first + size
    addresses = Addresses(tuple(apart), frozenset(never), frozenset())
    count = addresses.places
    found = [addresses.at(place) for place in range(min(count, 300))]
    assert found == sorted(set(found)) and [addresses.place(n) for n in found] == list(range(len(found)))
    assert all(any(first <= n <= last for first, last in apart) and n & 0xFF not in (0, 255) for n in found)
    assert {addresses.at(place) for place in addresses.taken()} == {
        n for n in never if addresses.place(n) is not None
    }
    if count:
        number = addresses.at(data.draw(st.integers(0, count - 1)))
        assert (number in addresses) == (number not in never)
    with pytest.raises(IndexError):
        addresses.at(count)


@MANY
@given(st.integers(0, 30), st.lists(st.tuples(st.booleans(), st.integers(0, 29)), max_size=80))
def test_a_set_of_free_places_is_a_set(size: int, steps: list[tuple[bool, int]]) -> None:
    """Taking and giving back in any order: what can be drawn is just what is free, each once."""
    free, model = Free(size), set(range(size))
    for takes, member in steps:
        member = member % size if size else 0
        if takes:
            assert free.take(member) == (member in model)
            model.discard(member)
        elif member < size:
            assert free.give(member) == (member not in model)
            model.add(member)
        assert len(free) == len(model)
        assert sorted(free[turn] for turn in range(len(free))) == sorted(model)
    assert all((member in free) == (member in model) for member in range(size))


@MANY
@given(
    st.integers(1, 20), st.floats(0.1, 50.0),
    st.lists(st.tuples(st.integers(0, 5), st.floats(-5.0, 30.0)), max_size=120),
)  # fmt: skip
def test_nobody_asks_more_often_than_the_limits_say(
    count: int, seconds: float, steps: list[tuple[int, float]]
) -> None:
    """In any stretch of time: a burst and the rate, however the clock jumps back."""
    rate, now = Rate(count, seconds), 1000.0
    limiter = Limiter(Limits(per_client=rate, new_macs=rate), now)
    allowed: dict[int, int] = {}
    forward = 0.0
    for who, step in steps:
        now += step
        forward += max(0.0, step)
        mac = Mac.from_bytes(bytes([2, 0, 0, 0, 0, who]))
        allowed[who] = allowed.get(who, 0) + limiter.allows(mac, now)
        assert allowed[who] <= rate.count + forward * rate.per_second + 1


def test_a_flood_of_macs_costs_bounded_memory() -> None:
    """Twice as many as are remembered; the counts of the last ones are kept."""
    limiter = Limiter(Limits(per_client=Rate(1, 1.0), new_macs=Rate(1e9, 1.0)), 0.0)
    for number in range(2 * KNOWN_CLIENTS):
        mac = Mac.from_bytes((0x020000000000 + number).to_bytes(6, "big"))
        assert limiter.allows(mac, 0.0) and limiter.lets_in(mac, 0.0)
    assert not limiter.allows(mac, 0.0)
    assert len(limiter._clients) <= KNOWN_CLIENTS and len(limiter._guests) <= GUESTS
