"""RFC 2132, RFC 3396 and those that define single options, sentence by sentence (see test_conformance)."""

from __future__ import annotations

import pytest

from netboot.model.inventory import OptionValue
from tests.dhcp.rfc import (
    NODE,
    OFFER,
    raw_request,
    request,
    site,
)

# RFC 2132


async def test_requested_options_come_in_the_order_of_the_request() -> None:
    """Section 9.8: the server MUST try to insert them in the order that the client asked in."""
    world = site(options={42: "10.0.0.1", 26: 9000, 119: ("a.test",)})
    asked = [119, 26, 12, 6, 15, 42, 28, 51, 1, 3]
    offer = await world.answer(request(NODE, "discover", ("param_req_list", asked)))
    assert [code for code in offer.codes if code in asked] == asked


async def test_the_mask_comes_before_the_router() -> None:
    """Section 3.3: it MUST, even where the client names them the other way round."""
    for asked in ([3, 1], [3, 6, 1], [1, 3], [6], [3]):
        codes = (await site().answer(request(NODE, "discover", ("param_req_list", asked)))).codes
        assert codes.index(1) < codes.index(3)


@pytest.mark.parametrize(
    ("code", "value", "raw"),
    [
        (2, -3600, "fffff1f0"),
        (21, ("10.1.0.0/16",), "0a010000ffff0000"),
        (23, 64, "40"),
        (25, (68, 1500), "004405dc"),
        (33, ("10.1.0.0 10.77.0.254",), "0a0100000a4d00fe"),
        (35, 60, "0000003c"),
        (19, "true", "01"),
        (100, "CET-1CEST", b"CET-1CEST".hex()),
        (114, "https://portal.test/", b"https://portal.test/".hex()),
        (
            119,
            ("eng.apple.com", "marketing.apple.com"),
            "03656e67056170706c6503636f6d00096d61726b6574696e67c004",
        ),
        (120, ("10.0.0.5",), "010a000005"),
        (120, ("sip.test",), "000373697004746573" + "7400"),
        (121, ("default via 10.77.0.254", "10.17.0.0/16 via 10.77.0.2"), "000a4d00fe" + "100a110a4d0002"),
        (249, ("10.0.0.0/25 via 10.77.0.2",), "190a0000000a4d0002"),
        (125, ("4491 hex:0102",), "0000118b020102"),
        (138, ("10.0.0.5", "10.0.0.6"), "0a0000050a000006"),
        (212, ("2001:db8::/32", 8, "192.0.2.1"), "0820" + "20010db8" + "00" * 12 + "c0000201"),
    ],
)
async def test_options_are_encoded_as_their_rfcs_say(code: int, value: OptionValue, raw: str) -> None:
    """RFC 2132, 3361, 3397 (its own example), 3442, 3925, 4833, 5417, 5969, 8910."""
    world = site(options={code: value})
    offer = await world.answer(request(NODE, "discover", ("param_req_list", [code])))
    found = offer.option(code)
    assert found is not None and found.hex() == raw


# RFC 2131 section 2, RFC 2132 section 9.10 and RFC 3396: how long a reply may be, and long options


LONG: dict[int, OptionValue] = {code: "hex:" + "ab" * 150 for code in range(224, 234)}


@pytest.mark.parametrize(
    ("said", "longest"), [((), 548), ((576,), 548), ((100,), 548), ((1000,), 972), ((1500,), 1472)]
)
async def test_a_reply_is_no_longer_than_the_client_takes(said: tuple[int, ...], longest: int) -> None:
    """Option 57 counts the headers; without it, and below the legal 576, 548 octets of message."""
    world = site(options=LONG)
    largest = [("max_dhcp_size", size) for size in said]
    asked = ("param_req_list", list(LONG))
    offer = await world.answer(request(NODE, "discover", asked, *largest))
    assert longest - 154 < len(offer.raw) <= longest
    fitting = [code for code in LONG if code in offer.codes]
    assert fitting == list(LONG)[: len(fitting)], "the last asked for go first"
    assert all(offer.option(code) == b"\xab" * 150 for code in fitting), "no option is cut"
    if len(fitting) < len(LONG):
        assert all(
            str(code) in world.reported("dhcp_options_dropped")[0] for code in LONG if code not in fitting
        )


async def test_a_long_option_is_split_and_joined_again() -> None:
    """RFC 3396: parts of at most 255 octets, one after the other."""
    world = site(options={224: "hex:" + "0123" * 300})
    asked = (("param_req_list", [224]), ("max_dhcp_size", 1500))
    offer = await world.answer(request(NODE, "discover", *asked))
    sizes = [len(value) for code, value in offer.parts if code == 224]
    assert sizes == [255, 255, 90] and offer.option(224) == bytes.fromhex("0123" * 300)
    at = offer.codes.index(224)
    assert offer.codes[at : at + 3] == [224] * 3


async def test_a_client_identifier_in_parts_is_one() -> None:
    """RFC 3396 on input: split within the options field, it comes back whole."""
    parts = b"\x35\x01\x01" + b"\x3d\x02\x01a" + b"\x37\x02\x01\x03" + b"\x3d\x02bc" + b"\xff"
    offer = await site().answer(raw_request(NODE, parts))
    assert offer.option(61) == b"\x01abc" and offer.codes.count(61) == 1


async def test_options_may_overflow_into_file_and_sname() -> None:
    """RFC 2132 section 9.3 and RFC 3396 section 7: options field, then file, then sname."""
    start = b"\x35\x01\x01" + b"\x34\x01\x03" + b"\x3d\x02\x01a" + b"\xff"
    fields = {
        "file": b"\x3d\x02bc\x37\x01\x2a\xff".ljust(128, b"\0"),
        "sname": b"\x3d\x02de\xff".ljust(64, b"\0"),
    }
    offer = await site(options={42: "10.0.0.1"}).answer(raw_request(NODE, start, **fields))
    assert offer.option(61) == b"\x01abcde" and offer.option(42) == bytes([10, 0, 0, 1])


async def test_without_option_52_file_and_sname_are_no_options() -> None:
    """Whatever stands there."""
    fields = {"file": b"\x35\x01\x03\xff".ljust(128, b"\0")}
    assert (await site().answer(raw_request(NODE, b"\x35\x01\x01\xff", **fields))).kind == OFFER


async def test_options_without_their_end_are_taken() -> None:
    """Some clients leave 255 out; padding within is skipped."""
    assert (await site().answer(raw_request(NODE, b"\0\0\x35\x01\x01\0\0"))).kind == OFFER


DISCOVER = b"\x35\x01\x01"


@pytest.mark.parametrize(
    "options",
    [
        DISCOVER + b"\xff\x35\x01\x03\x32\x04\x01\x02\x03\x04",
        DISCOVER + b"\x37\x00\xff",
        DISCOVER + b"\x37\x08\x00\xff\x01\x01\x03\x2a\x2a\x6c\xff",
        DISCOVER + b"\x37\x02\x01\x03\x37\x01\x2a\xff",
        DISCOVER + b"".join(bytes([code, 0]) for code in (12, 50, 57, 60, 61, 77, 97)) + b"\xff",
        DISCOVER + b"\x39\x02\x00\x00\xff",
        DISCOVER + b"\x39\x01\x40\xff",
        DISCOVER + b"\x33\x04\0\0\0\x3c\x50\0\x74\x01\x01\x91\x01\x01\x5a\x0b\x01\x01" + bytes(9) + b"\xff",
    ],
    ids=[
        "options after the end", "an empty list of wishes", "wishes for 0, 255 and twice the same",
        "wishes in two parts", "empty options", "no room at all", "a size of one octet",
        "lease time, rapid commit, 116, 145 and authentication",
    ],
)  # fmt: skip
async def test_odd_requests_are_answered_as_plain_ones(options: bytes) -> None:
    """Each wish once and no zero-length answer; nothing that nobody configured, and our own lease time."""
    offer = await site(options={42: "10.0.0.1"}).answer(raw_request(NODE, options))
    assert (offer.kind, offer.address("yiaddr"), offer.number(51)) == (OFFER, "10.77.0.20", 43200)
    codes = [code for code, value in offer.parts if value or code == 61]
    assert codes == offer.codes and len(set(codes)) == len(codes)
    assert not {0, 80, 90, 116, 145, 255} & set(codes)


@pytest.mark.parametrize(
    ("start", "file"),
    [
        (DISCOVER + b"\x34\x01\x00\xff", b""),
        (DISCOVER + b"\x34\x01\x04\xff", b""),
        (DISCOVER + b"\x34\x02\x01\x01\xff", b""),
        (DISCOVER + b"\x34\x01\x01\xff", b"\x0c\xffa"),
        (b"\x35\x00\xff", b""),
        (b"\x35\x02\x01\x01\xff", b""),
        (b"\x35\x01\x09\xff", b""),
        (DISCOVER + b"\x0c\x20ab", b""),
    ],
)
async def test_what_cannot_be_read_for_sure_is_not_answered(start: bytes, file: bytes) -> None:
    """An overload that is none, a message type that is none, an option longer than its field."""
    assert await site().hear(raw_request(NODE, start, file=file.ljust(128, b"\0"))) is None
