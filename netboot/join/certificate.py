"""Join method `certificate`: nothing to steal. The node makes its key and sends a request, we have it signed.

The private key never leaves the node and no token exists. The order of work: is the request for this node
alone (R7's rules, on what the claim brought), is the name free (R19), is the cluster the pinned one (R14);
submit it in our own name, approve it with our own rights, wait until the cluster has signed, and look whether
the certificate is for the node's key. A certificate cannot be revoked: it lives for a day, and the key behind
it only as long as the machine is up.
"""

from __future__ import annotations

import asyncio
import logging

from netboot.cluster import CLIENT_SIGNER, CertificateRequest, ClusterApi, Clusters
from netboot.errors import ClusterRefused
from netboot.join import JoinMaterial, JoinRequest, JoinWithheld, csr, kubelet, reasons
from netboot.join.naming import Alarm, Naming, trusted
from netboot.join.token import Random
from netboot.join.turns import Turns, bounded

log = logging.getLogger("netboot.join")

LIFE = 86400
"""Seconds that a certificate is asked for; the kubelet renews it by itself long before they are over."""

USAGES = ("digital signature", "key encipherment", "client auth")
"""As the signer of every version takes them."""

SIGNED_WITHIN = 5.0
"""Seconds in which the controller-manager has to sign; it takes well below one."""

LOOK_AGAIN = 0.1
TRIES = 5
"""Names that are drawn, or approvals that are tried, at most, where somebody was faster."""

CERTIFICATE = "/etc/kubernetes/pki/kubelet-client.crt"
KEY = "/run/netboot/kubelet.key"
"""Where the initrd put the key that it made; only root may enter that folder."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class CertificateJoin:
    """Has the cluster sign the nodes' own requests."""

    def __init__(
        self,
        clusters: Clusters,
        turns: Turns,
        naming: Naming,
        *,
        alarm: Alarm,
        random: Random,
        signed_within: float = SIGNED_WITHIN,
    ) -> None:
        """`alarm` tells the operator of a machine that asks for another node's certificate."""
        self._clusters = clusters
        self._turns = turns
        self._naming = naming
        self._alarm = alarm
        self._random = random
        self._signed_within = signed_within
        self._unsigned: dict[str, str] = {}
        """By boot: the request that was not signed in time, so that asking again makes no second one."""

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """A certificate for the key of this boot. Raises JoinWithheld."""
        async with self._turns.asking(request, now):
            return await self._material(request, now)

    async def revoke(self, boot_id: str) -> None:
        """Nothing can be taken back: a certificate is good until it expires."""
        async with self._turns.alone(boot_id):
            self._turns.forget(boot_id)
            self._unsigned.pop(boot_id, None)

    async def _material(self, request: JoinRequest, now: float) -> JoinMaterial:
        wanted = self._checked(request)
        api = self._clusters.api(request.cluster.name)
        before = await self._naming.free(api, request, now)
        authority = await trusted(api, request)
        self._turns.check(request.boot_id)
        signed = await self._signed(api, await self._approved(api, request, wanted, now), request)
        try:
            certificate = csr.issued(signed.certificate, wanted, request.node, now)
        except ValueError as error:
            raise JoinWithheld(reasons.wrong_request(request, str(error)), None) from None
        await self._turns.count(request.boot_id)
        log.info("certificate request %s signed for node %s", signed.name, request.node)
        files = {
            **kubelet.method("certificate"),
            **kubelet.kubelet_files(
                request, authority=authority, serverTLSBootstrap=request.cluster.approves_serving
            ),
            **kubelet.laid(CERTIFICATE, certificate),
            **kubelet.laid(
                kubelet.KUBECONFIG,
                kubelet.kubeconfig(request, authority, kubelet.by_files(CERTIFICATE, KEY)),
                kubelet.SECRET,
            ),
        }
        return JoinMaterial("certificate", files, (signed.name,), before.incarnation if before else "")

    def _checked(self, request: JoinRequest) -> csr.NodeRequest:
        try:
            return csr.checked(request.csr, request.node)
        except ValueError as error:
            text = reasons.wrong_request(request, str(error))
            if request.csr:
                self._alarm(request, text)
            raise JoinWithheld(text, None) from None

    async def _approved(
        self, api: ClusterApi, request: JoinRequest, wanted: csr.NodeRequest, now: float
    ) -> CertificateRequest:
        """The node's request as it stands at the API, approved by us."""
        made = await self._standing(api, request, wanted) or await self._submit(api, request, wanted)
        for _ in range(TRIES):
            if made.approved or made.denied or made.failed:
                return made
            try:
                await api.decide(
                    made,
                    approve=True,
                    reason="NetbootClaim",
                    message=f"netboot: node {request.node}, MAC {request.mac}, boot {request.boot_id}",
                    now=now,
                )
            except ClusterRefused as error:
                if error.status != 409:
                    raise
            made = await self._again(api, made.name, request)
        raise JoinWithheld(reasons.CHANGED, 2.0)

    async def _standing(
        self, api: ClusterApi, request: JoinRequest, wanted: csr.NodeRequest
    ) -> CertificateRequest | None:
        """The request of this boot that the cluster had not signed in time."""
        name = self._unsigned.pop(request.boot_id, None)
        made = await api.certificate_request(name) if name else None
        usable = made is not None and made.pem == wanted.pem and not (made.denied or made.failed)
        return made if usable else None

    async def _submit(
        self, api: ClusterApi, request: JoinRequest, wanted: csr.NodeRequest
    ) -> CertificateRequest:
        for _ in range(TRIES):
            tail = "".join(self._random.choice(_LETTERS) for _ in range(10))
            try:
                return await api.request_certificate(
                    f"netboot-{request.node[:200]}-{tail}",
                    wanted.pem,
                    signer=CLIENT_SIGNER,
                    usages=USAGES,
                    seconds=LIFE,
                )
            except ClusterRefused as error:
                if error.status != 409:
                    raise
        raise JoinWithheld(f"{TRIES} names of certificate requests in a row were taken", 5.0)

    async def _again(self, api: ClusterApi, name: str, request: JoinRequest) -> CertificateRequest:
        made = await api.certificate_request(name)
        if made is None:
            raise JoinWithheld(reasons.not_issued(request, name, "somebody deleted it"), 5.0)
        return made

    async def _signed(
        self, api: ClusterApi, made: CertificateRequest, request: JoinRequest
    ) -> CertificateRequest:
        """Wait until the cluster has signed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._signed_within
        while not made.certificate:
            if made.denied or made.failed:
                raise JoinWithheld(reasons.not_issued(request, made.name, made.message), None)
            if loop.time() >= until:
                bounded(self._unsigned)[request.boot_id] = made.name
                raise JoinWithheld(reasons.unissued(request, self._signed_within), 10.0)
            await asyncio.sleep(LOOK_AGAIN)
            made = await self._again(api, made.name, request)
        return made
