"""An appliance that is killed right before or right after its k-th store write or API call.

    python -m tests.fleet.interrupted

reads one life per line (JSON) from standard input, and lives each in a process of its own: a fork, so that
everything is imported already. It answers with how each ended (-9: killed, as it was asked to).

A life begins as the daemon does, gives the one order of this test, and plays the machine: it boots when
the operation waits for that, is given a credential, registers and becomes Ready. It goes on with whatever
it finds, as a machine and its operator would.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netboot.cluster.connection import Connection
from netboot.errors import ClusterError, JoinWithheld, Refused
from netboot.fleet.reassign import Patience, new_boot
from netboot.model.operation import Operation, Order
from netboot.store.sqlite import SqliteStore
from tests.fleet.moving import CARD, UUID, House, house_inventory, node_object
from tests.kube.control import control

ORDER = Order(cluster="red", drain=True)
PATIENCE = Patience(look=0.005, retry=0.05, held=0.02)
LIMIT = 10
"""Seconds that a life may last."""

WRITES = (
    "save_operation", "save_boots", "burn", "record_token", "forget_token", "bind", "count_credential",
    "end_claim",
)  # fmt: skip


@dataclass
class Life:
    """What one life is asked for."""

    directory: str
    """Of its store."""
    blue: str
    red: str
    """Of the clusters."""
    node: str
    task: str = "move"
    """`settle`: join blue. `move`: be assigned to red, with a drain, to the end."""
    kill_at: int = 0
    before: bool = True
    """Killed before that event, or after it; 0: not at all."""


class Tap:
    """Counts store writes and API calls, and kills at one of them."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self.events: list[str] = []

    def tapped(self, name: Callable[..., str], call: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """The same call, counted."""

        async def counted(*args: Any, **more: Any) -> Any:
            self.events.append(name(*args))
            number = len(self.events)
            self._maybe(number, before=True)
            try:
                return await call(*args, **more)
            finally:
                self._maybe(number, before=False)

        return counted

    def _maybe(self, number: int, *, before: bool) -> None:
        if number == self._life.kill_at and before == self._life.before:
            os.kill(os.getpid(), signal.SIGKILL)


async def live(life: Life) -> None:
    """One life."""
    store = await SqliteStore.open(Path(life.directory) / "netboot.db")
    tap = Tap(life)
    for name in WRITES:
        setattr(store, name, tap.tapped(lambda *_, name=name: f"write {name}", getattr(store, name)))
    once = Connection._once
    Connection._once = tap.tapped(lambda _, method, path, *more: f"{method} {path}", once)  # type: ignore[method-assign]
    inventory = house_inventory(
        Path(life.blue) / "appliance.kubeconfig", Path(life.red) / "appliance.kubeconfig", node=life.node
    )
    house = House(store, inventory, PATIENCE, numbers=itertools.count(time.time_ns()))
    await house.start()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(house.mint.run()), group.create_task(house.operations.run())]
        await (_settle(life, house) if life.task == "settle" else _move(life, house, tap))
        for task in tasks:
            task.cancel()
    await house.clients.close()
    await store.close()


async def _settle(life: Life, house: House) -> None:
    """The machine joins blue; its credential is still live."""
    boot = await house.boot()
    control(Path(life.blue), "create", resource="nodes", name=life.node, body=node_object(life.node, UUID))
    house.joined(boot)
    await house.boots.flush()


async def _move(life: Life, house: House, tap: Tap) -> None:
    try:
        operation = await house.operations.assign(CARD, ORDER)
    except Refused:  # it is on its way back
        (operation,) = house.operations.operations(limit=1)
    while (found := house.operations.operation(operation.id)) is not None and found.ended is None:
        if found.step in ("boot", "ready") and found.state == "running":
            await _machine(life, house, found)
        await asyncio.sleep(0.002)
    assert found is not None
    told = {"id": found.id, "state": found.state, "resumed": found.resumed, "events": tap.events}
    told["timeline"] = [f"{line.step}: {line.text}" for line in found.timeline]
    (Path(life.directory) / "outcome").write_text(json.dumps(told))


async def _machine(life: Life, house: House, operation: Operation) -> None:
    """What the machine does next: it boots, asks for its credential, registers."""
    boot = new_boot(house.operations, operation)
    if boot is None:
        boot = house.powers_on()
        await house.claims(boot)
        await house.boots.flush()
        return
    if boot.state == "joined":
        return
    nodes = control(Path(life.red), "objects", resource="nodes")
    if life.node not in [node["metadata"]["name"] for node in nodes]:
        try:
            await house.method.material(house.request(boot, house.assigned()), house.clock())
        except (JoinWithheld, ClusterError) as error:
            print(f"asks again: {error}", file=sys.stderr)
            return
        body = node_object(life.node, UUID)
        control(Path(life.red), "create", resource="nodes", name=life.node, body=body)
    house.joined(boot)
    await house.boots.flush()
    await house.method.revoke(boot.id)


def main() -> None:
    """One life after another."""
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            signal.alarm(LIMIT)
            try:
                asyncio.run(live(Life(**json.loads(line))))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
