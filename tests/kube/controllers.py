"""What the controller-manager does beside the API: signs, cleans, issues certificates, watches nodes."""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from tests.kube import pki
from tests.kube.access import CERTIFICATES, NODE_GROUP, NODE_PREFIX, Authorizer, Question
from tests.kube.bootstrap import Token, User, detached_jws, tokens
from tests.kube.objects import Key, Objects, stamp
from tests.kube.status import ApiError, Json

CLUSTER_INFO = Key("configmaps", "kube-public", "cluster-info")
JWS_PREFIX = "jws-kubeconfig-"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"


@dataclass
class Settings:
    """How the cluster behaves; a test changes these while it runs."""

    down: bool = False
    """Nobody listens."""
    half_500: bool = False
    """Every second request is answered 500."""
    flaky: bool = False
    """Half of all requests are answered 500, in no rhythm that a client could fall into (Thue-Morse)."""
    failing: bool = False
    """Every request is answered 500."""
    slow: float = 0.0
    """Seconds before each answer."""
    clock_skew: float = 0.0
    """Seconds by which the server's clock is ahead."""
    signer: bool = True
    """bootstrapsigner runs; off in a bare controller-manager."""
    cleaner: bool = True
    """tokencleaner runs."""
    sign_delay: tuple[float, float] = (0.008, 0.101)
    """Seconds from a token's creation to its signature, least and most."""
    jws: str = "good"
    """good, corrupt (made with another secret), corrupt-for-nodes (only anonymous readers see that)."""
    cluster_info_ca: str = "real"
    """real, wrong, wrong-for-nodes (only anonymous readers see that)."""
    expire_before_use: bool = False
    """Tokens expire the moment a node asks for cluster-info: after the appliance saw their signatures."""
    token_life: float | None = None
    """Seconds after which a token is expired, whatever it says."""
    approver: bool = True
    """The controller-manager approves client CSRs whose group may have them."""
    throttle: int = 0
    """Every request is answered 429, and to be asked again after that many seconds."""
    credentials_expired: bool = False
    """401 for every service account."""
    watch: str = "good"
    """good, breaks (after the first event), giant (a line without end), garbage (no JSON)."""
    bookmark_every: float = 5.0
    """Seconds of silence after which a watch is told a bookmark."""
    pod_end: float = 0.05
    """Seconds that a pod takes to end on its node, where it has more."""
    budget_unseen: bool = False
    """PodDisruptionBudgets are newer than what their controller has looked at."""
    node_grace: float = 40.0
    """Seconds without a renewed Lease after which a Node is set to Unknown."""


@dataclass
class Controllers:
    """All control loops of one cluster."""

    objects: Objects
    authority: pki.Authority
    authorizer: Authorizer
    settings: Settings
    _renewals: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every_change(self._sign))
            group.create_task(self._every_change(self._clean))
            group.create_task(self._every_change(self._certificates))
            group.create_task(self._every_change(self._nodes))

    async def _every_change(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            version = self.objects.version
            try:
                await work()
            except ApiError:
                await asyncio.sleep(0)  # somebody else was faster: look again
                continue
            if self.objects.version == version:
                await self.objects.changed(0.5)

    async def _sign(self) -> None:
        if not self.settings.signer:
            return
        info = self.objects.get(CLUSTER_INFO)
        now = self.objects.now()
        wanted = {
            t.id: t for t in tokens(self.objects, self.settings.token_life) if t.signs and not t.expired(now)
        }
        if set(wanted) == {
            name.removeprefix(JWS_PREFIX) for name in info["data"] if name.startswith(JWS_PREFIX)
        }:
            return
        await asyncio.sleep(random.uniform(*self.settings.sign_delay))
        info = self.objects.get(CLUSTER_INFO)
        content = info["data"]["kubeconfig"]
        info["data"] = {"kubeconfig": content, **signatures(content, wanted.values())}
        self.objects.replace(CLUSTER_INFO, info)

    async def _clean(self) -> None:
        if not self.settings.cleaner:
            return
        now = self.objects.now()
        for token in tokens(self.objects, self.settings.token_life):
            if token.expired(now):
                self.objects.delete(Key("secrets", "kube-system", f"bootstrap-token-{token.id}"))

    async def _certificates(self) -> None:
        for csr in self.objects.list("certificatesigningrequests"):
            state = {c["type"] for c in csr.get("status", {}).get("conditions", ())}
            if not state and self.settings.approver and self._may_have(csr):
                await asyncio.sleep(0.01)
                self._condition(
                    csr,
                    "Approved",
                    "AutoApproved",
                    "Auto approving kubelet client certificate after SubjectAccessReview.",
                )
            elif state == {"Approved"} and not csr["status"].get("certificate"):
                await asyncio.sleep(0.01)
                self._issue(csr)

    def _may_have(self, csr: Json) -> bool:
        if not is_node_client(csr):
            return False
        spec = csr["spec"]
        own = pki.subject_of(base64.b64decode(spec["request"]))[0] == spec["username"]
        resource = "certificatesigningrequests/" + ("selfnodeclient" if own else "nodeclient")
        user = User(spec["username"], tuple(spec.get("groups", ())))
        return self.authorizer.allows(user, Question("create", CERTIFICATES, resource))

    def _condition(self, csr: Json, kind: str, reason: str, message: str) -> None:
        condition = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": stamp(self.objects.now()),
        }
        csr.setdefault("status", {}).setdefault("conditions", []).append(condition)
        self.objects.replace(Key("certificatesigningrequests", "", csr["metadata"]["name"]), csr)

    def _issue(self, csr: Json) -> None:
        spec = csr["spec"]
        if spec["signerName"] not in (CLIENT_SIGNER, SERVING_SIGNER):
            return
        seconds = min(float(spec.get("expirationSeconds") or 365 * 86400), 365 * 86400.0)
        try:
            if not (is_node_client(csr) or is_serving(csr)):
                raise ValueError("invalid usage, subject or alternative names for this signer")
            signed = self.authority.sign(base64.b64decode(spec["request"]), spec["usages"], seconds)
        except ValueError as error:
            self._condition(csr, "Failed", "SignerValidationFailure", str(error))
            return
        csr["status"]["certificate"] = pki.b64(signed)
        self.objects.replace(Key("certificatesigningrequests", "", csr["metadata"]["name"]), csr)

    async def _nodes(self) -> None:
        now = asyncio.get_running_loop().time()
        for node in self.objects.list("nodes"):
            name = node["metadata"]["name"]
            lease = self.objects.find(Key("leases", "kube-node-lease", name))
            version = lease["metadata"]["resourceVersion"] if lease else ""
            seen = self._renewals.get(name)
            if seen is None or seen[0] != version:
                self._renewals[name] = (version, now)
            elif now - seen[1] > self.settings.node_grace:
                self._lost(node)

    def _lost(self, node: Json) -> None:
        for condition in node.get("status", {}).get("conditions", ()):
            if condition["type"] == "Ready" and condition["status"] != "Unknown":
                condition.update(
                    status="Unknown",
                    reason="NodeStatusUnknown",
                    message="Kubelet stopped posting node status.",
                    lastTransitionTime=stamp(self.objects.now()),
                )
                self.objects.replace(Key("nodes", "", node["metadata"]["name"]), node)


def signatures(content: str, signed: Iterable[Token]) -> dict[str, str]:
    """The signature entries of cluster-info for these tokens."""
    return {JWS_PREFIX + token.id: detached_jws(content, token) for token in signed}


def is_serving(csr: Json) -> bool:
    """Whether a CSR asks for what a kubelet's serving certificate is, by the signer's own rules."""
    spec = csr["spec"]
    common, organizations, named = pki.subject_of(base64.b64decode(spec["request"]))
    return (
        spec.get("signerName") == SERVING_SIGNER
        and organizations == [NODE_GROUP]
        and common.startswith(NODE_PREFIX)
        and named
        and set(spec.get("usages", ())) - {"key encipherment"} == {"digital signature", "server auth"}
    )


def is_node_client(csr: Json) -> bool:
    """Whether a CSR asks for what a kubelet's client certificate is, by the controller's own rules."""
    spec = csr["spec"]
    if spec.get("signerName") != CLIENT_SIGNER:
        return False
    common, organizations, named = pki.subject_of(base64.b64decode(spec["request"]))
    usages = set(spec.get("usages", ())) - {"key encipherment"}
    return (
        organizations == [NODE_GROUP]
        and re.fullmatch(re.escape(NODE_PREFIX) + ".+", common) is not None
        and not named
        and usages == {"digital signature", "client auth"}
    )
