"""A cluster's Kubernetes API over plain aiohttp: its calls by topic, and the APIs of all clusters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from netboot.cluster import ClusterApi
from netboot.cluster.certificates import CertificateCalls
from netboot.cluster.connection import TIMEOUT, Connection
from netboot.cluster.nodes import NodeCalls
from netboot.cluster.pods import PodCalls
from netboot.cluster.tokens import TokenCalls
from netboot.errors import ClusterError
from netboot.model.inventory import Cluster


class KubernetesApi(TokenCalls, NodeCalls, CertificateCalls, PodCalls):
    """One cluster's API, see `cluster.ClusterApi`; `path` None is the pod's own service account."""

    def __init__(
        self,
        name: str,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(Connection(name, path, clock=clock, environ=environ, timeout=timeout))
        self.name = name

    @property
    def skew(self) -> float | None:
        """Seconds by which the API server's clock is ahead of ours; None before its first answer."""
        return self._connection.skew

    async def authority(self) -> bytes:
        """The authority that the kubeconfig trusts, in PEM."""
        return await self._connection.authority()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()


class ClusterClients:
    """The API of each declared cluster; `update` follows a reload of the operator's file."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._clients: dict[str, tuple[Path | None, KubernetesApi]] = {}

    async def update(self, clusters: Iterable[Cluster]) -> None:
        """Know exactly these clusters; those whose kubeconfig is the same keep their connections."""
        wanted = {c.name: c.join.kubeconfig for c in clusters if c.join.has_api}
        for name, (path, client) in list(self._clients.items()):
            if wanted.get(name, self) != path:
                del self._clients[name]
                await client.close()
        for name, path in wanted.items():
            if name not in self._clients:
                self._clients[name] = (path, KubernetesApi(name, path, clock=self._clock))

    def api(self, cluster: str) -> ClusterApi:
        """The API of a cluster by its name; ClusterError where it has none."""
        try:
            return self._clients[cluster][1]
        except KeyError:
            raise ClusterError(f"no cluster {cluster} with a Kubernetes API is declared") from None

    async def close(self) -> None:
        """Close all connections."""
        await self.update(())
