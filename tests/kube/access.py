"""What a user may do: RBAC by the rules given, and the node authorizer for kubelets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.kube.bootstrap import User

NODE_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"
BOOTSTRAP_GROUP = "system:bootstrappers:kubeadm:default-node-token"
EVERYBODY = ("system:authenticated", "system:unauthenticated")


@dataclass(frozen=True, slots=True)
class Question:
    """May somebody do this?"""

    verb: str
    group: str
    resource: str
    """With its subresource, as RBAC writes it: nodes/status."""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """For URLs that are no resource."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule, bound to subjects; `namespace` limits it, empty for the whole cluster."""

    subjects: frozenset[str]
    """`User:NAME` and `Group:NAME`."""
    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ("",)
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    namespace: str = ""

    def allows(self, user: User, question: Question) -> bool:
        """Whether this rule lets that user do it."""
        mine = {f"User:{user.name}", *(f"Group:{g}" for g in user.groups)}
        if not mine & self.subjects or not _has(self.verbs, question.verb):
            return False
        if question.path:
            return any(
                question.path == p or (p.endswith("*") and question.path.startswith(p[:-1]))
                for p in self.paths
            )
        if self.namespace and self.namespace != question.namespace:
            return False
        if self.names and question.name not in self.names:
            return False  # so RBAC can never limit a POST, which carries no name, to names
        return _has(self.groups, question.group) and _has(self.resources, question.resource)


def _has(allowed: Sequence[str], asked: str) -> bool:
    return "*" in allowed or asked in allowed


def group(name: str) -> frozenset[str]:
    """The subjects of one group."""
    return frozenset({f"Group:{name}"})


CERTIFICATES = "certificates.k8s.io"

KUBEADM: tuple[Grant, ...] = (
    Grant(group("system:masters"), ("*",), ("*",), ("*",), paths=("*",)),
    Grant(
        frozenset(f"Group:{g}" for g in EVERYBODY),
        ("get",),
        paths=("/version", "/healthz", "/readyz", "/livez"),
    ),
    Grant(
        group("system:authenticated"), ("get",), paths=("/api", "/api/*", "/apis", "/apis/*", "/openapi/*")
    ),
    Grant(
        group("system:authenticated"), ("create",), ("authorization.k8s.io",), ("selfsubjectaccessreviews",)
    ),
    Grant(
        frozenset({"User:system:anonymous", "Group:system:unauthenticated"}),
        ("get",),
        ("",),
        ("configmaps",),
        names=("cluster-info",),
        namespace="kube-public",
    ),
    Grant(
        group(BOOTSTRAP_GROUP),
        ("create", "get", "list", "watch"),
        (CERTIFICATES,),
        ("certificatesigningrequests",),
    ),
    Grant(group(BOOTSTRAP_GROUP), ("create",), (CERTIFICATES,), ("certificatesigningrequests/nodeclient",)),
    Grant(group(NODE_GROUP), ("create",), (CERTIFICATES,), ("certificatesigningrequests/selfnodeclient",)),
    Grant(group(BOOTSTRAP_GROUP), ("get",), ("",), ("nodes",)),
    Grant(
        group(BOOTSTRAP_GROUP) | group(NODE_GROUP),
        ("get",),
        ("",),
        ("configmaps",),
        names=("kubeadm-config", "kubelet-config", "kube-proxy"),
        namespace="kube-system",
    ),
)
"""What `kubeadm init` sets up, as far as joins touch it."""


@dataclass
class Authorizer:
    """All grants; anything that none of them allows is refused."""

    grants: list[Grant] = field(default_factory=lambda: list(KUBEADM))
    _bound: list[Grant] = field(default_factory=list)
    """Those among them that Roles and bindings made."""

    def allows(self, user: User, question: Question) -> bool:
        """RBAC, or the node authorizer."""
        return any(g.allows(user, question) for g in self.grants) or _node_may(user, question)

    def of(self, user: User, namespace: str) -> list[Grant]:
        """The rules that count for somebody in a namespace."""
        mine = {f"User:{user.name}", *(f"Group:{g}" for g in user.groups)}
        return [g for g in self.grants if mine & g.subjects and g.namespace in ("", namespace)]

    def follow(self, documents: Iterable[dict[str, Any]]) -> None:
        """The Roles and bindings are these now."""
        kept = [g for g in self.grants if g not in self._bound]
        self._bound = grants_of(documents)
        self.grants = [*kept, *self._bound]


def _node_may(user: User, question: Question) -> bool:
    if NODE_GROUP not in user.groups or not user.name.startswith(NODE_PREFIX):
        return False
    own = question.name == user.name.removeprefix(NODE_PREFIX)
    if question.resource in ("nodes", "nodes/status") and not question.group:
        return question.verb == "create" or (
            own and question.verb in ("get", "list", "watch", "patch", "update")
        )
    if question.resource == "leases" and question.namespace == "kube-node-lease":
        return question.verb == "create" or (own and question.verb in ("get", "update", "patch", "delete"))
    if question.resource == "certificatesigningrequests" and question.group == CERTIFICATES:
        return question.verb in ("create", "get", "list", "watch")
    return False


def grants_of(documents: Iterable[dict[str, Any]]) -> list[Grant]:
    """The grants that RBAC manifests make; other kinds, and bindings to a role that is none, give none."""
    documents = list(documents)
    roles = {
        (d["kind"], d["metadata"].get("namespace", ""), d["metadata"]["name"]): d.get("rules") or []
        for d in documents
        if d["kind"] in ("Role", "ClusterRole")
    }
    grants = []
    for document in documents:
        if document["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            grants += _bound(document, roles)
    return grants


BUILT_IN: dict[str, list[dict[str, Any]]] = {
    "system:node-bootstrapper": [
        {
            "apiGroups": [CERTIFICATES],
            "resources": ["certificatesigningrequests"],
            "verbs": ["create", "get", "list", "watch"],
        }
    ],
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": [
        {
            "apiGroups": [CERTIFICATES],
            "resources": ["certificatesigningrequests/nodeclient"],
            "verbs": ["create"],
        }
    ],
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": [
        {
            "apiGroups": [CERTIFICATES],
            "resources": ["certificatesigningrequests/selfnodeclient"],
            "verbs": ["create"],
        }
    ],
    "kubeadm:get-nodes": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}],
    "kubeadm:nodes-kubeadm-config": [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["kubeadm-config"],
            "verbs": ["get"],
        }
    ],
    "kubeadm:kubelet-config": [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["kubelet-config"],
            "verbs": ["get"],
        }
    ],
    "kube-proxy": [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["kube-proxy"],
            "verbs": ["get"],
        }
    ],
}
"""Roles that a real API server and `kubeadm init` bring along, as far as joins touch them."""


def _bound(binding: dict[str, Any], roles: dict[tuple[str, str, str], list[dict[str, Any]]]) -> list[Grant]:
    namespace = binding["metadata"].get("namespace", "") if binding["kind"] == "RoleBinding" else ""
    reference = binding["roleRef"]
    role = (reference["kind"], namespace if reference["kind"] == "Role" else "", reference["name"])
    rules = roles.get(role) or BUILT_IN.get(reference["name"], [])
    subjects = frozenset(_subject(s) for s in binding.get("subjects") or ())
    return [
        Grant(
            subjects,
            tuple(rule["verbs"]),
            tuple(rule.get("apiGroups", ())),
            tuple(rule.get("resources", ())),
            tuple(rule.get("resourceNames", ())),
            tuple(rule.get("nonResourceURLs", ())),
            namespace,
        )
        for rule in rules
    ]


def _subject(subject: dict[str, str]) -> str:
    if subject["kind"] == "ServiceAccount":
        return f"User:system:serviceaccount:{subject['namespace']}:{subject['name']}"
    return f"{subject['kind']}:{subject['name']}"
