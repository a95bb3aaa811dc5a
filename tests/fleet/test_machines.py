"""What is known of our own machines when a certificate is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest

from netboot.cluster import ClusterApi, NodeObject
from netboot.cluster.approval import plain_address
from netboot.fleet.machines import OurMachines
from netboot.model.boot import Boot
from netboot.model.inventory import Cluster, Inventory, Network, Node, Pool
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.store.memory import MemoryStore

M1, M2, STRANGER = (Mac(f"02:00:00:00:00:0{n}") for n in (1, 2, 9))
NETWORK = Network("lab", IPv4Network("10.0.0.0/24"), "eth1", IPv4Address("10.0.0.1"), domain="example.org")
INVENTORY = Inventory(
    {"lab": NETWORK},
    {name: Cluster(name, "10.0.0.9:6443") for name in ("blue", "green")},
    {"compute": Pool("compute", "blue", "lab")},
    (Node("m1", "compute", (M1,), IPv4Address("10.0.0.11")), Node("m2", "compute", (M2,))),
)
BOOT = Boot("b1", M1, "m1", "blue")


@dataclass
class Api:
    """An API with one Node object."""

    found: NodeObject | None = None

    async def node(self, name: str) -> NodeObject | None:
        """The Node object."""
        return self.found


@dataclass
class Known:
    """The boots that there are."""

    boots: dict[str, Boot] = field(default_factory=dict)

    def get(self, boot_id: str) -> Boot | None:
        """By id."""
        return self.boots.get(boot_id)

    def of_node(self, node: str) -> Boot | None:
        """By name."""
        return next((b for b in self.boots.values() if b.node == node), None)


def machines(*boots: Boot, store: MemoryStore | None = None) -> OurMachines:
    """Ours."""
    return OurMachines(lambda: INVENTORY, store or MemoryStore(), cast(Any, Known({b.id: b for b in boots})))


@pytest.mark.parametrize(("state", "over"), [("booting", False), ("joined", True), ("stopped", True)])
def test_a_boot_is_over_when_it_ended(state: str, over: bool) -> None:
    """By success or not; one that we do not know is over too."""
    ours = machines(replace(BOOT, state=state))
    assert ours.over("b1") is over and ours.over("b2")


async def test_a_node_is_known_by_the_inventory_its_lease_and_its_node_object() -> None:
    """Every name and address that it may have."""
    store = MemoryStore()
    await store.claim_lease(Lease("m1", M1, IPv4Address("10.0.0.50"), "lab", "m1", 60.0, 0.0), None)
    node = NodeObject("m1", "u", "1", 0.0, "True", addresses=("10.0.0.60", "m1.cloud"))
    known = await machines(store=store).known(cast(ClusterApi, Api(node)), "blue", "m1")
    assert known is not None
    assert known.names == {"m1", "m1.example.org", "m1.cloud"}
    assert known.addresses == {"10.0.0.11", "10.0.0.50", "10.0.0.60"}


@pytest.mark.parametrize(
    ("claim", "whose"),
    [
        ("10.0.0.11", "m1"),
        ("::ffff:10.0.0.11", "m1"),
        ("m1", "m1"),
        ("M1.Example.org", "m1"),
        ("10.0.0.9", "cluster blue's API server"),
        ("kubernetes.default.svc", "the API server"),
        ("10.0.0.51", None),
        ("*.example.org", None),
    ],
)
async def test_a_node_object_cannot_make_anothers_name_its_own(claim: str, whose: str | None) -> None:
    """A kubelet writes the addresses of its Node object itself."""
    store = MemoryStore()
    await store.claim_lease(Lease("m3", STRANGER, IPv4Address("10.0.0.51"), "lab", "m3", 60.0, 0.0), None)
    node = NodeObject("m2", "u", "1", 0.0, "True", addresses=("m2", claim, "fd00::7"))
    ours = machines(store=store)
    known = await ours.known(cast(ClusterApi, Api(node)), "blue", "m2")
    assert known is not None and known.names == {"m2", "m2.example.org"} and known.addresses == {"fd00::7"}
    assert ours.owner(plain_address(claim) or claim.lower(), "m2") == whose


async def test_a_control_planes_own_address_may_be_the_endpoint() -> None:
    """A declared address is the machine's, whoever else goes by it."""
    inventory = replace(
        INVENTORY, nodes=(Node("m1", "compute", (M1,), IPv4Address("10.0.0.9")), INVENTORY.nodes[1])
    )
    ours = OurMachines(lambda: inventory, MemoryStore(), cast(Any, Known()))
    known = await ours.known(cast(ClusterApi, Api()), "blue", "m1")
    assert known is not None and "10.0.0.9" in known.addresses
    assert ours.owner("10.0.0.9", "m1") is None and ours.owner("10.0.0.9", "m2") == "m1"


async def test_a_node_is_of_the_cluster_that_it_booted_into() -> None:
    """An assignment made at run time counts before the declared one; strangers are nobody's."""
    api = cast(ClusterApi, Api())
    moved = machines(replace(BOOT, cluster="green"))
    assert await moved.known(api, "green", "m1") and not await moved.known(api, "blue", "m1")
    assert await machines().known(api, "blue", "m2")
    assert not await machines().known(api, "blue", "m9")
    caught = machines(Boot("b3", STRANGER, "node-020000000009", "blue"))
    assert await caught.known(api, "blue", "node-020000000009")


@pytest.mark.parametrize(
    ("text", "owner"), [("10.0.0.11", "m1"), ("m1", "m1"), ("m2", None), ("10.0.0.12", None), ("x", None)]
)
def test_names_and_addresses_have_owners(text: str, owner: str | None) -> None:
    """What is declared for another machine than the one that asks."""
    assert machines().owner(text, "m2") == owner
