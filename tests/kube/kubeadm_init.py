"""What `kubeadm init` leaves in a cluster for the machines that join: ConfigMaps, roles and bindings.

kubeadm's own phases want a host that can be a control plane (an address that is no loopback, a container
runtime), so the documents are written here, with the names that kubeadm gives them.
"""

from __future__ import annotations

import json

from tests.kube.cluster import DEFAULT_GROUP
from tests.kube.pki import cluster_info_kubeconfig
from tests.kube.status import Json

RBAC = "rbac.authorization.k8s.io"
NODES = "system:nodes"
AUTOAPPROVE = "system:certificates.k8s.io:certificatesigningrequests"


def documents(server: str, ca: bytes, version: str, minor: int) -> list[Json]:
    """Every document, in an order in which they can be applied."""
    return [*_configmaps(server, ca, version, minor), *_discovery(), *_reading(minor), *_bootstrap()]


def _configmaps(server: str, ca: bytes, version: str, minor: int) -> list[Json]:
    version_of_api = "v1beta4" if minor >= 31 else "v1beta3" if minor >= 22 else "v1beta2"
    configuration = {
        "apiVersion": f"kubeadm.k8s.io/{version_of_api}",
        "kind": "ClusterConfiguration",
        "clusterName": "kubernetes",
        "controlPlaneEndpoint": server.removeprefix("https://"),
        "kubernetesVersion": version,
        "networking": {"dnsDomain": "cluster.local", "serviceSubnet": "10.96.0.0/16"},
    }
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "rotateCertificates": True,
    }
    proxy = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
    return [
        _configmap("kube-public", "cluster-info", {"kubeconfig": cluster_info_kubeconfig(server, ca)}),
        _configmap("kube-system", "kubeadm-config", {"ClusterConfiguration": json.dumps(configuration)}),
        *(_configmap("kube-system", n, {"kubelet": json.dumps(kubelet)}) for n in kubelet_names(minor)),
        _configmap("kube-system", "kube-proxy", {"config.conf": json.dumps(proxy)}),
    ]


def kubelet_names(minor: int) -> list[str]:
    """What the kubelet's ConfigMap is called; kubeadm before 1.24 writes the version at its end."""
    return ["kubelet-config"] if minor >= 24 else ["kubelet-config", f"kubelet-config-1.{minor}"]


def _discovery() -> list[Json]:
    """Anybody may read cluster-info."""
    name = "kubeadm:bootstrap-signer-clusterinfo"
    return [
        _role("kube-public", name, "cluster-info"),
        _role_binding("kube-public", name, {"kind": "User", "name": "system:anonymous"}),
    ]


def _reading(minor: int) -> list[Json]:
    """What a joining machine reads with its token."""
    get_nodes = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}
    made = [
        _object(RBAC, "ClusterRole", "kubeadm:get-nodes", rules=[get_nodes]),
        _cluster_binding("kubeadm:get-nodes", "kubeadm:get-nodes", DEFAULT_GROUP),
    ]
    roles = {
        "kubeadm:nodes-kubeadm-config": ["kubeadm-config"],
        "kubeadm:kubelet-config": kubelet_names(minor),
        "kube-proxy": ["kube-proxy"],
    }
    for name, configmaps in roles.items():
        groups = [{"kind": "Group", "name": group} for group in (DEFAULT_GROUP, NODES)]
        made += [_role("kube-system", name, *configmaps), _role_binding("kube-system", name, *groups)]
    return made


def _bootstrap() -> list[Json]:
    """Who may ask for a kubelet's certificate, and whose is approved by itself."""
    return [
        _cluster_binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", DEFAULT_GROUP),
        _cluster_binding("kubeadm:node-autoapprove-bootstrap", f"{AUTOAPPROVE}:nodeclient", DEFAULT_GROUP),
        _cluster_binding(
            "kubeadm:node-autoapprove-certificate-rotation", f"{AUTOAPPROVE}:selfnodeclient", NODES
        ),
    ]


def _object(group: str, kind: str, name: str, namespace: str = "", **content: object) -> Json:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    version = f"{group}/v1" if group else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _configmap(namespace: str, name: str, data: dict[str, str]) -> Json:
    return _object("", "ConfigMap", name, namespace, data=data)


def _role(namespace: str, name: str, *configmaps: str) -> Json:
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": list(configmaps),
        "verbs": ["get"],
    }
    return _object(RBAC, "Role", name, namespace, rules=[rule])


def _role_binding(namespace: str, name: str, *subjects: dict[str, str]) -> Json:
    named = [{"apiGroup": RBAC, **subject} for subject in subjects]
    reference = {"apiGroup": RBAC, "kind": "Role", "name": name}
    return _object(RBAC, "RoleBinding", name, namespace, roleRef=reference, subjects=named)


def _cluster_binding(name: str, role: str, group: str) -> Json:
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
    subjects = [{"apiGroup": RBAC, "kind": "Group", "name": group}]
    return _object(RBAC, "ClusterRoleBinding", name, roleRef=reference, subjects=subjects)
