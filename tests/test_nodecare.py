"""The care for nodes, composed: what the file declares stands on the Node object, in a cluster that is up."""

from __future__ import annotations

import asyncio
import time
from ipaddress import IPv4Network

from netboot.cluster.client import ClusterClients
from netboot.events import Boots, Journal, boot_id
from netboot.model.inventory import Cluster, Inventory, JoinSettings, Network, Node, NodeActions, Pool, Tag
from netboot.model.machine import Mac
from netboot.model.settings import Settings
from netboot.nodecare import NodeCare
from netboot.store.memory import MemoryStore
from tests.fleet.waiting import passed
from tests.kube.fixtures import Kube, kube

__all__ = ["kube"]

ROLE = "node-role.kubernetes.io/gpu"


async def test_a_declared_node_gets_its_labels_and_a_foreign_one_none(kube: Kube) -> None:
    """With the rights that config/kubernetes grants; the cluster is up, and everything in it is counted."""
    join = JoinSettings("kubeadm", kube.kubeconfig())
    blue = Cluster("blue", kube.endpoint, tags=("gpu",), join=join, node_actions=NodeActions(labels=True))
    inventory = Inventory(
        networks={"net": Network("net", IPv4Network("10.0.0.0/24"), "eth1", None)},
        clusters={"blue": blue},
        pools={"p": Pool("p", "blue", "net")},
        nodes=(Node("m1", "p", (Mac("52:54:00:12:34:56"),)),),
        tags={"gpu": Tag("gpu", Settings(labels={ROLE: ""}))},
    )
    clients, journal = ClusterClients(), Journal(time.time)
    await clients.update([blue])
    boots = Boots(MemoryStore(), journal, time.time, lambda: boot_id(time.time(), b"1234"))
    care = NodeCare(
        clients,
        inventory=lambda: inventory,
        boots=boots,
        journal=journal,
        secret=b"secret",
        follows=lambda *_: False,
    )
    care.reloaded(["blue"])
    running = [asyncio.create_task(task) for task in care.tasks()]
    await kube.living_node("foreign")
    await kube.living_node("m1")
    await passed(lambda: ROLE in (kube.node("m1") or {})["metadata"]["labels"])
    await passed(lambda: care.health.condition("blue").state == "up")
    assert care.watch.count("blue") == 2 and care.reconciler.differences("blue", "m1") == ()
    foreign = kube.node("foreign")
    assert foreign is not None and ROLE not in foreign["metadata"]["labels"]
    assert journal.counters["drift_corrected"] == 1
    assert not any(task.done() for task in running)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await clients.close()
