"""A reassignment is killed at every one of its writes and calls, and comes to its end all the same."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.interrupted import Life
from tests.fleet.moving import web_pod
from tests.kube.cluster import pod_body
from tests.kube.control import ROOT, KubeApi

AT_LEAST = 15
TOGETHER = 8
"""Machines that settle in one life."""
SETTLED = (0, -9)


class Nursery:
    """Lives, each in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.fleet.interrupted"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def live(self, life: Life) -> int:
        """How one life ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(life)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """No more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass
class Town:
    """Two clusters, in which each life has a machine of its own."""

    blue: KubeApi
    red: KubeApi
    directory: Path
    local: threading.local = field(default_factory=threading.local)
    nurseries: list[Nursery] = field(default_factory=list)

    def nursery(self) -> Nursery:
        """This thread's."""
        if not hasattr(self.local, "nursery"):
            self.local.nursery = Nursery()
            self.nurseries.append(self.local.nursery)
        return self.local.nursery  # type: ignore[no-any-return]

    def settle(self, *nodes: str, held: bool) -> None:
        """Machines that live in blue, each with a live credential and pods; `held` by one of those."""
        for node in nodes:
            (self.directory / node).mkdir()
        assert self.nursery().live(replace(self.life(), settle=nodes)) == 0
        for node in nodes:
            self._fill(node, held)
        assert all(len(self.tokens(self.blue, node)) == 1 for node in nodes)

    def life(self, node: str = "", *, kill_at: int = 0, before: bool = True) -> Life:
        """One life."""
        home, blue, red = (str(place) for place in (self.directory, self.blue.directory, self.red.directory))
        return Life(home, blue, red, node, kill_at=kill_at, before=before)

    def _fill(self, node: str, held: bool) -> None:
        labels = {"app": node}
        for name, where in ((f"{node}-1", node), (f"{node}-2", node), (f"{node}-3", "elsewhere")):
            self._create("pods", name, pod_body(name, where, web_pod(1, labels=labels)))
        if held:
            self._create("pods", f"{node}-alone", pod_body(f"{node}-alone", node, {}))
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": node},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
        }
        self._create("poddisruptionbudgets", node, budget)

    def _create(self, resource: str, name: str, body: dict[str, Any]) -> None:
        self.blue.control("create", resource=resource, namespace="default", name=name, body=body)

    def tokens(self, cluster: KubeApi, node: str) -> list[str]:
        """The bootstrap tokens of a machine that are live in a cluster."""
        secrets: list[dict[str, Any]] = cluster.control(
            "objects", resource="secrets", namespace="kube-system"
        )
        return [s["metadata"]["name"] for s in secrets if _is_for(s, node)]

    def homes(self, node: str) -> dict[str, bool]:
        """The clusters that have the machine's Node object, and whether it is cordoned there."""
        return {
            name: bool(found["spec"].get("unschedulable"))
            for name, cluster in (("blue", self.blue), ("red", self.red))
            for found in cluster.control("objects", resource="nodes")
            if found["metadata"]["name"] == node
        }


def _is_for(secret: dict[str, Any], node: str) -> bool:
    """Whether the description of a token's Secret names the node."""
    text = base64.b64decode(secret.get("data", {}).get("description", "")).decode()
    return node in text.replace(",", " ").replace(".", " ").split()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Both clusters, each a process of its own."""
    with KubeApi.start(tmp_path / "blue") as blue, KubeApi.start(tmp_path / "red") as red:
        for cluster in (blue, red):
            cluster.control("settings", sign_delay=[0.0, 0.005], pod_end=0.0)
        made = Town(blue, red, tmp_path)
        yield made
        for nursery in made.nurseries:
            nursery.close()


def outcome(life: Life) -> dict[str, Any]:
    """How the operation of a life ended."""
    found: dict[str, Any] = json.loads(life.outcome.read_text())
    return found


@dataclass(frozen=True)
class Kill:
    """At which event, and on which side of it."""

    number: int
    before: bool

    @property
    def node(self) -> str:
        """The machine that is about to move then."""
        return f"m{self.number}{'a' if self.before else 'z'}"

    def __str__(self) -> str:
        return f"killed {'before' if self.before else 'after'} event {self.number}"


def killed_once(town: Town, kill: Kill) -> str:
    """What is wrong after a kill at this event and a restart; empty for nothing."""
    node, life = kill.node, town.life(kill.node)
    killed = town.nursery().live(town.life(node, kill_at=kill.number, before=kill.before))
    ended = town.nursery().live(life) if killed == -9 else killed
    where = f"{kill} ({killed}, then {ended})"
    if killed not in SETTLED or ended != 0:
        return f"{where}: the restarted appliance did not come to the end"
    told, homes = outcome(life), town.homes(node)
    if told["state"] not in ("done", "rolled back"):
        return f"{where}: {told}"
    if homes != ({"red": False} if told["state"] == "done" else {"blue": False}):
        return f"{where}: {told['state']}, and its Node object is in {homes}: {told['timeline']}"
    other = town.blue if "red" in homes else town.red
    live = town.tokens(other, node)
    return f"{where}: {live} are live in the other cluster: {told['timeline']}" if live else ""


def killed(town: Town, kills: Sequence[Kill], held: bool) -> str:
    """What is wrong after the first of these kills that does not end well; empty for nothing."""
    town.settle(*(kill.node for kill in kills), held=held)
    return next((wrong for kill in kills if (wrong := killed_once(town, kill))), "")


@pytest.mark.parametrize(("held", "state"), [(False, "done"), (True, "rolled back")])
def test_a_reassignment_survives_a_kill_at_each_write_and_call(town: Town, held: bool, state: str) -> None:
    """Before and after each: one Node object, no live credential elsewhere, done or rolled back.

    One goes all the way; one is held by a pod that nobody would make again, and comes back.
    """
    town.settle("whole", held=held)
    whole = town.life("whole")
    assert town.nursery().live(whole) == 0
    told = outcome(whole)
    events = told["events"]
    assert told["state"] == state
    print(f"K = {len(events)} store writes and API calls: {', '.join(events)}")
    assert len(events) >= AT_LEAST
    kills = [Kill(number, before) for number in range(1, len(events) + 1) for before in (True, False)]
    groups = [kills[first : first + TOGETHER] for first in range(0, len(kills), TOGETHER)]
    with ThreadPoolExecutor(2) as pool:
        for wrong in pool.map(lambda group: killed(town, group, held), groups):
            if wrong:
                pool.shutdown(wait=False, cancel_futures=True)
            assert not wrong
