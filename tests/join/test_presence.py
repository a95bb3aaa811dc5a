"""Does somebody live under a node's name (R19)? The proof by looks at a Lease."""

from __future__ import annotations

import asyncio

import pytest

from netboot.cluster import NodeLease
from netboot.errors import ClusterError, ClusterUnavailable
from netboot.join.presence import YOUNG, Gone, Living, Presence, Undecided, Watch
from tests.support.clock import Clock


class OneLease:
    """A cluster with one Lease that the test renews."""

    def __init__(self) -> None:
        self.lease: NodeLease | None = NodeLease("uid", "1")
        self.looked = asyncio.Event()
        self.down = False

    def api(self, cluster: str) -> OneLease:
        """Itself, for `blue`."""
        if cluster != "blue":
            raise ClusterError("no such cluster")
        return self

    async def node_lease(self, name: str) -> NodeLease | None:
        """The Lease."""
        self.looked.set()
        if self.down:
            raise ClusterUnavailable("down")
        return self.lease

    def renew(self) -> None:
        """Somebody lives."""
        assert self.lease is not None
        self.lease = NodeLease("uid", str(int(self.lease.resource_version) + 1))


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


def presence_of(cluster: OneLease, clock: Clock) -> Presence:
    """With the real limits."""
    return Presence(cluster, clock=clock)  # type: ignore[arg-type]


async def test_twenty_seconds_of_booting_prove_death_at_the_first_question(clock: Clock) -> None:
    """Looked at from the DISCOVER on, the same version over 20 s: no time is lost."""
    cluster = OneLease()
    presence = presence_of(cluster, clock)
    presence.observe("blue", "m1")
    async with asyncio.timeout(5):
        task = asyncio.get_running_loop().create_task(presence.run())
        await cluster.looked.wait()
        task.cancel()
    clock.now += 19
    assert isinstance(await presence.verdict("blue", "m1", "b"), Undecided)
    clock.now += 1
    assert await presence.verdict("blue", "m1", "b") == Gone()


async def test_without_a_look_at_the_discover_the_twenty_seconds_begin_at_the_question(clock: Clock) -> None:
    """After a restart of the appliance, for example."""
    presence = presence_of(OneLease(), clock)
    assert await presence.verdict("blue", "m1", "b") == Undecided(20.0)
    clock.now += 12
    assert await presence.verdict("blue", "m1", "b") == Undecided(8.0)
    clock.now += 8
    assert await presence.verdict("blue", "m1", "b") == Gone()


async def test_a_lease_that_is_renewed_after_the_question_belongs_to_somebody_who_lives(clock: Clock) -> None:
    """The machine that asks runs no kubelet: it cannot be the one."""
    cluster = OneLease()
    presence = presence_of(cluster, clock)
    assert isinstance(await presence.verdict("blue", "m1", "b"), Undecided)
    clock.now += 10
    cluster.renew()
    assert await presence.verdict("blue", "m1", "b") == Living()
    clock.now += 60
    assert await presence.verdict("blue", "m1", "b") == Living(), "once proved it stays so for this boot"


async def test_renewals_between_discover_and_question_are_the_machine_before_it_restarted(
    clock: Clock,
) -> None:
    """A forged DISCOVER while the machine lived must not make it an impostor after its next restart."""
    cluster = OneLease()
    presence = presence_of(cluster, clock)
    presence.observe("blue", "m1")
    for _ in range(3):
        await presence.verdict("blue", "m1", "")
        cluster.renew()
        clock.now += 10
    assert isinstance(await presence.verdict("blue", "m1", "b"), Undecided)
    clock.now += 20
    assert await presence.verdict("blue", "m1", "b") == Gone()


async def test_a_new_boot_begins_anew(clock: Clock) -> None:
    """An impostor's proof does not condemn the rightful machine's next boot."""
    cluster = OneLease()
    presence = presence_of(cluster, clock)
    await presence.verdict("blue", "m1", "b1")
    cluster.renew()
    assert await presence.verdict("blue", "m1", "b1") == Living()
    presence.observe("blue", "m1")
    assert isinstance(await presence.verdict("blue", "m1", "b2"), Undecided)
    clock.now += 20
    assert await presence.verdict("blue", "m1", "b2") == Gone()


async def test_no_lease_is_nobody(clock: Clock) -> None:
    """A Lease that is missing, or vanishes, is renewed by nobody."""
    cluster = OneLease()
    cluster.lease = None
    assert await presence_of(cluster, clock).verdict("blue", "m1", "b") == Gone()


async def test_an_old_boot_and_a_proven_one_are_looked_at_no_more(clock: Clock) -> None:
    """The background costs what it must and no more."""
    cluster = OneLease()
    presence = presence_of(cluster, clock)
    presence.observe("blue", "m1")
    presence.observe("none", "m2")
    assert len(presence._due()) == 2
    await presence.verdict("blue", "m1", "b")
    clock.now += 20
    assert presence._clusters_due() == ["none"], "m1 is proven"
    clock.now += YOUNG
    assert presence._clusters_due() == []


async def test_a_cluster_that_does_not_answer_is_asked_again_in_the_background(clock: Clock) -> None:
    """Its error reaches nobody but who asks."""
    cluster = OneLease()
    cluster.down = True
    presence = Presence(cluster, clock=clock, interval=0.01)  # type: ignore[arg-type]
    presence.observe("blue", "m1")
    presence.observe("unknown", "m1")
    task = asyncio.get_running_loop().create_task(presence.run())
    for _ in range(3):
        async with asyncio.timeout(5):
            await cluster.looked.wait()
        cluster.looked.clear()
    assert not task.done()
    task.cancel()
    with pytest.raises(ClusterUnavailable):
        await presence.verdict("blue", "m1", "b")


def test_forged_discovers_cost_bounded_memory(clock: Clock) -> None:
    """The oldest watch goes first."""
    presence = presence_of(OneLease(), clock)
    for number in range(5000):
        presence.observe("blue", f"n{number}")
    assert len(presence._watches) == 4096 and ("blue", "n4999") in presence._watches


def test_a_lease_made_anew_counts_as_a_change() -> None:
    """The uid is part of what is compared."""
    watch = Watch(0.0)
    watch.saw("a/1", 0.0)
    watch.saw("b/1", 15.0)
    assert watch.verdict(20.0) == Undecided(15.0)
