"""Calls about certificate signing requests (certificates.k8s.io/v1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from netboot.cluster import CertificateRequest
from netboot.cluster.calls import Calls, epoch, rfc3339
from netboot.cluster.connection import Json
from netboot.errors import ClusterUnavailable

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


class CertificateCalls(Calls):
    """See `cluster.CertificatesApi`."""

    async def certificate_requests(self, signer: str) -> tuple[Sequence[CertificateRequest], str]:
        """The requests to one signer, and the version from which a watch goes on."""
        selector = f"spec.signerName={signer}"
        return await self._connection.every(REQUESTS, request_of, fieldSelector=selector)

    async def watch_certificate_requests(
        self, signer: str, version: str
    ) -> AsyncGenerator[CertificateRequest, None]:
        """Requests to that signer as they come and change; a deleted one is not told."""
        selector = f"spec.signerName={signer}"
        async with aclosing(self._connection.watch(REQUESTS, version, fieldSelector=selector)) as events:
            async for kind, body in events:
                if kind in ("ADDED", "MODIFIED", "BOOKMARK"):
                    yield request_of(body)

    async def certificate_request(self, name: str) -> CertificateRequest | None:
        """The request of that name."""
        body = await self._connection.get_or_none(f"{REQUESTS}/{name}")
        return request_of(body) if body is not None else None

    async def request_certificate(
        self, name: str, pem: bytes, *, signer: str, usages: Sequence[str], seconds: int
    ) -> CertificateRequest:
        """Submit a request in our own name."""
        body: Json = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": base64.b64encode(pem).decode(),
                "signerName": signer,
                "usages": list(usages),
                "expirationSeconds": seconds,
            },
        }
        return request_of(await self._connection.call("POST", REQUESTS, body))

    async def decide(
        self, request: CertificateRequest, *, approve: bool, reason: str, message: str, now: float
    ) -> None:
        """Approve or deny a request, if it is still the one that was read."""
        path = f"{REQUESTS}/{request.name}/approval"
        body = await self._connection.call("GET", f"{REQUESTS}/{request.name}")
        condition = {
            "type": "Approved" if approve else "Denied",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": rfc3339(now),
        }
        # labels and the like stay: an update takes the place of the whole object
        precondition = {"uid": request.uid, "resourceVersion": request.resource_version}
        metadata = {**(body.get("metadata") or {}), "name": request.name, **precondition}
        status = dict(body.get("status") or {})
        status["conditions"] = [*(status.get("conditions") or ()), condition]
        decided = body | {"metadata": metadata, "status": status}
        try:
            await self._connection.call("PUT", path, decided)
        except ClusterUnavailable as error:
            if error.status < 500:
                raise
            await self._connection.call("PUT", path, decided)  # 409 where the first one counted after all


def request_of(body: Json) -> CertificateRequest:
    """What we look at in a CertificateSigningRequest; absent parts are empty."""
    metadata, spec, status = (body.get(part) or {} for part in ("metadata", "spec", "status"))
    conditions = [c for c in status.get("conditions") or () if isinstance(c, dict)]
    kinds = {str(c.get("type", "")) for c in conditions}
    return CertificateRequest(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        resource_version=str(metadata.get("resourceVersion", "")),
        created=epoch(metadata.get("creationTimestamp")),
        username=str(spec.get("username", "")),
        groups=tuple(str(group) for group in spec.get("groups") or ()),
        signer=str(spec.get("signerName", "")),
        usages=tuple(str(usage) for usage in spec.get("usages") or ()),
        pem=_decoded(spec.get("request")),
        approved="Approved" in kinds,
        denied="Denied" in kinds,
        failed="Failed" in kinds,
        message="; ".join(str(c.get("message", "")) for c in conditions)[:500],
        certificate=_decoded(status.get("certificate")),
        program=_submitter(metadata.get("managedFields")),
    )


def _submitter(managed: object) -> str:
    """The manager of the fields that were written first, which is the beginning of a User-Agent."""
    first = managed[0] if isinstance(managed, list) and managed else None
    return str(first.get("manager", ""))[:128] if isinstance(first, dict) else ""


def _decoded(text: object) -> bytes:
    try:
        return base64.b64decode(str(text or ""), validate=True)
    except (binascii.Error, ValueError):
        return b""
