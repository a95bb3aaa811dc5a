"""Following joins: from the credential to Ready, and what ends on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from netboot.cluster import NodeLease, NodeObject
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from netboot.fleet.joining import SELDOM, Joining
from netboot.join import JoinMaterial
from netboot.model.boot import Boot
from netboot.model.machine import Mac
from tests.fleet.waiting import passed

BOOT = Boot("boot-1", Mac("52:54:00:12:34:56"), "m1", "blue", started=1_900_000_000.0)
MATERIAL = JoinMaterial("kubeadm", {}, ("abcdef",))
NODE = NodeObject("m1", "uid-1", "1", created=1_900_000_100.0, ready="False", boot_id="b1")


@dataclass
class World:
    """One cluster, one join method and one timeline, as the test wants them."""

    node_object: NodeObject | None = None
    lease: NodeLease | None = None
    error: ClusterError | None = None
    lease_error: ClusterError | None = None
    told: list[tuple[str, ...]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    now: float = 5000.0
    watched: bool = False
    looks: int = 0

    def live(self, cluster: str) -> bool:
        """Whether there is a watch."""
        return self.watched

    def api(self, cluster: str) -> World:
        """Itself."""
        return self

    async def node(self, name: str) -> NodeObject | None:
        """The Node object."""
        self.looks += 1
        if self.error:
            raise self.error
        return self.node_object

    async def node_lease(self, name: str) -> NodeLease | None:
        """The Lease."""
        if self.lease_error:
            raise self.lease_error
        return self.lease

    async def revoke(self, boot_id: str) -> None:
        """What was taken back."""
        self.revoked.append(boot_id)

    def step(self, boot_id: str, step: str, *, detail: str = "") -> None:
        """A step."""
        self.told.append(("step", boot_id, step, detail))

    def stop(self, boot_id: str, step: str, cause: str) -> None:
        """An end."""
        self.told.append(("stop", boot_id, step, cause))

    def joined(self, boot_id: str) -> None:
        """A good end."""
        self.told.append(("joined", boot_id))

    def joining(self) -> Joining:
        """What is tested, with the default limits."""
        return Joining(self, self, self, clock=lambda: self.now, watch=self, interval=0.01)  # type: ignore[arg-type]


Look = Callable[[Joining], Awaitable[None]]


@pytest.fixture
def world() -> World:
    """A world where nothing has happened."""
    return World()


async def look(joining: Joining) -> None:
    """One round of looks, and of taking back."""
    for followed in list(joining._followed.values()):
        await joining.look(followed)
    for cluster in joining._to_revoke:
        await joining._revoke_of(cluster)


async def test_a_join_is_followed_to_ready(world: World) -> None:
    """registered with the token taken back at once (R10), then ready; nothing is said twice."""
    joining = world.joining()
    joining.follow(BOOT, MATERIAL)
    await look(joining)
    assert world.told == [] and world.revoked == []
    world.node_object = NODE
    await look(joining)
    await look(joining)
    assert world.told == [("step", "boot-1", "registered", "Node m1")] and world.revoked == ["boot-1"]
    world.node_object = replace(NODE, ready="True")
    await look(joining)
    await look(joining)
    assert world.told[1:] == [("joined", "boot-1")]


async def test_the_node_object_of_an_earlier_boot_is_not_this_one(world: World) -> None:
    """The same uid and boot id as before the join: the machine has not registered yet."""
    joining = world.joining()
    world.node_object = replace(NODE, ready="True")
    joining.follow(BOOT, replace(MATERIAL, replaces=NODE.incarnation))
    await look(joining)
    assert world.told == []
    world.node_object = replace(NODE, ready="True", boot_id="b2")
    await look(joining)
    assert world.told == [("step", "boot-1", "registered", "Node m1"), ("joined", "boot-1")]


async def test_a_machine_that_joins_nothing_is_not_followed(world: World) -> None:
    """Nobody asks a cluster about it."""
    joining = world.joining()
    joining.follow(BOOT, JoinMaterial("none", {}))
    assert not joining._followed


async def test_a_node_that_never_registers_is_given_up_with_the_cause(world: World) -> None:
    """After the limit, as stopped at `registered`."""
    joining = world.joining()
    joining.follow(BOOT, MATERIAL)
    world.now += 899
    await look(joining)
    assert world.told == []
    world.now += 2
    await look(joining)
    ((kind, boot_id, step, cause),) = world.told
    assert (kind, boot_id, step) == ("stop", "boot-1", "registered")
    assert "Node m1 in cluster blue: no Node object of this boot after 901 s" in cause


async def test_an_unreachable_cluster_is_the_cause_at_the_limit(world: World) -> None:
    """Until then it is asked again."""
    joining = world.joining()
    joining.follow(BOOT, MATERIAL)
    world.error = ClusterUnavailable("the Kubernetes API of blue is unreachable: Connection refused")
    await look(joining)
    world.now += 901
    await look(joining)
    assert world.told[0][3].endswith("Connection refused")


async def test_a_node_that_never_becomes_ready_is_given_up_with_its_condition(world: World) -> None:
    """The message of the Ready condition names the cause, for example a missing CNI plugin."""
    joining = world.joining()
    joining.follow(BOOT, MATERIAL)
    world.node_object = replace(NODE, ready_message="cni plugin not initialized")
    await look(joining)
    world.now += 901
    await look(joining)
    assert world.told[-1] == (
        "stop",
        "boot-1",
        "ready",
        "Node m1 is registered but not Ready: cni plugin not initialized",
    )


async def test_a_node_object_that_vanishes_is_given_up(world: World) -> None:
    """Somebody deleted it before it was Ready."""
    joining = world.joining()
    joining.follow(BOOT, MATERIAL)
    world.node_object = NODE
    await look(joining)
    world.node_object = None
    world.now += 901
    await look(joining)
    assert "the Node object is gone again" in world.told[-1][3]


async def test_a_boot_that_ends_is_followed_no_more_and_its_credential_taken_back(world: World) -> None:
    """Failure, abort and a new boot alike (R10)."""
    joining = world.joining()
    joining.follow(BOOT, MATERIAL)
    joining.ended(BOOT)
    world.node_object = replace(NODE, ready="True")
    await look(joining)
    assert world.told == [] and world.revoked == ["boot-1"]


async def test_a_boot_that_ends_during_a_look_stays_ended(world: World) -> None:
    """The look's result comes too late to count."""
    joining = world.joining()
    joining.follow(BOOT, MATERIAL)
    (followed,) = joining._followed.values()
    joining.ended(BOOT)
    world.node_object = replace(NODE, ready="True")
    await joining.look(followed)
    assert world.told == []


async def test_a_second_credential_starts_the_limit_anew(world: World) -> None:
    """The node asked again for its configuration."""
    joining = world.joining()
    joining.follow(BOOT, MATERIAL)
    world.now += 800
    joining.follow(BOOT, MATERIAL)
    world.now += 800
    await look(joining)
    assert world.told == []


async def test_after_a_restart_a_node_object_made_since_the_boot_is_its_own(world: World) -> None:
    """What stood there before is not known any more; creation tells."""
    joining = world.joining()
    joining.resume(BOOT)
    world.node_object = replace(NODE, created=BOOT.started - 5, ready="True")
    world.lease = NodeLease("l", "1")
    await look(joining)
    await look(joining)
    assert world.told == []
    world.node_object = replace(NODE, ready="True")
    await look(joining)
    assert ("joined", "boot-1") in world.told


async def test_after_a_restart_a_lease_that_is_renewed_tells_too(world: World) -> None:
    """The Node object is older than the boot, but somebody lives, and only this boot had a credential."""
    joining = world.joining()
    joining.resume(BOOT)
    world.node_object = replace(NODE, created=BOOT.started - 5, ready="True")
    world.lease = NodeLease("l", "1")
    await look(joining)
    world.lease_error = ClusterRefused(403, "no right")
    await look(joining)
    assert world.told == []
    world.lease_error, world.lease = None, NodeLease("l", "2")
    await look(joining)
    assert ("joined", "boot-1") in world.told


async def test_it_runs_beside_everything_else(world: World) -> None:
    """The loop looks and takes back by itself."""
    joining = world.joining()
    task = asyncio.get_running_loop().create_task(joining.run())
    world.node_object = replace(NODE, ready="True")
    joining.follow(BOOT, MATERIAL)
    until = time.monotonic() + 5
    while not (world.revoked and ("joined", "boot-1") in world.told):
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Joining]:
    """Joining at work."""
    joining = world.joining()
    task = asyncio.create_task(joining.run())
    try:
        yield joining
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_where_a_watch_stands_a_change_is_looked_at_and_nothing_is_polled(world: World) -> None:
    """Registered and Ready by one look each, at the watch's word; no look without one."""
    world.watched = True
    async with running(world) as joining:
        joining.follow(BOOT, replace(MATERIAL, replaces=""))
        await passed(lambda: world.looks == 1)
        await asyncio.sleep(0.1)
        assert world.looks == 1
        world.node_object = NODE
        joining.changed("blue", "m1", NODE)
        joining.changed("green", "m1", NODE)
        joining.changed("blue", "m2", NODE)
        await passed(lambda: world.revoked == ["boot-1"])
        joining.changed("blue", "m1", replace(NODE, resource_version="2"))  # not Ready yet: no step
        joining.changed("blue", "m1", None)
        await asyncio.sleep(0.05)
        assert world.looks == 2 and joining.follows("blue", "m1") and not joining.follows("green", "m1")
        world.node_object = replace(NODE, ready="True")
        joining.changed("blue", "m1", world.node_object)
        await passed(lambda: ("joined", "boot-1") in world.told)
        assert world.looks == 3


async def test_a_change_of_long_ago_is_no_step(world: World) -> None:
    """A watch that comes back tells the past: what the API says now is what counts."""
    world.watched = True
    async with running(world) as joining:
        joining.follow(BOOT, replace(MATERIAL, replaces=""))
        await passed(lambda: world.looks == 1)
        joining.changed("blue", "m1", replace(NODE, ready="True"))
        await passed(lambda: world.looks == 2)
        assert world.told == []


async def test_with_a_watch_a_silent_connection_is_noticed_all_the_same(world: World) -> None:
    """A look now and then: a dead connection tells nothing."""
    world.watched = True
    async with running(world) as joining:
        joining.follow(BOOT, replace(MATERIAL, replaces=""))
        await passed(lambda: world.looks == 1)
        world.node_object = replace(NODE, ready="True")
        world.now += SELDOM
        await passed(lambda: ("joined", "boot-1") in world.told)


async def test_a_boot_that_is_met_on_its_way_is_polled_though_there_is_a_watch(world: World) -> None:
    """Only its Lease tells whose Node object stands there, and Leases are not watched."""
    world.watched = True
    async with running(world) as joining:
        joining.resume(BOOT)
        await passed(lambda: world.looks > 3)


async def test_a_cluster_that_hangs_keeps_no_other_waiting(world: World) -> None:
    """Neither looks nor credentials that are taken back."""
    stuck = asyncio.Event()

    async def node(name: str) -> NodeObject | None:
        if name == "m1":
            await stuck.wait()
        return replace(NODE, name=name, ready="True")

    async def revoke(boot_id: str) -> None:
        if boot_id == "boot-1":
            await stuck.wait()
        world.revoked.append(boot_id)

    world.node, world.revoke = node, revoke  # type: ignore[method-assign]
    async with running(world) as joining:
        joining.follow(BOOT, MATERIAL)
        joining.ended(BOOT)
        joining.follow(BOOT, MATERIAL)
        joining.follow(replace(BOOT, id="boot-2", node="m2", cluster="green"), MATERIAL)
        await passed(lambda: ("joined", "boot-2") in world.told and world.revoked == ["boot-2"])
        stuck.set()
