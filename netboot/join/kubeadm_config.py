"""The JoinConfiguration that `kubeadm join --config` reads. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from netboot.cluster import ServerVersion
from netboot.join import JoinRequest
from netboot.model.kubelet import node_labels

DISCOVERY_TIMEOUT = 60
"""Seconds after which kubeadm gives a token up (by default after 300): then the node asks again (R15)."""

V1BETA4 = "kubeadm.k8s.io/v1beta4"
V1BETA4_SINCE = ServerVersion(1, 31)
V1BETA3_SINCE = ServerVersion(1, 22)

DISCOVERY_FILE = "join/discovery.conf"
"""The kubeconfig of `discovery: file`, as a file of the node's configuration."""

DISCOVERY_PATH = f"/run/netboot/config/netboot/{DISCOVERY_FILE}"
"""Where the node's agent keeps that file until the join is through."""

Json = dict[str, Any]


def api_version(server: ServerVersion) -> str:
    """The newest JoinConfiguration that a kubeadm of the cluster's own minor version reads."""
    if server >= V1BETA4_SINCE:
        return V1BETA4
    return "kubeadm.k8s.io/v1beta3" if server >= V1BETA3_SINCE else "kubeadm.k8s.io/v1beta2"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a JoinConfiguration proves itself by; all but the pins is secret."""

    token: str = field(repr=False)
    """The whole bootstrap token."""
    pins: tuple[str, ...] = ()
    """The caCertHashes; empty where the node is given the authority itself (`discovery: file`)."""
    certificate_key: str = field(default="", repr=False)
    """For a control plane: opens the certificates that were uploaded."""


def join_configuration(
    request: JoinRequest, credential: Credential, *, server: ServerVersion, discovery_timeout: int
) -> bytes:
    """The configuration as JSON, which is YAML without quoting traps; secret (mode 0600)."""
    newer = api_version(server) == V1BETA4
    discovery = _discovery(request, credential)
    document: Json = {
        "apiVersion": api_version(server),
        "kind": "JoinConfiguration",
        "discovery": discovery,
        "nodeRegistration": _registration(request, newer),
    }
    if request.cluster.join.role == "control-plane":
        document["controlPlane"] = {"certificateKey": credential.certificate_key}
    if newer:
        document["timeouts"] = {"discovery": f"{discovery_timeout}s"}
    else:
        discovery["timeout"] = f"{discovery_timeout}s"
    return json.dumps(document, indent=2).encode() + b"\n"


def _discovery(request: JoinRequest, credential: Credential) -> Json:
    """How kubeadm finds the cluster and knows it: by pins, or by a file with the authority in it."""
    if not credential.pins:
        return {"file": {"kubeConfigPath": DISCOVERY_PATH}, "tlsBootstrapToken": credential.token}
    token = {
        "token": credential.token,
        "apiServerEndpoint": request.cluster.endpoint,
        "caCertHashes": list(credential.pins),
    }
    return {"bootstrapToken": token}


def discovery_kubeconfig(request: JoinRequest, authority: bytes) -> bytes:
    """The kubeconfig of `discovery: file`: where the cluster is, and its authority (PEM); nothing secret."""
    cluster = {
        "certificate-authority-data": base64.b64encode(authority).decode(),
        "server": f"https://{request.cluster.endpoint}",
    }
    document: Json = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": request.cluster.name, "cluster": cluster}],
        "contexts": [
            {"name": request.cluster.name, "context": {"cluster": request.cluster.name, "user": ""}}
        ],
        "current-context": request.cluster.name,
        "users": [],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _registration(request: JoinRequest, newer: bool) -> Json:
    arguments = dict(sorted(request.kubelet_args.items()))
    if labels := node_labels(request.labels):
        arguments["node-labels"] = labels
    taints = [{"key": t.key, "value": t.value, "effect": t.effect} for t in request.taints]
    return {
        "name": request.node,
        "criSocket": request.cluster.join.cri_socket,
        # without the field kubeadm taints control planes itself; an empty list would keep it from that
        **({"taints": [{k: v for k, v in t.items() if v} for t in taints]} if taints else {}),
        "kubeletExtraArgs": [{"name": k, "value": v} for k, v in arguments.items()] if newer else arguments,
    }
