"""What we ask of a Kubernetes API: the door. `client` beside it speaks HTTP, `kubeconfig` reads credentials.

Every call raises ClusterUnavailable (no usable answer: ask again) or ClusterRefused (401, 403, 404, 409,
422 with the API's reason); a kubeconfig that cannot be used raises ClusterError.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from netboot.model.settings import Taint

NODE_LEASES = "kube-node-lease"
"""The namespace in which each kubelet renews a Lease of its Node's name, every ten seconds."""


@dataclass(frozen=True, slots=True, order=True)
class ServerVersion:
    """The API server's version, as far as it decides anything."""

    major: int
    minor: int
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """The ConfigMap cluster-info of kube-public, which nodes read without a credential."""

    kubeconfig: str
    """As it was signed, byte for byte."""
    ca: bytes
    """The authority in it, in PEM; empty where it has none."""
    signatures: Mapping[str, str]
    """Detached JWS by token id."""


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """A bootstrap token to be created; only `secret` is secret."""

    token_id: str
    secret: str = field(repr=False)
    expiration: str
    """UTC, `YYYY-MM-DDTHH:MM:SSZ`. The API checks nothing: an empty one would never expire."""
    groups: tuple[str, ...]
    description: str
    signing: bool = True
    """Whether cluster-info is signed with it; nodes that are given the authority need no signature."""


@dataclass(frozen=True, slots=True)
class NodeObject:
    """A Node object, as far as joins look at it."""

    name: str
    uid: str
    resource_version: str
    created: float
    """Seconds since the epoch by the API server's clock."""
    ready: str
    """The Ready condition: True, False or Unknown; Unknown where there is none yet."""
    ready_message: str = ""
    boot_id: str = ""
    system_uuid: str = ""
    """In lower case, as the kubelet found it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    taint_times: Mapping[Taint, str] = field(default_factory=dict)
    """When a taint was added, as the API writes it, where it says so."""
    unschedulable: bool = False
    """Cordoned."""
    addresses: tuple[str, ...] = ()
    kubelet_version: str = ""

    @property
    def incarnation(self) -> str:
        """Another value after every reboot of the machine, and for another machine under its name."""
        return f"{self.uid}/{self.boot_id}"


@dataclass(frozen=True, slots=True)
class NodeChange:
    """One event of a watch: ADDED, MODIFIED, DELETED, or BOOKMARK with nothing but a resourceVersion."""

    kind: str
    node: NodeObject


@dataclass(frozen=True, slots=True)
class NodeLease:
    """The Lease that a kubelet renews; its `resource_version` changes with each renewal."""

    uid: str
    resource_version: str


CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
"""Signs the certificate by which a kubelet is known to its API server."""

SERVING_SIGNER = "kubernetes.io/kubelet-serving"
"""Signs the certificate that a kubelet shows to whoever asks it."""


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A CertificateSigningRequest; neither approved nor denied: Pending."""

    name: str
    uid: str
    resource_version: str
    created: float
    username: str
    """Who submitted it, as the API server knows them."""
    groups: tuple[str, ...]
    signer: str
    usages: tuple[str, ...]
    pem: bytes
    """The PKCS #10 request."""
    approved: bool = False
    denied: bool = False
    failed: bool = False
    message: str = ""
    certificate: bytes = b""
    """In PEM, once it was signed."""
    program: str = ""
    """What submitted it, as that program calls itself; the API tells neither its machine nor its address."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, as far as draining a node looks at it."""

    namespace: str
    name: str
    uid: str
    controller: str = ""
    """The kind of what made it: ReplicaSet, DaemonSet, Job; empty where nobody would make it again."""
    mirror: bool = False
    """A static pod's mirror."""
    phase: str = ""
    ending: bool = False


@dataclass(frozen=True, slots=True)
class Evicted:
    """How an eviction went: `evicted` (it ends in its own time), `gone`, or `held` by a disruption budget."""

    state: str
    reason: str = ""
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Access:
    """One thing that an account may or may not do, as RBAC words it."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        named = f" {self.name}" if self.name else ""
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {resource}{named}{where}"


class TokensApi(Protocol):
    """The cluster itself, its bootstrap tokens, and our rights."""

    async def version(self) -> ServerVersion:
        """The server's version."""

    async def cluster_info(self) -> ClusterInfo:
        """What nodes are shown of the cluster."""

    async def create_token(self, token: BootstrapToken) -> None:
        """Create the Secret of a bootstrap token; ClusterRefused 409 where its id is taken."""

    async def delete_token(self, token_id: str) -> bool:
        """Delete that Secret; False where there was none, which is as good."""

    async def creates_any_secret(self) -> bool:
        """Whether our account could create a Secret that is no bootstrap token; nothing is created."""

    async def may(self, access: Access) -> bool:
        """Whether our account may do this (SelfSubjectAccessReview)."""


class NodesApi(Protocol):
    """Node objects and their Leases."""

    async def node(self, name: str) -> NodeObject | None:
        """The Node object of that name, None where there is none."""

    async def nodes(self) -> tuple[Sequence[NodeObject], str]:
        """Every Node object, and the version from which a watch goes on."""

    async def count_nodes(self) -> int:
        """How many Node objects there are."""

    def watch_nodes(self, version: str) -> AsyncGenerator[NodeChange, None]:
        """What happens to Node objects from that version on; it ends by itself after some minutes.

        The first is a BOOKMARK of our own: it says that the watch stands.
        Raises ClusterRefused 410 where that version is too old: list again.
        """

    async def node_lease(self, name: str) -> NodeLease | None:
        """The Lease of that node, None where there is none."""

    async def mark_unknown(self, node: NodeObject, now: float) -> None:
        """Set the Ready condition to Unknown, if the Node object is still the one that was read.

        ClusterRefused 404, 409 or 422 where it has changed since.
        """

    async def patch_node(
        self,
        node: NodeObject,
        *,
        labels: Mapping[str, str | None] = ...,
        annotations: Mapping[str, str | None] = ...,
        taints: Sequence[Taint] | None = None,
        unschedulable: bool | None = None,
    ) -> NodeObject:
        """Change a Node object, if it is still the one that was read; the object as it is then.

        A label or an annotation of None goes away; `taints` are all that it has then; None changes nothing.
        ClusterRefused 404, 409 or 422 where it has changed since.
        """

    async def delete_node(self, node: NodeObject) -> bool:
        """Delete that very Node object (by its uid); False where it is gone already.

        ClusterRefused 409 or 422 where another one has its name by now.
        """


class CertificatesApi(Protocol):
    """Certificate signing requests."""

    async def certificate_requests(self, signer: str) -> tuple[Sequence[CertificateRequest], str]:
        """The requests to one signer, and the version from which a watch goes on."""

    def watch_certificate_requests(
        self, signer: str, version: str
    ) -> AsyncGenerator[CertificateRequest, None]:
        """Requests to that signer as they come and change; a bookmark has nothing but a resourceVersion."""

    async def certificate_request(self, name: str) -> CertificateRequest | None:
        """The request of that name, None where there is none."""

    async def request_certificate(
        self, name: str, pem: bytes, *, signer: str, usages: Sequence[str], seconds: int
    ) -> CertificateRequest:
        """Submit a request (PKCS #10 in PEM) in our own name; ClusterRefused 409 where the name is taken."""

    async def decide(
        self, request: CertificateRequest, *, approve: bool, reason: str, message: str, now: float
    ) -> None:
        """Approve or deny a request, if it is still the one that was read (else ClusterRefused 409)."""


class PodsApi(Protocol):
    """The pods of a node."""

    async def pods_on(self, node: str) -> Sequence[Pod]:
        """The pods that are bound to a node."""

    async def evict(self, pod: Pod) -> Evicted:
        """Ask for the eviction of that very pod; PodDisruptionBudgets are respected."""


class ClusterApi(TokensApi, NodesApi, CertificatesApi, PodsApi, Protocol):
    """One cluster's API, with our own account."""

    @property
    def skew(self) -> float | None:
        """Seconds by which the API server's clock is ahead of ours, by its last answer; None before one."""

    async def authority(self) -> bytes:
        """The authority that our own kubeconfig trusts, in PEM."""


class Clusters(Protocol):
    """The API of each declared cluster."""

    def api(self, cluster: str) -> ClusterApi:
        """The API of a cluster by its name; ClusterError where it has none (`join: none`, or unknown)."""
