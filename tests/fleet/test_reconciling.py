"""Labels and taints of Node objects against the API stand-in: put right, left alone, never fought over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from netboot.cluster.client import KubernetesApi
from netboot.cluster.drift import ANNOTATION, Declared
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from netboot.fleet import reconciling
from netboot.fleet.each import Backoff
from netboot.fleet.reconciling import FREE, Effort, Reconciler
from netboot.fleet.watching import NodeWatch
from netboot.model.settings import Taint
from tests.fleet.waiting import passed
from tests.kube.cluster import node_body
from tests.kube.fixtures import Kube

UUID = "4c4c4544-0042-3510-8054-b4c04f564232"
FOO = {"key": "foo", "value": "bar", "effect": "NoSchedule"}
ROLE = "node-role.kubernetes.io/worker"
DECLARED = Declared({"rack": "1", ROLE: ""}, (Taint("foo", "bar", "NoSchedule"),), True, True, (UUID,))


@dataclass
class House:
    """The appliance's side of one cluster, `blue`."""

    kube: Kube
    blue: KubernetesApi
    declared: dict[str, Declared] = field(default_factory=lambda: {"m1": DECLARED})
    notes: list[tuple[str, str]] = field(default_factory=list)
    patches: int = 0
    error: ClusterError | None = None
    before_answer: Callable[[], None] | None = None
    """What somebody else does after our next patch, and the watch tells, before we are answered."""

    def __post_init__(self) -> None:
        self.watch = NodeWatch(
            self, lambda _, name: name in self.declared, uniform=_soon, annotations=(ANNOTATION,)
        )
        self.reconciler = Reconciler(
            self,
            self.watch,
            lambda _, name: self.declared.get(name),
            lambda _: self.declared,
            lambda kind, text, level=0: self.notes.append((kind, text)),
            secret=b"secret",
            uniform=_soon,
            pause=0.0,
        )
        self.watch.on_change.append(self.reconciler.changed)

    def api(self, cluster: str) -> Any:
        """The cluster, through which patches are counted."""
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.blue, name)

    async def patch_node(self, *args: Any, **changes: Any) -> Any:
        """Counted, and refused where the test wants it."""
        self.patches += 1
        if self.error:
            raise self.error
        changed = await self.blue.patch_node(*args, **changes)
        if meanwhile := self.before_answer:
            self.before_answer = None
            meanwhile()
            await passed(lambda: self.told("m1") == self.labels("m1"))
        return changed

    def make(self, name: str, uuid: str = UUID, **spec: Any) -> None:
        """A Node object as a kubelet registers it."""
        body = node_body(name, uuid, "b", {"theirs": "x"})
        self.kube.create("nodes", name, {**body, "spec": spec})

    def change(self, name: str, **parts: Any) -> None:
        """Somebody else changes labels or spec."""
        self.kube.merge(
            "nodes", name, {"metadata": {"labels": parts.get("labels", {})}, "spec": parts.get("spec", {})}
        )

    def labels(self, name: str) -> dict[str, str]:
        """A Node object's labels."""
        node = self.kube.node(name)
        assert node is not None
        return dict(node["metadata"]["labels"])

    def told(self, name: str) -> dict[str, str]:
        """The same, as the watch told it."""
        node = self.watch.find("blue", name)
        return dict(node.labels) if node else {}

    def taints(self, name: str) -> list[dict[str, str]]:
        """A Node object's taints."""
        node = self.kube.node(name)
        assert node is not None
        return list(node["spec"].get("taints", []))

    def reload(self) -> None:
        """The operator's file has changed."""
        self.watch.update(["blue"])
        self.reconciler.update(["blue"])


def _soon(low: float, high: float) -> float:
    return low / 50


@pytest.fixture
async def house(kube: Kube) -> AsyncIterator[House]:
    """Everything but its tasks."""
    client = KubernetesApi("blue", kube.kubeconfig())
    yield House(kube, client)
    await client.close()


@asynccontextmanager
async def at_work(house: House) -> AsyncIterator[None]:
    """The watch and the reconciler running."""
    house.reload()
    tasks = [asyncio.create_task(work) for work in (house.watch.run(), house.reconciler.run())]
    try:
        await passed(lambda: house.watch.live("blue") or house.watch.trouble("blue"))
        yield
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settle(house: House) -> None:
    """Long enough for what would be wrong to happen."""
    before = -1
    while before != house.patches:
        before = house.patches
        await asyncio.sleep(0.1)


async def test_a_node_that_registers_gets_what_its_kubelet_may_not_set(house: House) -> None:
    """A role label, a taint; by one patch, told in words, and what was there stays."""
    async with at_work(house):
        house.make("m1", taints=[{"key": "theirs", "effect": "NoExecute"}])
        await passed(lambda: ROLE in house.labels("m1"))
        await settle(house)
        assert house.labels("m1") == {"theirs": "x", "rack": "1", ROLE: ""}
        assert house.taints("m1") == [{"key": "theirs", "effect": "NoExecute"}, FOO]
        assert house.patches == 1 and house.reconciler.differences("blue", "m1") == ()
        assert house.notes == [
            (
                "drift_corrected",
                f"Node m1 of cluster blue: label {ROLE} is missing, declared as ''; "
                "label rack is missing, declared as '1'; taint foo=bar:NoSchedule is missing",
            )
        ]


async def test_drift_is_corrected_and_what_others_set_is_left_alone(house: House) -> None:
    """A changed label and a removed taint come back; a foreign label and a cordon stay."""
    async with at_work(house):
        house.make("m1")
        await passed(lambda: house.taints("m1"))
        house.change("m1", labels={"rack": "9", "mine": "keep"}, spec={"taints": [], "unschedulable": True})
        await passed(lambda: house.labels("m1")["rack"] == "1" and house.taints("m1"))
        await settle(house)
        node = house.kube.node("m1")
        assert node is not None and node["spec"]["unschedulable"] is True
        assert house.labels("m1")["mine"] == "keep" and house.labels("m1")["theirs"] == "x"
        assert house.patches == 2


async def test_an_assignment_with_other_tags_counts_at_once(house: House) -> None:
    """Nothing about the Node object has changed, only what is declared; no pause holds it up."""
    async with at_work(house):
        house.make("m1")
        await passed(lambda: house.taints("m1"))
        for _ in range(FREE + 1):
            house.reconciler._effort("blue", "m1").corrected(asyncio.get_running_loop().time())
        house.declared["m1"] = replace(DECLARED, labels={"rack": "2", ROLE: ""})
        house.reconciler.redeclared("blue", "m1")
        await passed(lambda: house.labels("m1")["rack"] == "2")


async def test_with_the_switches_off_hands_are_off_and_drift_is_shown(house: House) -> None:
    """No patch at all; what differs is there to see."""
    house.declared["m1"] = replace(DECLARED, corrects_labels=False, corrects_taints=False)
    async with at_work(house):
        house.make("m1")
        await passed(lambda: house.reconciler.differences("blue", "m1"))
        await settle(house)
        shown = house.reconciler.differences("blue", "m1")
        assert house.patches == 0 and shown is not None and len(shown) == 3
        assert house.labels("m1") == {"theirs": "x"} and house.notes == []


async def test_a_machine_that_is_not_ours_is_not_touched(house: House) -> None:
    """Another UUID under a declared name, and a name that nobody declared."""
    async with at_work(house):
        house.make("m1", uuid="00000000-1111-2222-3333-444444444444")
        house.make("foreign")
        await passed(lambda: house.watch.find("blue", "m1"))
        await settle(house)
        assert house.patches == 0 and house.reconciler.differences("blue", "m1") is None


async def test_what_is_declared_no_more_goes_after_a_reload(house: House) -> None:
    """Also after a restart: the Node object itself remembers what was ours."""
    async with at_work(house):
        house.make("m1")
        await passed(lambda: house.taints("m1"))
    house.declared["m1"] = replace(DECLARED, labels={"rack": "1"}, taints=())
    again = House(house.kube, house.blue, house.declared)
    async with at_work(again):
        await passed(lambda: ROLE not in house.labels("m1"))
        assert house.labels("m1") == {"theirs": "x", "rack": "1"} and house.taints("m1") == []


async def test_a_node_object_that_changes_meanwhile_is_read_again(house: House) -> None:
    """The patch holds only for the object that was read: 409, another look, then it is done."""
    async with at_work(house):
        house.make("m1")
        await passed(lambda: house.taints("m1"))
        stale = house.watch.find("blue", "m1")
        assert stale is not None
        house.change("m1", labels={"rack": "3"})
        house.watch.saw("blue", replace(stale, labels={}), after=stale)
        house.reconciler.changed("blue", "m1", stale)
        await passed(lambda: house.labels("m1")["rack"] == "1")
        await settle(house)
        assert house.labels("m1")["rack"] == "1"


async def test_a_change_right_behind_our_own_is_not_overlooked(house: House) -> None:
    """The watch may tell of both before our patch is answered: that answer is old news then."""
    async with at_work(house):
        house.make("m1")
        await passed(lambda: house.taints("m1"))
        house.before_answer = lambda: house.change("m1", labels={"rack": "theirs"})
        house.change("m1", labels={"rack": "3"})
        await passed(lambda: house.before_answer is None and house.labels("m1")["rack"] == "1")


async def test_a_node_object_that_never_holds_still_is_tried_again_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three conflicts in a row, then a pause, not an endless loop."""
    monkeypatch.setattr(reconciling, "HOLD", 0.2)
    house.error = ClusterRefused(409, "the object has been modified")
    async with at_work(house):
        house.make("m1")
        await passed(lambda: house.patches == reconciling.TRIES)
        house.error = None
        await passed(lambda: house.taints("m1"))


async def test_a_change_that_the_api_takes_never_is_told_once_and_tried_ever_more_seldom(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admission policy, for example: 422 each time, however fresh the object is."""
    monkeypatch.setattr(reconciling, "HOLD", 0.01)
    house.error = ClusterRefused(422, "ValidatingAdmissionPolicy denied request: racks are ours")
    async with at_work(house):
        house.make("m1")
        effort = house.reconciler._effort("blue", "m1")
        await passed(lambda: effort.vain >= 3)
        monkeypatch.setattr(reconciling, "HOLD", 1000.0)
        before = effort.vain
        await passed(lambda: effort.vain > before)
        tried = house.patches
        house.change("m1", labels={"theirs": "y"})
        await settle(house)
        ((kind, text),) = house.notes
        assert kind == "drift_refused" and "racks are ours; change what the file declares" in text
        assert house.patches == tried
        house.error = None
        house.reload()
        await passed(lambda: house.taints("m1"))


async def test_nobody_is_fought(house: House) -> None:
    """Somebody who sets it back each time is corrected a few times, told of once, and left for a while."""
    async with at_work(house):
        house.make("m1")
        for _ in range(FREE + 1):
            await passed(lambda: house.labels("m1").get("rack") == "1")
            house.change("m1", labels={"rack": "theirs"})
        await settle(house)
        assert house.patches == FREE + 1 and house.labels("m1")["rack"] == "theirs"
        kinds = [kind for kind, _ in house.notes]
        assert kinds.count("drift_fought") == 1 and kinds[-1] == "drift_fought"
        assert "sets back what the file declares (label rack is 'theirs'" in house.notes[-1][1]
        house.reload()  # the operator did something about it
        await passed(lambda: house.labels("m1")["rack"] == "1")


def test_pauses_grow_and_end() -> None:
    """Thirty seconds, a minute, at most an hour; after a quiet while everything is forgiven."""
    effort, now, pauses = Effort(), 1000.0, []
    for _ in range(FREE + 12):
        effort.corrected(now)
        pauses.append(effort.until - now)
        now = max(effort.until, now) + 1
    assert pauses[:FREE] == [0.0] * FREE
    assert pauses[FREE:] == sorted(pauses[FREE:]) and pauses[FREE] == 30.0 and pauses[-1] == 3600.0
    effort.corrected(now + 3 * 3600)
    assert effort.count == 1


async def test_without_the_right_it_says_so_once(house: House) -> None:
    """And goes on when somebody grants it."""
    house.error = ClusterRefused(403, "nodes is forbidden")
    reconciler = house.reconciler
    async with at_work(house):
        house.make("m1")
        house.make("m2")
        await passed(lambda: house.notes)
        assert [kind for kind, _ in house.notes] == ["drift_refused"]
        assert "node-actions.yaml" in house.notes[0][1]
    trouble = ClusterUnavailable("429", 7.0, 429)
    assert reconciler._trouble("blue", trouble, Backoff(_soon)) == 7.0


async def test_a_cluster_that_may_not_be_watched_is_looked_at_now_and_then(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By single Node objects."""
    house.make("m1")
    monkeypatch.setattr(house.watch, "live", lambda cluster: False)
    monkeypatch.setattr(house.watch, "trouble", lambda cluster: "nodes is forbidden")
    async with at_work(house):
        house.reconciler.sweep()
        await passed(lambda: house.taints("m1"))
        assert house.labels("m1")["rack"] == "1"
