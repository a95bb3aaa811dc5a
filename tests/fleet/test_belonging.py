"""Whose a Node object is: a declared machine's, one of the catch-all pool's, or somebody else's."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from types import SimpleNamespace
from typing import Any, cast

from netboot.cluster.drift import Declared
from netboot.events import Boots
from netboot.fleet.belonging import Belonging
from netboot.model.boot import Boot
from netboot.model.inventory import Cluster, Inventory, JoinSettings, Network, Node, NodeActions, Pool, Tag
from netboot.model.machine import Mac
from netboot.model.settings import Settings, Taint

CARD, GUEST = Mac("52:54:00:12:34:56"), Mac("52:54:00:00:00:99")
UUID = "4c4c4544-0042-3510-8054-b4c04f564232"
JOIN = JoinSettings("kubeadm")
INVENTORY = Inventory(
    networks={"net": Network("net", IPv4Network("10.0.0.0/24"), "eth1", None)},
    clusters={
        "blue": Cluster(
            "blue", "b:6443", tags=("of-blue",), join=JOIN, node_actions=NodeActions(labels=True)
        ),
        "red": Cluster("red", "r:6443", join=JOIN, node_actions=NodeActions(taints=True)),
    },
    pools={
        "p": Pool("p", "blue", "net"),
        "guests": Pool("guests", "red", "net", tags=("guest",), catch_all=True),
    },
    nodes=(Node("m1", "p", (CARD,)), Node("m2", "p", (), uuid=UUID)),
    tags={
        "of-blue": Tag("of-blue", Settings(labels={"a": "1"})),
        "guest": Tag("guest", Settings(taints=(Taint("guest", "", "NoSchedule"),))),
    },
)


def belonging(*boots: Boot) -> Belonging:
    """As these boots have it, newest first."""

    def of_machine(name: str) -> list[Boot]:
        return [boot for boot in boots if boot.node == name]

    known: Any = SimpleNamespace(
        of_machine=of_machine, of_node=lambda name: next(iter(of_machine(name)), None)
    )
    return Belonging(lambda: INVENTORY, cast(Boots, known))


def test_a_declared_node_is_known_in_its_cluster_and_in_no_other() -> None:
    """With its merged labels, and the switches of its cluster."""
    ours = belonging()
    assert ours.declared("blue", "m1") == Declared({"a": "1"}, (), True, False, ())
    assert ours.declared("red", "m1") is None and ours.declared("blue", "foreign") is None
    assert list(ours.names("blue")) == ["m1", "m2"] and list(ours.names("red")) == []


def test_its_uuid_is_the_declared_one_or_that_of_its_last_claimed_boot() -> None:
    """A boot that was not claimed yet tells none."""
    boot = Boot("2", CARD, "m1", "blue")
    ours = belonging(boot, replace(boot, id="1", system_uuid="11111111-2222-3333-4444-555555555555"))
    first, second = ours.declared("blue", "m1"), ours.declared("blue", "m2")
    assert first is not None and first.uuids == ("11111111-2222-3333-4444-555555555555",)
    assert second is not None and second.uuids == (UUID,)


def test_a_machine_of_the_catch_all_pool_is_known_by_its_boots() -> None:
    """Under the name that the pool gives it, in the cluster that it booted into."""
    boot = Boot("1", GUEST, "node-525400000099", "red", system_uuid=UUID)
    ours = belonging(boot, Boot("1", GUEST, "stranger", "red"))
    assert ours.declared("red", "node-525400000099") == Declared(
        {}, (Taint("guest", "", "NoSchedule"),), False, True, (UUID,)
    )
    assert ours.declared("blue", "node-525400000099") is None and ours.declared("red", "stranger") is None
