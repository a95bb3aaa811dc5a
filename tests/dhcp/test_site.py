"""What is made once of a snapshot: profiles by place, groups; and the operator's precedence, pair by pair."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from itertools import combinations

import pytest

from netboot.dhcp.options import client_of
from netboot.dhcp.profile import Profile
from netboot.dhcp.site import Site
from netboot.dhcp.wire import Kind, Packet, decode, encode_with
from netboot.model.inventory import (
    BootOverride,
    Cluster,
    Inventory,
    Node,
    NoMatch,
    OptionValue,
    Pool,
    Tag,
)
from netboot.model.machine import Mac
from tests.dhcp.world import (
    NODE_MACS,
    PXE_BIOS,
    SERVER,
    STRANGER,
    SYSTEM,
    RecordingPort,
    discover,
    inventory,
    message,
    network,
)


def site(stock: Inventory | None = None, skipped: list[str] | None = None) -> Site:
    """A site whose complaints are kept."""
    kept = skipped if skipped is not None else []
    return Site(
        stock or inventory(),
        frozenset({int(SERVER)}),
        80,
        frozenset(),
        lambda name, why: kept.append(name),
        print,
    )


def profile(of: Site, packet: Packet, interface: str = "eth1", held_as: str = "") -> Profile | NoMatch:
    """What a packet leads to."""
    client = client_of(packet)
    assert packet.kind is not None
    return of.profile(packet, packet.kind, client, RecordingPort(interface), held_as)


def told(of: Site, packet: Packet) -> Packet:
    """The options of the reply's tail, read back."""
    found = profile(of, packet)
    assert isinstance(found, Profile)
    client = client_of(packet)
    quirks = found.group.quirks(client)
    tail = found.group.tail(client, quirks, packet.options.get(55, b""), 60.0, 1200)
    return decode(encode_with(packet, tail.before + tail.after))._replace(file=tail.file)


def test_a_profile_is_made_once_per_place() -> None:
    """The same card on the same way is the same object; another relay agent makes another."""
    here = site()
    assert profile(here, discover(NODE_MACS[0])) is profile(here, discover(NODE_MACS[0], SYSTEM))
    relayed = discover(NODE_MACS[0], giaddr="10.77.0.5")
    assert profile(here, relayed) is profile(here, relayed)
    assert profile(here, relayed) is not profile(here, discover(NODE_MACS[0]))


def test_what_a_machine_says_counts_only_where_a_node_is_known_by_it() -> None:
    """Else firmware and system share a profile whatever identifiers they send."""
    said = {61: b"\x01abc", 97: b"\0" + bytes(range(16))}
    plain = site()
    assert profile(plain, discover(STRANGER, said)) is profile(plain, discover(STRANGER))
    node = Node("m2", "lab", (Mac("52:54:00:77:00:55"),), client_id=b"\x01abc")
    known = site(inventory(nodes=[node]))
    first, second = profile(known, discover(STRANGER, said)), profile(known, discover(STRANGER))
    assert isinstance(first, Profile) and first.assignment.name == "m2" and first.contested
    assert isinstance(second, Profile) and second.assignment.node is None and not second.contested
    third = profile(known, discover(STRANGER), held_as="m2")
    assert isinstance(third, Profile) and third.assignment.known_by == "lease"


def test_profiles_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers by the million do not fill the memory."""
    monkeypatch.setattr("netboot.dhcp.site.KEPT_MACHINES", 10)
    here = site()
    for i in range(100):
        profile(here, discover(Mac.from_bytes(b"\x02\0\0\0\0" + bytes([i]))))
    assert len(here._profiles) <= 10


def test_a_network_without_any_address_of_ours_is_not_answered() -> None:
    """Neither declared nor on the interface."""
    stock = inventory([replace(network(), address=None)])
    packet = discover(NODE_MACS[0])
    found = site(stock).profile(packet, Kind.DISCOVER, client_of(packet), RecordingPort("eth1", ()))
    assert isinstance(found, NoMatch) and "eth1 has no IPv4 address" in found.reason
    other = site(stock).profile(
        packet, Kind.DISCOVER, client_of(packet), RecordingPort("eth1", (IPv4Address("192.0.2.1"), SERVER))
    )
    assert isinstance(other, Profile) and other.server == SERVER


def test_a_routed_renewal_belongs_to_the_network_of_its_address() -> None:
    """It came past its relay agent; a DISCOVER's ciaddr counts nothing."""
    far = network(name="far", subnet="10.99.0.0/24", first="10.99.0.100", last="10.99.0.199", interface=None)
    stock = inventory([far, network()])
    renewal = profile(site(stock), message(STRANGER, Kind.REQUEST, ciaddr="10.99.0.100"))
    assert isinstance(renewal, Profile) and renewal.network.name == "far"
    assert isinstance(profile(site(stock), discover(STRANGER, ciaddr="10.99.0.100")), NoMatch)


def test_an_option_that_cannot_be_written_is_told_once() -> None:
    """For all machines that share it."""
    wrong: list[str] = []
    here = site(inventory(tag_options={26: "wide"}), wrong)
    for i in range(5):
        profile(here, discover(Mac.from_bytes(b"\x02\0\0\0\0" + bytes([i]))))
    assert len(wrong) == 1 and len(here) == 1


# The precedence of architecture 3, over every pair of its ranks

RANKS = (
    "protocol",
    "quirk",
    "node",
    "node's tags",
    "pool's tags",
    "cluster's tags",
    "all",
    "network",
    "defaults",
)
"""Strongest first."""

QUIRK = "no-option-60"
"""A quirk of the table that takes option 60 away, named by the node."""


def says(who: set[str], code: int, values: dict[str, OptionValue]) -> Inventory:
    """An inventory in which these ranks, and no others, say something of an option."""

    def of(rank: str) -> dict[int, OptionValue]:
        return {code: values[rank]} if rank in who and rank in values else {}

    here = replace(
        network(options=of("network")), gateway=IPv4Address("10.77.0.9") if "defaults" in who else None
    )
    quirks = (QUIRK,) if "quirk" in who else ()
    node = Node(
        "m1", "lab", NODE_MACS, IPv4Address("10.77.0.20"), ("first", "last"),
        options=of("node"), boot=BootOverride(quirks=quirks),
    )  # fmt: skip
    tags = {
        "all": Tag("all", dhcp_options=of("all")),
        "c": Tag("c", dhcp_options=of("cluster's tags")),
        "p": Tag("p", dhcp_options=of("pool's tags")),
        "first": Tag("first", dhcp_options={code: "hex:00"} if "node's tags" in who else {}),
        "last": Tag("last", dhcp_options=of("node's tags")),
    }
    return Inventory(
        networks={"lab": here},
        clusters={"blue": Cluster("blue", "10.77.0.1:6443", tags=("c",))},
        pools={"lab": Pool("lab", "blue", "lab", tags=("p",))},
        nodes=(node,),
        tags=tags,
    )


OPERATORS = RANKS[2:8]
ADDRESSES: dict[str, OptionValue] = {rank: f"10.0.0.{i}" for i, rank in enumerate(RANKS)}


@pytest.mark.parametrize(("strong", "weak"), list(combinations(RANKS[2:], 2)))
def test_the_stronger_of_two_operators_words_wins(strong: str, weak: str) -> None:
    """Each pair from node to the network's own keys, on option 3, with the last of a node's tags."""
    found = told(site(says({strong, weak}, 3, ADDRESSES)), discover(NODE_MACS[0], SYSTEM)).options
    assert found[3] == IPv4Address(ADDRESSES[strong]).packed  # type: ignore[arg-type]


@pytest.mark.parametrize("weak", OPERATORS)
@pytest.mark.parametrize("code", [51, 54, 58, 59])
def test_what_the_protocol_computes_wins_over_every_word(code: int, weak: str) -> None:
    """Of any rank below it."""
    values: dict[str, OptionValue] = {rank: "hex:01020304" for rank in RANKS}
    found = told(site(says({weak}, code, values)), discover(NODE_MACS[0], SYSTEM)).options
    assert found[code] != b"\1\2\3\4"


@pytest.mark.parametrize("weak", OPERATORS)
def test_a_quirk_wins_over_every_word(weak: str) -> None:
    """A node that names it gets no option 60, whoever wrote one; without it the node's own goes out."""
    values: dict[str, OptionValue] = {rank: "mine" for rank in RANKS}
    assert 60 not in told(site(says({"quirk", weak}, 60, values)), discover(NODE_MACS[0], PXE_BIOS)).options
    plain = told(site(says({weak}, 60, values)), discover(NODE_MACS[0], PXE_BIOS)).options[60]
    assert plain == (b"mine" if weak == "node" else b"PXEClient")


def test_the_protocol_wins_over_a_quirk() -> None:
    """No quirk takes the lease time or the server's identifier away."""
    found = told(site(says({"quirk"}, 60, {})), discover(NODE_MACS[0], PXE_BIOS)).options
    assert {51, 54, 58, 59} <= set(found)


@pytest.mark.parametrize("weak", ["node's tags", "pool's tags", "cluster's tags", "all", "network"])
@pytest.mark.parametrize("code", [60, 66, 67])
def test_boot_options_give_way_to_a_nodes_own_options_alone(code: int, weak: str) -> None:
    """`check` refuses them elsewhere; where they come all the same they change nothing."""
    values: dict[str, OptionValue] = {weak: "theirs"}
    assert (
        b"theirs"
        not in told(site(says({weak}, code, values)), discover(NODE_MACS[0], PXE_BIOS)).options[code]
    )
    own = told(site(says({"node"}, code, {"node": "own.kpxe"})), discover(NODE_MACS[0], PXE_BIOS))
    assert own.options[code] == b"own.kpxe"


def test_a_nodes_own_150_is_stronger_than_the_boot_plans() -> None:
    """It is no boot option of the contract; a network's own 150 is for telephones, not for firmware."""
    mine: dict[str, OptionValue] = {"node": "10.0.0.9", "network": "10.0.0.8"}
    own = told(site(says({"node", "network"}, 150, mine)), discover(NODE_MACS[0], PXE_BIOS)).options
    assert own[150] == IPv4Address("10.0.0.9").packed
    theirs = told(site(says({"network"}, 150, mine)), discover(NODE_MACS[0], PXE_BIOS)).options
    assert theirs[150] == SERVER.packed
