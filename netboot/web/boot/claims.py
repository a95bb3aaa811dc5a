"""Seed and claim: how a machine gets the key of its boot, and what it burns it for."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from netboot.boot import session
from netboot.boot.claim_rate import LONGEST, ClaimRates, told
from netboot.boot.key import session_secret
from netboot.boot.sealing import Recipient, recipient
from netboot.boot.seed import seed_cpio
from netboot.boot.session import Asker
from netboot.boot.stall import DISK, last_step
from netboot.errors import Refused, StoreError
from netboot.model.boot import Boot, Claim, Kept
from netboot.model.inventory import Assignment, Network, Pool
from netboot.model.lease import Lease
from netboot.web.boot.answers import json_answer, unavailable
from netboot.web.boot.claimed import Assigned, Turns, remember
from netboot.web.boot.site import Site
from netboot.web.exchange import Request, Response

_CAS_TRIES = 5


class Claims:
    """What a machine is given before it has a session."""

    def __init__(self, site: Site, assigned: Assigned, turns: Turns) -> None:
        self._site = site
        self._assigned = assigned
        self._turns = turns
        self._rates = ClaimRates()
        self._alarmed: OrderedDict[str, None] = OrderedDict()

    async def seed(self, request: Request, key: str) -> Response:
        """The second initrd with the key, for the leased address alone. Raises Refused and TooLate."""
        site = self._site
        asker = await site.askers.at(request.client)
        lease = session.leased_to(asker)
        boot = session.boot_of_key(key, self._candidates(lease), site.secret)
        session.check_unused(boot, await site.store.claim_of(boot.id), site.clock())
        assignment = self._assigned.of(boot, lease.network)
        self._fits(boot, lambda: session.check_identity(boot))
        https = site.https if site.https and site.https.ca else None
        seed = seed_cpio(
            key=key,
            node=assignment.name,
            join=assignment.cluster.join.method,
            server=site.base(request, secure=https is not None),
            ca=https.ca if https else "",
        )
        if request.head.method == "GET":
            site.boots.step(boot.id, "seed")
        return Response(200, seed, "application/octet-stream")

    async def claim(self, request: Request, key: str | None) -> Response:
        """Burn the key (None: the script went by TFTP) and begin a session. Raises Refused and StoreError."""
        wanted = session.parse_claim(request.body)
        asker = await self._site.askers.at(request.client)
        lease = session.leased_to(asker)
        boot = self._boot_to_claim(lease, key)
        async with self._turns.of(boot.id):
            try:
                return await self._claim_boot(wanted, asker, lease, boot)
            except StoreError as error:
                self._waits(boot.id, f"{DISK}: {error}")
                raise

    def _waits(self, boot_id: str, why: str) -> None:
        """Let the machine's boot show what it waits for, at the step that it has reached."""
        boot = self._site.boots.get(boot_id)
        last = last_step(boot) if boot else None
        if last is not None and last.detail != session.BY_TFTP:  # that one decides about the next claim
            self._site.boots.step(boot_id, last.step, detail=why)

    def _fits(self, boot: Boot, check: Callable[[], None]) -> None:
        """Let the boot show why its machine is none that was declared. Raises Refused."""
        try:
            check()
        except Refused as error:
            self._waits(boot.id, error.reason)
            raise

    def _not_yet(self, boot: Boot, pool: Pool, now: float) -> Response | None:
        """The answer to a claim that its pool does not admit now, None where it does."""
        seconds = self._rates.wait(pool, boot.id, now)
        if not seconds:
            return None
        self._waits(boot.id, told(pool, seconds))
        self._site.journal.counters["claims_delayed"] += 1
        return unavailable(told(pool, seconds), min(LONGEST, math.ceil(seconds)))

    async def _claim_boot(
        self, wanted: session.ClaimRequest, asker: Asker, lease: Lease, boot: Boot
    ) -> Response:
        site = self._site
        now = site.clock()
        standing = await site.store.claim_of(boot.id)
        if text := session.second_claimant(wanted, lease, boot, standing, now):
            self._alarm(boot, text)
        repeated = session.check_claim(wanted, asker, lease, boot, standing, now)
        if repeated is None:
            to = recipient(wanted.certificate)
            assignment = self._assigned.of(boot, lease.network)
            self._fits(boot, lambda: session.check_identity(boot))
            self._fits(boot, lambda: session.check_uuid(wanted, assignment.node))
            if not_yet := self._not_yet(boot, assignment.pool, now):
                return not_yet
            await self._lengthen(lease, assignment.network)
            repeated = await self._burn(wanted, asker, to, boot, kept_of(assignment), now)
            self._claimed(boot, wanted, lease, assignment)
        secret = session_secret(site.secret, boot.id, repeated.certificate_sha256)
        site.journal.counters["claims_answered"] += 1
        present = site.boots.get(boot.id) or boot
        return json_answer({"session": secret, "node": present.node})

    def _alarm(self, boot: Boot, text: str) -> None:
        """Once for a boot: whoever may claim again may do so a thousand times."""
        if boot.id not in self._alarmed:
            remember(self._alarmed, boot.id, None)
            self._site.journal.note("impostor", text, mac=boot.mac, level=logging.ERROR)

    def _boot_to_claim(self, lease: Lease, key: str | None) -> Boot:
        if key is not None:
            return session.boot_of_key(key, self._candidates(lease), self._site.secret)
        boot = self._site.boots.get(lease.boot_id) if lease.boot_id else None
        if boot is None:
            raise Refused(404, f"{lease.mac} claims without a key, and is in no boot")
        session.check_without_key(boot)
        return boot

    def _candidates(self, lease: Lease) -> list[Boot]:
        """The boots that a key from this address may belong to: the lease's, then the machine's others."""
        own = self._site.boots.get(lease.boot_id) if lease.boot_id else None
        return [*([own] if own else []), *self._site.boots.all(lease.mac, limit=4)]

    async def _burn(
        self, wanted: session.ClaimRequest, asker: Asker, to: Recipient, boot: Boot, kept: Kept, now: float
    ) -> Claim:
        """Burn the key on disk; Refused where somebody else was faster."""
        claim = Claim(
            boot.id, asker.address, wanted.sha256, to.pem, to.sha256, now, csr=wanted.csr, kept=kept
        )
        standing = await self._site.store.burn(claim)
        if standing != claim and not session.repeats(wanted, asker.address, standing, now):
            raise Refused(404, f"the key of {boot.node}'s boot {boot.id} was used already")
        return standing

    async def _lengthen(self, lease: Lease, network: Network) -> None:
        """Turn the boot lease into the network's lease, on disk; a renewal by DHCP meanwhile is no harm."""
        store = self._site.store
        seen: Lease | None = lease
        for _ in range(_CAS_TRIES):
            if seen is None or (seen.holder, seen.mac) != (lease.holder, lease.mac):
                raise Refused(404, f"the address of {lease.mac} went to another machine")
            now = self._site.clock()
            longer = replace(seen, expires=max(seen.expires, now + network.lease), last_seen=now)
            if await store.claim_lease(longer, seen):
                return
            seen = await store.lease_at(lease.address)
        raise StoreError(f"the lease of {lease.mac} changed {_CAS_TRIES} times while it was written")

    def _claimed(
        self, boot: Boot, wanted: session.ClaimRequest, lease: Lease, assignment: Assignment
    ) -> None:
        boots = self._site.boots
        self._assigned.keep(boot, assignment)
        boots.annotate(
            boot.id,
            node=assignment.name,
            cluster=assignment.cluster.name,
            address=lease.address,
            system_uuid=wanted.uuid,
        )
        boots.step(boot.id, "claim")
        boots.claimed(boot.id)


def kept_of(assignment: Assignment) -> Kept:
    """What a boot belongs to from its claim on."""
    tags = assignment.node.tags if assignment.node else ()
    return Kept(assignment.name, assignment.cluster.name, assignment.pool.name, tags)
