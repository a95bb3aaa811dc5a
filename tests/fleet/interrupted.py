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
import gc
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

import yaml

from netboot.cluster.client import ClusterClients
from netboot.cluster.connection import Connection
from netboot.errors import ClusterError, JoinWithheld, Refused
from netboot.fleet.reassign import Patience, new_boot
from netboot.join import kubeadm
from netboot.model.operation import Operation, Order
from netboot.store.sqlite import SqliteStore
from tests.fleet.moving import CARD, UUID, House, house_inventory, node_object
from tests.kube.control import control

ORDER = Order(cluster="red", drain=True)
PATIENCE = Patience(look=0.005, retry=0.05, held=0.02)
LIMIT = 10
"""Seconds that a life may last; the one that settles many machines longer."""

WRITES = (
    "save_operation", "save_boots", "burn", "record_token", "forget_token", "bind", "count_credential",
    "end_claim",
)  # fmt: skip


@dataclass
class Life:
    """What one life is asked for: that a machine is assigned to red, with a drain, to the end."""

    directory: str
    """Below which each machine's appliance has its store."""
    blue: str
    red: str
    """Of the clusters."""
    node: str = ""
    settle: tuple[str, ...] = ()
    """Instead: that these machines join blue, with a credential that is still live."""
    kill_at: int = 0
    before: bool = True
    """Killed before that event, or after it; 0: not at all."""

    @property
    def outcome(self) -> Path:
        """Where it tells how the operation ended."""
        return Path(self.directory) / self.node / "outcome"


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
    clients = ClusterClients()
    if life.settle:
        for node in life.settle:
            await _settle(life, node, clients)
    else:
        await _from_start_to_end(life, clients)
    await clients.close()


async def _house(life: Life, node: str, clients: ClusterClients) -> tuple[House, SqliteStore]:
    store = await SqliteStore.open(Path(life.directory) / node / "netboot.db")
    blue, red = (Path(folder) / "appliance.kubeconfig" for folder in (life.blue, life.red))
    inventory = house_inventory(blue, red, node=node)
    return House(store, inventory, PATIENCE, clients=clients, numbers=itertools.count(time.time_ns())), store


async def _settle(life: Life, node: str, clients: ClusterClients) -> None:
    """The machine joins blue; its credential is still live."""
    house, store = await _house(life, node, clients)
    await house.start()
    boot = await house.boot()
    control(Path(life.blue), "create", resource="nodes", name=node, body=node_object(node, UUID))
    house.joined(boot)
    await house.boots.flush()
    await store.close()


async def _from_start_to_end(life: Life, clients: ClusterClients) -> None:
    house, store = await _house(life, life.node, clients)
    tap = Tap(life)
    for name in WRITES:
        setattr(store, name, tap.tapped(lambda *_, name=name: f"write {name}", getattr(store, name)))
    once = Connection._once
    Connection._once = tap.tapped(lambda _, method, path, *more: f"{method} {path}", once)  # type: ignore[method-assign]
    await house.start()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(house.mint.run()), group.create_task(house.operations.run())]
        await _move(life, house, tap)
        for task in tasks:
            task.cancel()
    await store.close()


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
    life.outcome.write_text(json.dumps(told))


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
    """One life after another, in less time than a daemon takes: hundreds are lived."""
    yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[assignment,misc]
    kubeadm.SIGNATURE_INTERVAL = 0.005
    gc.disable()
    gc.freeze()  # or each child copies what the collector touches
    for line in sys.stdin:
        life = Life(**json.loads(line))
        if (child := os.fork()) == 0:
            signal.alarm(LIMIT + len(life.settle))
            try:
                asyncio.run(live(life))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
