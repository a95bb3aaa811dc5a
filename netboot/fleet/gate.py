"""What stands before every join method: the queue of its cluster, the cluster's condition, and `max_nodes`.

A join waits for an API that is down instead of failing; when it answers again, machines have their turn by
their pool's priority, so many a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from netboot.errors import ClusterError, ClusterUnavailable
from netboot.fleet.health import Health
from netboot.fleet.queue import JoinQueue
from netboot.fleet.room import Room
from netboot.join import JoinMaterial, JoinMethod, JoinRequest, JoinWithheld


class Gate:
    """Lets joins through, cluster by cluster."""

    def __init__(self, health: Health, room: Room, *, clock: Callable[[], float]) -> None:
        """`clock` is a steady one, in seconds."""
        self._health = health
        self._room = room
        self._clock = clock
        self._queues: dict[str, JoinQueue] = {}
        self._paused: dict[str, float] = {}

    def before(self, method: JoinMethod) -> JoinMethod:
        """The same join method, behind this gate."""
        return Gated(self, method)

    def waiting(self, cluster: str) -> int:
        """How many machines wait for a cluster."""
        queue = self._queues.get(cluster)
        return len(queue) if queue is not None else 0

    def update(self, clusters: Iterable[str]) -> None:
        """Only these are declared now."""
        for gone in set(self._queues) - set(clusters):
            del self._queues[gone]
            self._paused.pop(gone, None)

    def left(self, boot_id: str) -> None:
        """This boot is over: it waits no more, and no place is kept for it."""
        for queue in self._queues.values():
            queue.leave(boot_id)
        self._room.leave(boot_id)

    async def enter(self, request: JoinRequest) -> None:
        """Have this machine's turn. Raises JoinWithheld while it is not, or where there is no room."""
        queue, now, name = self._queue(request), self._clock(), request.cluster.name
        condition = self._health.condition(name)
        if condition.state == "down" and not condition.refused:
            raise self._wait(request, condition.reason, self._health.next_in(name) + 1.0)
        if (left := self._paused.get(name, now) - now) > 0:
            raise self._wait(request, f"the Kubernetes API of {name} asked us to pause", left)
        if seconds := queue.ask(request.boot_id, request.priority, now):
            raise JoinWithheld(_place(request, queue, f"cluster {name} has many nodes that join"), seconds)
        try:
            await self._room.enter(request)
        except ClusterUnavailable as error:
            raise self.failed(request, error) from None
        except ClusterError as error:
            raise JoinWithheld(f"cluster {name}: {error}", 15.0) from None

    def failed(self, request: JoinRequest, error: ClusterUnavailable) -> JoinWithheld:
        """The API gave no usable answer in this machine's turn: back into the queue.

        Where it asked for a pause (429), nobody has a turn until that is over.
        """
        self._health.suspect(request.cluster.name)
        if error.status == 429:
            self._paused[request.cluster.name] = self._clock() + error.retry_after
        return self._wait(request, str(error), error.retry_after)

    def empty_handed(self, request: JoinRequest) -> None:
        """The machine was given nothing after all."""
        self._room.leave(request.boot_id)

    def _wait(self, request: JoinRequest, reason: str, least: float) -> JoinWithheld:
        queue = self._queue(request)
        seconds = queue.wait(request.boot_id, request.priority, self._clock(), least)
        return JoinWithheld(_place(request, queue, reason), seconds)

    def _queue(self, request: JoinRequest) -> JoinQueue:
        name = request.cluster.name
        if name not in self._queues:
            self._queues[name] = JoinQueue(self._clock())
        return self._queues[name]


class Gated:
    """A join method behind the gate."""

    def __init__(self, gate: Gate, method: JoinMethod) -> None:
        self._gate = gate
        self._method = method

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """A credential, when it is this machine's turn. Raises JoinWithheld."""
        if not request.cluster.join.has_api:
            return await self._method.material(request, now)
        await self._gate.enter(request)
        try:
            return await self._method.material(request, now)
        except ClusterUnavailable as error:
            self._gate.empty_handed(request)
            raise self._gate.failed(request, error) from None
        except BaseException:
            self._gate.empty_handed(request)
            raise

    async def revoke(self, boot_id: str) -> None:
        """Take back whatever this boot was given."""
        await self._method.revoke(boot_id)


def _place(request: JoinRequest, queue: JoinQueue, why: str) -> str:
    before = queue.before(request.boot_id, request.priority)
    place = f"{before} machines wait before this one" if before else "this machine is next"
    return f"{why}; {place}"
