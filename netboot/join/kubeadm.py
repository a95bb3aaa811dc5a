"""Join method `kubeadm`: a bootstrap token for one boot of one node, handed out as a JoinConfiguration.

Requirements by their numbers in docs/kubernetes.md. The order of work: is the name free (R19), is the
cluster the pinned one (R14), take back this boot's former token (R6), mint (R1 to R4), wait until the
cluster has signed (R5), write the configuration (R15).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from netboot.cluster import BootstrapToken, ClusterApi, Clusters, NodeObject
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable, StoreError
from netboot.join import JoinMaterial, JoinRequest, JoinWithheld, reasons
from netboot.join import token as tokens
from netboot.join.kubeadm_config import DISCOVERY_TIMEOUT, join_configuration, pins_of
from netboot.join.presence import Living, Presence, Undecided
from netboot.model.boot import TokenRecord
from netboot.store import TokenStore

T = TypeVar("T")

log = logging.getLogger("netboot.join")

DRAWS = 5
"""Ids that are drawn at most, where the one before was taken (R1)."""

SIGNED_WITHIN = 2.0
"""Seconds in which cluster-info has to carry a new token's signature (R5); it takes 0.008 to 0.101."""

SIGNATURE_INTERVAL = 0.05
PATIENCE = 900.0
"""Seconds that a boot waits for an API that does not answer, counted from its first vain try."""

SWEEP_INTERVAL = 30.0
FORGET_AFTER = 86400.0
"""Seconds past its expiry at which a token that could never be deleted is forgotten."""

CREDENTIALS = 5
"""Credentials that one boot is given at most (R6)."""

Alarm = Callable[[JoinRequest, str], None]
"""Tells the operator of somebody who asks for a name that is taken."""


class CredentialStore(TokenStore, Protocol):
    """The part of the store that a join needs."""

    async def count_credential(self, boot_id: str, limit: int) -> bool:
        """Count one more credential for this boot, durably; False where `limit` were given already."""


class KubeadmJoin:
    """Makes, hands out and takes back bootstrap tokens; `run` has to run beside it."""

    def __init__(
        self,
        clusters: Clusters,
        store: CredentialStore,
        presence: Presence,
        *,
        alarm: Alarm,
        random: tokens.Random,
        clock: Callable[[], float],
        patience: float = PATIENCE,
        discovery_timeout: int = DISCOVERY_TIMEOUT,
        signed_within: float = SIGNED_WITHIN,
    ) -> None:
        self._clusters = clusters
        self._store = store
        self._presence = presence
        self._alarm = alarm
        self._random = random
        self._clock = clock
        self._patience = patience
        self._discovery_timeout = discovery_timeout
        self._signed_within = signed_within
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._waiting_since: dict[str, float] = {}
        self._spent: dict[str, None] = {}
        self._due: dict[tuple[str, str], TokenRecord] = {}

    def observe(self, cluster: str, node: str) -> None:
        """A boot of this node opened just now (R19): begin to look at its Lease."""
        self._presence.observe(cluster, node)

    async def start(self) -> frozenset[str]:
        """Take back what earlier runs left behind: the tokens that we recorded ourselves (R10).

        Returns the boots that they were made for: some of those may be joining at this moment.
        """
        records = await self._store.tokens()
        self._due = {_key(record): record for record in records}
        return frozenset(record.boot_id for record in records)

    async def run(self) -> None:
        """Look at Leases, and delete what could not be deleted at once, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._presence.run())
            group.create_task(self._sweep_forever())

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """A new token for this boot. Raises JoinWithheld."""
        async with self._alone(request.boot_id):
            try:
                made = await self._material(request, now)
            except JoinWithheld as error:
                if error.retry_after is None:
                    raise
                raise self._wait(request, error.reason, error.retry_after, now) from None
            except ClusterUnavailable as error:
                raise self._wait(request, str(error), error.retry_after, now) from None
            except ClusterRefused as error:
                raise JoinWithheld(reasons.refusal(request, error), None) from None
            except ClusterError as error:
                raise self._wait(request, f"cluster {request.cluster.name}: {error}", 15.0, now) from None
            except StoreError as error:
                raise JoinWithheld(f"the credential cannot be recorded: {error}", 5.0) from None
            self._waiting_since.pop(request.boot_id, None)
            return made

    async def revoke(self, boot_id: str) -> None:
        """Delete the tokens of this boot (R10); what cannot be deleted now is tried again until it is gone.

        A deleted token may pass as a bearer for ten more seconds: the API server remembers it (R11).
        """
        async with self._alone(boot_id):
            self._waiting_since.pop(boot_id, None)
            try:
                await self._revoke(boot_id)
            except StoreError as error:
                log.warning("the tokens of boot %s cannot be looked up: %s", boot_id, error)

    async def _material(self, request: JoinRequest, now: float) -> JoinMaterial:
        api = self._clusters.api(request.cluster.name)
        before = await self._free_name(api, request, now)
        pins = await self._pins(api, request)
        version = await api.version()
        await self._revoke(request.boot_id)
        if request.boot_id in self._spent:
            raise JoinWithheld(reasons.SPENT, None)
        token = await self._mint(api, request, now)
        try:
            await self._signed(api, token, request)
            await self._counted(request)
        except BaseException:
            await self._revoke(request.boot_id)
            raise
        configuration = join_configuration(
            request,
            token=f"{token.token_id}.{token.secret}",
            pins=pins,
            server=version,
            discovery_timeout=self._discovery_timeout,
        )
        files = {"join/method": (b"kubeadm\n", 0o644), "join/kubeadm.yaml": (configuration, 0o600)}
        if request.cluster.join.ignore_preflight:
            files["join/ignore_preflight"] = (
                f"{','.join(request.cluster.join.ignore_preflight)}\n".encode(),
                0o644,
            )
        log.info("token %s made for node %s, boot %s", token.token_id, request.node, request.boot_id)
        return JoinMaterial("kubeadm", files, (token.token_id,), before.incarnation if before else "")

    # R19: the name is free

    async def _free_name(self, api: ClusterApi, request: JoinRequest, now: float) -> NodeObject | None:
        """The Node object that stands under the name and is not Ready, None where there is none."""
        node = await api.node(request.node)
        if node is None or node.ready != "True":
            return node
        verdict = await self._presence.verdict(request.cluster.name, request.node, request.boot_id)
        if isinstance(verdict, Living):
            raise self._impostor(request)
        if isinstance(verdict, Undecided):
            text = reasons.still_ready(request, verdict.seconds)
            raise JoinWithheld(text, min(5.0, max(1.0, verdict.seconds)))
        if not request.cluster.node_actions.mark_unknown:
            raise JoinWithheld(reasons.not_marked(request), 5.0)
        try:
            await api.mark_unknown(node, now)
        except ClusterRefused as error:
            if error.status not in (404, 409, 422):
                raise
            raise JoinWithheld(reasons.CHANGED, 2.0) from None
        log.info("node %s came back while its Node object was Ready: set to Unknown", request.node)
        return node

    def _impostor(self, request: JoinRequest) -> JoinWithheld:
        text = reasons.impostor(request)
        self._alarm(request, text)
        return JoinWithheld(text, None)

    # R14: the cluster is the pinned one

    async def _pins(self, api: ClusterApi, request: JoinRequest) -> tuple[str, ...]:
        pinned = pins_of(await api.authority())
        shown = pins_of((await api.cluster_info()).ca)
        if not shown:
            raise JoinWithheld(reasons.no_authority(request), None)
        if not set(shown) <= set(pinned):
            raise JoinWithheld(reasons.wrong_authority(request, shown, pinned), None)
        return shown

    # R1 to R5: the token

    async def _mint(self, api: ClusterApi, request: JoinRequest, now: float) -> BootstrapToken:
        for _ in range(DRAWS):
            token = self._draw(request, now)
            record = TokenRecord(
                token.token_id,
                request.boot_id,
                request.cluster.name,
                tokens.hash_of(token),
                now + min(request.cluster.join.token_ttl, tokens.LONGEST),
            )
            await self._store.record_token(record)
            try:
                await api.create_token(token)
            except ClusterRefused as error:
                await self._store.forget_token(record.cluster, record.token_id)
                if error.status != 409:
                    raise
            except BaseException:  # the POST may have arrived: the record lets it be deleted
                self._due[_key(record)] = record
                raise
            else:
                return token
        raise JoinWithheld(f"{DRAWS} token ids in a row were taken in cluster {request.cluster.name}", 5.0)

    def _draw(self, request: JoinRequest, now: float) -> BootstrapToken:
        try:
            return tokens.draw(request, random=self._random, now=now)
        except ValueError as error:
            raise JoinWithheld(str(error), None) from None

    async def _signed(self, api: ClusterApi, token: BootstrapToken, request: JoinRequest) -> None:
        """Wait until cluster-info carries this token's signature, for the node is refused before that."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._signed_within
        seen = False
        while True:
            info = await api.cluster_info()
            if jws := info.signatures.get(token.token_id):
                seen = True
                if tokens.signs(jws, info.kubeconfig, token):
                    return
            if loop.time() >= until:
                if seen:
                    raise JoinWithheld(reasons.wrong_signature(request), None)
                raise JoinWithheld(reasons.unsigned(request, api.skew, self._signed_within), 10.0)
            await asyncio.sleep(SIGNATURE_INTERVAL)

    async def _counted(self, request: JoinRequest) -> None:
        """R6: only what is really handed out counts, at most five times per boot."""
        if await self._store.count_credential(request.boot_id, CREDENTIALS):
            return
        _bounded(self._spent)[request.boot_id] = None
        raise JoinWithheld(reasons.SPENT, None)

    # R10: taking back

    async def _revoke(self, boot_id: str) -> None:
        for record in await self._store.tokens_of(boot_id):
            await self._delete(record)

    async def _delete(self, record: TokenRecord) -> bool:
        """Delete one token; where that fails it is due for the next sweep."""
        try:
            await self._clusters.api(record.cluster).delete_token(record.token_id)
        except ClusterError as error:
            self._due[_key(record)] = record
            log.warning(
                "token %s of cluster %s is not deleted yet: %s", record.token_id, record.cluster, error
            )
            return False
        await self._forget(record)
        return True

    async def _forget(self, record: TokenRecord) -> None:
        self._due.pop(_key(record), None)
        await self._store.forget_token(record.cluster, record.token_id)

    async def _sweep_forever(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_INTERVAL)

    async def sweep(self) -> None:
        """Try once more to delete every token that is due."""
        now = self._clock()
        for record in list(self._due.values()):
            try:
                if not await self._delete(record) and now > record.expires + FORGET_AFTER:
                    await self._forget(record)
            except StoreError as error:
                log.warning("token %s cannot be forgotten: %s", record.token_id, error)

    # Waiting

    def _wait(self, request: JoinRequest, reason: str, retry_after: float, now: float) -> JoinWithheld:
        """Ask again later, but not for ever."""
        since = _bounded(self._waiting_since).setdefault(request.boot_id, now)
        if now - since > self._patience:
            return JoinWithheld(f"given up after {now - since:.0f} s: {reason}", None)
        return JoinWithheld(reason, retry_after)

    @asynccontextmanager
    async def _alone(self, boot_id: str) -> AsyncIterator[None]:
        """One call at a time per boot: a repeated request must not leave two tokens."""
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


def _bounded(memory: dict[str, T]) -> dict[str, T]:
    """The same dict, its oldest entries gone where it grew large."""
    while len(memory) > 10_000:
        del memory[next(iter(memory))]
    return memory


def _key(record: TokenRecord) -> tuple[str, str]:
    return record.cluster, record.token_id
