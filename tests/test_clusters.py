"""The part of the composition that talks to Kubernetes: who is told of what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from netboot.cluster import CLIENT_SIGNER, SERVING_SIGNER
from netboot.clusters import Clusterwork
from netboot.events import Boots, Journal
from netboot.fleet.roster import Roster
from netboot.model.inventory import Cluster, Inventory, JoinSettings, Network, Node, Pool
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from netboot.model.operation import Order
from netboot.store.sqlite import SqliteStore
from tests.fleet.waiting import passed

NETWORK = Network("lab", IPv4Network("10.0.0.0/24"), "eth1", IPv4Address("10.0.0.1"))
CLUSTERS = {
    "blue": Cluster("blue", "10.0.0.9:6443", join=JoinSettings("kubeadm", Path("/nowhere"))),
    "bare": Cluster("bare", "10.0.0.8:6443"),
}
POOLS = {
    "compute": Pool("compute", "blue", "lab"),
    "idle": Pool("idle", "bare", "lab"),
    "rest": Pool("rest", "blue", "lab", catch_all=True),
}
INVENTORY = Inventory(
    {"lab": NETWORK},
    CLUSTERS,
    POOLS,
    (
        Node("m1", "compute", (Mac("02:00:00:00:00:01"),)),
        Node("m2", "idle", (Mac("02:00:00:00:00:02"),)),
    ),
)


@pytest.fixture
async def work(tmp_path: Path) -> AsyncIterator[Clusterwork]:
    """Composed over a store of its own; no task runs."""
    store = await SqliteStore.open(tmp_path / "netboot.db")
    journal = Journal(time.time)
    made = Clusterwork(
        roster=Roster(INVENTORY),
        store=store,
        boots=Boots(store, journal, time.time, lambda: "b1"),
        journal=journal,
        secret=b"s" * 32,
    )
    await made.start()
    yield made
    await made.close()
    await store.close()


async def test_only_clusters_that_machines_join_are_asked(work: Clusterwork) -> None:
    """A cluster of join method `none` has no API to talk to."""
    assert work.asked() == ["blue"]


async def test_each_method_of_the_file_that_is_built_has_its_entry(work: Clusterwork) -> None:
    """What the node side looks up by the cluster's `join.method`."""
    assert set(work.joins) == {"kubeadm", "certificate", "tls-bootstrap", "static", "none"}


async def test_certificate_requests_are_looked_at_where_the_file_says_so(work: Clusterwork) -> None:
    """By the binding of tokens, and by serving_certificates."""
    assert work._approved() == [("blue", CLIENT_SIGNER)]
    blue = CLUSTERS["blue"]
    join = replace(blue.join, bind="cluster")
    changed = {"blue": replace(blue, join=join, approves_serving=True)}
    work._inventory = lambda: replace(INVENTORY, clusters=changed)
    assert work._approved() == [("blue", SERVING_SIGNER)]


async def test_an_alarm_is_an_error_of_its_machine(work: Clusterwork) -> None:
    """Each time; what is no alarm is counted."""
    mac = Mac("02:00:00:00:00:01")
    for alarm in (True, True, False):
        work._report("token_misused", "text", mac, alarm)
    assert len(work._journal.events(mac)) == 2 and work.problem("blue") is None


async def test_an_assignment_has_its_node_object_looked_at(
    work: Clusterwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its old name and its new one: its tags may be others."""
    looked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        work.nodes.reconciler, "redeclared", lambda cluster, name: looked.append((cluster, name))
    )
    await work.operations.assign("m2", Order(cluster="bare", name="n2"))
    running = asyncio.create_task(work.operations.run())
    await passed(lambda: looked)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sorted(looked) == [("bare", "m2"), ("bare", "n2")]


def lease(name: str) -> Lease:
    """A lease of that machine."""
    return Lease(name, Mac("02:00:00:00:00:01"), IPv4Address("10.0.0.50"), "lab", name, 60.0, 0.0)


@pytest.mark.parametrize(("name", "alive"), [("m1", True), ("m2", False), ("node-020000000009", True)])
async def test_a_machine_may_live_where_a_cluster_can_be_asked(
    work: Clusterwork, name: str, alive: bool
) -> None:
    """Unknown counts as alive; a machine of a cluster without API has no Node object to live by."""
    assert work.sign_of_life(lease(name)) is alive
