"""A site whose cluster is made of real binaries, all of it inside the lab's namespace."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.kube.kubeadm_init import kubelet_names
from tests.kube.real import VARIABLE, RealCluster, programs
from tests.lab.appliance import Appliance
from tests.lab.namespace import ADDRESS, Lab
from tests.lab.site import Site, lend, running_site, write_yaml

Json = dict[str, Any]

ROLES = ("kubeadm", "bootstrap", "certificate", "byhand")
"""The declared machines, each named for how it joins."""

LABELS = {"example.org/rack": "rack-1"}
TAINT = "example.org/lab=real:NoSchedule"
BRIDGE = {
    "cniVersion": "0.4.0",
    "name": "lab",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.1.0/24"}]]},
        }
    ],
}
"""What a CNI DaemonSet would lay; its image cannot be fetched here."""
NETWORK = {"files": {"/etc/cni/net.d/10-lab.conflist": {"content": json.dumps(BRIDGE)}}}


def mac_of(role: str) -> str:
    """The MAC of a machine."""
    return f"52:54:00:77:80:{ROLES.index(role) + 1:02x}"


def address_of(role: str) -> str:
    """Its declared address."""
    return f"10.77.0.{ROLES.index(role) + 201}"


class LabCluster(RealCluster):
    """The cluster in a lab's namespace; it takes its time to see that a node is gone."""

    def _run(self, name: str, flags: list[str]) -> None:
        patient = ["--node-monitor-grace-period=10m"] if name == "kube-controller-manager" else []
        super()._run(name, [*flags, *patient])


class RealSite(Site):
    """A site with a cluster of real binaries instead of the stand-in."""

    def __init__(self, lab: Lab, cluster: RealCluster, appliance: Appliance, directory: Path) -> None:
        super().__init__(lab, None, appliance, directory)
        self.cluster = cluster

    def node(self, name: str) -> Json | None:
        """The Node object of that name."""
        status, answer = self.cluster.ask("GET", f"/api/v1/nodes/{quote(name)}")
        return answer if status == 200 else None

    def tokens(self) -> list[str]:
        """Names of the bootstrap tokens that live."""
        found = self.cluster.need("GET", "/api/v1/namespaces/kube-system/secrets")["items"]
        return [s["metadata"]["name"] for s in found if s["type"] == "bootstrap.kubernetes.io/token"]


def conditions_of(node: Json | None) -> dict[str, str]:
    """The conditions of a Node object by type; of Ready also why it is not."""
    found = ((node or {}).get("status") or {}).get("conditions", ())
    return {
        c["type"]: c["status"] if c["status"] == "True" else f"{c['status']}: {c['message']}" for c in found
    }


def is_ready(node: Json | None) -> bool:
    """Whether its kubelet says so."""
    return conditions_of(node).get("Ready") == "True"


@contextmanager
def real_site(
    directory: Path, folder: Path, write_configs: Callable[[Path, RealCluster], Sequence[Path]]
) -> Iterator[RealSite]:
    """Namespace, cluster and appliance, up and ready; `folder` holds the binaries."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        state = directory / "kube"
        state.mkdir()
        cluster = LabCluster(
            programs(folder),
            state,
            host=ADDRESS,
            prefix=lab.prefix,
            connect=lambda at, s: lab.connect(*at, s),
        )
        stack.callback(cluster.stop)
        cluster.start()
        tell_kubelets(cluster)
        configs = write_configs(directory, cluster)
        appliance = stack.enter_context(Appliance(lab, configs, directory, directory / "data"))
        yield RealSite(lab, cluster, appliance, directory)


@contextmanager
def full_site(
    directory: Path, write: Callable[[Path, Path], Sequence[Path]], *, kubeconfig: Path | None = None
) -> Iterator[Site]:
    """A site for the full image: a cluster of real binaries where they are in the image, too.

    A real kubelet talks to no stand-in of the API. `write` and `kubeconfig` as for `running_site`.
    """
    folder = os.environ.get(VARIABLE)
    if kubeconfig or not folder:
        with running_site(directory, write, kubeconfig=kubeconfig) as site:
            yield site
        return
    with real_site(directory, Path(folder), lambda d, c: [*write(d, account(d, c)), ours(d, c)]) as real:
        yield real


def ours(directory: Path, cluster: RealCluster) -> Path:
    """What the operator's file needs on top: a network for pods, and what this kubeadm cannot have."""
    join = {"ignore_preflight": ignored(cluster)}
    clusters = [{"name": name, "join": join} for name in ("blue", "catchall")]
    return write_yaml(directory / "real.yaml", {"clusters": clusters, "tags": {"all": NETWORK}})


def account(directory: Path, cluster: RealCluster) -> Path:
    """The kubeconfig of the appliance's account, for the appliance to read."""
    return lend(cluster.directory / "appliance.kubeconfig", directory / "appliance.kubeconfig")


def tell_kubelets(cluster: RealCluster) -> None:
    """What `kubeadm init` writes into kubelets' configuration; their serving certificates by the cluster."""
    for name in kubelet_names(cluster.minor):
        path = f"/api/v1/namespaces/kube-system/configmaps/{name}"
        configuration = json.loads(cluster.need("GET", path)["data"]["kubelet"])
        configuration |= {
            "authentication": {"x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}},
            "serverTLSBootstrap": True,
        }
        patch = {"data": {"kubelet": json.dumps(configuration)}}
        cluster.need("PATCH", path, patch, "application/merge-patch+json")


def writer(keys: Sequence[str]) -> Callable[[Path, RealCluster], Sequence[Path]]:
    """Writes the operator's file: one cluster in it for each way to join the one that runs."""
    return lambda directory, cluster: [
        write_yaml(directory / "netboot.yaml", configuration(directory, cluster, keys))
    ]


def configuration(directory: Path, cluster: RealCluster, keys: Sequence[str]) -> Json:
    """The operator's file."""
    files = directory / "files"
    files.mkdir(exist_ok=True)
    kubeconfig = str(account(directory, cluster))
    key = lend(cluster.directory / "ca.key", directory / "ca.key")
    authority = lend(cluster.directory / "ca.crt", directory / "ca.crt")
    joins: dict[str, Json] = {
        "kubeadm": {"method": "kubeadm", "kubeconfig": kubeconfig, "ignore_preflight": ignored(cluster)},
        "bootstrap": {"method": "tls-bootstrap", "kubeconfig": kubeconfig},
        "certificate": {"method": "certificate", "kubeconfig": kubeconfig},
        "byhand": {"method": "static", "ca_certificate": str(authority), "ca_key_file": str(key)},
    }
    common = {"endpoint": f"{ADDRESS}:{cluster.port}", "image": "debian-12"}
    return {
        "server": {
            "data_dir": str(directory / "data"),
            "images_dir": str(directory / "images"),
            "files_dir": str(files),
        },
        "networks": [
            {
                "name": "lab",
                "subnet": "10.77.0.0/24",
                "interface": "br0",
                "address": ADDRESS,
                "range": "10.77.0.100-10.77.0.199",
                "gateway": "10.77.0.254",
                "lease": "1h",
            }
        ],
        "clusters": [
            {"name": role, **common, "join": joins[role], "serving_certificates": serving(role)}
            for role in ROLES
        ],
        "pools": [
            {"name": role, "cluster": role, "network": "lab", "nodes": [declared(role)]} for role in ROLES
        ],
        "tags": {
            "all": {
                "ssh_authorized_keys": list(keys),
                "kernel_parameters": ["console=ttyS0,115200n8"],
                "labels": LABELS,
                "taints": [TAINT],
                "kubelet_args": {"max-pods": 50, "cgroup-driver": "systemd"},
            },
            "cni": NETWORK,
        },
    }


def serving(role: str) -> str:
    """Whether the appliance approves kubelets' serving certificates; `static` brings its own."""
    return "ignore" if role == "byhand" else "approve"


def declared(role: str) -> Json:
    """The machine in the operator's file: the static one is given its CNI configuration by us."""
    more: Json = {"tags": ["cni"]}
    if role == "byhand":
        more = {"settings": {"kubelet_args": {"pod-cidr": "10.244.7.0/24"}}}
    return {"name": role, "macs": [mac_of(role)], "address": address_of(role), **more}


def ignored(cluster: RealCluster) -> list[str]:
    """kubeadm before 1.31 refuses a machine without crictl, which is no part of Kubernetes' own release."""
    has = cluster.minor >= 31 or (cluster.programs["kubeadm"].parent / "crictl").is_file()
    return [] if has else ["FileExisting-crictl"]


def kubelet_says(site: RealSite, role: str) -> str:
    """What a node's kubelet answers at /healthz, proven by the cluster's authority; else why it does not."""
    context = ssl.create_default_context(cafile=str(site.cluster.directory / "ca.crt"))
    context.load_cert_chain(site.cluster.directory / "admin.pem")
    address = address_of(role)
    try:
        with context.wrap_socket(site.lab.connect(address, 10250), server_hostname=address) as tls:
            tls.sendall(f"GET /healthz HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            return tls.recv(4096).decode().rpartition("\r\n")[2]
    except OSError as error:
        return str(error)


def ssh(site: RealSite, key: Path, role: str, script: str) -> str:
    """What a script prints on the node, run as root."""
    return site.lab.run(
        "ssh", "-q", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=60",
        f"root@{address_of(role)}", "sh", "-s", stdin=script, timeout=120, check=False,
    )  # fmt: skip
