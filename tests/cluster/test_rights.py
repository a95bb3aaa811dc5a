"""What our account needs in a cluster, and that the manifests give exactly that (R16)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from netboot.cluster import Access
from netboot.cluster.rights import DANGERS, Right, needed, unneeded
from netboot.model.inventory import Cluster, JoinSettings, NodeActions
from tests.kube.access import Authorizer, Question, grants_of
from tests.kube.accounts import APPLIANCE

FOLDER = Path(__file__).resolve().parents[2] / "config" / "kubernetes"
EVERYTHING = NodeActions(labels=True, taints=True, cordon=True, drain=True, mark_unknown=True, delete=True)
OWN_TOKEN = Access("create", "serviceaccounts", "", "token", "netboot", "appliance")


def cluster(method: str = "kubeadm", *, actions: NodeActions | None = None, **settings: Any) -> Cluster:
    """A cluster with these settings."""
    approves = bool(settings.pop("approves_serving", False))
    join = JoinSettings(method, Path("/nowhere"), **settings)
    return Cluster("blue", "a:1", join=join, node_actions=actions or NodeActions(), approves_serving=approves)


CLUSTERS = (
    cluster(),
    cluster(bind="cluster"),
    cluster(discovery="file"),
    cluster("tls-bootstrap"),
    cluster("certificate"),
    cluster("static"),
    cluster(approves_serving=True),
    cluster(actions=EVERYTHING),
    cluster(actions=NodeActions(mark_unknown=False)),
    cluster(actions=NodeActions(drain=True)),
    cluster("certificate", approves_serving=True, actions=EVERYTHING),
)


def documents(names: Iterable[str]) -> list[dict[str, Any]]:
    """The manifests in these files."""
    return [d for name in names for d in yaml.safe_load_all((FOLDER / name).read_text()) if d]


def given(*names: str) -> set[Access]:
    """Everything that these files let our account do."""
    found = set()
    for grant in grants_of(documents(names)):
        if f"User:{APPLIANCE.name}" not in grant.subjects:
            continue
        for verb in grant.verbs:
            for group in grant.groups:
                for resource in grant.resources:
                    for name in grant.names or ("",):
                        kind, _, part = resource.partition("/")
                        found.add(Access(verb, kind, group, part, grant.namespace, name))
    return found


def test_each_manifest_gives_what_its_rights_are_and_nothing_more() -> None:
    """Right by right, file by file."""
    rights: dict[str, set[Access]] = {"own-token.yaml": {OWN_TOKEN}}
    rights |= {"policy.yaml": set(), "control-plane.yaml": set()}
    for one in CLUSTERS:
        for right in needed(one):
            rights.setdefault(right.manifest, set()).add(right.access)
    assert {path.name for path in FOLDER.glob("*.yaml")} == rights.keys()
    # what two settings need, either one's manifest gives
    shared = {a for name in rights for a in given(name)} - {a for found in rights.values() for a in found}
    assert not shared
    for name, found in rights.items():
        assert found <= given(name), name


@pytest.mark.parametrize("one", CLUSTERS, ids=lambda c: f"{c.join.method} {c.join.bind}")
def test_the_manifests_of_a_clusters_rights_allow_exactly_what_it_needs(one: Cluster) -> None:
    """By the stand-in's authorizer: all that is needed, nothing unneeded, none of the dangers."""
    authorizer = Authorizer([])
    authorizer.follow(documents({right.manifest for right in needed(one)}))
    assert [r.access for r in needed(one) if not allowed(authorizer, r.access)] == []
    assert [d.access for d in DANGERS if allowed(authorizer, d.access)] == []
    further = [r for r in unneeded(one) if allowed(authorizer, r.access)]
    assert {r.manifest for r in further} <= {"appliance.yaml"}  # what one file gives together


def allowed(authorizer: Authorizer, access: Access) -> bool:
    """Whether the account may."""
    resource = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
    question = Question(access.verb, access.group, resource, access.namespace, access.name)
    return authorizer.allows(APPLIANCE, question)


def accesses(rights: Iterable[Right]) -> set[str]:
    """In words."""
    return {str(right.access) for right in rights}


def test_a_cluster_without_api_needs_nothing() -> None:
    """Join method none, and static without kubeconfig."""
    assert not needed(cluster("none"))
    assert not needed(Cluster("byhand", "a:1", join=JoinSettings("static")))


def test_rights_follow_the_settings() -> None:
    """Each by its own key."""
    plain = accesses(needed(cluster(bind="cluster")))
    assert "create secrets in kube-system" in plain and not any("signing" in a for a in plain)
    bound = accesses(needed(cluster()))
    assert "approve signers kubernetes.io/kube-apiserver-client-kubelet" in bound
    assert "get configmaps cluster-info in kube-public" not in accesses(needed(cluster(discovery="file")))
    certificate = accesses(needed(cluster("certificate")))
    assert "create certificatesigningrequests" in certificate
    assert not any("secrets" in a for a in certificate)
    drain = accesses(needed(cluster(actions=NodeActions(drain=True))))
    assert {"patch nodes", "create pods/eviction"} <= drain and "delete nodes" not in drain


def test_what_is_not_needed_is_told_with_the_manifest_that_gave_it() -> None:
    """So that it can be taken away again."""
    found = {str(r.access): r.remedy for r in unneeded(cluster(bind="cluster"))}
    assert found["delete nodes"] == "kubectl apply -f config/kubernetes/node-delete.yaml"
    assert "create secrets in kube-system" not in found


def test_reading_secrets_is_a_danger() -> None:
    """With create it is cluster-admin."""
    dangers = {str(d.access) for d in DANGERS}
    assert {"get secrets in kube-system", "list secrets in kube-system", "* *"} <= dangers
