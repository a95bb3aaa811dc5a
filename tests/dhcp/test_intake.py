"""What waits for the store delays nobody, is bounded, and ends with the server."""

from __future__ import annotations

import asyncio

import pytest

from netboot.dhcp import intake
from netboot.dhcp.wire import Kind, encode
from netboot.model.lease import Lease
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
