"""The octets of each type of option, and what no type takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.dhcp.option_values import Type, encode, octets
from netboot.dhcp.readable import text_of
from netboot.model.inventory import OptionValue


@pytest.mark.parametrize(
    ("kind", "value", "raw"),
    [
        (Type.MASK, "255.255.255.128", "ffffff80"),
        (Type.PAIRS, ("10.1.0.0 via 10.0.0.1", "10.2.0.0 10.0.0.2"), "0a0100000a0000010a0200000a000002"),
        (Type.PAIRS, "10.1.0.0, 10.0.0.1", "0a0100000a000001"),
        (Type.FILTERS, ("10.1.0.0/16", "10.2.0.0/15"), "0a010000ffff00000a020000fffe0000"),
        (Type.FILTERS, ("10.1.0.0 255.255.0.0",), "0a010000ffff0000"),
        (Type.U16, "0x1f90", "1f90"),
        (Type.I32, "-1", "ffffffff"),
        (Type.DOMAIN, "a.example.", "0161076578616d706c6500"),
        (Type.DOMAINS_OR_ADDRESSES, ("a.b", "c"), "000161016200016300"),
        (Type.DOMAINS_OR_ADDRESSES, "10.0.0.1, 10.0.0.2", "010a0000010a000002"),
        (Type.COUNTED_ADDRESSES, ("10.0.0.1", "10.0.0.2"), "080a0000010a000002"),
        (
            Type.URIS,
            ("https://a/", "https://b/"),
            "000a" + b"https://a/".hex() + "000a" + b"https://b/".hex(),
        ),
        (Type.SIXRD, "2001:db8::/32 8 192.0.2.1", "082020010db8" + "00" * 12 + "c0000201"),
        (Type.ENTERPRISES, ("9 hex:01:02", "4491 ab"), "00000009020102" + "0000118b026162"),
        (Type.ENTERPRISES, "9 a, b", "0000000904612c2062"),
        (Type.AGENTS, ("true", "10.0.0.1"), "010a000001"),
        (Type.SCOPE, ("false", "default", "lab"), "00" + b"default,lab".hex()),
    ],
)
def test_a_value_becomes_the_octets_of_its_type(kind: Type, value: OptionValue, raw: str) -> None:
    """However an operator parts its items."""
    assert encode(kind, value).hex() == raw


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Type.MASK, "255.0.255.0", "ones"),
        (Type.MASK, "0.0.0.0", "ones"),
        (Type.PAIRS, ("0.0.0.0 10.0.0.1",), "no destination"),
        (Type.PAIRS, ("10.1.0.0",), "partner"),
        (Type.FILTERS, ("10.1.0.1/16",), "host bits"),
        (Type.FILTERS, ("10.1.0.0",), "mask"),
        (Type.U8, "1e1", "no number"),
        (Type.DOMAIN, ("a", "b"), "single"),
        (Type.DOMAIN, "a b", "blanks"),
        (Type.DOMAIN, "a" * 64, "not a domain"),
        (Type.DOMAIN, ".".join(["abcdefg"] * 33), "not a domain"),
        (Type.SEARCH_LIST, (), "empty"),
        (Type.DOMAINS_OR_ADDRESSES, ("10.0.0.256",), "256"),
        (Type.SIXRD, "2001:db8::/32 8", "missing"),
        (Type.SIXRD, "2001:db8::/112 8 192.0.2.1", "mask's length"),
        (Type.SIXRD, "2001:db8::/32 33 192.0.2.1", "mask's length"),
        (Type.ENTERPRISES, "9", "octets of data"),
        (Type.ENTERPRISES, "nine hex:01", "no number"),
        (Type.AGENTS, ("true",), "nothing stands"),
        (Type.AGENTS, ("maybe", "10.0.0.1"), "neither"),
        (Type.FLAG, "yes", "no value"),
        (Type.RAW, "010203", "hex:"),
    ],
)
def test_what_does_not_fit_its_type_is_refused(kind: Type, value: OptionValue, reason: str) -> None:
    """With the reason, where the type itself does not tell it."""
    with pytest.raises((ValueError, OverflowError), match=reason):
        encode(kind, value)


def test_a_search_list_points_back_to_ends_that_were_there() -> None:
    """RFC 3397's own example, a name that is the end of another, and the same name again."""
    raw = encode(Type.SEARCH_LIST, ("eng.apple.com", "marketing.apple.com", "apple.com", "ENG.apple.com"))
    assert raw == b"\x03eng\x05apple\x03com\x00" + b"\x09marketing\xc0\x04" + b"\xc0\x04" + b"\xc0\x00"


labels = st.text("abcdefgh-", min_size=1, max_size=9)
names = st.lists(st.lists(labels, min_size=1, max_size=5).map(".".join), min_size=1, max_size=12)


@given(names)
def test_any_search_list_reads_back_as_it_was_written(wanted: list[str]) -> None:
    """By the reader of DNS names that shows options to people."""
    raw = encode(Type.SEARCH_LIST, tuple(wanted))
    assert text_of(119, raw) == ", ".join(wanted)
    assert len(raw) <= len(encode(Type.DOMAINS, tuple(wanted)))


@given(
    st.sampled_from(list(Type)),
    st.one_of(st.text(max_size=40), st.integers(), st.tuples(st.text(max_size=20))),
)
def test_any_value_is_octets_or_a_reason(kind: Type, value: OptionValue) -> None:
    """Nothing else comes out of a value that somebody wrote."""
    try:
        assert isinstance(encode(kind, value), bytes)
    except (ValueError, OverflowError):
        pass


def test_hexadecimal_may_have_colons() -> None:
    """As tools print it."""
    assert octets("0a:0b0c") == b"\x0a\x0b\x0c"
