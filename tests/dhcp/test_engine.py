"""The decisions: which request is granted, refused or passed over in silence (RFC 2131 section 4.3)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netboot.dhcp import engine
from netboot.dhcp.engine import Declined, Facts, Outcome, Released, Reply, Silence, State
from netboot.dhcp.options import client_of
from netboot.dhcp.pool import addresses_of
from netboot.dhcp.profile import FOREVER, Profile, group_of, profile_of
from netboot.dhcp.wire import Kind, Packet, decode
from netboot.model.boot import Boot
from netboot.model.inventory import INFINITE, Assignment, BootOverride, Inventory
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from tests.dhcp.world import (
    HTTP_X64,
    IPXE,
    NODE_ADDRESS,
    NODE_MACS,
    PXE_BIOS,
    PXE_X64,
    SERVER,
    START,
    STRANGER,
    SYSTEM,
    address,
    discover,
    inventory,
    message,
    network,
    packed,
)

NOW = START
DYNAMIC = address("10.77.0.120")
OURS = frozenset({int(SERVER)})


def profile(mac: Mac, stock: Inventory | None = None) -> Profile:
    """The profile of a card in the test network."""
    stock = stock or inventory()
    client = client_of(discover(mac))
    found = stock.match(client, stock.networks.values())
    assert isinstance(found, Assignment), found
    pool = addresses_of(found.network, OURS, stock.reserved)
    return profile_of(found, mac, pool, group_of(found, SERVER, 80))


def lease(
    mac: Mac = STRANGER, where: IPv4Address = DYNAMIC, *, holder: str = "", expires: float = NOW + 60
) -> Lease:
    """A lease of a machine, seen a minute ago."""
    return Lease(holder or str(mac), mac, where, "lab", f"node-{mac.digits}", expires, NOW - 60)


def decide(
    packet: Packet,
    who: Profile,
    *,
    own: Lease | None = None,
    occupant: Lease | None = None,
    free: IPv4Address | None = None,
    boot: Boot | None = None,
    alive: bool = False,
) -> Outcome:
    """What the engine says, the facts gathered as the server gathers them."""
    assert packet.kind is not None
    number = engine.subject(packet, packet.kind, who, own)
    where = IPv4Address(number) if number is not None else free
    if own is not None and own.address == where:
        occupant = own
    occupied = engine.held_by_another(occupant, who, alive, NOW)
    facts = Facts(where, own, occupant, occupied, boot, OURS)
    return engine.respond(packet, client_of(packet), who, facts, NOW)


def kind_of(outcome: Outcome) -> str:
    """OFFER, ACK, NAK, or the kind of silence."""
    if isinstance(outcome, Reply):
        packet = decode(outcome.payload)
        assert packet.kind is outcome.kind
        return outcome.kind.name
    return type(outcome).__name__


def reply(outcome: Outcome) -> Packet:
    """The message of a reply."""
    assert isinstance(outcome, Reply), outcome
    return decode(outcome.payload)


def request(
    mac: Mac, *, asks: IPv4Address | None = None, server: IPv4Address | None = None, **fields: str
) -> Packet:
    """A REQUEST with option 50 and 54 where given."""
    options = {**({50: asks.packed} if asks else {}), **({54: server.packed} if server else {})}
    return message(mac, Kind.REQUEST, options, **fields)  # type: ignore[arg-type]


OTHER = address("10.77.0.130")
FOREIGN_SERVER = address("10.77.0.2")
OUTSIDE = address("192.168.1.9")


@pytest.mark.parametrize(
    ("packet", "state"),
    [
        (request(STRANGER, asks=DYNAMIC, server=SERVER), State.SELECTING),
        (request(STRANGER, asks=DYNAMIC), State.INIT_REBOOT),
        (request(STRANGER, ciaddr="10.77.0.120"), State.RENEWING),
        (request(STRANGER), State.SELECTING),
    ],
)
def test_a_request_tells_its_state_by_what_it_carries(packet: Packet, state: State) -> None:
    """Option 54: selecting; ciaddr: renewing or rebinding; option 50 alone: init-reboot."""
    assert engine.state_of(packet) is state


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (request(NODE_MACS[0], asks=NODE_ADDRESS, server=SERVER), "ACK"),
        (request(NODE_MACS[1], asks=NODE_ADDRESS, server=SERVER), "ACK"),
        (request(NODE_MACS[0], server=SERVER), "ACK"),
        (request(NODE_MACS[0]), "ACK"),
        (request(NODE_MACS[0], asks=OTHER, server=SERVER), "NAK"),
        (request(NODE_MACS[0], asks=NODE_ADDRESS, server=FOREIGN_SERVER), "Silence"),
        (request(NODE_MACS[0], asks=NODE_ADDRESS), "ACK"),
        (request(NODE_MACS[0], asks=OTHER), "NAK"),
        (request(NODE_MACS[0], asks=OUTSIDE), "NAK"),
        (request(NODE_MACS[0], ciaddr="10.77.0.20"), "ACK"),
        (request(NODE_MACS[0], ciaddr="10.77.0.21"), "NAK"),
    ],
)
def test_a_declared_node_gets_its_own_address_and_no_other(packet: Packet, expected: str) -> None:
    """In every state, with and without a lease on record: the file says which address is the node's."""
    assert kind_of(decide(packet, profile(NODE_MACS[0]))) == expected


@pytest.mark.parametrize(
    ("packet", "own", "occupant", "expected"),
    [
        (request(STRANGER, asks=DYNAMIC, server=SERVER), None, None, "ACK"),
        (request(STRANGER, asks=DYNAMIC, server=SERVER), lease(), None, "ACK"),
        (request(STRANGER, asks=DYNAMIC, server=SERVER), None, lease(Mac("52:54:00:99:00:09")), "NAK"),
        (request(STRANGER, asks=OUTSIDE, server=SERVER), None, None, "NAK"),
        (request(STRANGER, asks=NODE_ADDRESS, server=SERVER), None, None, "NAK"),
        (request(STRANGER, asks=SERVER, server=SERVER), None, None, "NAK"),
        (request(STRANGER, asks=OTHER, server=SERVER), lease(), None, "ACK"),
        (request(STRANGER, asks=DYNAMIC), lease(), None, "ACK"),
        (request(STRANGER, asks=DYNAMIC), lease(expires=NOW - 5), None, "ACK"),
        (request(STRANGER, asks=DYNAMIC), None, None, "NAK"),
        (request(STRANGER, asks=OTHER), lease(), None, "NAK"),
        (request(STRANGER, asks=OUTSIDE), lease(), None, "NAK"),
        (request(STRANGER, ciaddr="10.77.0.120"), lease(), None, "ACK"),
        (request(STRANGER, ciaddr="10.77.0.120"), None, None, "NAK"),
        (request(STRANGER, ciaddr="10.77.0.130"), lease(), None, "NAK"),
        (request(STRANGER), lease(), None, "ACK"),
        (request(STRANGER), None, None, "NAK"),
        (request(STRANGER, asks=DYNAMIC, server=FOREIGN_SERVER), lease(), None, "Silence"),
    ],
)
def test_a_dynamic_address_is_granted_to_its_holder_or_when_free(
    packet: Packet, own: Lease | None, occupant: Lease | None, expected: str
) -> None:
    """Selecting takes a free address; init-reboot, renewing and rebinding need a lease on record."""
    assert kind_of(decide(packet, profile(STRANGER), own=own, occupant=occupant)) == expected


def test_a_nak_says_why_and_goes_to_everybody() -> None:
    """No address in it, our identifier, the reason in option 56, the client's identifier echoed."""
    asked = request(NODE_MACS[0], asks=OTHER)._replace(
        options={53: b"\x03", 50: OTHER.packed, 61: b"\x01abc"}
    )
    nak = reply(decide(asked, profile(NODE_MACS[0])))
    assert (nak.kind, nak.yiaddr, nak.ciaddr, nak.siaddr) == (Kind.NAK, 0, 0, 0)
    assert set(nak.options) == {53, 54, 56, 61}
    assert b"10.77.0.20" in nak.options[56]


def test_a_discover_is_offered_what_the_machine_had() -> None:
    """Its lease, expired or not, before the address that it would like."""
    wish = discover(STRANGER, {50: OTHER.packed})
    assert reply(decide(wish, profile(STRANGER), own=lease(expires=NOW - 9999))).yiaddr == int(DYNAMIC)
    assert reply(decide(wish, profile(STRANGER))).yiaddr == int(OTHER)


def test_a_discover_may_not_wish_for_what_is_none_of_its_own() -> None:
    """Reservations, our own address and foreign ones are no wishes: the free address is offered."""
    for wish in (NODE_ADDRESS, SERVER, OUTSIDE, address("10.77.0.254"), address("10.77.0.50")):
        packet = discover(STRANGER, {50: wish.packed})
        assert reply(decide(packet, profile(STRANGER), free=DYNAMIC)).yiaddr == int(DYNAMIC)


def test_ciaddr_in_a_discover_counts_nothing() -> None:
    """Broken clients leave there what they had elsewhere."""
    packet = discover(STRANGER, ciaddr="10.77.0.130")
    offer = reply(decide(packet, profile(STRANGER), free=DYNAMIC))
    assert (offer.yiaddr, offer.ciaddr) == (int(DYNAMIC), 0)


def test_an_exhausted_pool_is_silence_with_an_event() -> None:
    """Nothing is offered, and the operator is told which network."""
    outcome = decide(discover(STRANGER), profile(STRANGER))
    assert isinstance(outcome, Silence)
    assert outcome.event == "dhcp_pool_exhausted" and "network lab" in outcome.reason


@pytest.mark.parametrize(
    ("occupant", "alive", "expected"),
    [
        (None, False, False),
        (lease(STRANGER), False, False),
        (lease(Mac("52:54:00:99:00:09")), False, True),
        (lease(Mac("52:54:00:99:00:09"), expires=NOW - 1), False, True),
        (replace(lease(Mac("52:54:00:99:00:09"), expires=NOW - 1), last_seen=NOW - 43201), False, False),
        (replace(lease(Mac("52:54:00:99:00:09"), expires=NOW - 1), last_seen=NOW - 43201), True, True),
        (replace(lease(Mac("52:54:00:99:00:09"), expires=INFINITE), last_seen=0.0), False, True),
        (lease(STRANGER, holder="was-declared"), False, False),
    ],
)
def test_an_address_stays_with_a_holder_that_shows_life(
    occupant: Lease | None, alive: bool, expected: bool
) -> None:
    """Life: a running lease, a packet within one lease time, what others know; never the machine itself."""
    assert engine.held_by_another(occupant, profile(STRANGER), alive, NOW) is expected


def test_a_reservation_waits_for_the_living_machine_that_has_its_address() -> None:
    """Two machines with one address would be worse; the event names the holder."""
    squatter = lease(STRANGER, NODE_ADDRESS)
    outcome = decide(discover(NODE_MACS[0]), profile(NODE_MACS[0]), occupant=squatter)
    assert isinstance(outcome, Silence) and outcome.event == "dhcp_address_held"
    assert str(STRANGER) in outcome.reason and "10.77.0.20" in outcome.reason
    asked = request(NODE_MACS[0], asks=NODE_ADDRESS, server=SERVER)
    assert kind_of(decide(asked, profile(NODE_MACS[0]), occupant=squatter)) == "NAK"


def test_a_machine_that_becomes_declared_keeps_its_address() -> None:
    """Its lease under its MAC is no other machine's; the claim lets it go."""
    before = lease(NODE_MACS[1], NODE_ADDRESS)
    outcome = decide(
        request(NODE_MACS[0], asks=NODE_ADDRESS, server=SERVER), profile(NODE_MACS[0]), occupant=before
    )
    assert isinstance(outcome, Reply) and outcome.claim is not None
    assert (outcome.claim.seen, outcome.claim.displaced) == (None, before)


def test_what_is_claimed_is_what_is_told() -> None:
    """Holder, address, network, name, expiry and boot of the lease are those of the ACK."""
    boot = Boot("b1", NODE_MACS[1], "m1", "blue", started=NOW)
    packet = request(NODE_MACS[1], asks=NODE_ADDRESS, server=SERVER)
    outcome = decide(packet._replace(options={**packet.options, **PXE_X64}), profile(NODE_MACS[1]), boot=boot)
    assert isinstance(outcome, Reply) and outcome.claim is not None
    assert outcome.claim.lease == Lease("m1", NODE_MACS[1], NODE_ADDRESS, "lab", "m1", NOW + 300, NOW, "b1")
    assert int.from_bytes(decode(outcome.payload).options[51], "big") == 300


def booting(**facts: object) -> Boot:
    """A boot that began a minute ago."""
    return replace(Boot("b1", NODE_MACS[0], "m1", "blue", started=NOW - 60), **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "boot", "seconds"),
    [
        (PXE_BIOS, booting(), 300),
        (HTTP_X64, booting(), 300),
        (IPXE, booting(), 300),
        (IPXE, booting(claimed=True), 300),
        (SYSTEM, None, 43200),
        (SYSTEM, booting(), 300),
        (SYSTEM, booting(claimed=True), 43200),
        (SYSTEM, booting(state="joined", ended=NOW, claimed=True), 43200),
        (SYSTEM, booting(started=NOW - 601), 43200),
    ],
)
def test_the_boot_lease_lasts_until_the_boot_is_claimed(
    options: dict[int, bytes], boot: Boot | None, seconds: int
) -> None:
    """Firmware, boot loaders and unclaimed boots get the short lease, a running system the network's."""
    offer = reply(decide(discover(NODE_MACS[0], options), profile(NODE_MACS[0]), boot=boot))
    assert int.from_bytes(offer.options[51], "big") == seconds
    assert int.from_bytes(offer.options[58], "big") == seconds // 2
    assert int.from_bytes(offer.options[59], "big") == seconds * 7 // 8


def times(**fields: float | None) -> tuple[int, ...]:
    """Lease, T1 and T2, as far as there are any, of a running system where the network says so."""
    stock = inventory([replace(network(), **fields)])  # type: ignore[arg-type]
    options = reply(decide(discover(NODE_MACS[0], SYSTEM), profile(NODE_MACS[0], stock))).options
    return tuple(int.from_bytes(options[code], "big") for code in (51, 58, 59) if code in options)


def test_t1_and_t2_are_the_networks_and_never_after_the_end() -> None:
    """Where the operator names them they count for the whole lease; an infinite lease is never renewed."""
    assert times(lease=3600.0, renew=600.0, rebind=1200.0) == (3600, 600, 1200)
    assert times(lease=3600.0, renew=9999.0, rebind=5000.0) == (3600, 1800, 3150)
    assert times(lease=INFINITE) == times(lease=1e12) == (FOREVER,)


def test_the_operators_options_win_by_their_rank() -> None:
    """The node's over a tag's over the network's own; what the protocol computes is never theirs."""
    stock = inventory(
        [network(options={26: 1400, 42: ("10.1.1.1",)})],
        tag_options={26: 9000, 51: 5, 54: "10.9.9.9", 3: "10.77.0.7"},
        node_options={3: "10.77.0.9", 12: "not-this"},
    )
    options = reply(
        decide(discover(NODE_MACS[0], {55: bytes([1, 3, 12, 26, 42])}), profile(NODE_MACS[0], stock))
    ).options
    assert options[26] == (9000).to_bytes(2, "big") and options[42] == packed("10.1.1.1")
    assert options[3] == packed("10.77.0.9") and options[12] == b"m1"
    assert options[54] == SERVER.packed and int.from_bytes(options[51], "big") == 43200


def test_what_nobody_asked_for_is_left_out() -> None:
    """A client gets what its option 55 names, and mask, router and name always."""
    stock = inventory([network(options={42: "10.1.1.1", 224: "hex:0a0b"})])
    asked = reply(decide(discover(NODE_MACS[0], {55: bytes([224])}), profile(NODE_MACS[0], stock))).options
    assert set(asked) == {53, 54, 51, 58, 59, 1, 3, 12, 224}
    everything = reply(decide(discover(NODE_MACS[0]), profile(NODE_MACS[0], stock))).options
    assert {1, 3, 6, 12, 15, 28, 42, 224} <= set(everything)


def test_a_boot_loader_gets_its_options_though_it_asks_for_nothing() -> None:
    """Some firmware fills option 55 with junk."""
    offer = reply(decide(discover(NODE_MACS[0], {**PXE_BIOS, 55: b"\xfe"}), profile(NODE_MACS[0])))
    assert {43, 60, 66, 67, 150, 1, 3, 6} <= set(offer.options)
    assert (offer.siaddr, offer.sname, offer.file) == (int(SERVER), b"10.77.0.1", b"undionly.kpxe")
    assert 52 not in offer.options


def test_a_nodes_own_boot_options_replace_the_tables() -> None:
    """For firmware in header and options; for iPXE only where the file is a URL."""
    raw = inventory(node_options={66: "10.77.0.9", 67: "vendor/grub.efi", 60: "PXEClient:vendor"})
    offer = reply(decide(discover(NODE_MACS[0], PXE_X64), profile(NODE_MACS[0], raw)))
    assert (offer.file, offer.sname, offer.siaddr) == (
        b"vendor/grub.efi",
        b"10.77.0.9",
        int(address("10.77.0.9")),
    )
    assert (offer.options[67], offer.options[60]) == (b"vendor/grub.efi", b"PXEClient:vendor")
    chained = reply(decide(discover(NODE_MACS[0], IPXE), profile(NODE_MACS[0], raw)))
    assert chained.file == b"http://10.77.0.1/boot.ipxe" and b"grub" not in chained.options[67]
    url = inventory(node_options={67: "http://10.77.0.9/own.ipxe"})
    assert (
        reply(decide(discover(NODE_MACS[0], IPXE), profile(NODE_MACS[0], url))).file
        == b"http://10.77.0.9/own.ipxe"
    )


def test_a_machine_without_a_program_gets_its_address_and_the_reason_is_known() -> None:
    """An ARM machine is offered no file."""
    arm = discover(NODE_MACS[0], {60: b"PXEClient:Arch:00011:UNDI:003000", 93: b"\0\x0b"})
    outcome = decide(arm, profile(NODE_MACS[0]))
    assert isinstance(outcome, Reply) and "no boot program" in outcome.boots
    offer = decode(outcome.payload)
    assert offer.yiaddr == int(NODE_ADDRESS) and offer.file == b"" and 67 not in offer.options


def test_quirks_of_a_node_reach_its_replies() -> None:
    """`no-option-60` leaves the class out."""
    stock = inventory(boot=BootOverride(quirks=("no-option-60",)))
    assert 60 not in reply(decide(discover(NODE_MACS[0], PXE_BIOS), profile(NODE_MACS[0], stock))).options


def test_identifiers_come_back_as_they_were_sent() -> None:
    """61 always, 97 where it has its 17 octets, 82 last and only through a relay agent."""
    said = {61: b"\x01xyz", 97: b"\0" * 17, 82: b"\x01\x03ge1"}
    relayed = reply(decide(discover(NODE_MACS[0], said, giaddr="10.77.0.5"), profile(NODE_MACS[0])))
    assert {code: relayed.options[code] for code in said} == said
    assert list(relayed.options)[-1] == 82
    short = reply(decide(discover(NODE_MACS[0], {97: b"\0\0", 82: b"\x01\x01x"}), profile(NODE_MACS[0])))
    assert not {97, 82} & set(short.options)


@pytest.mark.parametrize(
    ("said", "longest"),
    [
        ({}, 548),
        ({57: b"\x02\x40"}, 548),
        ({57: b"\0\0"}, 548),
        ({57: b"\x05\xc0"}, 1444),
        ({57: b"\xff\0"}, 1472),
    ],
)
def test_a_reply_is_as_long_as_its_client_takes(said: dict[int, bytes], longest: int) -> None:
    """Option 57 counts IP and UDP headers; junk is clamped; the operator's options are left out first."""
    many: dict[int, object] = {code: "hex:" + "ab" * 200 for code in range(224, 234)}
    stock = inventory([network(options=many)])  # type: ignore[arg-type]
    outcome = decide(
        discover(NODE_MACS[0], {**PXE_BIOS, **said, 61: b"\x01abcdef"}), profile(NODE_MACS[0], stock)
    )
    assert isinstance(outcome, Reply)
    options = decode(outcome.payload).options
    assert longest - 203 < len(outcome.payload) <= longest
    assert {53, 54, 51, 1, 67, 61} <= set(options)


def test_inform_gets_options_and_no_lease() -> None:
    """The client keeps its own address; nothing is claimed; the answer goes to that address."""
    outcome = decide(message(NODE_MACS[0], Kind.INFORM, SYSTEM, ciaddr="10.77.0.99"), profile(NODE_MACS[0]))
    assert isinstance(outcome, Reply) and outcome.claim is None
    ack = decode(outcome.payload)
    assert (ack.kind, ack.yiaddr, ack.ciaddr) == (Kind.ACK, 0, int(address("10.77.0.99")))
    assert not {51, 58, 59} & set(ack.options) and ack.options[3] == packed("10.77.0.254")
    assert kind_of(decide(message(NODE_MACS[0], Kind.INFORM), profile(NODE_MACS[0]))) == "Silence"


@pytest.mark.parametrize("ciaddr", ["10.77.0.0", "10.77.0.255", "255.255.255.255", "127.0.0.1", "192.0.2.7"])
def test_an_inform_sends_nothing_to_everybody_or_to_strangers(ciaddr: str) -> None:
    """Its answer goes to the address that it names: who forges one must not turn us on somebody else."""
    outcome = decide(message(NODE_MACS[0], Kind.INFORM, SYSTEM, ciaddr=ciaddr), profile(NODE_MACS[0]))
    assert isinstance(outcome, Silence) and outcome.event == "dhcp_inform_refused"


def release(mac: Mac, ciaddr: str, **options: bytes) -> Packet:
    """A RELEASE to us."""
    return message(mac, Kind.RELEASE, {54: SERVER.packed}, ciaddr=ciaddr)


def test_only_the_holder_gives_an_address_back() -> None:
    """A stranger, a wrong address, another server's client: nothing happens."""
    own = lease()
    assert decide(release(STRANGER, "10.77.0.120"), profile(STRANGER), own=own) == Released(own)
    assert kind_of(decide(release(STRANGER, "10.77.0.121"), profile(STRANGER), own=own)) == "Silence"
    other = Mac("52:54:00:99:00:09")
    stranger = decide(release(other, "10.77.0.120"), profile(other), occupant=own)
    assert isinstance(stranger, Silence) and stranger.event == "dhcp_release_refused"
    to_another = release(STRANGER, "10.77.0.120")._replace(options={53: b"\x07", 54: FOREIGN_SERVER.packed})
    assert kind_of(decide(to_another, profile(STRANGER), own=own)) == "Silence"


def test_a_release_never_frees_the_address_of_a_running_boot() -> None:
    """Firmware releases its address when it hands over to the next program."""
    own = lease()
    assert (
        kind_of(decide(release(STRANGER, "10.77.0.120"), profile(STRANGER), own=own, boot=booting()))
        == "Silence"
    )
    ended = booting(state="joined", ended=NOW)
    assert (
        kind_of(decide(release(STRANGER, "10.77.0.120"), profile(STRANGER), own=own, boot=ended))
        == "Released"
    )


def test_only_the_machine_that_was_given_an_address_declines_it() -> None:
    """Anybody else could bench the whole pool."""
    decline = message(STRANGER, Kind.DECLINE, {50: DYNAMIC.packed, 54: SERVER.packed})
    own = lease()
    assert decide(decline, profile(STRANGER), own=own) == Declined(own)
    for outcome in (
        decide(decline, profile(STRANGER)),
        decide(decline, profile(STRANGER), own=lease(where=OTHER)),
    ):
        assert isinstance(outcome, Silence) and outcome.event == "dhcp_decline_refused"


def test_a_servers_message_is_not_answered() -> None:
    """An OFFER, ACK or NAK that reaches the server's port is somebody's mistake."""
    for kind in (Kind.OFFER, Kind.ACK, Kind.NAK):
        assert kind_of(decide(message(NODE_MACS[0], kind), profile(NODE_MACS[0]))) == "Silence"


codes = st.sampled_from([12, 43, 50, 51, 54, 55, 57, 58, 60, 61, 66, 67, 77, 82, 93, 97, 116, 118, 175])
values = st.one_of(st.binary(max_size=20), st.binary(min_size=4, max_size=4), st.binary(max_size=400))


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(list(Kind)),
    st.dictionaries(codes, values, max_size=8),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.booleans(),
)
def test_any_request_is_decided(
    kind: Kind, options: dict[int, bytes], number: int, flags: int, declared: bool
) -> None:
    """Whatever a client says, there is an outcome; a reply can be read and gives only what is allowed."""
    mac = NODE_MACS[0] if declared else STRANGER
    packet = message(mac, kind, options, flags=flags)._replace(
        ciaddr=number, giaddr=number if flags & 1 else 0
    )
    outcome = decide(packet, profile(mac), own=None if declared else lease(), free=DYNAMIC)
    if isinstance(outcome, Reply):
        sent = decode(outcome.payload)
        assert len(outcome.payload) <= max(1472, 300) + 700  # echoes are the client's own octets
        allowed = (
            {int(NODE_ADDRESS)}
            if declared
            else {*range(int(address("10.77.0.100")), int(address("10.77.0.200")))}
        )
        assert sent.yiaddr in allowed | {0}
