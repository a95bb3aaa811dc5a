"""Node objects as signs of life: answered from memory, asked in the background, alive when unknown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from netboot.errors import ClusterError
from netboot.fleet import living
from netboot.fleet.living import NodeObjects
from tests.store.values import lease


class World:
    """A cluster whose API the test answers for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.nodes: set[str] = set()
        self.broken = False
        self.asked: list[str] = []
        self.cluster: str | None = "blue"
        self.signs = NodeObjects(self, lambda _: self.cluster, clock=lambda: self.now)

    def api(self, cluster: str) -> Any:
        """See Clusters."""
        if cluster != "blue":
            raise ClusterError("no such cluster")
        return self

    async def node(self, name: str) -> Any:
        """See ClusterApi."""
        self.asked.append(name)
        if self.broken:
            raise ClusterError("no answer")
        return SimpleNamespace(name=name) if name in self.nodes else None

    async def settle(self) -> None:
        """Let the background do its work."""
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    """A world whose questions are asked."""
    world = World()
    task = asyncio.create_task(world.signs.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_not_known_yet_counts_as_alive() -> None:
    """And is known a moment later, either way."""
    async with running() as world:
        world.nodes = {"n1"}
        assert world.signs.sign(lease(1)) and world.signs.sign(lease(2))
        await world.settle()
        assert world.signs.sign(lease(1)) and not world.signs.sign(lease(2))
        assert sorted(world.asked) == ["n1", "n2"]


async def test_an_answer_counts_for_a_while() -> None:
    """Then it is asked for again."""
    async with running() as world:
        world.signs.sign(lease(1))
        await world.settle()
        world.now += living.KNOWN_FOR - 1
        assert not world.signs.sign(lease(1))
        world.now += 2
        assert world.signs.sign(lease(1))
        await world.settle()
        assert world.asked == ["n1", "n1"]


async def test_a_cluster_that_does_not_answer_keeps_its_addresses() -> None:
    """Nobody loses an address because an API is down."""
    async with running() as world:
        world.broken = True
        for _ in range(3):
            assert world.signs.sign(lease(1))
            await world.settle()
        world.cluster = "green"
        assert world.signs.sign(lease(2))
        await world.settle()
        assert world.signs.sign(lease(2))


async def test_without_a_cluster_to_ask_there_is_no_sign() -> None:
    """Join method none, or a pool that is gone."""
    async with running() as world:
        world.cluster = None
        assert not world.signs.sign(lease(1))
        await world.settle()
        assert world.asked == []


async def test_memory_is_bounded(monkeypatch: Any) -> None:
    """The oldest answers are forgotten."""
    monkeypatch.setattr(living, "MOST", 3)
    async with running() as world:
        for number in range(1, 9):
            world.signs.sign(lease(number))
            await world.settle()
        assert len(world.signs._known) == 3
