"""One list and one watch per cluster: what is told, what is kept, and what happens when it breaks off."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from netboot.cluster import Clusters, NodeChange, NodeObject
from netboot.cluster.client import ClusterClients
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from netboot.fleet import watching
from netboot.fleet.watching import NodeWatch
from netboot.model.inventory import Cluster, JoinSettings
from tests.fleet.waiting import passed
from tests.kube.fixtures import Kube


def node(name: str, version: int = 1, **fields: object) -> NodeObject:
    """A Node object."""
    made = NodeObject(name, f"uid-{name}", str(version), created=0.0, ready="True")
    return replace(made, **fields)  # type: ignore[arg-type]


@dataclass
class Api:
    """One cluster as a test wants it: `changes` are what a watch tells, None ends it."""

    found: list[NodeObject] = field(default_factory=list)
    changes: asyncio.Queue[NodeChange | ClusterError | None] = field(default_factory=asyncio.Queue)
    error: ClusterError | None = None
    lists: int = 0
    watched_from: list[str] = field(default_factory=list)

    async def nodes(self) -> tuple[list[NodeObject], str]:
        """The list."""
        self.lists += 1
        if self.error:
            raise self.error
        return self.found, "100"

    async def watch_nodes(self, version: str) -> AsyncGenerator[NodeChange, None]:
        """The watch."""
        self.watched_from.append(version)
        yield NodeChange("BOOKMARK", node("", int(version)))
        while (change := await self.changes.get()) is not None:
            if isinstance(change, ClusterError):
                raise change
            yield change

    def tell(self, kind: str, told: NodeObject) -> None:
        """The watch says something."""
        self.changes.put_nowait(NodeChange(kind, told))


@dataclass
class World:
    """Two clusters; everybody looks at the nodes in `looked`."""

    apis: dict[str, Api] = field(default_factory=lambda: {"blue": Api(), "green": Api()})
    looked: set[str] = field(default_factory=lambda: {"m1", "m2"})
    told: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = NodeWatch(
            cast(Clusters, self), lambda _, name: name in self.looked, uniform=_soon, annotations=("ours",)
        )
        self.watch.on_change.append(
            lambda c, n, o: self.told.append((c, n, o.resource_version if o else "gone"))
        )

    def api(self, cluster: str) -> Api:
        """A cluster's API."""
        return self.apis[cluster]


def _soon(low: float, high: float) -> float:
    return low / 50


@asynccontextmanager
async def running(world: World) -> AsyncIterator[NodeWatch]:
    """The watch at work."""
    world.watch.update(world.apis)
    task = asyncio.create_task(world.watch.run())
    try:
        yield world.watch
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_stands_there_and_what_happens_is_told() -> None:
    """The list first, then each change as it comes; what nobody looks at is counted and no more."""
    world = World()
    blue = world.apis["blue"]
    blue.found = [node("m1"), node("other")]
    async with running(world) as watch:
        await passed(lambda: watch.live("blue") and watch.live("green"))
        assert (watch.count("blue"), watch.count("green")) == (2, 0)
        blue.tell("ADDED", node("m2", 101))
        blue.tell("MODIFIED", node("m1", 102))
        blue.tell("MODIFIED", node("other", 103))
        blue.tell("DELETED", node("m2", 104))
        await passed(lambda: len(world.told) == 4)
        assert world.told == [
            ("blue", "m1", "1"), ("blue", "m2", "101"), ("blue", "m1", "102"), ("blue", "m2", "gone"),
        ]  # fmt: skip
        assert watch.exists("blue", "other") and watch.find("blue", "other") is None
        assert watch.exists("blue", "m2") is False and watch.exists("green", "m1") is False
        assert watch.looked_at("blue") == ("m1",)


async def test_a_watch_that_ends_goes_on_from_where_it_was() -> None:
    """Nobody lists again, and nothing is told twice."""
    world = World()
    blue = world.apis["blue"]
    blue.found = [node("m1")]
    async with running(world) as watch:
        await passed(lambda: watch.live("blue"))
        blue.tell("MODIFIED", node("m1", 105))
        blue.changes.put_nowait(None)
        await passed(lambda: len(blue.watched_from) == 2)
        blue.changes.put_nowait(ClusterUnavailable("connection reset"))
        await passed(lambda: len(blue.watched_from) == 3)
        assert blue.watched_from == ["100", "105", "105"] and blue.lists == 1
        assert world.told == [("blue", "m1", "1"), ("blue", "m1", "105")]


async def test_a_version_that_is_too_old_is_listed_anew_and_the_difference_told() -> None:
    """410: what vanished meanwhile is told as gone, what stayed is not told."""
    world = World()
    blue = world.apis["blue"]
    blue.found = [node("m1"), node("m2")]
    async with running(world) as watch:
        await passed(lambda: watch.live("blue"))
        blue.found = [node("m1")]
        blue.changes.put_nowait(ClusterRefused(410, "too old resource version"))
        await passed(lambda: blue.lists == 2 and watch.live("blue"))
        assert world.told[2:] == [("blue", "m2", "gone")]


async def test_while_nothing_is_watched_nothing_is_known() -> None:
    """A cluster that is down neither has nor lacks a node, and is told of at once; the other one goes on."""
    world = World()
    blue = world.apis["blue"]
    lost: list[str] = []
    async with running(world) as watch:
        watch.on_lost.append(lost.append)
        await passed(lambda: watch.live("blue"))
        blue.error = ClusterUnavailable("connection refused")
        blue.changes.put_nowait(ClusterRefused(410, "too old"))
        await passed(lambda: watch.trouble("blue") == "connection refused")
        assert set(lost) == {"blue"}
        assert watch.exists("blue", "m1") is None and watch.count("blue") is None
        world.apis["green"].tell("ADDED", node("m1"))
        await passed(lambda: watch.exists("green", "m1"))
        blue.error = None
        await passed(lambda: watch.live("blue"))
        assert watch.trouble("blue") == ""


@pytest.mark.parametrize("allowed", [True, False])
async def test_an_account_without_the_right_is_no_end(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again later; where a list is allowed, lists tell what changed, only later."""
    monkeypatch.setattr(watching, "POLL", 0.01)
    monkeypatch.setattr(watching, "FORBIDDEN_PAUSE", 0.01)
    world = World()
    blue = world.apis["blue"]
    refused = ClusterRefused(403, "nodes is forbidden")
    if allowed:
        for _ in range(1000):
            blue.changes.put_nowait(refused)
    else:
        blue.error = refused
    async with running(world) as watch:
        await passed(lambda: blue.lists >= 2)
        blue.found = [node("m1")]
        await passed(lambda: blue.lists >= 4)
        assert "forbidden" in watch.trouble("blue")
        assert bool(world.told) is allowed


async def test_a_reload_changes_whom_somebody_looks_at() -> None:
    """A newly declared node that stands there is told; one that is declared no more is not kept."""
    world = World()
    blue = world.apis["blue"]
    blue.found = [node("m1"), node("m9")]
    async with running(world) as watch:
        await passed(lambda: watch.live("blue"))
        world.looked = {"m9"}
        watch.update(world.apis)
        await passed(lambda: watch.find("blue", "m9"))
        assert watch.looked_at("blue") == ("m9",) and world.apis["green"].lists == 1
        watch.update(["green"])
        await passed(lambda: watch.exists("blue", "m9") is None)


async def test_only_our_own_annotations_are_kept() -> None:
    """Others write kilobytes there."""
    world = World()
    world.apis["blue"].found = [node("m1", annotations={"ours": "1", "theirs": "x" * 4096})]
    async with running(world) as watch:
        await passed(lambda: watch.find("blue", "m1"))
        found = watch.find("blue", "m1")
        assert found is not None and found.annotations == {"ours": "1"}


async def test_the_answer_to_a_patch_counts_unless_the_watch_has_told_more() -> None:
    """An answer about another object than the one that is known is old news; a stranger's is nothing."""
    world = World()
    world.apis["blue"].found = [node("m1")]
    async with running(world) as watch:
        await passed(lambda: watch.find("blue", "m1"))
        known = watch.find("blue", "m1")
        assert known is not None
        watch.saw("blue", node("m1", 200), after=known)
        watch.saw("blue", node("m1", 150), after=known)
        watch.saw("blue", node("m3", 200), after=node("m3"))
        found = watch.find("blue", "m1")
        assert found is not None and found.resource_version == "200" and watch.find("blue", "m3") is None


async def test_a_renewed_credential_and_a_client_that_is_closed_break_the_watch_off(kube: Kube) -> None:
    """It would not notice by itself: a new one stands a moment later, and tells what happens from then on."""
    blue = Cluster("blue", kube.endpoint, join=JoinSettings("kubeadm", kube.kubeconfig()))
    clients = ClusterClients()
    await clients.update([blue])
    watch = NodeWatch(clients, lambda *_: True, uniform=_soon)
    watch.update(["blue"])
    task = asyncio.create_task(watch.run())
    await passed(lambda: watch.live("blue"))
    os.utime(kube.kubeconfig(), ns=(1, 1))
    await clients.api("blue").version()
    await passed(lambda: not watch.live("blue"))
    await passed(lambda: watch.live("blue"))
    await clients.update([])
    await passed(lambda: "no cluster blue" in watch.trouble("blue"))
    await clients.update([blue])
    await passed(lambda: watch.live("blue"))
    await kube.living_node("m1")
    await passed(lambda: watch.exists("blue", "m1"))
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clients.close()
