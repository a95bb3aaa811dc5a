"""The seam for drivers that restart machines."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from netboot.model.operation import Order
from netboot.store.memory import MemoryStore
from tests.fleet.moving import CARD, House, house_inventory, texts
from tests.kube.cluster import until


class Driver:
    """Restarts what it is asked to, or says why not."""

    def __init__(self, why: str = "") -> None:
        self.why = why
        self.asked: list[str] = []

    async def cycle(self, machine: str) -> str:
        """Once more."""
        self.asked.append(machine)
        return self.why


async def told(driver: Driver) -> str:
    """What an operation of a machine of a cluster that answers says of its power."""
    house = House(MemoryStore(), house_inventory(Path("blue"), Path("red")))
    house.roster.declare(house.inventory)
    house.operations.power = driver
    running = asyncio.get_running_loop().create_task(house.operations.run())
    await asyncio.sleep(0)
    await house.operations.assign(CARD, Order(cluster="bare", force=True))
    await until(lambda: house.operations.operations(limit=1)[0].step == "boot")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return texts(house.operations.operations(limit=1)[0], "power")


async def test_a_driver_restarts_the_machine() -> None:
    """After its credentials were revoked, before its boot is waited for."""
    driver = Driver()
    assert (await told(driver), driver.asked) == ("restarted", ["m1"])


async def test_a_driver_that_cannot_says_why() -> None:
    """The operation waits for somebody else to restart it."""
    assert await told(Driver("its BMC does not answer")) == "not restarted: its BMC does not answer"
