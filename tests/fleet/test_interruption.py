"""A reassignment is killed at every one of its writes and calls, and comes to its end all the same."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.interrupted import Life
from tests.fleet.moving import web_pod
from tests.kube.cluster import pod_body
from tests.kube.control import ROOT, KubeApi

AT_LEAST = 15
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

    def settle(self, node: str, held: bool) -> Life:
        """A machine that lives in blue, with a credential that is live, and pods; `held` by one of them."""
        home = self.directory / node
        home.mkdir()
        life = Life(str(home), str(self.blue.directory), str(self.red.directory), node, task="settle")
        assert self.nursery().live(life) == 0
        labels = {"app": node}
        for name, where in ((f"{node}-1", node), (f"{node}-2", node), (f"{node}-3", "elsewhere")):
            body = pod_body(name, where, web_pod(1, labels=labels))
            self.blue.control("create", resource="pods", namespace="default", name=name, body=body)
        if held:
            body = pod_body(f"{node}-alone", node, {})
            self.blue.control("create", resource="pods", namespace="default", name=f"{node}-alone", body=body)
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": node},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
        }
        self.blue.control(
            "create", resource="poddisruptionbudgets", namespace="default", name=node, body=budget
        )
        assert len(self.tokens(self.blue, node)) == 1
        return Life(str(home), str(self.blue.directory), str(self.red.directory), node)

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
    found: dict[str, Any] = json.loads((Path(life.directory) / "outcome").read_text())
    return found


def killed_once(town: Town, held: bool, number: int, before: bool) -> str:
    """What is wrong after a kill at this event and a restart; empty for nothing."""
    node = f"m{number}{'a' if before else 'z'}"
    life = town.settle(node, held)
    killed = town.nursery().live(Life(**{**asdict(life), "kill_at": number, "before": before}))
    ended = town.nursery().live(life) if killed == -9 else killed
    where = f"killed {'before' if before else 'after'} event {number} ({killed}, then {ended})"
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


@pytest.mark.parametrize(("held", "state"), [(False, "done"), (True, "rolled back")])
def test_a_reassignment_survives_a_kill_at_each_write_and_call(town: Town, held: bool, state: str) -> None:
    """Before and after each: one Node object, no live credential elsewhere, done or rolled back.

    One goes all the way; one is held by a pod that nobody would make again, and comes back.
    """
    whole = town.settle("whole", held)
    assert town.nursery().live(whole) == 0
    told = outcome(whole)
    events = told["events"]
    assert told["state"] == state
    print(f"K = {len(events)} store writes and API calls: {', '.join(events)}")
    assert len(events) >= AT_LEAST
    kills = [(number, before) for number in range(1, len(events) + 1) for before in (True, False)]
    with ThreadPoolExecutor(2) as pool:
        for wrong in pool.map(lambda kill: killed_once(town, held, *kill), kills):
            if wrong:
                pool.shutdown(wait=False, cancel_futures=True)
            assert not wrong
