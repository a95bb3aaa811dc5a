"""The clients of all clusters follow the operator's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.cluster.client import ClusterClients
from netboot.errors import ClusterError
from netboot.model.inventory import Cluster, JoinSettings
from tests.kube.fixtures import Kube


async def test_clients_follow_a_reload(kube: Kube, tmp_path: Path) -> None:
    """One client per cluster that is joined; the same kubeconfig keeps its client."""

    def cluster(name: str, path: Path, method: str = "kubeadm") -> Cluster:
        return Cluster(name, kube.endpoint, join=JoinSettings(method=method, kubeconfig=path))

    clients = ClusterClients()
    await clients.update([cluster("blue", kube.kubeconfig()), cluster("idle", kube.kubeconfig(), "none")])
    blue = clients.api("blue")
    with pytest.raises(ClusterError, match="no cluster idle"):
        clients.api("idle")
    await clients.update([cluster("blue", kube.kubeconfig())])
    assert clients.api("blue") is blue
    await clients.update([cluster("blue", tmp_path / "other")])
    assert clients.api("blue") is not blue
    await clients.close()
    with pytest.raises(ClusterError):
        clients.api("blue")
