"""Joins wait for an API that is down instead of failing, and have their turn by priority when it is back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from netboot.cluster import Clusters, NodeObject, ServerVersion
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable, JoinWithheld
from netboot.fleet.gate import Gate
from netboot.fleet.health import Health
from netboot.fleet.room import PROMISED, Room
from netboot.fleet.watching import NodeWatch
from netboot.join import JoinMaterial, JoinRequest
from netboot.model.inventory import Cluster, JoinSettings
from netboot.model.machine import Mac

DOWN = ClusterUnavailable("the Kubernetes API of blue at https://10.0.0.1:6443 is unreachable: refused")
BLUE = Cluster("blue", "10.0.0.1:6443", join=JoinSettings("kubeadm"))


@dataclass
class World:
    """One cluster, its join method, and everything in front of it."""

    now: float = 5000.0
    error: ClusterError | None = None
    material_error: Exception | None = None
    nodes: set[str] = field(default_factory=set)
    watched: bool = True
    given: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        clusters = cast(Clusters, self)
        self.health = Health(clusters, clock=lambda: self.now, uniform=lambda low, high: high)
        room = Room(clusters, cast(NodeWatch, self), clock=lambda: self.now)
        self.gate = Gate(self.health, room, clock=lambda: self.now)
        self.method = self.gate.before(self)

    # A cluster and what is known of it

    def api(self, cluster: str) -> World:
        """Itself."""
        return self

    async def version(self) -> ServerVersion:
        """The API's version."""
        if self.error:
            raise self.error
        return ServerVersion(1, 34)

    async def node(self, name: str) -> NodeObject | None:
        """A Node object."""
        return NodeObject(name, "u", "1", 0.0, "True") if name in self.nodes else None

    async def count_nodes(self) -> int:
        """How many there are."""
        if self.error:
            raise self.error
        return len(self.nodes)

    def count(self, cluster: str) -> int | None:
        """As the watch knows it."""
        return len(self.nodes) if self.watched else None

    def exists(self, cluster: str, name: str) -> bool | None:
        """As the watch knows it."""
        return name in self.nodes if self.watched else None

    # A join method

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """A credential."""
        if self.material_error:
            raise self.material_error
        self.given.append(request.boot_id)
        return JoinMaterial("kubeadm", {})

    async def revoke(self, boot_id: str) -> None:
        """Taken back."""
        self.revoked.append(boot_id)

    # Tests

    async def ask(self, who: str, priority: int = 0, **fields: object) -> JoinWithheld | None:
        """One machine asks; why it was given nothing."""
        request = JoinRequest(who, who, Mac("52:54:00:12:34:56"), BLUE, declared=True, priority=priority)
        try:
            await self.method.material(replace(request, **fields), self.now)  # type: ignore[arg-type]
        except JoinWithheld as error:
            return error
        return None

    async def refusal(self, who: str, priority: int = 0, **fields: object) -> JoinWithheld:
        """As `ask`, and it was given nothing."""
        error = await self.ask(who, priority, **fields)
        assert error is not None
        return error

    async def is_down(self, error: ClusterError | None = DOWN) -> None:
        """The API goes down, or comes back."""
        self.error = error
        await self.health.look("blue")


async def test_an_api_that_is_up_is_just_asked() -> None:
    """Nothing waits, and what is taken back goes through."""
    world = World()
    assert await world.ask("m1") is None and world.given == ["m1"]
    await world.method.revoke("m1")
    assert world.revoked == ["m1"] and world.gate.waiting("blue") == 0


async def test_while_the_api_is_down_nobody_fails_and_nobody_asks_it() -> None:
    """Each is told why, its place, and when to ask again; for an hour, if need be."""
    world = World()
    await world.is_down()
    first = await world.refusal("m1")
    assert first.reason == f"{DOWN.reason}; this machine is next" and (first.retry_after or 0) >= 1
    second = await world.refusal("m2")
    assert "; 1 machines wait before this one" in second.reason
    for _ in range(60):
        world.now += 60
        assert (await world.refusal("m1")).retry_after
    assert world.given == [] and world.gate.waiting("blue") == 1, "m2 did not come back"


async def test_when_it_answers_again_priority_decides() -> None:
    """Whoever asks first: the higher one has its turn before."""
    world = World()
    await world.is_down()
    for who, priority in (("low", -5), ("high", 10), ("middle", 0)):
        await world.ask(who, priority)
    world.now += 5
    await world.is_down(None)
    assert (await world.refusal("low", -5)).retry_after and (await world.refusal("middle")).retry_after
    assert await world.ask("high", 10) is None
    assert await world.refusal("low", -5)
    assert await world.ask("middle") is None and await world.ask("low", -5) is None
    assert world.given == ["high", "middle", "low"]


async def test_a_boot_that_is_over_waits_no_more() -> None:
    """Nobody stands behind it."""
    world = World()
    await world.is_down()
    await world.ask("high", 10)
    await world.is_down(None)
    world.gate.left("high")
    assert await world.ask("low") is None


async def test_an_answer_that_is_no_use_puts_the_machine_back() -> None:
    """With the API's own pause; one that asks us to slow down (429) is left alone by everybody."""
    world = World()
    world.material_error = ClusterUnavailable("the API answered 503", 7.0, 503)
    error = await world.refusal("m1")
    assert error.retry_after == 7.0 and error.reason == "the API answered 503; this machine is next"
    world.material_error = ClusterUnavailable("the API answered 429", 9.0, 429)
    await world.refusal("m1")
    world.material_error = None
    assert "asked us to pause" in (await world.refusal("m2", 9)).reason and world.given == []
    world.now += 9.5
    assert await world.ask("m2", 9) is None and await world.ask("m1") is None


async def test_an_api_that_refuses_our_account_is_no_queue() -> None:
    """The join method says what is wrong and what to do; waiting mends nothing."""
    world = World()
    await world.is_down(ClusterRefused(401, "Unauthorized"))
    world.material_error = JoinWithheld("renew the credential", None)
    error = await world.refusal("m1")
    assert (error.reason, error.retry_after) == ("renew the credential", None)


async def test_a_cluster_without_an_api_has_no_gate() -> None:
    """There is nothing that could be down."""
    world = World()
    await world.is_down()
    assert await world.ask("m1", cluster=replace(BLUE, join=JoinSettings("none"))) is None


async def test_clusters_that_are_gone_are_forgotten() -> None:
    """After a reload."""
    world = World()
    await world.is_down()
    await world.ask("m1")
    world.gate.update(["green"])
    assert world.gate.waiting("blue") == 0


LIMITED = replace(BLUE, join=JoinSettings("kubeadm", max_nodes=2))


@pytest.mark.parametrize("watched", [True, False])
async def test_r20_a_machine_that_nobody_declared_is_turned_away_from_a_full_cluster(watched: bool) -> None:
    """It may ask again later; a declared one is let in, and so is one that adds no Node object."""
    world = World(watched=watched)
    world.nodes = {"foreign", "guest-1"}
    error = await world.refusal("guest-2", cluster=LIMITED, declared=False)
    assert "has 2 Node objects, and its max_nodes is 2: guest-2, which nobody declared, is turned" in str(
        error
    )
    assert error.retry_after == 60.0 and world.given == []
    assert await world.ask("m1", cluster=LIMITED) is None
    assert await world.ask("guest-1", cluster=LIMITED, declared=False) is None
    world.nodes = {"foreign"}
    assert await world.ask("guest-2", cluster=LIMITED, declared=False) is None


async def test_r20_machines_on_their_way_count() -> None:
    """Many ask at once and none is registered yet: no more are let in than there is room for."""
    world = World()
    world.nodes = {"foreign"}
    assert await world.ask("guest-1", cluster=LIMITED, declared=False) is None
    assert await world.ask("guest-1", cluster=LIMITED, declared=False) is None, "the same one asks again"
    assert "1 Node objects and 1 machines on their way" in str(
        await world.refusal("guest-2", cluster=LIMITED, declared=False)
    )
    world.gate.left("guest-1")
    assert await world.ask("guest-2", cluster=LIMITED, declared=False) is None
    world.now += PROMISED + 1
    assert await world.ask("guest-3", cluster=LIMITED, declared=False) is None


async def test_r20_a_machine_that_was_given_nothing_keeps_no_place() -> None:
    """Its credential was withheld for another reason."""
    world = World()
    world.nodes = {"foreign"}
    for error in (JoinWithheld("still Ready", 5.0), ClusterUnavailable("away")):
        world.material_error = error
        await world.refusal("guest-1", cluster=LIMITED, declared=False)
    world.material_error = None
    assert await world.ask("guest-2", cluster=LIMITED, declared=False) is None


async def test_r20_what_cannot_be_counted_is_full() -> None:
    """Without the right to list; where the API does not answer, the machine waits in the queue."""
    world = World(watched=False)
    world.error = ClusterRefused(403, "nodes is forbidden")
    error = await world.refusal("guest-1", cluster=LIMITED, declared=False)
    assert "cannot be counted" in error.reason and "appliance.yaml" in error.reason
    world.error = DOWN
    error = await world.refusal("guest-1", cluster=LIMITED, declared=False)
    assert error.reason == f"{DOWN.reason}; this machine is next"
    assert world.given == [] and world.gate.waiting("blue") == 1
