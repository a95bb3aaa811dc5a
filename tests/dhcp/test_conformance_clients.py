"""What clients say of themselves: RFC 6842, 4361, 4578, 3004, 3442, 8925 and 4702, sentence by sentence."""

from __future__ import annotations

import pytest

from netboot.model.inventory import OptionValue
from netboot.model.machine import Mac
from tests.dhcp.rfc import (
    NODE,
    PXE,
    Site,
    every_reply,
    raw_request,
    request,
    site,
)
from tests.dhcp.world import OTHER_STRANGER, STRANGER, inventory, network

# RFC 6842 and 4361, 4578, 3004, 3442, 8925, 4702: what clients say of themselves


@pytest.mark.parametrize("said", [b"\x01\x52\x54\0\x77\0\0", b"\xff\0\0\0\1\0\2abc", b"\0text", b"x" * 300])
async def test_the_client_identifier_goes_back_in_every_reply(said: bytes) -> None:
    """RFC 6842 section 3: OFFER, ACK and NAK, unchanged; and never where it was not sent."""
    world = site()
    raw = b"".join(bytes([61, len(said[i : i + 255])]) + said[i : i + 255] for i in range(0, len(said), 255))
    for kind, extra in (
        (1, b""),
        (3, b"\x32\x04\x0a\x4d\0\x14\x36\x04\x0a\x4d\0\1"),
        (3, b"\x32\x04\x0a\x4d\0\x63"),
    ):
        reply = await world.answer(raw_request(NODE, bytes([53, 1, kind]) + extra + raw + b"\xff"))
        assert reply.option(61) == said
    assert all(61 not in reply.codes for reply in (await every_reply()).values())


async def test_different_identifiers_of_one_card_get_one_address() -> None:
    """Firmware, iPXE and system (RFC 4361 would tell them apart; the card comes first here)."""
    world = site()
    said = [
        (),
        (("client_id", b"\x01abcdef"),),
        (("client_id", b"\xff\0\0\0\1\0\1x"),),
        (PXE, ("client_id", b"\0u")),
    ]
    assert len({(await world.lease(STRANGER, *options)).address("yiaddr") for options in said}) == 1


async def test_one_identifier_of_two_cards_gets_two_addresses() -> None:
    """A cloned machine does not take the other's address."""
    world = site()
    same = ("client_id", b"\xff\0\0\0\1same")
    got = {(await world.lease(mac, same)).address("yiaddr") for mac in (STRANGER, OTHER_STRANGER)}
    assert len(got) == 2


@pytest.mark.parametrize(
    ("uuid", "echoed"),
    [
        (b"\0" + bytes(range(16)), True),
        (b"\0" + bytes(16), True),
        (b"", False),
        (b"\0abc", False),
        (b"\0" * 18, False),
    ],
)
async def test_a_machine_identifier_goes_back_where_it_is_one(uuid: bytes, echoed: bool) -> None:
    """RFC 4578 section 2.3: type and 16 octets; firmware waits for it."""
    offer = await site().answer(raw_request(NODE, b"\x35\x01\x01" + bytes([97, len(uuid)]) + uuid + b"\xff"))
    assert offer.option(97) == (uuid if echoed else None)


@pytest.mark.parametrize(
    ("options", "file"),
    [
        (b"\x5d\x02\0\0", b"undionly.kpxe"),
        (b"\x5d\x02\0\7", b"snponly.efi"),
        (b"\x5d\x04\0\7\0\0", b"snponly.efi"),
        (b"\x5d\x03\0\7\0", b"undionly.kpxe"),
        (b"\x5d\x01\7", b"undionly.kpxe"),
        (b"\x5e\x03\1\2\1", b"undionly.kpxe"),
        (b"", b"undionly.kpxe"),
    ],
)
async def test_the_architecture_is_option_93s_first(options: bytes, file: bytes) -> None:
    """RFC 4578 section 2.1: pairs of octets; what is none does not count."""
    raw = b"\x35\x01\x01" + b"\x3c\x20PXEClient:Arch:00000:UNDI:002001" + options + b"\xff"
    assert (await site().answer(raw_request(NODE, raw))).file.rstrip(b"\0") == file


@pytest.mark.parametrize("user", [b"iPXE", b"\x04iPXE", b"\x03foo\x04iPXE", b"\x04iPXE\x03bar"])
async def test_ipxe_is_known_by_its_user_class(user: bytes) -> None:
    """RFC 3004: texts with their lengths, or iPXE's own bare word."""
    raw = b"\x35\x01\x01" + b"\x3c\x09PXEClient" + bytes([77, len(user)]) + user + b"\xff"
    assert (await site().answer(raw_request(NODE, raw))).file.rstrip(b"\0") == b"http://10.77.0.1/boot.ipxe"


async def test_classless_routes_come_instead_of_router_and_static_routes() -> None:
    """RFC 3442: the server SHOULD NOT send those to a client that asks for 121; firmware gets its router."""
    routes: dict[int, OptionValue] = {121: "default via 10.77.0.254", 33: "10.1.0.0 10.77.0.2"}
    world = site(options=routes)
    asks = ("param_req_list", [1, 3, 33, 121])
    told = (await world.answer(request(NODE, "discover", asks))).codes
    assert 121 in told and not {3, 33} & set(told)
    loader = (await world.answer(request(NODE, "discover", asks, PXE))).codes
    assert {3, 121} <= set(loader)
    plain = (await world.answer(request(NODE, "discover", ("param_req_list", [1, 3, 33])))).codes
    assert {3, 33} <= set(plain) and 121 not in plain


async def test_ipv6_only_is_told_to_none_but_who_asks() -> None:
    """RFC 8925 section 3.3, even where the client names no parameter, or the node's own options say it."""
    for stock in (
        inventory([network(options={108: 1800})]),
        inventory(node_options={108: 1800}),
    ):
        world = Site(stock)
        assert 108 not in (await world.answer(request(NODE, "discover"))).codes
        assert 108 not in (await world.answer(request(NODE, "discover", ("param_req_list", [1])))).codes
        asked = await world.answer(request(NODE, "discover", ("param_req_list", [108])))
        assert asked.number(108) == 1800 and asked.address("yiaddr") == "10.77.0.20"


@pytest.mark.parametrize("fqdn", [b"\x01\0\0host.example", b"\x05\0\0\x04host\0", b"", b"\xff"])
async def test_a_client_fqdn_does_no_harm(fqdn: bytes) -> None:
    """RFC 4702: a server that does not support option 81 leaves it out of its reply; the name is ours."""
    offer = await site().answer(raw_request(NODE, b"\x35\x01\x01" + bytes([81, len(fqdn)]) + fqdn + b"\xff"))
    assert 81 not in offer.codes and offer.option(12) == b"m1"


async def test_every_answer_carries_the_name() -> None:
    """Architecture 3: option 12, asked for or not, whatever the client calls itself."""
    world = site()
    for mac, name in ((NODE, b"m1"), (STRANGER, b"node-" + Mac(STRANGER).digits.encode())):
        for asked in ([1], [12, 1]):
            offer = await world.answer(
                request(mac, "discover", ("hostname", b"me"), ("param_req_list", asked))
            )
            assert offer.option(12) == name
