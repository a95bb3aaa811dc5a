"""The resources that the stand-in knows, and what a URL names."""

from __future__ import annotations

from dataclasses import dataclass

from tests.kube import status
from tests.kube.access import CERTIFICATES
from tests.kube.objects import Key
from tests.kube.status import ApiError

AUTHORIZATION = "authorization.k8s.io"
RBAC = "rbac.authorization.k8s.io"
ADMISSION = "admissionregistration.k8s.io"


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API."""

    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool
    subresources: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    """What field selectors may name besides metadata.name and metadata.namespace."""

    @property
    def api_version(self) -> str:
        """As objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version


KINDS = {
    (k.group, k.version, k.resource): k
    for k in (
        Kind("", "v1", "namespaces", "Namespace", False),
        Kind("", "v1", "secrets", "Secret", True, (), ("type",)),
        Kind("", "v1", "configmaps", "ConfigMap", True),
        Kind("", "v1", "serviceaccounts", "ServiceAccount", True, ("token",)),
        Kind("", "v1", "events", "Event", True),
        Kind("", "v1", "nodes", "Node", False, ("status",), ("spec.unschedulable",)),
        Kind("", "v1", "pods", "Pod", True, ("status", "eviction"), ("spec.nodeName", "status.phase")),
        Kind("apps", "v1", "daemonsets", "DaemonSet", True, ("status",)),
        Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, ("status",)),
        Kind("coordination.k8s.io", "v1", "leases", "Lease", True),
        Kind(
            CERTIFICATES,
            "v1",
            "certificatesigningrequests",
            "CertificateSigningRequest",
            False,
            ("status", "approval"),
            ("spec.signerName",),
        ),
        Kind(AUTHORIZATION, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
        Kind(AUTHORIZATION, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
        Kind(RBAC, "v1", "roles", "Role", True),
        Kind(RBAC, "v1", "rolebindings", "RoleBinding", True),
        Kind(RBAC, "v1", "clusterroles", "ClusterRole", False),
        Kind(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
        Kind(ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False),
        Kind(ADMISSION, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False),
    )
}

BY_KIND = {(k.api_version, k.kind): k for k in KINDS.values()}
"""As manifests name them."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """Where the object stands."""
        return Key(self.kind.resource, self.namespace, self.name)

    @property
    def resource(self) -> str:
        """As RBAC writes it."""
        return self.kind.resource + (f"/{self.subresource}" if self.subresource else "")


def target_of(path: str) -> Target:
    """Parse the path of a resource; raises 404."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise status.no_route()
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    kind = KINDS.get((group, version, rest[0])) if rest else None
    if kind is None or len(rest) > 3:
        raise status.no_route()
    name, subresource = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    if subresource and subresource not in kind.subresources:
        raise status.no_route()
    return Target(kind, namespace, name, subresource)


VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def verb_of(method: str, watch: str | None, target: Target) -> str:
    """The verb as RBAC has it; raises 405."""
    if method == "GET":
        if watch in ("1", "true"):
            return "watch"
        return "get" if target.name else "list"
    if method not in VERBS:
        raise ApiError(
            405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
        )
    return VERBS[method]
