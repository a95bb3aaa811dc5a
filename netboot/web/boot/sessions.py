"""The session of a claimed boot: its configuration with the credential, its reports, its log."""

from __future__ import annotations

import logging
import random
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netboot.boot import session
from netboot.boot.admission import check_admission
from netboot.boot.hosts import Neighbours
from netboot.boot.key import boot_of_session
from netboot.boot.node_config import configuration
from netboot.boot.sealing import recipient, seal
from netboot.boot.succession import check_succession
from netboot.errors import ClusterError, ClusterUnavailable, ConfigError, JoinWithheld, Refused, StoreError
from netboot.join import JoinMaterial, JoinMethod, request_of
from netboot.model.boot import Boot, Claim
from netboot.model.inventory import Assignment
from netboot.model.machine import Mac
from netboot.web.boot.answers import one_line, unavailable
from netboot.web.boot.claimed import Assigned, Turns, remember
from netboot.web.boot.site import Site
from netboot.web.exchange import Request, Response

_BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9._~-]{16,512})")
_MAX_LOG_LINES = 2000


@dataclass(frozen=True, slots=True)
class _Session:
    """A live session and what it belongs to."""

    claim: Claim
    boot: Boot


class Sessions:
    """What a machine may ask for with its session's secret. `joins` holds the join methods by name.

    `on_material` is called with each boot that was given join material, and it. A method counts its
    credentials against the boot's limit itself.
    """

    def __init__(
        self,
        site: Site,
        assigned: Assigned,
        turns: Turns,
        joins: Mapping[str, JoinMethod],
        admitted: Callable[[Mac], bool],
        rng: random.Random | None,
    ) -> None:
        self.on_material: list[Callable[[Boot, JoinMaterial], None]] = []
        self._site = site
        self._assigned = assigned
        self._turns = turns
        self._joins = joins
        self._neighbours = Neighbours()
        self._admitted = admitted
        self._rng = rng or random.Random()
        self._log_lines: OrderedDict[str, int] = OrderedDict()
        self._spoke: OrderedDict[str, float] = OrderedDict()
        """When each boot's session was last heard, seconds since the epoch: a sign of life of its machine."""

    async def config(self, request: Request) -> Response:
        """The configuration, sealed to the node's certificate, with a credential that is made now."""
        boot_id = (await self._live(request)).boot.id
        async with self._turns.of(boot_id):
            live = await self._live(request)  # once more: the one before us may have changed it
            try:
                return await self._configure(live, self._site.base(request))
            except (JoinWithheld, ClusterError, ConfigError) as error:
                return self._withheld(live.boot, error)

    async def report(self, request: Request) -> Response:
        """How far the machine says it came."""
        live = await self._live(request)
        report = session.parse_report(request.body)
        boots, boot_id = self._site.boots, live.boot.id
        boots.step(boot_id, report.step, bytes=report.bytes, of=report.of, detail=report.detail)
        if report.failed:
            boots.stop(boot_id, report.step, report.detail or "the machine gave no reason")
        elif report.step == "join" and self._ends_by_word(live, report.detail):
            boots.joined(boot_id)
        return Response(204)

    async def log(self, request: Request) -> Response:
        """Lines of the machine's log, a bounded number of them."""
        live = await self._live(request)
        boot, said = live.boot, self._log_lines.get(live.boot.id, 0)
        lines = session.parse_log(request.body)[: max(0, _MAX_LOG_LINES - said)]
        remember(self._log_lines, boot.id, said + len(lines))
        for line in lines:
            self._site.journal.note("node_log", line, mac=boot.mac, node=boot.node)
        return Response(204)

    def over(self, boot: Boot) -> bool:
        """Whether the session of a boot that ended goes with it; a failed one may still log."""
        newest = self._site.boots.of_node(boot.node)
        superseded = newest is not None and newest.id != boot.id and newest.claimed
        return boot.claimed and (boot.state == "joined" or superseded)

    async def end(self, boot: Boot) -> None:
        """End the session of a boot."""
        self._assigned.forget(boot)
        self._log_lines.pop(boot.id, None)
        try:
            await self._site.store.end_claim(boot.id)
        except StoreError as error:  # the boot's own state ends the session all the same
            self._site.journal.refused("boot_store_failed", f"a session's end: {error}", source=boot.id)

    async def _live(self, request: Request) -> _Session:
        """The live session of a request's Bearer; Refused (404) for a wrong or dead one."""
        boots, store = self._site.boots, self._site.store
        bearer = _BEARER.fullmatch(request.head.headers.get("authorization", ""))
        boot_id = boot_of_session(bearer[1]) if bearer else None
        if bearer is None or boot_id is None:
            raise Refused(404, "a request without a session of ours")
        boot, claim = boots.get(boot_id), await store.claim_of(boot_id)
        if session.is_ours(bearer[1], claim, self._site.secret):
            remember(self._spoke, boot_id, self._site.clock())
        claim = session.check_session(bearer[1], claim, boot, self._site.secret, self._site.clock())
        assert boot is not None
        newest = boots.of_node(boot.node)
        if newest is not None and newest.id != boot_id and await store.claim_of(newest.id) is not None:
            raise Refused(404, f"the session of {boot.node}'s boot {boot_id}: a newer boot was claimed")
        return _Session(claim, boot)

    async def _configure(self, live: _Session, base: str) -> Response:
        boot = live.boot
        if boot.ended is not None:
            raise Refused(404, f"the configuration of a boot that is over: {boot.node}'s {boot.id}")
        assignment = self._assignment_of(live)
        check_admission(assignment, boot.mac, self._admitted(boot.mac))
        method = self._joins.get(assignment.cluster.join.method)
        if method is None:
            raise JoinWithheld(f"join method {assignment.cluster.join.method} is not built in", None)
        request = request_of(
            assignment,
            boot_id=boot.id,
            mac=boot.mac,
            uuid=boot.system_uuid,
            address=live.claim.address,
            csr=live.claim.csr,
        )
        if assignment.cluster.join.method != "none":
            await self._check_last(boot)
        material = await method.material(request, self._site.clock())
        try:
            near = self._neighbours.of(self._site.inventory(), assignment.cluster.name, assignment.name)
            plain = configuration(assignment, server=base, join=material.files, neighbours=near)
            sealed = seal(plain, recipient(live.claim.certificate))
            if (present := self._site.boots.get(boot.id)) is None or present.ended is not None:
                raise Refused(404, f"{boot.node}'s boot {boot.id} ended while its credential was made")
        except BaseException:
            await method.revoke(boot.id)
            raise
        self._site.boots.step(boot.id, "config", detail="handed over")
        for callback in self.on_material:
            callback(boot, material)
        return Response(200, sealed, "application/cms")

    async def _check_last(self, boot: Boot) -> None:
        """Withhold the credential while the machine of the boot before may live elsewhere (JoinWithheld)."""
        for last in self._site.boots.all(boot.mac, limit=4):
            if last.id != boot.id and last.claimed and last.started < boot.started:
                if last.state != "joined" and (claim := await self._site.store.claim_of(last.id)):
                    spoke = max(claim.claimed, self._spoke.get(last.id, 0.0))
                    self._check_succession(boot, last, spoke)
                return

    def _check_succession(self, boot: Boot, last: Boot, spoke: float) -> None:
        try:
            check_succession(boot, last, spoke, self._site.clock())
        except JoinWithheld as error:
            told = boot.step("config")
            if error.retry_after is None and not (told and told.detail.startswith("impostor")):
                self._site.journal.note("impostor", error.reason, mac=boot.mac, level=logging.ERROR)
            raise

    def _withheld(self, boot: Boot, error: JoinWithheld | ClusterError | ConfigError) -> Response:
        """No configuration now, or never for this boot: the machine and the operator are told why."""
        reason = str(error)
        wait: float | None = None
        if isinstance(error, JoinWithheld | ClusterUnavailable):
            reason, wait = error.reason, error.retry_after
        self._site.boots.step(boot.id, "config", detail=reason)
        source = str(boot.address or boot.mac)
        self._site.journal.refused("join_withheld", f"{boot.node}: {reason}", source=source)
        if wait is None:
            return Response(409, f"{one_line(reason)}\n".encode())
        return unavailable(one_line(reason), wait * self._rng.uniform(1.0, 1.25))

    def _ends_by_word(self, live: _Session, detail: str) -> bool:
        """Whether the machine's own word ends its boot, for there is no API to ask."""
        join = self._assignment_of(live).cluster.join
        return not join.has_api and (detail == "none" if join.method == "none" else detail.startswith("done"))

    def _assignment_of(self, live: _Session) -> Assignment:
        return self._assigned.of_claimed(live.boot, live.claim)
