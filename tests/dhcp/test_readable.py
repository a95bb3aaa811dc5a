"""Options read back as an operator writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.dhcp.options import encode_value
from netboot.dhcp.readable import name_of, text_of
from netboot.model.inventory import OptionValue


@pytest.mark.parametrize(
    ("code", "value", "text"),
    [
        (3, "10.0.0.1", "10.0.0.1"),
        (6, ("10.0.0.1", "10.0.0.2"), "10.0.0.1, 10.0.0.2"),
        (2, -3600, "-3600"),
        (12, "m1", "m1"),
        (19, "true", "true"),
        (23, 64, "64"),
        (26, 9000, "9000"),
        (51, 600, "600"),
        (25, (68, 296), "68, 296"),
        (80, "", "set"),
        (119, ("a.example.org", "b.example.org"), "a.example.org, b.example.org"),
        (
            121,
            ("10.0.0.0/8 via 10.28.0.1", "default via 10.28.0.2"),
            "10.0.0.0/8 via 10.28.0.1, 0.0.0.0/0 via 10.28.0.2",
        ),
        (43, "hex:060108ff", "hex:060108ff"),
        (224, "plain", "plain"),
    ],
)
def test_what_an_operator_wrote_reads_the_same(code: int, value: OptionValue, text: str) -> None:
    """Each type, through the encoder and back."""
    assert text_of(code, encode_value(code, value)) == text


def test_values_of_the_protocol_are_named() -> None:
    """Message types, UUIDs, vendor classes; names with their numbers."""
    assert text_of(53, b"\2") == "OFFER"
    assert text_of(97, b"\0" + bytes(range(16))) == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert text_of(60, b"PXEClient\0") == "PXEClient"
    assert (name_of(6), name_of(224)) == ("6 domain-server", "224")


def test_a_value_without_its_types_form_is_shown_as_octets() -> None:
    """Truncated addresses, routes and names, text with control characters, pointers that go in circles."""
    for code, raw in (
        (3, b"abc"),
        (121, b"\x20\x0a"),
        (119, b"\x05ab"),
        (119, b"\xc0\0"),
        (12, b"a\x1b[2J"),
        (12, b""),
    ):
        assert text_of(code, raw) in ("hex:" + raw.hex(), '""')


@given(st.integers(1, 254), st.binary(max_size=255))
def test_no_value_raises_and_all_are_one_printable_line(code: int, raw: bytes) -> None:
    """Whatever stands in an option."""
    assert text_of(code, raw).isprintable()
