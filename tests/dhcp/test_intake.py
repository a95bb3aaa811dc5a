"""What waits for the store delays nobody, is bounded, and ends with the server."""

from __future__ import annotations

import asyncio

import pytest

from netboot.dhcp import intake
from netboot.dhcp.wire import Kind, encode
from netboot.model.lease import Lease
from netboot.model.machine import Mac
from tests.dhcp.world import (
    NODE_MACS,
    OTHER_STRANGER,
    STRANGER,
    Feed,
    World,
    discover,
    selecting,
)


async def test_what_waits_for_the_store_delays_nobody_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the claim of one waits others are answered, and too many are dropped."""
    world = World()
    gate = asyncio.Event()
    claim = world.store.claim_lease

    async def slow(lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        await gate.wait()
        return await claim(lease, seen, displaced)

    offer = await world.say(discover(STRANGER))
    assert offer is not None
    world.store.claim_lease = slow  # type: ignore[method-assign]
    world.server.drain(Feed(world, [encode(selecting(STRANGER, offer)), encode(discover(OTHER_STRANGER))]))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert [p.kind for _, p in world.port.sent] == [Kind.OFFER, Kind.OFFER]
    monkeypatch.setattr(intake, "IN_FLIGHT", 1)
    world.server.drain(Feed(world, [encode(discover(OTHER_STRANGER))]))  # type: ignore[arg-type]
    assert world.journal.counters["dhcp_overload"] == 1
    gate.set()
    await asyncio.sleep(0.01)
    assert world.port.sent[-1][1].kind is Kind.ACK and not world.server.intake.under_way


async def test_a_full_house_still_takes_declared_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented ones are dropped first; beyond twice as many nobody is taken."""
    world = World()
    gate = asyncio.Event()
    claim = world.store.claim_lease

    async def slow(lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        await gate.wait()
        return await claim(lease, seen, displaced)

    offers = [(mac, await world.say(discover(mac))) for mac in (STRANGER, *NODE_MACS)]
    world.store.claim_lease = slow  # type: ignore[method-assign]
    monkeypatch.setattr(intake, "IN_FLIGHT", 1)
    taken = [encode(selecting(mac, offer)) for mac, offer in offers if offer is not None]
    world.server.drain(Feed(world, taken))  # type: ignore[arg-type]
    assert world.server.intake.under_way == 2, "the stranger's, one declared machine's"
    world.server.drain(Feed(world, [encode(discover(OTHER_STRANGER))]))  # type: ignore[arg-type]
    assert world.journal.counters["dhcp_overload"] == 2
    gate.set()
    await asyncio.sleep(0.01)
    assert not world.server.intake.under_way


async def test_the_end_of_the_server_leaves_nothing_waiting() -> None:
    """A claim whose answer comes after the end sends nothing any more."""
    world = World()
    offer = await world.say(discover(STRANGER))
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def never(lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        return await answer

    world.store.claim_lease = never  # type: ignore[method-assign]
    assert offer is not None
    running = asyncio.ensure_future(world.server.run([]))
    await asyncio.sleep(0)
    world.server.drain(Feed(world, [encode(selecting(STRANGER, offer))]))  # type: ignore[arg-type]
    assert world.server.intake.under_way == 1
    running.cancel()
    await asyncio.wait([running])
    answer.set_result(True)
    await asyncio.sleep(0)
    assert len(world.port.sent) == 1


async def test_all_that_wait_for_one_commit_go_on_in_their_order() -> None:
    """The store wakes the server once; each gets its own answer."""
    world = World()
    commit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    claim = world.store.claim_lease

    async def together(lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        await commit
        return await claim(lease, seen, displaced)

    machines = [Mac(f"02:00:00:00:01:{i:02x}") for i in range(10)]
    offers = [(mac, await world.say(discover(mac))) for mac in machines]
    world.store.claim_lease = together  # type: ignore[method-assign]
    world.server.drain(Feed(world, [encode(selecting(mac, o)) for mac, o in offers if o is not None]))  # type: ignore[arg-type]
    assert world.server.intake.under_way == len(world.port.sent) == 10
    commit.set_result(None)
    for _ in range(3):
        await asyncio.sleep(0)
    acks = [packet for _, packet in world.port.sent[10:]]
    assert [(p.kind, Mac.from_bytes(p.chaddr)) for p in acks] == [(Kind.ACK, mac) for mac in machines]
    assert not world.server.intake.under_way


class Curious(Feed):
    """Notes how many replies had left when it was asked for more."""

    sent_before: int | None = None

    def receive(self, most: int) -> list[tuple[bytes, str, int, bool]]:
        """What waits."""
        if most > 1:
            self.sent_before = len(self._port.sent)
        return super().receive(most)


async def test_in_quiet_times_the_first_is_answered_before_more_are_looked_for() -> None:
    """And so are the others in the same turn."""
    world = World()
    feed = Curious(world, [encode(discover(mac)) for mac in (STRANGER, OTHER_STRANGER, *NODE_MACS)])
    world.server.drain(feed)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert feed.sent_before == 1 and len(world.port.sent) == 4
