from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from netboot.model.inventory import (
    AddressRange,
    Assignment,
    Cluster,
    Inventory,
    Network,
    Node,
    NoMatch,
    Pool,
    Tag,
)
from netboot.model.machine import Client, Mac
from netboot.model.settings import Settings

FIRST, SECOND, STRANGER = Mac("52:54:00:00:00:01"), Mac("52:54:00:00:00:02"), Mac("52:54:00:aa:bb:cc")
LAB = Network(
    "lab", IPv4Network("10.77.0.0/24"), "br0", IPv4Address("10.77.0.1"), options={26: 1400, 15: "lab"}
)
FAR = Network("far", IPv4Network("10.79.0.0/24"), None, IPv4Address("10.77.0.1"))
NODE = Node("m1", "metal", (FIRST, SECOND), IPv4Address("10.77.0.10"), ("rack",), options={42: "10.0.0.4"})


def settings(zone: str, module: str) -> Settings:
    return Settings(timezone=zone, modules=(module,))


INVENTORY = Inventory(
    networks={"lab": LAB, "far": FAR},
    clusters={
        "blue": Cluster("blue", "10.77.0.1:6443", "debian", ("gpu",)),
        "red": Cluster("red", "10.0.0.1:6443"),
    },
    pools={
        "metal": Pool("metal", "blue", "lab", ("pool",)),
        "rest": Pool("rest", "red", "lab", catch_all=True, node_name="new-{mac}"),
    },
    nodes=(NODE,),
    tags={
        "all": Tag("all", settings("all", "a"), {26: 1, 42: "10.0.0.1", 3: "all"}),
        "gpu": Tag("gpu", settings("gpu", "g"), {26: 2, 42: "10.0.0.2"}),
        "pool": Tag("pool", settings("pool", "p"), {26: 3, 42: "10.0.0.3"}),
        "rack": Tag("rack", settings("rack", "r"), {26: 9000}),
    },
)


def assigned(mac: Mac, inventory: Inventory = INVENTORY) -> Assignment:
    found = inventory.match(Client(mac), [LAB])
    assert isinstance(found, Assignment)
    return found


def test_every_card_of_a_node_is_the_same_node() -> None:
    """Same name, same reserved address, whichever card asks."""
    for mac in (FIRST, SECOND):
        found = assigned(mac)
        assert (found.name, found.node, found.address) == ("m1", NODE, IPv4Address("10.77.0.10"))
        assert found.reason == "declared in pool metal"


def test_a_stranger_lands_in_the_catch_all_under_a_name_of_its_mac() -> None:
    """It has no node and no reserved address."""
    found = assigned(STRANGER)
    assert (found.name, found.pool.name, found.cluster.name) == ("new-525400aabbcc", "rest", "red")
    assert (found.node, found.address) == (None, None)
    assert found.reason == "undeclared: catch-all pool rest"


def test_without_a_catch_all_a_stranger_is_left_alone() -> None:
    """And the reason says why."""
    pools = {"metal": INVENTORY.pools["metal"]}
    found = replace(INVENTORY, pools=pools).match(Client(STRANGER), [LAB])
    assert found == NoMatch("declared in no pool, and its network has no catch-all pool")
    nowhere = INVENTORY.match(Client(STRANGER), [])
    assert nowhere == NoMatch("declared in no pool, and asks from no network of ours")


def test_a_declared_machine_on_another_network_is_left_alone() -> None:
    """It is not caught by that network's catch-all: somebody knows it."""
    found = INVENTORY.match(Client(FIRST), [FAR])
    assert isinstance(found, NoMatch)
    assert "m1 is declared in network lab, but asks from far" in found.reason
    nowhere = INVENTORY.match(Client(FIRST), [])
    assert isinstance(nowhere, NoMatch)
    assert "no network of ours" in nowhere.reason


UUID = "4c4c4544-0042-3510-8054-b4c04f564232"
TURNED = "44454c4c-4200-1035-8054-b4c04f564232"
AGENT = IPv4Address("10.77.0.5")
KNOWN = replace(
    INVENTORY,
    networks={"lab": replace(LAB, relays=(AGENT,)), "far": FAR},
    nodes=(
        replace(NODE, uuid=UUID),
        Node("m2", "metal", (Mac("52:54:00:00:00:03"),), client_id=b"\0two"),
        Node("m3", "metal", (Mac("52:54:00:00:00:04"),), circuit_id=b"ge1"),
        Node("m4", "metal", (Mac("52:54:00:00:00:05"),), circuit_id=b"ge1", remote_id=b"sw2"),
        Node("m5", "metal", (Mac("52:54:00:00:00:06"),)),
    ),
)


@pytest.mark.parametrize(
    ("client", "name", "known_by"),
    [
        (Client(FIRST, uuid=TURNED), "m1", "MAC"),
        (Client(STRANGER, uuid=UUID), "m1", "UUID"),
        (Client(STRANGER, uuid=TURNED, client_id=b"\0two"), "m1", "UUID"),
        (Client(STRANGER, client_id=b"\0two", giaddr=AGENT, circuit_id=b"ge1"), "m2", "client identifier"),
        (Client(STRANGER, giaddr=AGENT, circuit_id=b"ge1", remote_id=b"sw1"), "m3", "relay agent"),
        (Client(STRANGER, giaddr=AGENT, circuit_id=b"ge1", remote_id=b"sw2"), "m4", "relay agent"),
        (Client(STRANGER, giaddr=AGENT, remote_id=b"sw2"), "new-525400aabbcc", "MAC"),
        (Client(STRANGER, giaddr=FAR.address, circuit_id=b"ge1"), "new-525400aabbcc", "MAC"),
        (Client(STRANGER, circuit_id=b"ge1"), "new-525400aabbcc", "MAC"),
        (Client(STRANGER, uuid="00000000-0000-0000-0000-000000000001"), "new-525400aabbcc", "MAC"),
    ],
)
def test_a_machine_is_known_in_the_documented_order(client: Client, name: str, known_by: str) -> None:
    """MAC, UUID, client identifier, the place at a listed relay agent (the more exact one first)."""
    found = KNOWN.match(client, [KNOWN.networks["lab"]])
    assert isinstance(found, Assignment)
    assert (found.name, found.known_by) == (name, known_by)
    assert (f"known by its {known_by}" in found.reason) is (known_by != "MAC")


def test_a_lease_identifies_only_what_may_have_a_card_that_is_not_listed() -> None:
    """And it is weaker than anything that the machine says."""
    lab = [KNOWN.networks["lab"]]
    for held_as, name in (("m1", "m1"), ("m5", "new-525400aabbcc"), ("gone", "new-525400aabbcc")):
        found = KNOWN.match(Client(STRANGER), lab, held_as=held_as)
        assert isinstance(found, Assignment) and found.name == name
    said = KNOWN.match(Client(STRANGER, client_id=b"\0two"), lab, held_as="m1")
    assert isinstance(said, Assignment) and said.name == "m2"


def test_a_generated_name_is_never_a_declared_nodes() -> None:
    """Whatever the template and the declared names are."""
    digits = STRANGER.digits
    taken = [f"new-{digits}", f"node-{digits}", f"node-{digits}-2"]
    for count in range(4):
        nodes = tuple(
            Node(name, "metal", (Mac(f"52:54:00:00:01:0{i}"),)) for i, name in enumerate(taken[:count])
        )
        found = assigned(STRANGER, replace(INVENTORY, nodes=nodes))
        assert found.name == [*taken, f"node-{digits}-3"][count]


def test_relays_and_wishes_choose_among_networks() -> None:
    """A listed relay agent may name another link; a client only among those it could be on."""
    far = replace(FAR, relays=(AGENT,))
    two = replace(INVENTORY, networks={"lab": LAB, "far": far})
    link, elsewhere = IPv4Address("10.79.0.0"), IPv4Address("10.80.0.1")
    assert two.network_of(interface=None, giaddr=AGENT, link=link) == (far,)
    assert two.network_of(interface=None, giaddr=IPv4Address("10.77.0.6"), link=link) == (LAB,)
    assert two.network_of(interface=None, giaddr=AGENT, link=elsewhere) == (LAB,)
    assert two.network_of(interface="br0", giaddr=None, link=link) == (LAB,)
    assert two.network_of(interface="br0", giaddr=None, subnet=link) == (LAB,)
    both = replace(INVENTORY, networks={"lab": LAB, "far": replace(FAR, interface="br0")})
    assert both.network_of(interface="br0", giaddr=None, subnet=link) == (both.networks["far"],)
    assert both.network_of(interface="br0", giaddr=None) == tuple(both.networks.values())


def test_settings_merge_all_then_cluster_then_pool_then_node_then_its_own() -> None:
    """The strongest says last."""
    own = replace(NODE, settings=Settings(timezone="own"))
    assert assigned(FIRST).settings.timezone == "rack"
    assert assigned(FIRST).settings.modules == ("a", "g", "p", "r")
    assert assigned(FIRST, replace(INVENTORY, nodes=(own,))).settings.timezone == "own"


@pytest.mark.parametrize(
    ("code", "value", "who"),
    [(42, "10.0.0.4", "node"), (26, 9000, "node's tag"), (3, "all", "all"), (15, "lab", "network")],
)
def test_options_by_the_contracts_precedence(code: int, value: object, who: str) -> None:
    """node > its tags > pool's > cluster's > all > network."""
    assert assigned(FIRST).options[code] == value, who


def test_a_strangers_options_come_from_its_pools_side_alone() -> None:
    """all over the network; nothing of another pool or cluster."""
    assert assigned(STRANGER).options == {26: 1, 42: "10.0.0.1", 3: "all", 15: "lab"}


def test_the_image_is_the_nodes_else_the_pools_else_the_clusters() -> None:
    """Without any the machine gets an address and no system."""
    assert assigned(FIRST).image == "debian"
    pools = {**INVENTORY.pools, "metal": replace(INVENTORY.pools["metal"], image="of-pool")}
    with_pool = replace(INVENTORY, pools=pools)
    assert assigned(FIRST, with_pool).image == "of-pool"
    assert assigned(FIRST, replace(with_pool, nodes=(replace(NODE, image="own"),))).image == "own"
    assert assigned(STRANGER).image is None


def test_a_packet_belongs_to_its_relays_subnet_else_to_its_interface() -> None:
    """giaddr decides, whether or not that network has an interface."""
    assert INVENTORY.network_of(interface="br0", giaddr=None) == (LAB,)
    assert INVENTORY.network_of(interface="br0", giaddr=IPv4Address("10.79.0.1")) == (FAR,)
    assert INVENTORY.network_of(interface="br1", giaddr=None) == ()
    assert INVENTORY.network_of(interface=None, giaddr=None) == ()
    assert INVENTORY.network_of(interface="br0", giaddr=IPv4Address("192.0.2.1")) == ()


def test_a_relay_agent_is_one_machine_and_not_everybody() -> None:
    """Neither a subnet's own address nor its broadcast address is anybody's; in a /31 both are (RFC 3021)."""
    for address in ("10.79.0.0", "10.79.0.255"):
        assert INVENTORY.network_of(interface="br0", giaddr=IPv4Address(address)) == ()
    narrow = replace(FAR, subnet=IPv4Network("10.79.0.0/31"))
    assert narrow.has_host(IPv4Address("10.79.0.0")) and not narrow.has_host(IPv4Address("10.79.0.2"))


def test_a_range_holds_its_ends_and_nothing_else() -> None:
    """Both included; other things are not in it."""
    some = AddressRange(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.3"))
    inside = [IPv4Address(f"10.0.0.{n}") in some for n in range(5)]
    assert inside == [False, True, True, True, False]
    assert "10.0.0.2" not in some


def test_the_indexes_are_ready_after_index() -> None:
    """A packet after a reload waits for none of them."""
    fresh = replace(INVENTORY)
    fresh.index()
    assert {"by_mac", "by_uuid", "by_client_id", "by_relay", "by_name", "reserved"} <= set(vars(fresh))
    assert fresh.by_name["m1"] is fresh.reserved[IPv4Address("10.77.0.10")] is fresh.by_mac[SECOND]


def test_a_farm_is_indexed_in_steps_between_which_others_have_their_turn() -> None:
    """The steps make what the properties make by themselves, and none of them is a long one."""
    nodes = tuple(
        Node(
            f"n{i}",
            "compute",
            (Mac.from_bytes(i.to_bytes(6, "big")),),
            IPv4Address(0x0A4D0000 + i),
            uuid=str(i),
        )
        for i in range(1, 2001)
    )
    farm, same = replace(INVENTORY, nodes=nodes), replace(INVENTORY, nodes=nodes)
    assert len(list(farm.indexing())) == 4
    for name in ("by_mac", "by_uuid", "by_client_id", "by_relay", "by_name", "reserved"):
        assert vars(farm)[name] == getattr(same, name)
