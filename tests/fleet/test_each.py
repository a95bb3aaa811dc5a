"""One task per cluster, begun, ended and begun anew; pauses that grow and differ."""

from __future__ import annotations

import asyncio

from netboot.fleet.each import Backoff, Each, woken
from tests.fleet.waiting import passed


async def test_each_cluster_has_one_task_while_it_is_wanted() -> None:
    """What is started before the run begins with it; what nobody wants any more is ended."""
    running: list[str] = []

    async def work(cluster: str) -> None:
        running.append(cluster)
        try:
            await asyncio.Event().wait()
        finally:
            running.remove(cluster)

    each = Each(work)
    each.keep(["gone", "blue"])
    each.keep(["blue", "green"])
    task = asyncio.create_task(each.run())
    await passed(lambda: running == ["blue", "green"])
    each.start("blue")
    each.keep(["green", "red"])
    await passed(lambda: sorted(running) == ["green", "red"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert running == []


async def test_a_task_that_ended_is_begun_anew() -> None:
    """Work that is there only now and then."""
    done: list[str] = []

    async def work(cluster: str) -> None:
        done.append(cluster)

    each = Each(work)
    task = asyncio.create_task(each.run())
    for count in (1, 2):
        await asyncio.sleep(0)
        each.start("blue")
        await passed(lambda: len(done) == count)  # noqa: B023
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_pauses_double_up_to_a_bound_and_begin_anew() -> None:
    """Somewhere between half and all of it, so that two who failed together do not come together."""
    backoff = Backoff(lambda low, high: high, first=1.0, most=10.0)
    assert [backoff.next() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] and backoff.failures == 6
    backoff.reset()
    assert backoff.next() == 1.0
    assert Backoff(lambda low, high: low, first=1.0).next() == 0.5


async def test_who_is_woken_waits_no_longer() -> None:
    """And an event counts once."""
    event = asyncio.Event()
    event.set()
    await woken(event, 60.0)
    assert not event.is_set()
    await woken(event, 0.001)
