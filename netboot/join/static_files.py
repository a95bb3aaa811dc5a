"""What a node of a cluster built by hand is given, made of the operator's authority or folder.

Beside the kubelet's own: its certificates for both directions, kube-proxy's kubeconfig and configuration,
and with `kubelet_args: {pod-cidr: ...}` a CNI configuration for a plain bridge; without it the cluster is
expected to bring its own CNI plugin. Errors are ConfigError with every problem at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from netboot.errors import ConfigError
from netboot.join import File, JoinRequest, authority, kubelet
from netboot.join.authority import CLIENT, NODES, PROXY, SERVER, Pair, Wanted
from netboot.model.inventory import JoinSettings

PKI = "/etc/kubernetes/pki"
PROXY_KUBECONFIG = "/etc/kubernetes/kube-proxy.conf"
PROXY_CONFIG = "/var/lib/kube-proxy/config.yaml"
CNI = "/etc/cni/net.d/10-netboot.conflist"

PROXY_UNIT = f"""\
[Unit]
Description=kube-proxy: Kubernetes' services on this node
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kube-proxy --config={PROXY_CONFIG}
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
"""

POD_CIDR = "pod-cidr"
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Certificates:
    """All certificates of one node."""

    bundle: bytes
    """Whom the node trusts: authorities in PEM."""
    client: Pair = field(repr=False)
    serving: Pair = field(repr=False)
    proxy: Pair = field(repr=False)


def static_files(request: JoinRequest, now: float) -> dict[str, File]:
    """All files of one node. Raises ConfigError."""
    arguments = request.kubelet_args
    made = certificates(request, now)
    flags = {} if "node-ip" in arguments or request.address is None else {"node-ip": str(request.address)}
    client, serving, proxy = (f"{PKI}/{name}" for name in ("kubelet-client", "kubelet-serving", "kube-proxy"))
    files = {
        **kubelet.method("static"),
        **kubelet.kubelet_files(
            request,
            authority=made.bundle,
            flags=flags,
            tlsCertFile=f"{serving}.crt",
            tlsPrivateKeyFile=f"{serving}.key",
        ),
        **_pair(client, made.client),
        **_pair(serving, made.serving),
        **_pair(proxy, made.proxy),
        **_kubeconfig(request, made.bundle, kubelet.KUBECONFIG, client),
        **_kubeconfig(request, made.bundle, PROXY_KUBECONFIG, proxy),
        **kubelet.laid(PROXY_CONFIG, proxy_configuration(request)),
        "join/units/kube-proxy.service": (PROXY_UNIT.encode(), kubelet.PLAIN),
    }
    if POD_CIDR in arguments:
        files |= kubelet.laid(CNI, bridge(arguments[POD_CIDR]))
    return files


def _pair(path: str, pair: Pair) -> dict[str, File]:
    return {
        **kubelet.laid(f"{path}.crt", pair.certificate),
        **kubelet.laid(f"{path}.key", pair.key, kubelet.SECRET),
    }


def _kubeconfig(request: JoinRequest, bundle: bytes, path: str, user: str) -> dict[str, File]:
    content = kubelet.kubeconfig(request, bundle, kubelet.by_files(f"{user}.crt", f"{user}.key"))
    return kubelet.laid(path, content, kubelet.SECRET)


def proxy_configuration(request: JoinRequest) -> bytes:
    """KubeProxyConfiguration as JSON, which is YAML."""
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": PROXY_KUBECONFIG},
        "hostnameOverride": request.node,
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def bridge(cidr: str) -> bytes:
    """A CNI configuration for the pods of one node: a bridge with that network. Raises ConfigError."""
    try:
        networks = [ip_network(word.strip()) for word in cidr.split(",")]
    except ValueError:
        problem = f"kubelet_args: pod-cidr: {cidr[:80]!r} is no network: write one like 10.244.7.0/24"
        raise ConfigError([problem]) from None
    plugin = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(network)}] for network in networks],
            "routes": [{"dst": "::/0" if network.version == 6 else "0.0.0.0/0"} for network in networks],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    document = {"cniVersion": "0.4.0", "name": "netboot", "plugins": [plugin, ports]}
    return json.dumps(document, indent=2).encode() + b"\n"


# Certificates


def certificates(request: JoinRequest, now: float) -> Certificates:
    """Signed by the authority that the file names, else those of the operator's folder."""
    join = request.cluster.join
    if join.directory is not None:
        return from_folder(request.node, join, now)
    if join.ca_certificate is None or join.ca_key_file is None:
        raise ConfigError(
            [f"cluster {request.cluster.name}: name ca_certificate and ca_key_file, or directory"]
        )
    signer = authority.authority(join.ca_certificate, join.ca_key_file, now)
    wanted = _wanted(request.node, (request.node, *request.names), _addresses(request))
    return Certificates(signer.bundle, *(signer.issue(one, now) for one in wanted))


def _wanted(node: str, names: Sequence[str] = (), addresses: Sequence[Address] = ()) -> tuple[Wanted, ...]:
    return (
        Wanted(f"system:node:{node}", NODES, CLIENT),
        Wanted(f"system:node:{node}", NODES, SERVER, tuple(names), tuple(addresses)),
        Wanted(PROXY, "", CLIENT),
    )


def _addresses(request: JoinRequest) -> list[Address]:
    """The leased address, and those that the operator gives the kubelet."""
    found: list[Address] = [request.address] if request.address is not None else []
    for word in request.kubelet_args.get("node-ip", "").split(","):
        try:
            found.append(ip_address(word.strip()))
        except ValueError:
            continue  # kubelet itself says what is wrong with it
    return found


def folder_files(node: str, join: JoinSettings) -> dict[str, Path]:
    """The files of the operator's folder that one node needs, by what they are."""
    assert join.directory is not None
    names = {
        "client certificate": f"{node}.crt",
        "client key": f"{node}.key",
        "serving certificate": f"{node}-serving.crt",
        "serving key": f"{node}-serving.key",
        "kube-proxy certificate": "kube-proxy.crt",
        "kube-proxy key": "kube-proxy.key",
    }
    bundle = join.ca_certificate or join.directory / "ca.crt"
    return {"authority": bundle, **{what: join.directory / name for what, name in names.items()}}


def from_folder(node: str, join: JoinSettings, now: float) -> Certificates:
    """What lies in the operator's folder for this node; every file that is missing or wrong is named."""
    files = folder_files(node, join)
    if missing := [_missing(path, what, node) for what, path in files.items() if not _is(path)]:
        raise ConfigError(missing)
    problems: list[str] = []
    pairs: list[Pair] = []
    for kind, wanted in zip(("client", "serving", "kube-proxy"), _wanted(node), strict=True):
        try:
            pairs.append(authority.pair(files[f"{kind} certificate"], files[f"{kind} key"], wanted, now))
        except ConfigError as error:
            problems += error.problems
    try:
        bundle = authority.trusted(files["authority"])
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Certificates(bundle, *pairs)


def _missing(path: Path, what: str, node: str) -> str:
    shared = what.startswith(("authority", "kube-proxy"))
    return f"{path} is missing: the {what} of {'all nodes' if shared else node}"


def _is(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # reading it says why
    return True


def doubts(node: str, join: JoinSettings, now: float) -> tuple[str, ...]:
    """What is wrong with the operator's files for this node; nothing where they can be used."""
    try:
        if join.directory is not None:
            from_folder(node, join, now)
        elif join.ca_certificate is not None and join.ca_key_file is not None:
            authority.authority(join.ca_certificate, join.ca_key_file, now)
    except ConfigError as error:
        return error.problems
    return ()
