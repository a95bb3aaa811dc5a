"""A machine moves from one cluster to another: every step, and whatever may go wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from netboot.errors import ClusterRefused, Refused
from netboot.fleet.ownership import CORDONED_BY
from netboot.fleet.patient import Patient
from netboot.fleet.reassign import Patience
from netboot.model.inventory import NodeActions
from netboot.model.lease import Lease
from netboot.model.operation import STEPS, Operation, Order
from tests.fleet.moving import (
    ALL,
    CARD,
    DAEMON,
    MIRROR,
    OTHER,
    STRANGER,
    TO_RED,
    UUID,
    Move,
    node_object,
    texts,
    web_pod,
    with_inventory,
)
from tests.kube.cluster import until

# The whole way


async def test_a_machine_moves_to_another_cluster(move: Move) -> None:
    """Cordoned, drained, its credential revoked, booted, Ready there, its old Node object deleted."""
    for number in range(3):
        move.blue.pod(f"web-{number}", "m1", **web_pod(number))
    move.blue.pod("cni", "m1", "kube-system", ownerReferences=DAEMON)
    move.blue.pod("proxy", "m1", "kube-system", annotations=MIRROR)
    assert len(move.blue.tokens()) == 1
    operation = await move.assign(replace(TO_RED, drain=True), by="alice")
    await move.at(operation, "boot", "waits for the machine's next boot")
    assert move.cordoned() and not move.blue.tokens()
    assert sorted(p["metadata"]["name"] for p in move.blue.all("pods")) == ["cni", "proxy"]
    assert move.house.assigned().cluster.name == "red"
    await move.joins_red()
    done = await move.ended(operation)
    assert (done.state, done.reason, done.by) == ("done", "", "alice")
    assert list(dict.fromkeys(line.step for line in done.timeline)) == list(STEPS)
    assert move.blue.node("m1") is None and move.red.ready("m1") == "True"


async def test_a_machine_moves_and_comes_back(move: Move) -> None:
    """Unassigned, it is what the file declares, and nothing of the assignment is left."""
    operation = await move.assign()
    await move.at(operation, "boot")
    await move.joins_red()
    assert (await move.ended(operation)).state == "done"
    back = await move.house.operations.unassign(CARD, Order())
    assert (await move.house.operations.unassign(CARD, Order())).id == back.id
    await move.at(back, "boot")
    assert move.house.assigned().cluster.name == "blue"
    boot = await move.house.boot()
    move.blue_node()
    move.house.joined(boot)
    assert (await move.ended(back)).state == "done"
    assert move.red.node("m1") is None and move.blue.ready("m1") == "True"
    assert not move.house.roster.placements() and not await move.house.store.placements()


async def test_a_machine_gets_another_pool_name_and_tags(move: Move) -> None:
    """The Node object of the old name goes."""
    operation = await move.assign(Order(pool="racks", name="gpu7"))
    await move.at(operation, "boot")
    assert (move.house.assigned().name, move.house.assigned().image) == ("gpu7", "of-racks")
    await move.joins_red("gpu7")
    assert (await move.ended(operation)).state == "done"
    assert move.blue.node("m1") is None and move.red.ready("gpu7") == "True"


async def test_another_name_in_the_same_cluster_leaves_no_node_object_behind(move: Move) -> None:
    """The old one is deleted there, the new one stays."""
    operation = await move.assign(Order(cluster="blue", name="m9"))
    await move.at(operation, "boot")
    boot = await move.house.boot()
    move.blue.create("nodes", "m9", node_object("m9", UUID))
    move.house.joined(boot)
    assert (await move.ended(operation)).state == "done"
    assert move.blue.node("m1") is None and move.blue.ready("m9") == "True"


async def test_a_node_that_is_the_same_is_made_schedulable_again(move: Move) -> None:
    """Another pool of the same cluster: the Node object that was cordoned is the one that joins."""
    move.house.inventory = replace(
        move.house.inventory,
        pools={
            **move.house.inventory.pools,
            "racks": replace(move.house.inventory.pools["racks"], cluster="blue"),
        },
    )
    move.house.roster.declare(move.house.inventory)
    operation = await move.assign(Order(pool="racks"))
    await move.at(operation, "boot")
    assert move.cordoned()
    boot = move.house.powers_on()
    await move.house.claims(boot)
    move.house.joined(boot)
    done = await move.ended(operation)
    assert done.state == "done" and "the same Node object" in texts(done, "delete")
    assert not move.cordoned() and move.blue.ready("m1") == "True"


async def test_a_cordon_that_cannot_be_taken_off_does_not_hold_the_operation(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is Ready where it shall be; the rest is said."""
    operation = await move.assign()
    await move.at(operation, "boot")
    boot = await move.house.boot()
    move.red.create("nodes", "m1", node_object("m1", UUID))
    mark = {"metadata": {"annotations": {CORDONED_BY: "an-earlier-one"}}, "spec": {"unschedulable": True}}
    move.red.merge("nodes", "m1", mark)

    async def refused(*_: Any, **more: Any) -> None:
        raise ClusterRefused(403, "forbidden")

    monkeypatch.setattr(Patient, "schedule", refused)
    move.house.joined(boot)
    done = await move.ended(operation)
    assert done.state == "done" and "still cordoned by us: 403: forbidden" in done.left


async def test_a_machine_out_of_the_catch_all_gets_a_cluster_a_name_and_an_address(move: Move) -> None:
    """The same call; until its next boot it is who it was."""
    lease = Lease(str(STRANGER), STRANGER, IPv4Address("10.0.0.100"), "lab", "node-525400000099", 1e12, 1e9)
    await move.house.store.claim_lease(lease, None)
    order = Order(cluster="red", name="n7", address=IPv4Address("10.0.0.70"), tags=("gpu",))
    operation = await move.house.operations.assign("node-525400000099", order)
    await move.at(operation, "boot")
    found = move.house.assigned(STRANGER)
    assert (found.name, found.address, found.cluster.name) == ("n7", IPv4Address("10.0.0.70"), "red")
    boot = await move.house.boot(STRANGER, OTHER)
    move.red.create("nodes", "n7", node_object("n7", OTHER))
    move.house.joined(boot)
    done = await move.ended(operation)
    assert (done.state, done.old.cluster) == ("done", "bare")
    back = await move.house.operations.unassign(STRANGER, Order())
    await move.at(back, "boot")
    boot = await move.house.boot(STRANGER, OTHER)
    move.house.joined(boot)
    assert (await move.ended(back)).state == "done"
    assert move.house.assigned(STRANGER).node is None and move.red.node("n7") is None


# Refused before anything changed


async def test_a_target_that_refuses_us_is_refused_before_anything_changed(move: Move) -> None:
    """Rolled back: no assignment, no cordon."""
    move.red.api.settings.credentials_expired = True
    done = await move.ended(await move.assign())
    assert done.state == "rolled back" and "Nothing was changed" in done.reason
    assert done.placed is None and not texts(done, "assign")
    assert not move.cordoned() and move.house.assigned().cluster.name == "blue"


async def test_a_target_that_is_down_is_waited_for_a_little(move: Move) -> None:
    """And then refused in the same way."""
    await move.red.api.control("settings", down=True)
    done = await move.ended(await move.assign())
    assert done.state == "rolled back" and not move.cordoned()
    assert "does not answer" in done.reason and "Nothing was changed" in done.reason
    assert not await move.house.store.placements()


async def test_another_machine_of_that_name_keeps_the_target(move: Move) -> None:
    """A Ready Node of the name with another systemUUID: only by force."""
    move.red.create("nodes", "m1", node_object("m1", OTHER))
    done = await move.ended(await move.assign())
    assert done.state == "rolled back" and "another machine lives as Node m1 in cluster red" in done.reason


# Draining


async def test_a_disruption_budget_holds_the_operation(move: Move) -> None:
    """No pod goes below it; when its time is over the operation is rolled back, and the node schedulable."""
    for number in range(2):
        move.blue.pod(f"web-{number}", "m1", **web_pod(number))
    move.blue.budget("web", 2, app="web")
    done = await move.ended(await move.assign(replace(TO_RED, drain=True)))
    assert done.state == "rolled back" and done.cordoned
    assert "not drained after" in done.reason and "disruption budget" in done.reason
    assert len(move.blue.all("pods")) == 2 and not move.cordoned()
    assert move.house.assigned().cluster.name == "blue"


async def test_a_budget_that_lets_go_lets_the_operation_go_on(move: Move) -> None:
    """With another healthy pod elsewhere."""
    move.house.operations.patience = replace(move.house.operations.patience, drain=30.0)
    for number in range(2):
        move.blue.pod(f"web-{number}", "m1", **web_pod(number))
    move.blue.budget("web", 2, app="web")
    operation = await move.assign(replace(TO_RED, drain=True))
    await move.at(operation, "drain", "disruption budget")
    for number in range(2, 4):
        move.blue.pod(f"web-{number}", "m2", **web_pod(number))
    assert (await move.at(operation, "boot")).state == "running"


async def test_pods_that_nobody_makes_again_go_by_force_alone(move: Move) -> None:
    """Without it nothing is evicted at all."""
    move.blue.pod("web", "m1", **web_pod(0))
    move.blue.pod("mine", "m1")
    done = await move.ended(await move.assign(replace(TO_RED, drain=True)))
    assert done.state == "rolled back" and "default/mine" in done.reason
    assert len(move.blue.all("pods")) == 2
    forced = await move.assign(replace(TO_RED, drain=True, force=True))
    await move.at(forced, "boot")
    assert not move.blue.all("pods")


async def test_two_restarts_during_a_drain_do_not_disturb_it(move: Move) -> None:
    """It goes on where it was, with the time limit of its first beginning."""
    move.house.operations.patience = replace(move.house.operations.patience, drain=60.0)
    for number in range(2):
        move.blue.pod(f"web-{number}", "m1", **web_pod(number))
    move.blue.budget("web", 2, app="web")
    operation = await move.assign(replace(TO_RED, drain=True))
    began = (await move.at(operation, "drain", "disruption budget")).since
    move.house.patience = move.house.operations.patience
    for times in (1, 2):
        await move.restart()
        again = await move.at(operation, "drain", "disruption budget")
        assert (again.resumed, again.since) == (times, began)
    move.blue.remove("poddisruptionbudgets", "web", "default")
    await move.at(operation, "boot")
    await move.joins_red()
    assert (await move.ended(operation)).state == "done"


# Each action behind its own switch


@pytest.mark.parametrize("action", ["cordon", "drain", "delete"])
async def test_an_action_that_is_switched_off_is_skipped_and_said(move: Move, action: str) -> None:
    """The others are done."""
    await with_inventory(move, **{action: False})
    move.blue.pod("web", "m1", **web_pod(0))
    operation = await move.assign(replace(TO_RED, drain=True))
    await move.at(operation, "boot")
    assert move.cordoned() == (action != "cordon")
    assert bool(move.blue.all("pods")) == (action == "drain")
    await move.joins_red()
    done = await move.ended(operation)
    assert done.state == "done" and (move.blue.node("m1") is not None) == (action == "delete")
    assert f"skipped: node_actions.{action} of cluster blue is off" in texts(done, action)


async def test_nothing_is_done_to_a_cluster_without_switches(move: Move) -> None:
    """The default: the machine moves, its old Node object is the operator's."""
    off = {name: False for name in NodeActions.__dataclass_fields__ if getattr(ALL, name)}
    await with_inventory(move, **off)
    operation = await move.assign()
    await move.at(operation, "boot")
    assert not move.cordoned()


# R17: whose Node object


async def test_r17_a_node_object_of_another_machine_is_left(move: Move) -> None:
    """Its systemUUID is not the declared one: neither cordoned nor deleted; an operator is told."""
    move.blue.merge("nodes", "m1", {"status": {"nodeInfo": {"systemUUID": OTHER}}})
    operation = await move.assign()
    await move.at(operation, "boot")
    assert not move.cordoned()
    await move.joins_red()
    done = await move.ended(operation)
    assert done.state == "done" and f"systemUUID is {OTHER}" in done.left and "--force" in done.left
    assert move.blue.node("m1") is not None


async def test_a_node_object_is_known_by_either_byte_order(move: Move) -> None:
    """Firmware and kernel disagree about the first three fields."""
    move.blue.merge(
        "nodes", "m1", {"status": {"nodeInfo": {"systemUUID": "44454c4c-4200-1035-8054-b4c04f564232"}}}
    )
    operation = await move.assign()
    await move.at(operation, "boot")
    assert move.cordoned()
    await move.joins_red()
    await move.ended(operation)
    assert move.blue.node("m1") is None


async def test_the_last_joined_boot_tells_the_uuid_where_none_is_declared(move: Move) -> None:
    """What it sent then is as good."""
    nodes = tuple(replace(node, uuid=None) for node in move.house.inventory.nodes)
    move.house.inventory = replace(move.house.inventory, nodes=nodes)
    move.house.roster.declare(move.house.inventory)
    operation = await move.assign()
    assert (operation.uuid, operation.uuid_is) == (UUID, "of its last joined boot")
    await move.at(operation, "boot")
    await move.joins_red()
    await move.ended(operation)
    assert move.blue.node("m1") is None


async def test_force_deletes_what_is_in_doubt(move: Move) -> None:
    """By the operator's word."""
    move.blue.merge("nodes", "m1", {"status": {"nodeInfo": {"systemUUID": OTHER}}})
    operation = await move.assign(replace(TO_RED, force=True))
    await move.at(operation, "boot")
    await move.joins_red()
    assert (await move.ended(operation)).left == ""
    assert move.blue.node("m1") is None


# The old cluster is down


async def test_an_old_cluster_that_is_down_is_waited_for_and_then_left(move: Move) -> None:
    """The machine moves; what could not be done is told. Credentials go when it answers again."""
    await move.blue.api.control("settings", down=True)
    operation = await move.assign()
    waits = await move.at(operation, "boot")
    assert "cluster blue does not answer" in texts(waits, "cordon")
    await move.joins_red()
    done = await move.ended(operation)
    assert done.state == "done" and "not cordoned" in done.left and "m1 of cluster blue is left" in done.left
    assert "credentials are deleted as soon as" in texts(done, "finish")


async def test_force_does_not_wait_for_an_old_cluster(move: Move) -> None:
    """Nor for its drain."""
    move.house.operations.patience = replace(move.house.operations.patience, old=3600.0)
    await move.blue.api.control("settings", down=True)
    operation = await move.assign(replace(TO_RED, drain=True, force=True))
    assert "not drained" in (await move.at(operation, "boot")).left


async def test_a_drain_in_a_cluster_that_is_down_is_rolled_back(move: Move) -> None:
    """Its pods are not lost without the operator's word."""
    await move.blue.api.control("settings", down=True)
    done = await move.ended(await move.assign(replace(TO_RED, drain=True)))
    assert done.state == "rolled back" and "--force goes on without" in done.reason


async def test_half_of_all_calls_may_fail(move: Move) -> None:
    """From the check to the end, two in a row, too: each is tried again, and nothing is left."""
    quick = replace(move.house.operations.patience, target=30.0, old=60.0, drain=60.0, delete=60.0)
    move.house.operations.patience = quick
    move.blue.pod("web", "m1", **web_pod(0))
    for cluster in (move.blue, move.red):
        await cluster.api.control("settings", flaky=True)
    operation = await move.assign(replace(TO_RED, drain=True))
    await move.at(operation, "boot")
    assert move.cordoned() and not move.blue.all("pods")
    boot = move.house.powers_on()
    await move.house.claims(boot)
    move.red.create("nodes", "m1", node_object("m1", UUID))
    move.house.joined(boot)
    done = await move.ended(operation)
    assert (done.state, done.left) == ("done", "")
    assert move.blue.node("m1") is None and not move.blue.tokens()


async def test_an_old_cluster_that_is_down_for_an_hour_is_waited_for(move: Move) -> None:
    """Its Node object is deleted when it answers again; meanwhile the operation says what it waits for."""
    move.house.operations.patience = Patience(look=0.01, retry=0.05)
    operation = await move.assign()
    await move.at(operation, "boot")
    await move.joins_red()
    await move.blue.api.control("settings", down=True)
    await move.at(operation, "delete", "cluster blue does not answer")
    clock = move.house.operations._clock
    move.house.operations._clock = lambda: clock() + 3600
    await asyncio.sleep(0.2)
    assert move.now(operation).step == "delete" and move.now(operation).ended is None
    await move.blue.api.control("settings", down=False)
    done = await move.ended(operation)
    assert (done.state, done.left) == ("done", "") and done.timeline[-1].at - done.started > 3600
    assert move.blue.node("m1") is None


# Waiting for the machine


async def test_a_boot_that_stops_is_not_the_end(move: Move) -> None:
    """The operation tells why, and waits for the next one."""
    operation = await move.assign()
    await move.at(operation, "boot")
    boot = await move.house.boot()
    await move.at(operation, "ready")
    move.house.boots.stop(boot.id, "network_script", "no such device")
    await move.at(operation, "boot", "stopped at network_script: no such device")
    await move.joins_red()
    assert (await move.ended(operation)).state == "done"


async def test_a_boot_claimed_before_the_assignment_stays_where_it_was(move: Move) -> None:
    """It joins the old cluster, and the operation waits for the next one."""
    boot = await move.house.boot()
    operation = await move.assign()
    await move.at(operation, "boot")
    assert move.house.boots.get(boot.id).cluster == "blue"  # type: ignore[union-attr]
    assert boot.id in {t.boot_id for t in await move.house.store.tokens()}
    move.house.joined(boot)
    await move.joins_red()
    done = await move.ended(operation)
    assert done.state == "done" and not await move.house.store.tokens_of(boot.id)
    assert not move.blue.tokens()


# Orders


async def test_the_same_order_is_the_same_operation(move: Move) -> None:
    """While it runs, and while its outcome stands; another one is refused with its id."""
    operation = await move.assign()
    assert (await move.assign()).id == operation.id
    with pytest.raises(Refused, match=f"operation {operation.id} of m1 runs") as refused:
        await move.assign(Order(pool="racks"))
    assert refused.value.status == 409
    await move.at(operation, "boot")
    await move.joins_red()
    await move.ended(operation)
    assert (await move.assign()).id == operation.id
    assert (await move.assign(replace(TO_RED, force=True))).id != operation.id


async def test_a_machine_that_is_there_already_is_left_alone(move: Move) -> None:
    """It is neither cordoned nor drained nor restarted; on the way back neither, where nothing changes."""
    move.blue.pod("web", "m1", **web_pod(0))
    operation = await move.assign(Order(cluster="blue", drain=True))
    await until(lambda: move.now(operation).ended or move.now(operation).step == "boot")
    there = move.now(operation)
    assert there.state == "done" and "lives in cluster blue as m1 already" in texts(there, "assign")
    assert [line.step for line in there.timeline] == ["check", "assign", "finish"]
    back = await move.ended(await move.house.operations.unassign(CARD, Order()))
    assert back.state == "done" and not await move.house.store.placements()
    assert not move.cordoned() and len(move.blue.all("pods")) == 1


async def test_a_boot_that_joins_meanwhile_keeps_its_credential_where_nothing_changes(move: Move) -> None:
    """What earlier boots were given goes."""
    boot = await move.house.boot()
    await move.ended(await move.assign(Order(cluster="blue")))
    assert len(move.blue.tokens()) == 1 and await move.house.store.tokens_of(boot.id)


async def test_a_machine_that_moves_to_other_tags_is_restarted(move: Move) -> None:
    """In the cluster that it is in: what it runs is not what it shall be."""
    operation = await move.assign(Order(cluster="blue", tags=("gpu",), address=IPv4Address("10.0.0.6")))
    await move.at(operation, "boot")
    assert move.cordoned()


async def test_a_target_that_is_gone_is_what_the_operation_waits_for(move: Move) -> None:
    """Not for a boot, which would lead home; it waits for that again when the file has it back."""
    operation = await move.assign()
    await move.at(operation, "boot", "restart it")
    whole = move.house.inventory
    clusters = {name: c for name, c in whole.clusters.items() if name != "red"}
    pools = {name: p for name, p in whole.pools.items() if name != "racks"}
    move.house.roster.declare(replace(whole, clusters=clusters, pools=pools))
    await move.at(operation, "boot", "there is no cluster red: the machine boots as the file declares it")
    move.house.roster.declare(whole)
    await move.at(operation, "boot", "restart it")


async def test_an_operation_is_cancelled_until_the_machine_has_moved(move: Move) -> None:
    """Then the assignment is gone and the node schedulable; afterwards it is refused."""
    operation = await move.assign()
    await move.at(operation, "boot")
    await move.house.operations.cancel(operation.id)
    done = await move.ended(operation)
    assert (done.state, done.reason) == ("rolled back", "cancelled by an operator")
    assert not move.cordoned() and move.house.assigned().cluster.name == "blue"
    again = await move.assign()
    await move.at(again, "boot")
    await move.house.boot()
    with pytest.raises(Exception, match="cannot be cancelled any more"):
        await move.house.operations.cancel(again.id)


async def test_cancelling_brings_the_former_assignment_back(move: Move) -> None:
    """And not what the file declares."""
    first = await move.assign()
    await move.at(first, "boot")
    await move.joins_red()
    await move.ended(first)
    second = await move.assign(Order(cluster="bare"))
    await move.at(second, "boot")
    assert move.house.assigned().cluster.name == "bare"
    with pytest.raises(Refused, match="runs, and asks for something else") as refused:
        await move.house.operations.unassign(CARD, Order())
    assert f"netboot operation cancel {second.id}" in refused.value.remedy
    await move.house.operations.cancel(second.id)
    await move.ended(second)
    assert move.house.assigned().cluster.name == "red"
    assert not move.red.node("m1")["spec"].get("unschedulable")  # type: ignore[index]


async def test_an_assignment_whose_target_is_gone_is_broken_and_ends_at_once(move: Move) -> None:
    """After a reload that removes it; the machine is treated as declared, and the assignment stays stored."""
    operation = await move.assign()
    await move.at(operation, "boot")
    await move.joins_red()
    await move.ended(operation)
    clusters = {name: c for name, c in move.house.inventory.clusters.items() if name != "red"}
    pools = {name: p for name, p in move.house.inventory.pools.items() if name != "racks"}
    move.house.roster.declare(replace(move.house.inventory, clusters=clusters, pools=pools))
    assert move.house.operations.broken("m1") == "there is no cluster red"
    assert move.house.assigned().cluster.name == "blue" and await move.house.store.placements()
    back = await move.house.operations.unassign(CARD, Order())
    assert (await move.ended(back)).state == "done" and not await move.house.store.placements()


async def test_an_assignment_of_a_machine_that_is_declared_no_more_can_be_ended(move: Move) -> None:
    """By its name then and by its MAC; the MAC can be assigned anew only when that is done."""
    operation = await move.assign()
    await move.at(operation, "boot")
    await move.joins_red()
    await move.ended(operation)
    move.house.roster.declare(replace(move.house.inventory, nodes=()))
    operations = move.house.operations
    assert operations.broken("m1") == "no node m1 is declared any more"
    assert await operations.machine("m1") == await operations.machine(CARD) == "m1"
    with pytest.raises(Refused, match="m1, which is not declared any more") as refused:
        await move.assign()
    assert "`netboot node unassign m1`" in refused.value.remedy
    planned = await operations.unassign("m1", Order(), dry_run=True)
    assert "no node m1 is declared any more" in texts(planned, "finish")
    back, again = await asyncio.gather(*(operations.unassign(w, Order()) for w in (CARD, "m1")))
    assert back.id == again.id
    assert (await move.ended(back)).state == "done" and not await move.house.store.placements()
    assert move.red.ready("m1") == "True"
    assert (await move.assign()).machine == str(CARD)


async def test_an_operation_of_a_machine_that_is_declared_no_more_can_be_ended(move: Move) -> None:
    """It is rolled back."""
    operation = await move.assign()
    await move.at(operation, "boot")
    move.house.roster.declare(replace(move.house.inventory, nodes=()))
    await move.at(operation, "boot", "no node m1 is declared any more")
    assert (await move.house.operations.unassign("m1", Order())).id == operation.id
    assert (await move.ended(operation)).state == "rolled back" and not move.cordoned()


async def test_an_assignment_is_in_force_after_a_restart(move: Move) -> None:
    """As is an operation that had ended."""
    operation = await move.assign()
    await move.at(operation, "boot")
    await move.joins_red()
    await move.ended(operation)
    await move.restart()
    assert move.house.assigned().cluster.name == "red"
    known = move.house.operations.operation(operation.id)
    assert known is not None and (known.state, known.resumed) == ("done", 0)


async def test_an_operation_is_on_disk_before_it_is_acknowledged(move: Move) -> None:
    """And its assignment before it counts."""
    written = asyncio.Event()
    save = move.house.store.save_operation

    async def slow(operation: Operation, **more: Any) -> None:
        await written.wait()
        await save(operation, **more)

    move.house.store.save_operation = slow  # type: ignore[method-assign]
    asked: Awaitable[Operation] = asyncio.ensure_future(move.assign())
    done, _ = await asyncio.wait([asked], timeout=0.1)  # type: ignore[type-var]
    assert not done and move.house.assigned().cluster.name == "blue"
    written.set()
    operation = await asked
    assert operation.id in {o.id for o in await move.house.store.operations()}
    await move.at(operation, "boot")
