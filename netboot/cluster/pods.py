"""Calls about the pods of a node, for draining it."""

from __future__ import annotations

from collections.abc import Sequence

from netboot.cluster import Evicted, Pod
from netboot.cluster.calls import Calls
from netboot.cluster.connection import Json
from netboot.errors import ClusterRefused, ClusterUnavailable

MIRROR = "kubernetes.io/config.mirror"
"""The annotation of a static pod's mirror: nobody but its kubelet can end it."""


class PodCalls(Calls):
    """See `cluster.PodsApi`."""

    async def pods_on(self, node: str) -> Sequence[Pod]:
        """The pods that are bound to a node."""
        selector = f"spec.nodeName={node}"
        return (await self._connection.every("/api/v1/pods", pod_of, fieldSelector=selector))[0]

    async def evict(self, pod: Pod) -> Evicted:
        """Ask for the eviction of that very pod."""
        try:
            await self._evict(pod)
        except ClusterUnavailable as error:
            if error.status != 429:
                raise
            return Evicted("held", error.reason, error.retry_after)
        except ClusterRefused as error:
            if error.status not in (404, 409):  # 409: another pod of that name by now
                raise
            return Evicted("gone")
        return Evicted("evicted")

    async def _evict(self, pod: Pod) -> None:
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction"
        try:
            await self._connection.call("POST", path, eviction_of(pod, "policy/v1"))
        except ClusterRefused as error:
            if error.status != 400:  # Kubernetes before 1.22 does not know this version
                raise
            await self._connection.call("POST", path, eviction_of(pod, "policy/v1beta1"))


def eviction_of(pod: Pod, version: str) -> Json:
    """An Eviction of that pod and of no later one with its name."""
    return {
        "apiVersion": version,
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }


def pod_of(body: Json) -> Pod:
    """What we look at in a pod."""
    metadata, status = body.get("metadata") or {}, body.get("status") or {}
    owners = [o for o in metadata.get("ownerReferences") or () if isinstance(o, dict)]
    controller: Json = next((o for o in owners if o.get("controller")), {})
    return Pod(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        controller=str(controller.get("kind", "")),
        mirror=MIRROR in (metadata.get("annotations") or {}),
        phase=str(status.get("phase", "")),
        ending=bool(metadata.get("deletionTimestamp")),
    )
