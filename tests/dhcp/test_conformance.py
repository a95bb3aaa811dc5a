"""RFC 2131, sentence by sentence: requests are scapy's or octets, replies are read by offsets.

The comment before each group of tests names the section that they hold us to.
"""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netboot.model.inventory import INFINITE, OptionValue
from tests.dhcp.rfc import (
    ACK,
    LINK_RELAY,
    NAK,
    NODE,
    OFFER,
    PXE,
    Site,
    every_reply,
    raw_request,
    request,
    selecting,
    site,
)
from tests.dhcp.world import NODE_ADDRESS, OTHER_STRANGER, SERVER, STRANGER, inventory, network

OTHER = "10.77.0.2"

# RFC 2131 section 2 and table 3: the fields of a reply


async def test_a_reply_copies_what_table_3_says() -> None:
    """op 2, htype and hlen of Ethernet, hops 0, the client's xid, secs 0, its flags, its chaddr padded."""
    for name, reply in (await every_reply()).items():
        assert reply.op == 2, name
        assert reply.head == (1, 6, 0, 0xA1B2C3D4, 0, 0x8000), name
        assert reply.chaddr == bytes.fromhex(NODE.replace(":", "")) + bytes(10), name
        assert reply.address("giaddr") == "0.0.0.0", name


async def test_yiaddr_is_the_address_that_is_given() -> None:
    """In OFFER and ACK; zero in a NAK and in the answer to INFORM (table 3, section 4.3.5)."""
    replies = await every_reply()
    found = {name: reply.address("yiaddr") for name, reply in replies.items()}
    assert found == {"OFFER": "10.77.0.20", "ACK": "10.77.0.20", "NAK": "0.0.0.0", "INFORM": "0.0.0.0"}


async def test_ciaddr_is_zero_in_an_offer_and_a_nak() -> None:
    """In an ACK it is the request's (table 3)."""
    world = site()
    assert (await world.answer(request(NODE, "discover", ciaddr="10.77.0.99"))).address("ciaddr") == "0.0.0.0"
    assert (await world.answer(selecting(NODE, NODE_ADDRESS))).address("ciaddr") == "0.0.0.0"
    renewed = await world.answer(request(NODE, "request", ciaddr="10.77.0.20"))
    assert (renewed.kind, renewed.address("ciaddr")) == (ACK, "10.77.0.20")
    refused = await world.answer(request(NODE, "request", ciaddr="10.77.0.77"))
    assert (refused.kind, refused.address("ciaddr")) == (NAK, "0.0.0.0")


async def test_header_names_are_strings_that_end() -> None:
    """sname and file are NUL-terminated (figure 1), and zero in a NAK."""
    world = site()
    offer = await world.answer(request(NODE, "discover", PXE))
    assert offer.sname.startswith(b"10.77.0.1\0") and not offer.sname.strip(b"10.7\0")
    assert offer.file.startswith(b"undionly.kpxe\0") and not offer.file[14:].strip(b"\0")
    nak = await world.answer(selecting(NODE, "10.77.0.9", PXE))
    assert not nak.sname.strip(b"\0") and not nak.file.strip(b"\0")


async def test_the_options_end_with_255_and_padding() -> None:
    """Section 4.1: the last option is `end`; nothing but zeros after it."""
    for reply in (await every_reply()).values():
        size = 240 + sum(len(value) + 2 for _, value in reply.parts)
        assert reply.raw[size] == 255 and not reply.raw[size + 1 :].strip(b"\0")
        assert len(reply.raw) >= 300


async def test_options_that_a_reply_must_and_must_not_have() -> None:
    """Table 3, with the client identifier as RFC 6842 changed it."""
    replies = await every_reply()
    assert {53, 54, 51, 58, 59} <= set(replies["OFFER"].codes)
    assert {53, 54, 51, 58, 59} <= set(replies["ACK"].codes)
    assert {53, 54} <= set(replies["INFORM"].codes) and not {51, 58, 59} & set(replies["INFORM"].codes)
    assert set(replies["NAK"].codes) == {53, 54, 56}
    for reply in replies.values():
        assert not {50, 52, 55, 57} & set(reply.codes)
        assert reply.codes[0] == 53 and len(reply.codes) == len(set(reply.codes))


async def test_a_nak_carries_nothing_but_what_table_3_allows() -> None:
    """54, 56, 61 and 82, whatever the client said and asked for."""
    world = site(options={42: "10.0.0.1"})
    said = (
        ("requested_addr", "10.77.0.9"),
        ("client_id", b"\x01abcdef"),
        ("param_req_list", [1, 3, 6, 15, 42, 51]),
        ("pxe_client_machine_identifier", b"\0" + bytes(range(16))),
        PXE,
        ("relay_agent_information", b"\x01\x03ge1"),
    )
    nak = await world.answer(request(NODE, "request", *said, giaddr=LINK_RELAY), source=LINK_RELAY)
    assert (nak.kind, nak.codes) == (NAK, [53, 54, 56, 61, 82])


# RFC 2131 sections 3.1 and 4.3.1: DISCOVER and OFFER


async def test_an_offer_is_of_the_current_binding_then_the_old_then_the_wish_then_any() -> None:
    """The order of section 4.3.1."""
    world = site()
    wish = ("requested_addr", "10.77.0.150")
    assert (await world.answer(request(STRANGER, "discover", wish))).address("yiaddr") == "10.77.0.150"
    own = (await world.lease(STRANGER)).address("yiaddr")
    wish = ("requested_addr", "10.77.0.151")
    assert (await world.answer(request(STRANGER, "discover", wish))).address("yiaddr") == own != wish[1]
    world.now += 86400 * 3
    assert (await world.answer(request(STRANGER, "discover", wish))).address("yiaddr") == own
    taken = await world.answer(request(OTHER_STRANGER, "discover", ("requested_addr", own)))
    assert taken.address("yiaddr") not in (own, "0.0.0.0")


@pytest.mark.parametrize(
    "wish", ["192.168.7.7", "10.77.0.20", "10.77.0.1", "10.77.0.255", "10.77.0.0", "0.0.0.0"]
)
async def test_a_wish_that_cannot_be_granted_is_no_reason_for_silence(wish: str) -> None:
    """Another address is offered: requested ones outside the range, reserved, ours, or none at all."""
    offer = await site().answer(request(STRANGER, "discover", ("requested_addr", wish)))
    assert offer.kind == OFFER and IPv4Address(offer.address("yiaddr")) in network().ranges[0]


async def test_the_ack_repeats_what_was_offered() -> None:
    """Section 3.1: parameters of the ACK do not conflict with those of the OFFER."""
    world = site(options={42: "10.0.0.1", 119: ("a.test", "b.test")})
    asked = (("param_req_list", [119, 42, 6, 3, 1, 15]), PXE)
    offer = await world.answer(request(NODE, "discover", *asked))
    ack = await world.answer(selecting(NODE, NODE_ADDRESS, *asked))
    assert offer.parts[1:] == ack.parts[1:] and offer.raw[44:236] == ack.raw[44:236]


async def test_parameters_are_those_that_the_client_asks_for() -> None:
    """Section 4.3.1: each one that is configured, none that is not."""
    world = site(options={42: "10.0.0.1", 26: 9000})
    offer = await world.answer(request(NODE, "discover", ("param_req_list", [42, 4, 7])))
    assert offer.option(42) == bytes([10, 0, 0, 1])
    assert not {4, 7, 26} & set(offer.codes)


async def test_what_is_configured_for_this_client_is_sent_unasked() -> None:
    """Section 4.3.1: parameters specific to this client; those of its network where it asks for them."""
    node_options: dict[int, OptionValue] = {26: 9000, 224: "hex:0a0b"}
    world = Site(inventory([network(options={42: "10.0.0.1"})], node_options=node_options))
    offer = await world.answer(request(NODE, "discover", ("param_req_list", [6])))
    assert (offer.option(26), offer.option(224), offer.option(42)) == (b"\x23\x28", b"\x0a\x0b", None)


async def test_t1_is_before_t2_and_t2_before_the_end() -> None:
    """Section 4.4.5, for the boot lease, the whole one, and for an operator's odd numbers."""
    for fields in ({}, {"renew": 60.0, "rebind": 120.0}, {"renew": 1e6, "rebind": 1e6}, {"lease": 61.0}):
        for options in ((), (PXE,)):
            offer = await site(**fields).answer(request(NODE, "discover", *options))
            assert 0 < offer.number(58) < offer.number(59) < offer.number(51)


async def test_an_infinite_lease_is_all_ones_and_never_renewed() -> None:
    """Section 3.3; without T1 and T2, even for who asks for them: a client would compute nonsense of them."""
    world = site(lease=INFINITE)
    for wishes in ((), (("param_req_list", [51, 58, 59]),)):
        offer = await world.answer(request(NODE, "discover", *wishes))
        ack = await world.answer(selecting(NODE, NODE_ADDRESS, *wishes))
        for reply in (offer, ack):
            assert reply.option(51) == b"\xff" * 4 and not {58, 59} & set(reply.codes)
    assert (await world.answer(request(NODE, "discover", PXE))).number(58) > 0, "the boot lease ends"


async def test_the_server_identifier_is_an_address_of_ours_in_the_clients_network() -> None:
    """Section 4.1: one that the client reaches; the network's `address` where it is declared."""
    assert (await site().answer(request(NODE, "discover"))).option(54) == SERVER.packed
    named = site(address=IPv4Address("10.77.0.3"))
    offer = await named.answer(request(NODE, "discover"))
    assert offer.option(54) == bytes([10, 77, 0, 3]) == IPv4Address(offer.address("siaddr")).packed
    for ours in ("10.77.0.3", "10.77.0.1"):
        asked = request(NODE, "request", ("requested_addr", "10.77.0.20"), ("server_id", ours))
        named.server.present.look_at((named.port,))
        assert (await named.answer(asked)).kind == ACK


async def test_rapid_commit_is_not_done() -> None:
    """RFC 4039 is optional: an OFFER without option 80 tells the client so."""
    offer = await site().answer(raw_request(NODE, b"\x35\x01\x01\x50\x00\xff"))
    assert offer.kind == OFFER and 80 not in offer.codes


# RFC 2131 section 4.3.2: REQUEST in its four states


async def test_selecting_another_server_is_silence() -> None:
    """Section 3.1: it is a notification that the client declined our offer."""
    world = site()
    asked = (("requested_addr", "10.77.0.20"), ("server_id", OTHER))
    assert await world.hear(request(NODE, "request", *asked)) is None
    assert (
        await world.hear(request(NODE, "request", ("requested_addr", "10.9.9.9"), ("server_id", OTHER)))
        is None
    )
    assert await world.store.leases() == []


async def test_selecting_us_is_acknowledged() -> None:
    """With the address in yiaddr and the lease on record."""
    world = site()
    ack = await world.answer(selecting(NODE, NODE_ADDRESS))
    assert (ack.kind, ack.address("yiaddr")) == (ACK, "10.77.0.20")
    assert [lease.address for lease in await world.store.leases()] == [NODE_ADDRESS]


async def test_selecting_an_address_that_is_not_free_any_more_is_refused() -> None:
    """Section 3.1 (4): the server SHOULD respond with a DHCPNAK."""
    world = site()
    own = (await world.lease(STRANGER)).address("yiaddr")
    assert (await world.answer(selecting(OTHER_STRANGER, own))).kind == NAK


@pytest.mark.parametrize("mac", [NODE, STRANGER])
async def test_init_reboot_with_the_right_address_is_acknowledged(mac: str) -> None:
    """Without server identifier and with ciaddr zero."""
    world = site()
    own = (await world.lease(mac)).address("yiaddr")
    ack = await world.answer(request(mac, "request", ("requested_addr", own)))
    assert (ack.kind, ack.address("yiaddr"), ack.address("ciaddr")) == (ACK, own, "0.0.0.0")


@pytest.mark.parametrize("mac", [NODE, STRANGER])
@pytest.mark.parametrize("wrong", ["192.168.1.5", "10.77.0.180", "10.78.0.20"])
async def test_init_reboot_with_a_wrong_address_or_network_is_refused(mac: str, wrong: str) -> None:
    """The server SHOULD send a DHCPNAK: we own the network."""
    world = site()
    await world.lease(mac)
    nak = await world.answer(request(mac, "request", ("requested_addr", wrong)))
    assert (nak.kind, nak.way) == (NAK, "broadcast")


async def test_init_reboot_of_a_machine_that_we_have_no_record_of_is_refused() -> None:
    """The RFC would be silent beside other servers; a network in `mode: server` is ours alone."""
    nak = await site().answer(request(STRANGER, "request", ("requested_addr", "10.77.0.150")))
    assert nak.kind == NAK


async def test_renewing_is_answered_to_ciaddr() -> None:
    """Unicast: neither server identifier nor requested address; the lease lasts longer then."""
    world = site()
    own = (await world.lease(STRANGER)).address("yiaddr")
    world.now += 1000
    ack = await world.answer(request(STRANGER, "request", ciaddr=own), source=own)
    assert (ack.kind, ack.way, ack.address("yiaddr")) == (ACK, f"udp {own}:68", own)
    (lease,) = await world.store.leases()
    assert lease.expires == world.now + 43200


async def test_rebinding_is_answered_to_ciaddr_too() -> None:
    """It arrives by broadcast; the broadcast flag does not matter where there is a ciaddr (section 4.1)."""
    world = site()
    own = (await world.lease(STRANGER)).address("yiaddr")
    ack = await world.answer(request(STRANGER, "request", ciaddr=own, flags=0x8000))
    assert (ack.kind, ack.way) == (ACK, f"udp {own}:68")


async def test_renewing_an_address_that_is_not_its_own_is_refused() -> None:
    """By broadcast, for the client must stop using it."""
    world = site()
    await world.lease(STRANGER)
    nak = await world.answer(request(STRANGER, "request", ciaddr="10.77.0.199"))
    assert (nak.kind, nak.way) == (NAK, "broadcast")


async def test_a_rebinding_machine_of_another_network_is_refused() -> None:
    """It was moved to our link while it ran, and asks everybody for an address that is none of here."""
    nak = await site().answer(request(STRANGER, "request", ciaddr="192.168.5.5"), source="192.168.5.5")
    assert (nak.kind, nak.way) == (NAK, "broadcast")


# RFC 2131 section 4.1: where replies go


@pytest.mark.parametrize(
    ("fields", "way"),
    [
        ({}, f"frame {NODE} 10.77.0.20"),
        ({"flags": 0x8000}, "broadcast"),
        ({"giaddr": LINK_RELAY}, f"udp {LINK_RELAY}:67"),
        ({"giaddr": LINK_RELAY, "flags": 0x8000}, f"udp {LINK_RELAY}:67"),
        ({"giaddr": LINK_RELAY, "hops": 3}, f"udp {LINK_RELAY}:67"),
    ],
)
async def test_offers_and_acks_go_where_section_4_1_says(fields: dict[str, object], way: str) -> None:
    """To giaddr's server port, by broadcast where the flag asks for it, else to the card at yiaddr."""
    world = site()
    assert (await world.answer(request(NODE, "discover", **fields))).way == way
    assert (await world.answer(selecting(NODE, NODE_ADDRESS, **fields))).way == way


async def test_a_nak_on_the_link_is_broadcast() -> None:
    """In all cases where giaddr is zero."""
    for fields in ({}, {"flags": 0x8000}, {"ciaddr": "10.77.0.99"}):
        nak = await site().answer(request(NODE, "request", ("requested_addr", "10.77.0.9"), **fields))
        assert (nak.kind, nak.way) == (NAK, "broadcast")


async def test_a_nak_through_a_relay_sets_the_broadcast_flag() -> None:
    """Section 4.3.2: the client may have no usable address; other replies leave the flag as it was."""
    world = site()
    nak = await world.answer(request(NODE, "request", ("requested_addr", "10.9.9.9"), giaddr=LINK_RELAY))
    assert (nak.kind, nak.way, nak.head[5]) == (NAK, f"udp {LINK_RELAY}:67", 0x8000)
    assert nak.address("giaddr") == LINK_RELAY
    offer = await world.answer(request(NODE, "discover", giaddr=LINK_RELAY))
    assert offer.head[5] == 0 and offer.address("giaddr") == LINK_RELAY


async def test_a_renewal_through_a_relay_goes_back_through_it() -> None:
    """giaddr counts before ciaddr."""
    world = site()
    await world.lease(NODE, giaddr=LINK_RELAY)
    ack = await world.answer(request(NODE, "request", ciaddr="10.77.0.20", giaddr=LINK_RELAY))
    assert (ack.kind, ack.way) == (ACK, f"udp {LINK_RELAY}:67")


# RFC 2131 sections 4.3.3 to 4.3.5: DECLINE, RELEASE, INFORM


async def test_decline_and_release_are_not_answered() -> None:
    """There is no reply to them."""
    world = site()
    own = (await world.lease(STRANGER)).address("yiaddr")
    ours = ("server_id", str(SERVER))
    assert await world.hear(request(STRANGER, "release", ours, ciaddr=own)) is None
    await world.lease(STRANGER)
    assert await world.hear(request(STRANGER, "decline", ours, ("requested_addr", own))) is None


@pytest.mark.parametrize("fields", [{}, {"flags": 0x8000}, {"giaddr": LINK_RELAY}])
async def test_decline_and_release_to_another_server_change_nothing(fields: dict[str, object]) -> None:
    """Table 5: both name the server that gave the address; sections 4.3.3 and 4.3.4 are about ours."""
    world = site()
    own = (await world.lease(STRANGER)).address("yiaddr")
    before, theirs = world.store.by_address[IPv4Address(own)], ("server_id", "10.77.0.9")
    said = (("requested_addr", own), theirs)
    assert await world.hear(request(STRANGER, "decline", *said, **fields)) is None
    assert await world.hear(request(STRANGER, "release", theirs, ciaddr=own)) is None
    assert world.store.by_address[IPv4Address(own)] == before and not world.store.resting


@pytest.mark.parametrize(
    "fields",
    [{"xid": 0}, {"xid": 0xFFFFFFFF}, {"hops": 16}, {"secs": 0xFFFF}, {"flags": 0x7FFF}, {"flags": 0xFFFF}],
    ids=str,
)
async def test_odd_numbers_in_the_header_are_no_reason_for_silence(fields: dict[str, int]) -> None:
    """What table 3 copies comes back as it came, the reserved bits of the flags, too."""
    world = site()
    for data in (request(NODE, "discover", **fields), selecting(NODE, NODE_ADDRESS, **fields)):
        *_, hops, xid, secs, flags = (await world.answer(data)).head
        assert (hops, secs) == (0, 0)
        assert (xid, flags) == (fields.get("xid", 0x01020304), fields.get("flags", 0))


async def test_a_server_identifier_that_is_no_address_names_no_server() -> None:
    """Of a length that RFC 2132 section 9.7 does not have: it cannot be another server's."""
    world = site()
    asked = b"\x35\x01\x03" + b"\x36\x03\x0a\x4d\x00" + b"\x32\x04\x0a\x4d\x00\x14" + b"\xff"
    ack = await world.answer(raw_request(NODE, asked))
    assert (ack.kind, ack.address("yiaddr")) == (ACK, "10.77.0.20")


async def test_a_declined_address_is_not_given_again() -> None:
    """Section 4.3.3: it is marked as not available, and the administrator is told."""
    world = site()
    own = (await world.lease(STRANGER)).address("yiaddr")
    await world.hear(request(STRANGER, "decline", ("server_id", str(SERVER)), ("requested_addr", own)))
    assert len(world.reported("dhcp_decline")) == 1
    assert (await world.answer(request(STRANGER, "discover"))).address("yiaddr") != own
    wish = request(OTHER_STRANGER, "discover", ("requested_addr", own))
    assert (await world.answer(wish)).address("yiaddr") != own


async def test_a_released_address_is_remembered_for_its_machine() -> None:
    """Section 4.3.4: the server SHOULD retain a record of the client's parameters."""
    world = site()
    own = (await world.lease(STRANGER)).address("yiaddr")
    await world.hear(request(STRANGER, "release", ("server_id", str(SERVER)), ciaddr=own))
    assert [lease.live(world.now) for lease in await world.store.leases()] == [False]
    assert (await world.answer(request(STRANGER, "discover"))).address("yiaddr") == own


async def test_inform_is_answered_by_unicast_to_ciaddr_without_a_lease() -> None:
    """Section 4.3.5: no lease times, no yiaddr, no record; existing leases are not looked at."""
    world = site(options={42: "10.0.0.1"})
    for address in ("10.77.0.20", "10.77.0.250"):
        asked = request(NODE, "inform", ("param_req_list", [42, 3]), ciaddr=address, flags=0x8000)
        ack = await world.answer(asked, source=address)
        assert (ack.kind, ack.way, ack.address("yiaddr")) == (ACK, f"udp {address}:68", "0.0.0.0")
        assert ack.option(42) == bytes([10, 0, 0, 1]) and not {51, 58, 59} & set(ack.codes)
    assert await world.store.leases() == []


async def test_inform_through_a_relay_is_answered_through_it() -> None:
    """Section 4.1 has giaddr first."""
    ack = await site().answer(request(NODE, "inform", ciaddr="10.77.0.20", giaddr=LINK_RELAY))
    assert (ack.kind, ack.way) == (ACK, f"udp {LINK_RELAY}:67")


# What is left alone


@pytest.mark.parametrize("kind", [2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 0, 255])
async def test_messages_that_are_not_a_clients_question_are_not_answered(kind: int) -> None:
    """Servers' messages, FORCERENEW (RFC 3203), lease queries (RFC 4388, 6926, 7724), unknown types."""
    world = site()
    for fields in ({}, {"ciaddr": "10.77.0.20"}, {"giaddr": LINK_RELAY}):
        assert await world.hear(raw_request(NODE, bytes([53, 1, kind, 255]), **fields)) is None
    assert world.reported("dhcp_internal_error") == []


async def test_bootp_is_left_alone() -> None:
    """A BOOTREQUEST without option 53 (RFC 1534 would let us answer; nobody asked for it)."""
    assert await site().hear(raw_request(NODE, b"\xff".ljust(64, b"\0"))) is None


async def test_a_reply_that_reaches_the_server_port_is_no_request() -> None:
    """op 2."""
    assert await site().hear(request(NODE, "discover", op=2)) is None


@pytest.mark.parametrize(("htype", "hlen"), [(6, 6), (32, 6), (1, 0), (1, 8), (1, 16), (0, 6), (32, 0)])
async def test_hardware_other_than_ethernet_is_refused_and_told(htype: int, hlen: int) -> None:
    """Clearly: one event names type and length."""
    world = site()
    assert await world.hear(request(STRANGER, "discover", htype=htype, hlen=hlen)) is None
    (text,) = world.reported("dhcp_malformed")
    assert f"hardware type {htype} with {hlen} octets" in text
