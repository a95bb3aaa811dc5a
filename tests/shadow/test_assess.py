"""An exchange held beside our own server, asked as though the client had chosen us."""

from __future__ import annotations

from ipaddress import IPv4Address

from netboot.dhcp.wire import Kind, Packet, decode
from netboot.model.inventory import Inventory
from netboot.observe import Rehearsal
from netboot.shadow.assess import Finding, as_ours, assess, handed_out, place, theirs, who
from netboot.shadow.compare import Verdict
from netboot.shadow.exchange import Exchange, Exchanges
from tests.dhcp.world import HTTP_X64, IPXE, PXE_BIOS, PXE_X64, SYSTEM, discover, inventory, message, network
from tests.shadow.talk import AS_OURS, FOREIGN, NODE, STRANGER, answer, datagrams, four


def exchange(*packets: Packet, interface: str = "eth1") -> Exchange:
    """The one exchange of these packets."""
    exchanges = Exchanges()
    found = [e for d in datagrams(packets, interface=interface) for e in exchanges.hear(d)]
    (only,) = [*found, *exchanges.end()]
    return only


async def find(*packets: Packet, stock: Inventory | None = None, interface: str = "eth1") -> Finding:
    """The finding of one exchange."""
    stock = stock or inventory()
    found = await assess(exchange(*packets, interface=interface), stock, Rehearsal(stock, 80))
    assert found is not None
    return found


async def test_a_server_that_says_what_we_would_agrees() -> None:
    """A declared node with its own address; what differs by nature does not count."""
    said = {**AS_OURS, 12: b"m1"}
    found = await find(*four(NODE, "10.77.0.20", {55: bytes([1, 3, 6, 12, 15])}, options=said))
    assert (found.verdict, found.name, found.differences) == (Verdict.AGREES, "m1", ())
    assert found.servers == (FOREIGN,) and found.declared and not found.dynamic


async def test_a_dynamic_address_is_dynamic_here_as_there() -> None:
    """We would give the very address that the other server gave: it is on our books."""
    found = await find(
        *four(STRANGER, "10.77.0.133", {55: b"\1"}, options={3: AS_OURS[3], 12: b"node-525400990001"})
    )
    assert found.verdict is Verdict.AGREES and found.dynamic
    assert {turn.ours.address for turn in found.turns} == {IPv4Address("10.77.0.133")}


async def test_a_dynamic_address_of_theirs_outside_our_range_is_told() -> None:
    """Ours would come from the range."""
    found = await find(*four(STRANGER, "10.77.0.44", {55: b"\1"}))
    assert found.verdict is Verdict.DIFFERS
    assert "10.77.0.44" in {d.theirs for d in found.differences}


async def test_a_renewal_that_began_before_we_listened_agrees() -> None:
    """The other server's ACK is on our books before we are asked: no NAK for a lease that we never gave."""
    renews = message(STRANGER, Kind.REQUEST, {55: b"\1"}, ciaddr="10.77.0.140")
    ack = answer(renews, Kind.ACK, "10.77.0.140", options={3: AS_OURS[3], 12: b"node-525400990001"})
    found = await find(renews, ack)
    assert found.verdict is Verdict.AGREES and found.turns[0].ours.kind is Kind.ACK


async def test_a_node_that_boots_another_file_differs_by_its_file() -> None:
    """Theirs and ours are both told."""
    talk = four(NODE, "10.77.0.20", PXE_X64, file=b"pxelinux.0", siaddr=FOREIGN)
    found = await find(*talk)
    boots = {d.what: (d.theirs, d.ours) for d in found.differences}
    assert boots["boot file"] == ("pxelinux.0", "snponly.efi") and "boot server" not in boots


async def test_a_stranger_without_a_catch_all_is_unknown() -> None:
    """With the reason that an operator would be told."""
    found = await find(*four(STRANGER, "10.77.0.44"), stock=inventory(catch_all=False))
    assert found.verdict is Verdict.UNKNOWN and not found.declared and "no catch-all" in found.why


async def test_nobody_answers() -> None:
    """Neither a difference nor an agreement, though we would."""
    found = await find(discover(NODE))
    assert found.verdict is Verdict.UNANSWERED and found.turns[0].ours.kind is Kind.OFFER


async def test_an_answer_that_was_not_heard_is_told_by_the_request_that_took_it() -> None:
    """On a switch unicast answers go past us: server and address stand in the client's broadcast."""
    asks, _, takes, _ = four(NODE, "10.77.0.33")
    found = await find(asks, takes)
    assert found.verdict is Verdict.DIFFERS
    assert [(d.what, d.theirs, d.ours) for d in found.differences] == [
        ("address", "10.77.0.33", "10.77.0.20"),
    ]


async def test_a_client_is_thought_to_take_our_offer_and_not_theirs() -> None:
    """Where both give it different addresses it would have asked us for ours: an ACK, no NAK."""
    found = await find(*four(NODE, "10.77.0.33"))
    assert [turn.ours.kind for turn in found.turns] == [Kind.OFFER, Kind.ACK]
    assert [d.what for d in found.differences if d.what in ("address", "answer")] == ["address"]


async def test_a_relayed_exchange_belongs_to_the_network_of_its_relay_agent() -> None:
    """Whatever interface it was heard on."""
    far = network(name="far", subnet="10.88.0.0/24", first="10.88.0.100", last="10.88.0.199", interface=None,
                  server="10.77.0.1")  # fmt: skip
    stock = inventory([far, network()])
    found = await find(*four(STRANGER, "10.88.0.120", giaddr="10.88.0.1"), stock=stock)
    assert found.network is not None and found.network.name == "far"
    assert found.turns[1].ours.address == IPv4Address("10.88.0.120")


async def test_a_proxys_boot_file_goes_with_the_address_of_another_server() -> None:
    """As firmware puts the two together."""
    asks, offer, takes, ack = four(NODE, "10.77.0.20", PXE_X64)
    proxy = answer(asks, Kind.OFFER, "0.0.0.0", server="10.77.0.3", file=b"ipxe.efi", siaddr="10.77.0.3",
                   options={60: b"PXEClient"})  # fmt: skip
    talk = exchange(asks, offer, proxy, takes, ack)
    there = theirs(talk.turns[0], talk)
    assert (str(there.address), there.boot.file, there.boot.server) == ("10.77.0.20", "ipxe.efi", "10.77.0.3")


async def test_the_server_that_the_client_chose_is_the_one_that_counts() -> None:
    """Among several OFFERs."""
    asks, offer, takes, ack = four(NODE, "10.77.0.20")
    other = answer(asks, Kind.OFFER, "10.77.0.77", server="10.77.0.3")
    talk = exchange(asks, other, offer, takes, ack)
    handed = handed_out(talk, NODE)
    assert theirs(talk.turns[0], talk).address == IPv4Address("10.77.0.20")
    assert handed is not None and handed.address == IPv4Address("10.77.0.20")


def test_the_request_is_asked_as_though_we_were_chosen() -> None:
    """Only options 54 and 50 change; a request without them goes as it came."""
    turns = exchange(*four(NODE, "10.77.0.33")).turns
    own, offered = IPv4Address("10.77.0.1"), IPv4Address("10.77.0.20")
    asked = decode(as_ours(turns[1], own, offered))
    assert (asked.options[54], asked.options[50]) == (own.packed, offered.packed)
    assert {**asked.options, 54: b"", 50: b""} == {**turns[1].packet.options, 54: b"", 50: b""}
    assert decode(as_ours(turns[1], own, None)).options[50] == IPv4Address("10.77.0.33").packed
    assert as_ours(turns[0], own, offered) == turns[0].request.payload


def test_a_capture_from_elsewhere_finds_its_network_by_its_addresses() -> None:
    """By the interface's name where it is one of ours, else by what was given, else by the machine."""
    other = network(
        name="b", subnet="10.99.0.0/24", first="10.99.0.100", last="10.99.0.199", interface="eth9"
    )
    stock = inventory([network(), other])
    assert place(exchange(*four(STRANGER, "10.99.0.5"), interface="eth1"), stock) == "eth1"
    assert place(exchange(*four(STRANGER, "10.99.0.5"), interface="en0"), stock) == "eth9"
    assert place(exchange(discover(NODE), interface=""), stock) == "eth1"
    assert place(exchange(discover(STRANGER), interface=""), stock) == ""


async def test_a_sender_that_is_no_card_has_no_finding() -> None:
    """A multicast chaddr, or another kind of hardware."""
    odd = discover(STRANGER)._replace(htype=32)
    stock = inventory()
    assert await assess(exchange(odd), stock, Rehearsal(stock, 80)) is None


async def test_machines_are_called_by_what_they_are() -> None:
    """Firmware by kind and architecture, a system by its class."""
    kinds = [PXE_BIOS, PXE_X64, HTTP_X64, IPXE, SYSTEM]
    said = [who((await find(discover(NODE, options))).client) for options in kinds]
    assert said == ["BIOS PXE", "UEFI x64 PXE", "UEFI x64 HTTP boot", "BIOS iPXE", "system (udhcp 1.35.0)"]
