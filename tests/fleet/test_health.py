"""What an operator hears of clusters that do not answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import cast

import pytest

from netboot.cluster import Clusters, ServerVersion
from netboot.errors import ClusterError, ClusterUnavailable
from netboot.fleet.health import Health


@dataclass
class Api:
    """One cluster's API that answers or does not."""

    error: ClusterError | None = None

    async def version(self) -> ServerVersion:
        """The version, or the error."""
        if self.error:
            raise self.error
        return ServerVersion(1, 34)


@dataclass
class World:
    """Two clusters."""

    apis: dict[str, Api] = field(default_factory=lambda: {"blue": Api(), "green": Api()})

    def api(self, cluster: str) -> Api:
        """A cluster's API."""
        return self.apis[cluster]


@pytest.fixture
def world() -> World:
    """Both answer."""
    return World()


def health(world: World) -> Health:
    """Health of the clusters of this world."""
    return Health(cast(Clusters, world), lambda: world.apis)


async def test_a_cluster_that_answers_has_no_problem(world: World) -> None:
    """Nothing to tell."""
    looking = health(world)
    await looking.look()
    assert looking.problem("blue") is None


async def test_one_cluster_down_is_told_and_the_other_is_not_touched(world: World) -> None:
    """The reason stands beside the cluster it belongs to."""
    world.apis["blue"].error = ClusterUnavailable("connection refused")
    looking = health(world)
    await looking.look()
    assert looking.problem("blue") == "connection refused"
    assert looking.problem("green") is None


async def test_each_change_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A cluster that stays down fills no log; its return is told too."""
    looking = health(world)
    with caplog.at_level(logging.INFO):
        world.apis["blue"].error = ClusterUnavailable("connection refused")
        for _ in range(3):
            await looking.look()
        world.apis["blue"].error = None
        for _ in range(3):
            await looking.look()
    assert [record.getMessage() for record in caplog.records] == [
        "cluster blue: connection refused; its nodes get no join credential until this is mended",
        "cluster blue answers again",
    ]


async def test_a_cluster_that_is_no_longer_declared_is_forgotten(world: World) -> None:
    """After a reload nothing is said of clusters that are gone."""
    world.apis["blue"].error = ClusterUnavailable("connection refused")
    looking = health(world)
    await looking.look()
    del world.apis["blue"]
    await looking.look()
    assert looking.problem("blue") is None
