"""What an operator hears of clusters that do not answer, and how often those are asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest

from netboot.cluster import Clusters, ServerVersion
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from netboot.fleet.health import Health
from tests.fleet.waiting import passed

DOWN = ClusterUnavailable("connection refused")


@dataclass
class Api:
    """One cluster's API that answers or does not."""

    error: ClusterError | None = None
    asked: int = 0
    stuck: asyncio.Event | None = None

    async def version(self) -> ServerVersion:
        """The version, or the error."""
        self.asked += 1
        if self.stuck:
            await self.stuck.wait()
        if self.error:
            raise self.error
        return ServerVersion(1, 34)


@dataclass
class World:
    """Two clusters."""

    apis: dict[str, Api] = field(default_factory=lambda: {"blue": Api(), "green": Api()})
    now: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def api(self, cluster: str) -> Api:
        """A cluster's API."""
        return self.apis[cluster]

    def health(self, **limits: float) -> Health:
        """What is tested."""
        return Health(cast(Clusters, self), clock=lambda: self.now, uniform=lambda low, high: high, **limits)


@asynccontextmanager
async def running(world: World, **limits: float) -> AsyncIterator[Health]:
    """Health at work."""
    health = world.health(**limits)
    health.update(world.apis)
    task = asyncio.create_task(health.run())
    try:
        yield health
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_cluster_that_answers_has_no_problem() -> None:
    """Nothing to tell, before its first answer either."""
    looking = World().health()
    assert looking.problem("blue") is None and looking.condition("blue").state == "unknown"
    assert await looking.look("blue")
    assert looking.problem("blue") is None and looking.condition("blue").state == "up"


async def test_one_cluster_down_is_told_and_the_other_is_not_touched() -> None:
    """The reason stands beside the cluster it belongs to, and since when."""
    world = World()
    world.apis["blue"].error = DOWN
    looking = world.health()
    for _ in range(2):
        assert not await looking.look("blue")
        await looking.look("green")
        world.now += 10
    found = looking.condition("blue")
    assert (found.state, found.since, found.reason, found.refused) == (
        "down", 1000.0, "connection refused", False,
    )  # fmt: skip
    assert looking.problem("green") is None
    world.apis["blue"].error = ClusterRefused(401, "Unauthorized")
    await looking.look("blue")
    assert looking.condition("blue").refused and looking.condition("blue").since == 1000.0


async def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A cluster that stays down fills no log; its return is told too."""
    world = World()
    looking = world.health()
    with caplog.at_level(logging.INFO):
        world.apis["blue"].error = DOWN
        for _ in range(3):
            await looking.look("blue")
        world.now += 60
        world.apis["blue"].error = None
        for _ in range(3):
            await looking.look("blue")
    assert [record.getMessage() for record in caplog.records] == [
        "cluster blue: connection refused; its nodes wait for their credentials",
        "cluster blue answers again, after 60 s",
    ]


async def test_a_cluster_that_hangs_keeps_no_other_waiting() -> None:
    """Each is asked by a task of its own, and one that is down is asked again after a pause."""
    world = World()
    world.apis["blue"].stuck = asyncio.Event()
    world.apis["green"].error = DOWN
    async with running(world, interval=0.02, first=0.01) as health:
        await passed(lambda: world.apis["green"].asked > 4)
        assert health.condition("green").state == "down" and health.condition("blue").state == "unknown"
        world.apis["green"].error = None
        await passed(lambda: health.condition("green").state == "up")
        assert world.apis["blue"].asked == 1
        world.apis["blue"].stuck.set()


async def test_bad_news_of_somebody_else_make_it_look_soon() -> None:
    """A failed call is followed by a question, not by half a minute of further failures."""
    world = World()
    async with running(world) as health:
        await passed(lambda: health.condition("blue").state == "up")
        world.apis["blue"].error = DOWN
        for _ in range(100):
            health.suspect("blue")
            health.suspect("nobody")
        await passed(lambda: health.condition("blue").state == "down")
        assert world.apis["blue"].asked == 2
        assert 0 < health.next_in("blue") <= 1.0


async def test_a_cluster_that_is_no_longer_declared_is_forgotten() -> None:
    """After a reload nothing is said of clusters that are gone, and nobody asks them."""
    world = World()
    world.apis["blue"].error = DOWN
    async with running(world, interval=0.02, first=0.01) as health:
        await passed(lambda: health.problem("blue"))
        health.update(["green"])
        asked = world.apis["blue"].asked
        await passed(lambda: world.apis["green"].asked > 3)
        assert health.problem("blue") is None and world.apis["blue"].asked == asked
