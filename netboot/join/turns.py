"""One boot asks for its credential: alone, patiently, and five times at most. Every join method asks so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable, StoreError
from netboot.join import JoinRequest, JoinWithheld, reasons

T = TypeVar("T")

PATIENCE = 900.0
"""Seconds that a boot waits for an API that does not answer, counted from its first vain try."""

REFUSED = 30.0
"""Seconds until a boot asks again whose cluster does not let our account do it: an operator may mend that,
and an API server that has just started refuses everybody for a moment."""

CREDENTIALS = 5
"""Credentials that one boot is given at most (R6)."""


class CountStore(Protocol):
    """The part of the store that counts."""

    async def count_credential(self, boot_id: str, limit: int) -> bool:
        """Count one more credential for this boot, durably; False where `limit` were given already."""


class Turns:
    """Who asks now, who has waited how long, and who has asked too often."""

    def __init__(self, store: CountStore, *, patience: float = PATIENCE) -> None:
        self._store = store
        self._patience = patience
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._waiting_since: dict[str, float] = {}
        self._spent: dict[str, None] = {}

    @asynccontextmanager
    async def asking(self, request: JoinRequest, now: float) -> AsyncIterator[None]:
        """A boot's turn: whatever goes wrong in it, at the API or in the store, becomes JoinWithheld.

        Only ClusterUnavailable stays as it is: whoever calls lets machines wait for an API in order.
        """
        async with self.alone(request.boot_id):
            try:
                yield
            except JoinWithheld as error:
                if error.retry_after is None:
                    raise
                raise self._wait(request, error.reason, error.retry_after, now) from None
            except ClusterUnavailable:
                raise
            except ClusterRefused as error:
                text = reasons.refusal(request, error)
                if error.status not in (401, 403):
                    raise JoinWithheld(text, None) from None
                raise self._wait(request, text, REFUSED, now) from None
            except ClusterError as error:
                raise self._wait(request, f"cluster {request.cluster.name}: {error}", 15.0, now) from None
            except StoreError as error:
                raise JoinWithheld(f"the credential cannot be recorded: {error}", 5.0) from None
            self.forget(request.boot_id)

    @asynccontextmanager
    async def alone(self, boot_id: str) -> AsyncIterator[None]:
        """One call at a time per boot: a repeated request must not leave two credentials."""
        lock, users = self._locks.get(boot_id, (asyncio.Lock(), 0))
        self._locks[boot_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[boot_id]
            if users == 1:
                del self._locks[boot_id]
            else:
                self._locks[boot_id] = (lock, users - 1)

    def forget(self, boot_id: str) -> None:
        """This boot waits no more."""
        self._waiting_since.pop(boot_id, None)

    def check(self, boot_id: str) -> None:
        """Whether this boot may still be given something; JoinWithheld for one that asked too often."""
        if boot_id in self._spent:
            raise JoinWithheld(reasons.SPENT, None)

    async def count(self, boot_id: str) -> None:
        """R6: only what is really handed out counts, at most five times per boot; else JoinWithheld."""
        if await self._store.count_credential(boot_id, CREDENTIALS):
            return
        bounded(self._spent)[boot_id] = None
        raise JoinWithheld(reasons.SPENT, None)

    def _wait(self, request: JoinRequest, reason: str, retry_after: float, now: float) -> JoinWithheld:
        """Ask again later, but not for ever."""
        since = bounded(self._waiting_since).setdefault(request.boot_id, now)
        if now - since > self._patience:
            return JoinWithheld(f"given up after {now - since:.0f} s: {reason}", None)
        return JoinWithheld(reason, retry_after)


def bounded(memory: dict[str, T]) -> dict[str, T]:
    """The same dict, its oldest entries gone where it grew large."""
    while len(memory) > 10_000:
        del memory[next(iter(memory))]
    return memory
