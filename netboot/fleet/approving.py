"""Approve what kubelets ask a certificate for, and nothing else (R7, R8): a list and a watch per cluster.

`cluster.approval` decides; here its facts are gathered, and decisions are written down before they are told
to the API. A request that came before our watch is found by the list. Where the account may not watch, the
list is read every second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from netboot.cluster import CertificateRequest, ClusterApi, Clusters
from netboot.cluster.approval import (
    Decision,
    Known,
    Verdict,
    client_verdict,
    listed,
    node_of_serving,
    serving_verdict,
    token_id_of,
)
from netboot.errors import ClusterError, ClusterRefused, StoreError
from netboot.model.binding import Binding
from netboot.model.machine import Mac
from netboot.store import BindingStore

log = logging.getLogger("netboot.fleet")

POLL = 1.0
"""Seconds between two lists where watching is forbidden."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds until an API that failed is asked again; doubled each time."""

AGAIN = 2.0
"""Seconds until a request is looked at again that could not be decided."""

GIVE_UP = 900.0
"""Seconds for which a request is looked at again; the API server forgets it after a day."""

AT_ONCE = 16
"""Requests of one cluster that are decided at the same time."""

MOST = 4096
"""Requests that are remembered as looked at, or wait."""

Wanted = tuple[str, str]
"""A cluster, and a signer whose requests are looked at there."""

Report = Callable[[str, str, Mac | None, bool], None]
"""Tells the operator: kind, text, machine, and whether it is an alarm."""


class Machines(Protocol):
    """What we know of our own machines."""

    def over(self, boot_id: str) -> bool:
        """Whether a boot has ended, or was never ours."""

    async def known(self, api: ClusterApi, cluster: str, node: str) -> Known | None:
        """Names and addresses of a node of ours in that cluster; None for any other. Raises ClusterError."""

    def owner(self, text: str, node: str) -> str | None:
        """Which machine but this node is declared with a name or an address."""


@dataclass(slots=True)
class _Memory:
    """What was looked at in one cluster for one signer."""

    done: dict[str, None] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    """By name, with the time of the first look."""
    said: str = ""
    """The trouble that was reported last."""
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class Approving:
    """Looks at certificate requests where it is wanted; `run` has to run beside it."""

    def __init__(
        self,
        clusters: Clusters,
        store: BindingStore,
        machines: Machines,
        wanted: Callable[[], Iterable[Wanted]],
        *,
        revoke: Callable[[str], Awaitable[None]],
        report: Report,
        clock: Callable[[], float],
        poll: float = POLL,
        again: float = AGAIN,
    ) -> None:
        """`wanted` is asked every second: a reload of the operator's file may change it."""
        self._clusters = clusters
        self._store = store
        self._machines = machines
        self._wanted = wanted
        self._revoke = revoke
        self._report = report
        self._clock = clock
        self._poll = poll
        self._again = again
        self._memory: dict[Wanted, _Memory] = {}

    def problem(self, cluster: str) -> str | None:
        """Why requests of this cluster are not looked at; None where they are, or need not be."""
        found = (m.said for (name, _), m in self._memory.items() if name == cluster and m.said)
        return next(found, None)

    async def run(self) -> None:
        """Follow each cluster and signer that is wanted, for ever."""
        tasks: dict[Wanted, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                wanted = set(self._wanted())
                for gone in tasks.keys() - wanted:
                    tasks.pop(gone).cancel()
                    self._memory.pop(gone, None)
                for new in wanted - tasks.keys():
                    self._memory[new] = _Memory()
                    tasks[new] = group.create_task(self._follow(new))
                await asyncio.sleep(1.0)

    async def _follow(self, what: Wanted) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_forever(what, group))
            group.create_task(self._again_forever(what))

    # List and watch

    async def _look_forever(self, what: Wanted, group: asyncio.TaskGroup) -> None:
        cluster, signer = what
        memory, pause = self._memory[what], SHORTEST_PAUSE
        while True:
            try:
                api = self._clusters.api(cluster)
                requests, version = await api.certificate_requests(signer)
                await asyncio.gather(*(self._consider(what, request) for request in requests))
                self._well(what)
                pause = SHORTEST_PAUSE
                await self._watch(what, version, group)
            except ClusterError as error:
                if isinstance(error, ClusterRefused) and error.status == 410:
                    continue  # the list tells what the watch has missed
                self._say(what, f"certificate requests to {signer} cannot be read: {error}")
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            while len(memory.done) > MOST:
                del memory.done[next(iter(memory.done))]

    async def _watch(self, what: Wanted, version: str, group: asyncio.TaskGroup) -> None:
        """Until the watch ends by itself; one poll's time where it is forbidden. Raises ClusterError."""
        cluster, signer = what
        try:
            async for request in self._clusters.api(cluster).watch_certificate_requests(signer, version):
                if request.name:  # else a bookmark
                    group.create_task(self._consider(what, request))
        except ClusterRefused as error:
            if error.status != 403:
                raise
            await asyncio.sleep(self._poll)

    async def _again_forever(self, what: Wanted) -> None:
        """Look again at what could not be decided, for a while."""
        memory = self._memory[what]
        while True:
            await asyncio.sleep(self._again)
            for name, since in list(memory.waiting.items()):
                try:
                    request = await self._clusters.api(what[0]).certificate_request(name)
                except ClusterError:
                    break
                if request is None or self._clock() - since > GIVE_UP:
                    memory.waiting.pop(name, None)
                else:
                    await self._consider(what, request)

    def _say(self, what: Wanted, trouble: str) -> None:
        """Each trouble once."""
        if self._memory[what].said != trouble:
            self._memory[what].said = trouble
            log.warning("cluster %s: %s", what[0], trouble)

    def _well(self, what: Wanted) -> None:
        if self._memory[what].said:
            log.info("cluster %s: certificate requests are read again", what[0])
            self._memory[what].said = ""

    # One request

    async def _consider(self, what: Wanted, request: CertificateRequest) -> None:
        memory = self._memory.get(what)
        pending = not (request.approved or request.denied or request.failed or request.certificate)
        if memory is None or not pending or request.uid in memory.done:
            if memory is not None:
                memory.waiting.pop(request.name, None)
            return
        async with memory.places:
            memory.done[request.uid] = None  # the watch may tell of it twice meanwhile
            settled = False
            try:
                settled = await self._settle(what[0], request)
            except (ClusterError, StoreError) as error:
                self._report("certificate_undecided", f"{what[0]}: {request.name}: {error}", None, False)
            finally:
                self._remember(memory, request, settled)

    def _remember(self, memory: _Memory, request: CertificateRequest, settled: bool) -> None:
        if settled:
            memory.waiting.pop(request.name, None)
            return
        memory.done.pop(request.uid, None)
        if len(memory.waiting) < MOST:
            memory.waiting.setdefault(request.name, self._clock())

    async def _settle(self, cluster: str, request: CertificateRequest) -> bool:
        """Decide; False where it has to be looked at again. Raises ClusterError and StoreError."""
        api = self._clusters.api(cluster)
        binding: Binding | None = None
        if (token_id := token_id_of(request)) is not None:
            binding = await self._store.binding_of(cluster, token_id)
            if binding is None:
                text = (
                    f"cluster {cluster}: {request.name} was made with token {token_id}, which is none of ours"
                )
                self._report("certificate_foreign", text, None, False)
                return True
            verdict = await self._client(api, request, binding)
        elif (node := node_of_serving(request)) is not None:
            verdict = await self._serving(api, cluster, request, node)
        else:
            return True
        if verdict.decision is Decision.WAIT:
            text = f"cluster {cluster}: {request.name} of {request.username} stays pending: {verdict.reason}"
            self._report("certificate_pending", text, None, False)
            return False
        return await self._decide(api, cluster, request, verdict, binding)

    async def _client(self, api: ClusterApi, request: CertificateRequest, binding: Binding) -> Verdict:
        """The first request of a token is on disk as such before anything is said."""
        first = await self._store.first_request(binding.cluster, binding.token_id, request.uid)
        node = await api.node(binding.node)
        return client_verdict(
            request, binding, first=first, over=self._machines.over(binding.boot_id), node=node
        )

    async def _serving(
        self, api: ClusterApi, cluster: str, request: CertificateRequest, node: str
    ) -> Verdict:
        known = await self._machines.known(api, cluster, node)
        if known is None:
            return Verdict(Decision.LEAVE)
        return serving_verdict(request, known, lambda text: self._machines.owner(text, node))

    async def _decide(
        self,
        api: ClusterApi,
        cluster: str,
        request: CertificateRequest,
        verdict: Verdict,
        binding: Binding | None,
    ) -> bool:
        if verdict.decision is Decision.LEAVE:
            return True
        if verdict.alarm and binding is not None:
            await self._alarm(request, verdict, binding)
        approve = verdict.decision is Decision.APPROVE
        try:
            await api.decide(
                request,
                approve=approve,
                reason="NetbootApproved" if approve else "NetbootDenied",
                message=verdict.reason,
                now=self._clock(),
            )
        except ClusterRefused as error:
            if error.status in (404, 409):
                return error.status == 404  # it has changed since: look again
            raise
        word = "approved" if approve else "denied"
        log.info("cluster %s: %s of %s %s: %s", cluster, request.name, request.username, word, verdict.reason)
        if not approve and not verdict.alarm:
            text = f"cluster {cluster}: {request.name} of {request.username} was denied: {verdict.reason}"
            self._report("certificate_denied", text, binding.mac if binding else None, False)
        return True

    async def _alarm(self, request: CertificateRequest, verdict: Verdict, binding: Binding) -> None:
        """Take the token back, hold the name, tell the operator what is known of both sides."""
        text = alarm_text(request, verdict, binding)
        await self._store.hold(binding.cluster, binding.token_id, text)
        await self._revoke(binding.boot_id)
        self._report("token_misused", text, binding.mac, True)


def alarm_text(request: CertificateRequest, verdict: Verdict, binding: Binding) -> str:
    """What the operator is told of a misused token: both sides, what was done, what to do."""
    place = f" at {binding.address}" if binding.address else ""
    when = datetime.fromtimestamp(request.created, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    program = f" by a program that calls itself {listed([request.program])}" if request.program else ""
    return (
        f"token {binding.token_id} of {binding.node} was misused in cluster {binding.cluster}: "
        f"{request.name}, submitted {when}{program}, is denied because {verdict.reason}. The token was "
        f"handed to {binding.mac}{place}; from which address the request came, only the API "
        "server's audit log tells, by its name. The token is revoked and "
        f"the name is held: find the right machine, delete Node {binding.node} if a wrong one lives there, "
        f"then `netboot node release {binding.node}`"
    )
