"""Names and addresses of nodes: for name servers all of them, in a node's own /etc/hosts those that stay."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from netboot.boot import hosts as module
from netboot.boot.hosts import Neighbours, leased, reserved
from netboot.boot.hosts import lines as written
from netboot.model.inventory import Cluster, Inventory, Network, Node, Pool
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.model.placement import Placement

CARD = Mac("52:54:00:12:34:56")
INVENTORY = Inventory(
    networks={
        "a": Network("a", IPv4Network("10.0.0.0/24"), "eth1", None, domain="example.org"),
        "b": Network("b", IPv4Network("10.0.1.0/24"), "eth2", None),
    },
    clusters={name: Cluster(name, f"{name}:6443") for name in ("blue", "red")},
    pools={"p": Pool("p", "blue", "a"), "q": Pool("q", "red", "b"), "r": Pool("r", "blue", "b")},
    nodes=(
        Node("m2", "p", (), address=IPv4Address("10.0.0.20")),
        Node("m10", "p", (), address=IPv4Address("10.0.0.10")),
        Node("m3", "r", ()),
        Node("m4", "q", (), address=IPv4Address("10.0.1.4")),
    ),
)


def lease(holder: str, address: str, **fields: object) -> Lease:
    """A lease that lives until 200."""
    network = "a" if address.startswith("10.0.0.") else "b"
    made = Lease(holder, CARD, IPv4Address(address), network, holder, 200.0, 0.0)
    return replace(made, **fields)  # type: ignore[arg-type]


def lines(*leases: Lease, now: float = 100.0) -> list[str]:
    """The file without its head: reserved addresses, then those that come and go."""
    holders = {node.holder: node for node in INVENTORY.nodes}
    found = leased(INVENTORY, holders, leases, now)
    return (written(reserved(INVENTORY, INVENTORY.nodes)) + written(found)).decode().splitlines()


def test_every_machine_with_an_address_is_listed_by_address() -> None:
    """Reserved ones always, leased ones while they hold it; with the network's domain where it has one."""
    found = lines(
        lease("m2", "10.0.0.99"),
        lease("m3", "10.0.1.33"),
        lease(str(CARD), "10.0.0.50", name="node-525400123456"),
    )
    assert found == [
        "10.0.0.10 m10.example.org m10",
        "10.0.0.20 m2.example.org m2",
        "10.0.1.4 m4",
        "10.0.0.50 node-525400123456.example.org node-525400123456",
        "10.0.1.33 m3",
    ]


def test_an_address_that_is_held_no_more_is_not_listed() -> None:
    """Given back or run out; and nobody takes a declared node's name, or brings one that is no name."""
    assert lines(lease("m3", "10.0.1.33"), now=200.0) == lines()
    assert lines(lease("m3", "10.0.1.33", released=True)) == lines()
    assert lines(lease(str(CARD), "10.0.1.50", name="m2")) == lines()
    assert lines(lease(str(CARD), "10.0.1.50", name="x\n10.0.0.1 m9")) == lines()
    assert len(lines()) == 3


def test_a_nodes_neighbours_are_those_of_its_cluster_that_stay_where_they_are() -> None:
    """Reserved addresses of the others, wherever they stand; one that was assigned elsewhere is there."""
    near = Neighbours()
    assert [str(host) for host in near.of(INVENTORY, "blue", "m2")] == ["10.0.0.10 m10.example.org m10"]
    assert [str(host) for host in near.of(INVENTORY, "red", "m9")] == ["10.0.1.4 m4"]
    moved = replace(INVENTORY.nodes[3], placed=Placement("m4", (), cluster="blue"))
    changed = replace(INVENTORY, nodes=(*INVENTORY.nodes[:3], moved))
    assert [host.names[-1] for host in near.of(changed, "blue", "m2")] == ["m10", "m4"]
    assert near.of(changed, "red", "m9") == ()


def test_a_large_cluster_asks_a_name_server() -> None:
    """Thousands of names are in no node's /etc/hosts."""
    limit = module.NEIGHBOURS
    many = tuple(Node(f"n{i}", "p", (), address=IPv4Address(i)) for i in range(1, limit + 2))
    assert len(Neighbours().of(replace(INVENTORY, nodes=many[:-1]), "blue", "n1")) == limit - 1
    assert Neighbours().of(replace(INVENTORY, nodes=many), "blue", "n1") == ()
