"""What an operator is told of a cluster before a machine meets it (R2, R14, R16, R18)."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from netboot.cluster.client import ClusterClients
from netboot.fleet import doctor as doctors
from netboot.fleet.doctor import Doctor
from netboot.join.pins import pins_of
from netboot.model.finding import Finding
from netboot.model.inventory import Cluster, JoinSettings, NodeActions
from tests.join.asking import clients_of
from tests.kube.cluster import Kube

FOLDER = Path(__file__).resolve().parents[2] / "config" / "kubernetes"
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
ALL = NodeActions(labels=True, drain=True, delete=True)


@dataclass
class Ward:
    """A doctor, and a cluster to look at."""

    kube: Kube
    clients: ClusterClients
    clusters: list[Cluster] = field(default_factory=list)

    def doctor(self) -> Doctor:
        """With tokens that live for a second."""
        return Doctor(
            self.clients,
            lambda: self.clusters,
            pins=pins_of,
            draw=lambda n: "".join(secrets.choice(ALPHABET) for _ in range(n)),
            clock=time.time,
            probe_life=2.0,
        )

    async def examine(self, **settings: Any) -> Sequence[Finding]:
        """What is found of the cluster with these settings."""
        return await self.doctor().examine(replace(self.clusters[0], **settings))


@pytest.fixture
async def ward(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ward]:
    """The account has every right that any setting needs."""
    monkeypatch.setattr(doctors, "CLEANED_WITHIN", 1.5)
    clients = await clients_of(kube)
    join = JoinSettings("kubeadm", kube.kubeconfig())
    yield Ward(kube, clients, [Cluster("blue", kube.endpoint, join=join)])
    await clients.close()


def bad(findings: Sequence[Finding]) -> list[str]:
    """What has to be mended."""
    return [f"{f.state}: {f.what}; {f.remedy}" for f in findings if f.bad]


async def revoke_rights(ward: Ward, *files: str) -> None:
    """Take the rights of these manifests away again."""
    names = {d["metadata"]["name"] for f in files for d in yaml.safe_load_all((FOLDER / f).read_text()) if d}
    objects = ward.kube.api.objects
    for resource in ("rolebindings", "clusterrolebindings"):
        for found in objects.list(resource):
            if found["metadata"]["name"] in names:
                namespace = found["metadata"].get("namespace", "")
                await ward.kube.api.control(
                    "delete", resource=resource, name=found["metadata"]["name"], namespace=namespace
                )
    ward.kube.api.verbs.follow_rbac()


async def test_a_sound_cluster_has_nothing_to_mend(ward: Ward) -> None:
    """Reachable, clocks, rights, policy (from 1.30 on), authority, controllers; no token stays behind."""
    findings = await ward.examine()
    assert not bad(findings), findings
    assert sum(f.state == "ok" for f in findings) == (6 if ward.kube.minor >= 30 else 5), findings
    assert not ward.kube.tokens()


async def test_rights_that_the_settings_do_not_need_are_noted(ward: Ward) -> None:
    """With the line that takes them away."""
    notes = [f for f in await ward.examine() if f.state == "note"]
    assert any("may delete nodes" in f.what for f in notes)
    assert any(f.remedy == "kubectl delete -f config/kubernetes/drain.yaml" for f in notes)
    needed = {"node_actions": ALL, "approves_serving": True}
    found = [f.remedy for f in await ward.examine(**needed) if f.remedy.startswith("kubectl delete")]
    assert found == ["kubectl delete -f config/kubernetes/certificate.yaml"]


async def test_a_missing_right_is_told_with_the_line_to_apply(ward: Ward) -> None:
    """In words, one for each."""
    await revoke_rights(ward, "bind-node.yaml", "certificate.yaml")
    found = bad(await ward.examine())
    assert any("approve signers kubernetes.io/kube-apiserver-client-kubelet" in f for f in found)
    assert all(f.endswith("kubectl apply -f config/kubernetes/bind-node.yaml") for f in found), found


async def test_what_a_missing_right_keeps_from_being_looked_at_is_told_by_that_right(ward: Ward) -> None:
    """Not once more by each look that was forbidden."""
    await revoke_rights(ward, "appliance.yaml")
    found = bad(await ward.examine())
    assert found and not [f for f in found if "403" in f], found
    assert sum("get configmaps cluster-info" in f for f in found) == 1


async def test_a_credential_that_has_ended_is_told_with_its_remedy(ward: Ward) -> None:
    """That the network is mended helps nobody."""
    await ward.kube.api.control("settings", credentials_expired=True)
    (found,) = bad(await ward.examine())
    assert "401" in found and found.endswith("renew the credential in the kubeconfig")


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, "everything"),
        ({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}, "get secrets in kube-system"),
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}, "create pods in kube-system"),
        ({"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}, "impersonate users"),
    ],
)
async def test_an_account_that_may_too_much_is_told_of(ward: Ward, rule: dict[str, Any], text: str) -> None:
    """What it leads to stands beside it."""
    subject = {"kind": "ServiceAccount", "name": "appliance", "namespace": "netboot"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "more"}
    bodies: dict[str, dict[str, Any]] = {
        "clusterroles": {"kind": "ClusterRole", "rules": [rule]},
        "clusterrolebindings": {"kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]},
    }
    for resource, body in bodies.items():
        meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "more"}}
        await ward.kube.api.control("create", resource=resource, name="more", body={**meta, **body})
    ward.kube.api.verbs.follow_rbac()
    (found,) = bad(await ward.examine())
    assert found.startswith("too much: our account may") and text in found


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"signer": False}, "missing: cluster-info is not signed: the controller bootstrapsigner"),
        ({"cleaner": False}, "missing: expired tokens are not deleted: the controller tokencleaner"),
        ({"cluster_info_ca": "wrong"}, "wrong: cluster-info shows another authority"),
        ({"clock_skew": 90.0}, "ahead of ours; synchronise both clocks"),
        ({"down": True}, "is unreachable"),
    ],
)
async def test_what_is_wrong_with_a_cluster_is_said(ward: Ward, settings: dict[str, Any], text: str) -> None:
    """R2, R14, R18."""
    await ward.kube.api.control("settings", **settings)
    found = bad(await ward.examine())
    assert any(text in f for f in found), found
    await ward.kube.api.control("settings", down=False)


async def test_a_missing_policy_is_told_of_and_nothing_is_left_behind(ward: Ward) -> None:
    """RBAC alone lets the account create any Secret."""
    resource, name = "validatingadmissionpolicybindings", "netboot-appliance-tokens"
    await ward.kube.api.control("delete", resource=resource, name=name)
    (found,) = bad(await ward.examine())
    assert "Secrets of any kind" in found and "kubectl apply -f config/kubernetes/policy.yaml" in found
    assert not ward.kube.all("secrets", "kube-system")


@pytest.mark.parametrize(("version", "state"), [("v1.29.15", "note"), ("v1.30.0", "too much")])
async def test_a_policy_that_the_cluster_cannot_have_is_noted_alone(
    ward: Ward, version: str, state: str
) -> None:
    """Admission policies came with 1.30: before it nothing can be mended, and nothing is to be applied."""
    resource, name = "validatingadmissionpolicybindings", "netboot-appliance-tokens"
    await ward.kube.api.control("delete", resource=resource, name=name)
    ward.kube.api.version = version
    (found,) = [f for f in await ward.examine() if "Secrets of any kind" in f.what]
    assert found.state == state and ("policy.yaml" in found.remedy) is found.bad


async def test_another_address_in_cluster_info_is_noted(ward: Ward) -> None:
    """kubeadm goes on there."""
    notes = [f.what for f in await ward.examine(endpoint="api.example.org:6443") if f.state == "note"]
    assert any(
        w == f"cluster-info sends nodes on to {ward.kube.endpoint}, not to api.example.org:6443"
        for w in notes
    )


@pytest.mark.parametrize("method", ["tls-bootstrap", "certificate", "static"])
async def test_other_methods_are_asked_for_what_they_need(ward: Ward, method: str) -> None:
    """No cluster-info where nodes do not read it, no token where none is made."""
    join = replace(ward.clusters[0].join, method=method)
    assert not bad(await ward.examine(join=join)) and not ward.kube.tokens()


async def test_rights_are_looked_at_once_and_again_when_settings_change(
    ward: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    """At start and after a reload; a cluster that does not answer is asked later."""
    await revoke_rights(ward, "node-delete.yaml")
    doctor = ward.doctor()
    await ward.kube.api.control("settings", down=True)
    await doctor.look()
    assert doctor.problem("blue") is None
    await ward.kube.api.control("settings", down=False)
    await doctor.look()
    assert doctor.problem("blue") is None and not ward.kube.tokens()
    ward.clusters[0] = replace(ward.clusters[0], node_actions=NodeActions(delete=True))
    with caplog.at_level(logging.WARNING):
        await doctor.look()
    assert "may not delete nodes" in caplog.text
    problem = doctor.problem("blue")
    assert problem and problem.endswith("kubectl apply -f config/kubernetes/node-delete.yaml")
    caplog.clear()
    await doctor.look()
    assert doctor.problem("blue") and not caplog.text
    ward.kube.api.apply(FOLDER / "node-delete.yaml")
    await doctor.look()
    assert doctor.problem("blue") is None
    ward.clusters.clear()
    await doctor.look()
    assert doctor.problem("blue") is None
