"""What our account must be allowed in a cluster, by its settings, and what it must not be (R16). Pure.

Each right knows the manifest of config/kubernetes/ that gives it. A right that the settings do not need is
told too: what an account may do, whoever steals it may.
"""

from __future__ import annotations

from dataclasses import dataclass

from netboot.cluster import CLIENT_SIGNER, NODE_LEASES, SERVING_SIGNER, Access
from netboot.model.inventory import Cluster

CERTIFICATES = "certificates.k8s.io"
REQUESTS = "certificatesigningrequests"
RBAC = "rbac.authorization.k8s.io"

FOLDER = "config/kubernetes"
TOKEN_METHODS = frozenset({"kubeadm", "tls-bootstrap"})
"""Join methods that make bootstrap tokens."""


@dataclass(frozen=True, slots=True)
class Right:
    """Something that an account may do, what for, and the manifest that allows it."""

    access: Access
    why: str
    manifest: str

    @property
    def remedy(self) -> str:
        """The line that an administrator of the cluster types."""
        return f"kubectl apply -f {FOLDER}/{self.manifest}"


def _rights(manifest: str, why: str, *accesses: Access) -> tuple[Right, ...]:
    return tuple(Right(access, why, manifest) for access in accesses)


_TOKENS = _rights(
    "appliance.yaml",
    "bootstrap tokens are made and taken back",
    Access("create", "secrets", namespace="kube-system"),
    Access("delete", "secrets", namespace="kube-system"),
)
_CLUSTER_INFO = _rights(
    "appliance.yaml",
    "a token's signature is awaited, and the authority compared with ours",
    Access("get", "configmaps", namespace="kube-public", name="cluster-info"),
)
_NODES = _rights(
    "appliance.yaml",
    "joins are followed to Ready",
    Access("get", "nodes"),
    Access("list", "nodes"),
    Access("watch", "nodes"),
)
_LEASES = _rights(
    "appliance.yaml",
    "a Lease tells whether somebody lives under a name",
    Access("get", "leases", group="coordination.k8s.io", namespace=NODE_LEASES),
)
_MARK = _rights(
    "appliance.yaml",
    "node_actions.mark_unknown: a machine that came back fast may join",
    Access("patch", "nodes", subresource="status"),
)


def _approval(manifest: str, why: str, signer: str, *verbs: str) -> tuple[Right, ...]:
    return _rights(
        manifest,
        why,
        *(Access(verb, REQUESTS, group=CERTIFICATES) for verb in verbs),
        Access("update", REQUESTS, group=CERTIFICATES, subresource="approval"),
        Access("approve", "signers", group=CERTIFICATES, name=signer),
    )


_READ = ("get", "list", "watch")
_BIND_NODE = _approval(
    "bind-node.yaml", "join.bind: node: we approve a token's certificate", CLIENT_SIGNER, *_READ
)
_SERVING = _approval("serving-certificates.yaml", "serving_certificates: approve", SERVING_SIGNER, *_READ)
_CERTIFICATE = _approval(
    "certificate.yaml", "join.method: certificate: we submit and approve it", CLIENT_SIGNER, "create", "get"
)
_PATCH = _rights(
    "node-actions.yaml", "node_actions: labels, taints, cordon and drain", Access("patch", "nodes")
)
_DELETE = _rights("node-delete.yaml", "node_actions.delete", Access("delete", "nodes"))
_DRAIN = _rights(
    "drain.yaml",
    "node_actions.drain",
    Access("get", "pods"),
    Access("list", "pods"),
    Access("create", "pods", subresource="eviction"),
)

_OPTIONAL = (*_TOKENS, *_MARK, *_BIND_NODE, *_SERVING, *_CERTIFICATE, *_PATCH, *_DELETE, *_DRAIN)


def needed(cluster: Cluster) -> tuple[Right, ...]:
    """Exactly what this cluster's settings need, each once."""
    join, actions = cluster.join, cluster.node_actions
    if not join.has_api:
        return ()
    tokens = join.method in TOKEN_METHODS
    parts = (
        (True, _NODES + _LEASES),
        (tokens, _TOKENS),
        (join.method == "kubeadm" and join.discovery == "token", _CLUSTER_INFO),
        (actions.mark_unknown, _MARK),
        (tokens and join.bind == "node", _BIND_NODE),
        (join.method == "certificate", _CERTIFICATE),
        (cluster.approves_serving, _SERVING),
        (actions.labels or actions.taints or actions.cordon or actions.drain, _PATCH),
        (actions.delete, _DELETE),
        (actions.drain, _DRAIN),
    )
    found: dict[Access, Right] = {}
    for wanted, rights in parts:
        for right in rights if wanted else ():
            found.setdefault(right.access, right)
    return tuple(found.values())


def unneeded(cluster: Cluster) -> tuple[Right, ...]:
    """Rights of other settings than this cluster's: harmless to us, useful to a thief."""
    mine = {right.access for right in needed(cluster)}
    return tuple({r.access: r for r in _OPTIONAL if r.access not in mine}.values())


@dataclass(frozen=True, slots=True)
class Danger:
    """Something that our account must never be allowed, and what it would lead to."""

    access: Access
    why: str


DANGERS = (
    Danger(Access("*", "*", group="*"), "everything"),
    *(
        Danger(
            Access(verb, "secrets", namespace="kube-system"),
            "with `create` it reads the token of any service account: cluster-admin",
        )
        for verb in ("get", "list", "watch")
    ),
    Danger(Access("list", "secrets"), "it reads the Secrets of every namespace"),
    Danger(Access("create", "pods", namespace="kube-system"), "a pod there may become any service account"),
    Danger(Access("create", "pods", subresource="exec"), "it runs commands in pods"),
    Danger(
        Access("create", "serviceaccounts", subresource="token", namespace="kube-system"),
        "it gets tokens of the cluster's own service accounts",
    ),
    Danger(Access("impersonate", "users"), "it may act as anybody"),
    Danger(Access("impersonate", "groups"), "it may act as system:masters"),
    Danger(Access("escalate", "clusterroles", group=RBAC), "it may give itself any right"),
    Danger(Access("bind", "clusterroles", group=RBAC), "it may give itself any role"),
    Danger(Access("create", "clusterrolebindings", group=RBAC), "it may change who may what"),
    Danger(Access("create", "nodes", subresource="proxy"), "it runs commands through kubelets"),
    Danger(
        Access("approve", "signers", group=CERTIFICATES, name="kubernetes.io/kube-apiserver-client"),
        "it approves client certificates of any user",
    ),
    Danger(
        Access("update", "validatingadmissionpolicies", group="admissionregistration.k8s.io"),
        "it may switch the policy off that limits it",
    ),
)
"""Asked one by one: an account with any of these is more than an appliance's."""
