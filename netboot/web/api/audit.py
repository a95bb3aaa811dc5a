"""The audit: who changed what by the API, and whose tries were refused.

A change is on disk before it is begun, and how it ended before its answer leaves; where the disk refuses,
nothing is changed. Tries that were refused are kept, too, some of each address and minute.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from aiohttp import web

from netboot.errors import StoreError
from netboot.events import Journal, clean
from netboot.model.access import ApiToken, AuditEntry
from netboot.model.manners import Rate
from netboot.store import AuditStore
from netboot.web.api.tries import Tries

log = logging.getLogger("netboot")

SHOWN = (
    "address", "cluster", "drain", "dry_run", "force", "image", "mac", "name", "pool", "state", "tags",
)  # fmt: skip
"""Keys of bodies and queries that are kept; whatever else is sent is not."""
_VALUE = 200
_PATH = 300

REFUSALS_OF_ONE = Rate(20, 60.0)
REFUSALS_OF_ALL = Rate(200, 60.0)
"""Refused tries that are kept: of one source, and of all."""


class Auditor:
    """Writes the audit."""

    def __init__(self, store: AuditStore, journal: Journal, clock: Callable[[], float]) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._of_one = Tries(REFUSALS_OF_ONE)
        self._of_all = Tries(REFUSALS_OF_ALL)

    async def begin(self, request: web.Request, caller: ApiToken) -> AuditEntry:
        """Remember that a change is about to be made; on disk when it returns. Raises StoreError."""
        entry = self._entry(request, caller, await _asked(request))
        return replace(entry, id=await self._store.record_audit(entry))

    async def end(self, entry: AuditEntry, answer: web.StreamResponse) -> None:
        """Remember how it ended: the change is made, whatever the disk says to that."""
        entry = replace(entry, status=answer.status, operation=_operation(answer))
        self._journal.counters["api_changes"] += 1
        _tell(entry)
        try:
            await self._store.finish_audit(entry.id or 0, answer.status, entry.operation)
        except StoreError as error:
            log.error("how change %s of the audit ended cannot be written: %s", entry.id, error)

    async def refused(self, request: web.Request, caller: ApiToken | None, status: int) -> None:
        """Remember a try that was turned away, unless too many are."""
        now, who = self._clock(), caller.name if caller else request.remote or "?"
        if self._of_one.wait(who, now) or not self._of_all.failed("", now):
            self._journal.counters["audit_left_out"] += 1
            return
        self._of_one.failed(who, now)
        entry = replace(self._entry(request, caller, {}), refused=True, status=status)
        _tell(entry)
        try:
            await self._store.record_audit(entry)
        except StoreError as error:
            log.warning("a refused try cannot be written into the audit: %s", error)

    def _entry(self, request: web.Request, caller: ApiToken | None, asked: Mapping[str, str]) -> AuditEntry:
        return AuditEntry(
            at=self._clock(),
            name=caller.name if caller else None,
            role=caller.role.word if caller else None,
            source=clean(request.remote or "?", 64),
            method=clean(request.method, 16),
            path=clean(request.path, _PATH),
            request=asked,
        )


async def _asked(request: web.Request) -> dict[str, str]:
    """What a change asks for, of keys that hold no secret."""
    try:
        body = json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError):
        body = {}
    said = {**request.query, **(body if isinstance(body, dict) else {})}
    return {key: _shown(said[key]) for key in SHOWN if said.get(key) is not None}


def _shown(value: object) -> str:
    return clean(value if isinstance(value, str) else json.dumps(value), _VALUE)


def _operation(answer: web.StreamResponse) -> str | None:
    """The operation that an answer says is under way."""
    head, _, name = answer.headers.get("Location", "").rpartition("/")
    return clean(name, 64) if head.endswith("/operations") else None


def _tell(entry: AuditEntry) -> None:
    """One line of the log, each fact as JSON where it is no plain word."""
    facts: dict[str, object] = {
        "name": entry.name,
        "role": entry.role,
        "source": entry.source,
        "method": entry.method,
        "path": entry.path,
        **{f"asked.{key}": value for key, value in entry.request.items()},
        "status": entry.status,
        "why": entry.why,
        "operation": entry.operation,
    }
    told = " ".join(f"{key}={_quoted(str(value))}" for key, value in facts.items() if value is not None)
    level = logging.WARNING if entry.refused else logging.INFO
    log.log(level, "audit: %s %s", "refused" if entry.refused else "change", told)


def _quoted(value: str) -> str:
    plain = value.replace("/", "").replace(":", "").replace(".", "").replace("-", "").replace("_", "")
    return value if plain.isalnum() and value.isascii() else json.dumps(value)
