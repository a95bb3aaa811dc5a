"""The JoinConfiguration that `kubeadm join --config` reads. Pure."""

from __future__ import annotations

import json
from typing import Any

from netboot.cluster import ServerVersion
from netboot.join import JoinRequest

DISCOVERY_TIMEOUT = 60
"""Seconds after which kubeadm gives a token up (by default after 300): then the node asks again (R15)."""

V1BETA4_SINCE = ServerVersion(1, 31)

Json = dict[str, Any]


def api_version(server: ServerVersion) -> str:
    """The newest JoinConfiguration that a kubeadm of the cluster's own minor version reads."""
    return "kubeadm.k8s.io/v1beta4" if server >= V1BETA4_SINCE else "kubeadm.k8s.io/v1beta3"


def join_configuration(
    request: JoinRequest, *, token: str, pins: tuple[str, ...], server: ServerVersion, discovery_timeout: int
) -> bytes:
    """The configuration as JSON, which is YAML without quoting traps.

    `token` is the whole bootstrap token, `pins` the caCertHashes; the result is secret (mode 0600).
    """
    newer = api_version(server) == "kubeadm.k8s.io/v1beta4"
    discovery: Json = {
        "bootstrapToken": {
            "token": token,
            "apiServerEndpoint": request.cluster.endpoint,
            "caCertHashes": list(pins),
        }
    }
    document: Json = {
        "apiVersion": api_version(server),
        "kind": "JoinConfiguration",
        "discovery": discovery,
        "nodeRegistration": _registration(request, newer),
    }
    if newer:
        document["timeouts"] = {"discovery": f"{discovery_timeout}s"}
    else:
        discovery["timeout"] = f"{discovery_timeout}s"
    return json.dumps(document, indent=2).encode() + b"\n"


def _registration(request: JoinRequest, newer: bool) -> Json:
    arguments = dict(sorted(request.kubelet_args.items()))
    if request.labels:
        arguments["node-labels"] = ",".join(f"{k}={v}" for k, v in sorted(request.labels.items()))
    taints = [{"key": t.key, "value": t.value, "effect": t.effect} for t in request.taints]
    return {
        "name": request.node,
        "criSocket": request.cluster.join.cri_socket,
        "taints": [{k: v for k, v in taint.items() if v} for taint in taints],
        "kubeletExtraArgs": [{"name": k, "value": v} for k, v in arguments.items()] if newer else arguments,
    }
