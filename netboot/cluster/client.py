"""A Kubernetes API over plain aiohttp: about ten fixed calls, each with a time limit.

Why no Kubernetes library: docs/kubernetes.md. Nothing here logs a request's body or a credential.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from netboot.cluster import (
    NODE_LEASES,
    Access,
    BootstrapToken,
    ClusterApi,
    ClusterInfo,
    NodeLease,
    NodeObject,
    ServerVersion,
)
from netboot.cluster.credentials import RENEW_BEFORE, Issued, bearer_of, run_plugin, tls_context
from netboot.cluster.kubeconfig import Kubeconfig, load, load_in_cluster
from netboot.errors import ClusterError, ClusterRefused, ClusterUnavailable
from netboot.model.inventory import Cluster

log = logging.getLogger("netboot.cluster")

TIMEOUT = 5.0
"""Seconds that one call may take."""

ANSWER_LIMIT = 4 << 20
"""Octets of one answer: a Node object with its list of images is about 50 kB."""

CLUSTER_INFO_LIMIT = 1 << 18
"""Characters of the kubeconfig inside cluster-info."""

SKEW_LIMIT = 30.0
"""Seconds of clock difference above which tokens may be born expired, or live too long (R2)."""

TOKENS = "/api/v1/namespaces/kube-system/secrets"
CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

Json = dict[str, Any]


class KubernetesApi:
    """One cluster, known only by its kubeconfig; `path` None is the pod's own service account.

    The kubeconfig is read at the first call, and again when a file of it changes.
    """

    def __init__(
        self,
        name: str,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
        timeout: float = TIMEOUT,
    ) -> None:
        self.name = name
        self._path = path
        self._clock = clock
        self._environ = environ
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._skew: float | None = None
        self._skew_reported = False
        self._config: Kubeconfig | None = None
        self._stamps: tuple[tuple[int, int], ...] = ()
        self._issued: Issued | None = None
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._lock = asyncio.Lock()

    @property
    def skew(self) -> float | None:
        """Seconds by which the API server's clock is ahead of ours; None before its first answer."""
        return self._skew

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def authority(self) -> bytes:
        """The authority that the kubeconfig trusts, in PEM."""
        config, _ = await self._ready()
        return config.ca

    async def version(self) -> ServerVersion:
        """The server's version; providers write a minor version like `31+`."""
        body = await self._call("GET", "/version")
        try:
            digits = [int("".join(filter(str.isdigit, str(body[part])))) for part in ("major", "minor")]
            return ServerVersion(digits[0], digits[1], str(body.get("gitVersion", ""))[:80])
        except (KeyError, ValueError):
            raise self._nonsense("/version") from None

    async def cluster_info(self) -> ClusterInfo:
        """The ConfigMap cluster-info with the authority in its kubeconfig."""
        body = await self._call("GET", CLUSTER_INFO)
        data = body.get("data")
        data = data if isinstance(data, dict) else {}
        text = str(data.get("kubeconfig", ""))
        signatures = {
            name.removeprefix("jws-kubeconfig-"): str(value)
            for name, value in data.items()
            if name.startswith("jws-kubeconfig-")
        }
        return ClusterInfo(text, authority_of(text), signatures)

    async def create_token(self, token: BootstrapToken) -> None:
        """POST the Secret of a bootstrap token."""
        await self._call("POST", TOKENS, secret_of(token))

    async def delete_token(self, token_id: str) -> bool:
        """DELETE the Secret of a bootstrap token."""
        try:
            await self._call("DELETE", f"{TOKENS}/bootstrap-token-{token_id}")
        except ClusterRefused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def node(self, name: str) -> NodeObject | None:
        """The Node object of that name."""
        body = await self._get_or_none(f"/api/v1/nodes/{name}")
        return node_of(body) if body is not None else None

    async def node_lease(self, name: str) -> NodeLease | None:
        """The Lease of that node."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NODE_LEASES}/leases/{name}"
        body = await self._get_or_none(path)
        if body is None:
            return None
        metadata = body.get("metadata") or {}
        return NodeLease(str(metadata.get("uid", "")), str(metadata.get("resourceVersion", "")))

    async def mark_unknown(self, node: NodeObject, now: float) -> None:
        """Patch nodes/status; uid and resourceVersion in the patch are preconditions (409 or 422)."""
        at = rfc3339(now)
        condition = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NetbootMachineRestarted",
            "message": "The machine is booting again; nobody renews its Lease.",
            "lastHeartbeatTime": at,
            "lastTransitionTime": at,
        }
        patch = {
            "metadata": {"uid": node.uid, "resourceVersion": node.resource_version},
            "status": {"conditions": [condition]},
        }
        await self._call(
            "PATCH", f"/api/v1/nodes/{node.name}/status", patch, "application/strategic-merge-patch+json"
        )

    async def may(self, access: Access) -> bool:
        """Ask a SelfSubjectAccessReview."""
        attributes = {
            "verb": access.verb,
            "group": access.group,
            "resource": access.resource,
            "subresource": access.subresource,
            "namespace": access.namespace,
            "name": access.name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }
        answer = await self._call("POST", REVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))

    async def _get_or_none(self, path: str) -> Json | None:
        try:
            return await self._call("GET", path)
        except ClusterRefused as error:
            if error.status == 404:
                return None
            raise

    async def _call(
        self, method: str, path: str, body: Json | None = None, kind: str = "application/json"
    ) -> Json:
        """One call; a 401 makes a plugin's credential be asked for once more."""
        status, answer, retry_after = await self._once(method, path, body, kind)
        if status == 401 and self._issued is not None:
            self._issued = None
            status, answer, retry_after = await self._once(method, path, body, kind)
        if status < 300:
            return answer
        reason = str(answer.get("message") or f"HTTP {status}")[:500]
        if status == 429 or status >= 500:
            raise ClusterUnavailable(
                f"the Kubernetes API of {self.name} answered {status}: {reason}", retry_after
            )
        raise ClusterRefused(status, reason)

    async def _once(self, method: str, path: str, body: Json | None, kind: str) -> tuple[int, Json, float]:
        config, session = await self._ready()
        bearer = self._issued.token if self._issued else bearer_of(config.credential)
        headers = {"Accept": "application/json", **({"Content-Type": kind} if body is not None else {})}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        try:
            async with session.request(
                method,
                config.server + path,
                json=body,
                headers=headers,
                proxy=config.proxy,
                server_hostname=config.tls_server_name,
                allow_redirects=False,  # a redirect would carry the credential elsewhere
            ) as response:
                self._measure(response.headers.get("Date"))
                raw = await response.content.read(ANSWER_LIMIT + 1)
                while not response.content.at_eof() and len(raw) <= ANSWER_LIMIT:
                    raw += await response.content.read(ANSWER_LIMIT + 1)
                return (
                    response.status,
                    self._parse(raw, path, response.status),
                    _retry_after(response.headers),
                )
        except TimeoutError:
            limit = self._timeout.total or 0.0
            raise self._unreachable(config, f"no answer within {limit:g} s") from None
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise self._unreachable(config, _reason(error)) from None

    def _unreachable(self, config: Kubeconfig, why: str) -> ClusterUnavailable:
        return ClusterUnavailable(
            f"the Kubernetes API of {self.name} at {config.server} is unreachable: {why}"
        )

    def _nonsense(self, path: str) -> ClusterUnavailable:
        return ClusterUnavailable(f"the Kubernetes API of {self.name} answered {path} with no JSON object")

    def _parse(self, raw: bytes, path: str, status: int) -> Json:
        if len(raw) > ANSWER_LIMIT:
            raise self._nonsense(path)
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            return document
        if status >= 300:
            return {}  # a proxy's own page; the status says enough
        raise self._nonsense(path)

    def _measure(self, date: str | None) -> None:
        """R2: report a clock that is off by more than 30 s, once until it is right again."""
        try:
            server = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, OverflowError):
            return
        self._skew = server - self._clock()
        far = abs(self._skew) > SKEW_LIMIT
        if far and not self._skew_reported:
            log.warning(
                "the clock of cluster %s's API is %.0f s %s ours: join tokens may be expired or live too "
                "long; synchronise both clocks (NTP)",
                self.name,
                abs(self._skew),
                "ahead of" if self._skew > 0 else "behind",
            )
        self._skew_reported = far

    async def _ready(self) -> tuple[Kubeconfig, aiohttp.ClientSession]:
        """The kubeconfig and the connections to its server, new where a file or a credential changed."""
        async with self._lock:
            if self._config is None or self._stamps != _stamps(self._config.files):
                await self._reload()
            assert self._config is not None
            credential = self._config.credential
            if credential.plugin and (self._issued is None or self._expired(self._issued)):
                issued = await run_plugin(credential.plugin, self._config, self._environ)
                if issued.certificate:
                    await self._connect(self._config, issued.certificate, issued.key)
                self._issued = issued
            if self._session is None or self._session.closed:
                await self._connect(self._config, credential.certificate, credential.key)
            assert self._session is not None
            return self._config, self._session

    def _expired(self, issued: Issued) -> bool:
        return issued.expires is not None and issued.expires - RENEW_BEFORE < self._clock()

    async def _reload(self) -> None:
        config = load(self._path) if self._path else load_in_cluster(self._environ)
        tls_context(config, config.credential.certificate, config.credential.key)
        await self.close()
        self._config, self._stamps, self._issued = config, _stamps(config.files), None

    async def _connect(self, config: Kubeconfig, certificate: bytes, key: bytes) -> None:
        context = tls_context(config, certificate, key)
        await self.close()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=16),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "netboot-appliance"},
        )


class ClusterClients:
    """The API of each declared cluster; `update` follows a reload of the operator's file."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._clients: dict[str, tuple[Path | None, KubernetesApi]] = {}

    async def update(self, clusters: Iterable[Cluster]) -> None:
        """Know exactly these clusters; those whose kubeconfig is the same keep their connections."""
        wanted = {c.name: c.join.kubeconfig for c in clusters if c.join.method != "none"}
        for name, (path, client) in list(self._clients.items()):
            if wanted.get(name, self) != path:
                del self._clients[name]
                await client.close()
        for name, path in wanted.items():
            if name not in self._clients:
                self._clients[name] = (path, KubernetesApi(name, path, clock=self._clock))

    def api(self, cluster: str) -> ClusterApi:
        """The API of a cluster by its name; ClusterError where it has none."""
        try:
            return self._clients[cluster][1]
        except KeyError:
            raise ClusterError(f"no cluster {cluster} with a Kubernetes API is declared") from None

    async def close(self) -> None:
        """Close all connections."""
        await self.update(())


def secret_of(token: BootstrapToken) -> Json:
    """The Secret of a bootstrap token: the API checks nothing of it, so its fields are ours to get right."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{token.token_id}", "namespace": "kube-system"},
        "stringData": {
            "description": token.description,
            "token-id": token.token_id,
            "token-secret": token.secret,
            "expiration": token.expiration,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": ",".join(token.groups),
        },
    }


def node_of(body: Json) -> NodeObject:
    """What we look at in a Node object; absent parts are empty."""
    metadata, status = body.get("metadata") or {}, body.get("status") or {}
    info = status.get("nodeInfo") or {}
    ready: Json = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    return NodeObject(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        resource_version=str(metadata.get("resourceVersion", "")),
        created=_epoch(metadata.get("creationTimestamp")),
        ready=str(ready.get("status", "Unknown")),
        ready_message=str(ready.get("message", ""))[:500],
        boot_id=str(info.get("bootID", "")),
        system_uuid=str(info.get("systemUUID", "")).lower(),
    )


def authority_of(kubeconfig: str) -> bytes:
    """The authority in cluster-info's kubeconfig, in PEM; empty where there is none."""
    if len(kubeconfig) > CLUSTER_INFO_LIMIT:
        return b""
    try:
        cluster = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
        return base64.b64decode(cluster["certificate-authority-data"], validate=True)
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError, RecursionError):
        return b""


def rfc3339(seconds: float) -> str:
    """UTC in whole seconds with its zone: Python's own isoformat() would leave that out."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _epoch(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def _stamps(files: Iterable[Path]) -> tuple[tuple[int, int], ...]:
    def stamp(path: Path) -> tuple[int, int]:
        try:
            found = path.stat()
        except OSError:
            return (0, 0)
        return found.st_mtime_ns, found.st_ino

    return tuple(stamp(path) for path in files)


def _retry_after(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return float(min(int(text), 60)) if text.isdigit() and len(text) < 6 else 5.0


def _reason(error: Exception) -> str:
    """A connection error in one short line."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not signed by the kubeconfig's authority ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.strerror:
        return error.os_error.strerror
    return str(error) or type(error).__name__
