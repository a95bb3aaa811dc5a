"""What we ask of a Kubernetes API: the door. `client` beside it speaks HTTP, `kubeconfig` reads credentials.

Every call raises ClusterUnavailable (no usable answer: ask again) or ClusterRefused (401, 403, 404, 409,
422 with the API's reason); a kubeconfig that cannot be used raises ClusterError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

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

    @property
    def incarnation(self) -> str:
        """Another value after every reboot of the machine, and for another machine under its name."""
        return f"{self.uid}/{self.boot_id}"


@dataclass(frozen=True, slots=True)
class NodeLease:
    """The Lease that a kubelet renews; its `resource_version` changes with each renewal."""

    uid: str
    resource_version: str


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


class ClusterApi(Protocol):
    """One cluster's API, with our own account."""

    @property
    def skew(self) -> float | None:
        """Seconds by which the API server's clock is ahead of ours, by its last answer; None before one."""

    async def authority(self) -> bytes:
        """The authority that our own kubeconfig trusts, in PEM."""

    async def version(self) -> ServerVersion:
        """The server's version."""

    async def cluster_info(self) -> ClusterInfo:
        """What nodes are shown of the cluster."""

    async def create_token(self, token: BootstrapToken) -> None:
        """Create the Secret of a bootstrap token; ClusterRefused 409 where its id is taken."""

    async def delete_token(self, token_id: str) -> bool:
        """Delete that Secret; False where there was none, which is as good."""

    async def node(self, name: str) -> NodeObject | None:
        """The Node object of that name, None where there is none."""

    async def node_lease(self, name: str) -> NodeLease | None:
        """The Lease of that node, None where there is none."""

    async def mark_unknown(self, node: NodeObject, now: float) -> None:
        """Set the Ready condition to Unknown, if the Node object is still the one that was read.

        ClusterRefused 404, 409 or 422 where it has changed since.
        """

    async def may(self, access: Access) -> bool:
        """Whether our account may do this (SelfSubjectAccessReview)."""


class Clusters(Protocol):
    """The API of each declared cluster."""

    def api(self, cluster: str) -> ClusterApi:
        """The API of a cluster by its name; ClusterError where it has none (`join: none`, or unknown)."""
