"""What starts a kubelet where no kubeadm does: its configuration, kubeconfig, flags and unit. Pure.

Names in the results are those of the node's configuration below `netboot/`: `join/root/...` is laid over the
node's root when it joins, `join/units/...` are systemd units for images that have none of that name.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from netboot.join import File, JoinRequest
from netboot.model.kubelet import command_line, kubelet_flags

CONFIG = "/var/lib/kubelet/config.yaml"
KUBECONFIG = "/etc/kubernetes/kubelet.conf"
BOOTSTRAP = "/etc/kubernetes/bootstrap-kubelet.conf"
AUTHORITY = "/etc/kubernetes/pki/ca.crt"
FLAGS = "/etc/kubernetes/netboot-kubelet.env"
DROP_IN = "/etc/systemd/system/kubelet.service.d/20-netboot.conf"
"""Read after kubeadm's 10-kubeadm.conf, whose ExecStart it replaces."""

PLAIN, SECRET = 0o644, 0o600

Json = dict[str, Any]

UNIT = """\
[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target containerd.service

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
"""

_DROP_IN = f"""\
# Written by the netboot appliance for this boot.
[Service]
EnvironmentFile={FLAGS}
ExecStart=
ExecStart=/usr/bin/kubelet $NETBOOT_KUBELET_ARGS
"""

_PROGRAM_FLAGS = {"config": CONFIG, "kubeconfig": KUBECONFIG}


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _pairs(text: str) -> dict[str, str]:
    """`cpu=100m,memory=1Gi`, or evictions: `memory.available<100Mi`."""
    found = {}
    for word in _words(text.replace("<", "=")):
        name, equal, value = word.partition("=")
        if not (equal and name and value):
            raise ValueError
        found[name] = value
    return found


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _flags(text: str) -> dict[str, bool]:
    return {name: _flag(value) for name, value in _pairs(text).items()}


_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "cgroup-driver": ("cgroupDriver", str),
    "cluster-dns": ("clusterDNS", _words),
    "cluster-domain": ("clusterDomain", str),
    "container-log-max-files": ("containerLogMaxFiles", int),
    "container-log-max-size": ("containerLogMaxSize", str),
    "cpu-manager-policy": ("cpuManagerPolicy", str),
    "eviction-hard": ("evictionHard", _pairs),
    "fail-swap-on": ("failSwapOn", _flag),
    "feature-gates": ("featureGates", _flags),
    "image-gc-high-threshold": ("imageGCHighThresholdPercent", int),
    "image-gc-low-threshold": ("imageGCLowThresholdPercent", int),
    "kube-reserved": ("kubeReserved", _pairs),
    "max-pods": ("maxPods", int),
    "pod-cidr": ("podCIDR", str),
    "pod-max-pids": ("podPidsLimit", int),
    "protect-kernel-defaults": ("protectKernelDefaults", _flag),
    "registry-burst": ("registryBurst", int),
    "resolv-conf": ("resolvConf", str),
    "serialize-image-pulls": ("serializeImagePulls", _flag),
    "system-reserved": ("systemReserved", _pairs),
    "topology-manager-policy": ("topologyManagerPolicy", str),
}
"""Flags that are fields of KubeletConfiguration, where Kubernetes wants them: field and reader."""


def kubelet_configuration(request: JoinRequest, **further: Any) -> tuple[bytes, dict[str, str]]:
    """KubeletConfiguration as JSON, which is YAML; and the operator's arguments that are no field of it."""
    fields: Json = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": AUTHORITY},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": request.cluster.join.cri_socket,
        "rotateCertificates": True,
        # an image lives in RAM: pods may not be promised that part of it
        "systemReserved": {"cpu": "100m", "memory": "256Mi"},
        **further,
    }
    left = {}
    for name, value in request.kubelet_args.items():
        try:
            field, read = _FIELDS[name]
            fields[field] = read(value)
        except (KeyError, ValueError):
            left[name] = value  # no field, or no value of one: kubelet itself says what is wrong with it
    return json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n", left


def kubeconfig(request: JoinRequest, authority: bytes, user: Json) -> bytes:
    """A kubeconfig for one user of this cluster, as JSON; secret where `user` holds a credential."""
    cluster = {
        "certificate-authority-data": base64.b64encode(authority).decode(),
        "server": server(request),
    }
    name = request.cluster.name
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "node", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "node"}}],
        "current-context": name,
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def by_files(certificate: str, key: str) -> Json:
    """The user of a kubeconfig whose certificate and key lie on the node."""
    return {"client-certificate": certificate, "client-key": key}


def by_token(token: str) -> Json:
    """The user of a bootstrap kubeconfig."""
    return {"token": token}


def kubelet_files(
    request: JoinRequest, *, authority: bytes, flags: Mapping[str, str] | None = None, **further: Any
) -> dict[str, File]:
    """Configuration, flags, unit and authority (who signs for nodes and API server); no kubeconfig.

    `flags` are more of them, `further` fields of KubeletConfiguration. Raises ConfigError.
    """
    configuration, left = kubelet_configuration(request, **further)
    arguments = {
        **_PROGRAM_FLAGS,
        "hostname-override": request.node,
        **(flags or {}),
        **kubelet_flags(request.labels, request.taints, left),
    }
    line = f"NETBOOT_KUBELET_ARGS='{command_line(arguments)}'\n"
    return {
        "join/server": (f"{server(request)}\n".encode(), PLAIN),
        **laid(CONFIG, configuration),
        **laid(AUTHORITY, authority),
        **laid(FLAGS, line.encode()),
        **laid(DROP_IN, _DROP_IN.encode()),
        "join/units/kubelet.service": (UNIT.encode(), PLAIN),
    }


def server(request: JoinRequest) -> str:
    """The URL of the cluster's API."""
    return f"https://{request.cluster.endpoint}"


def laid(path: str, content: bytes, mode: int = PLAIN) -> dict[str, File]:
    """A file that the node lays at that path when it joins."""
    return {f"join/root{path}": (content, mode)}


def method(name: str) -> dict[str, File]:
    """How the node's agent knows what to do."""
    return {"join/method": (f"{name}\n".encode(), PLAIN)}
