"""Calls about Node objects and their Leases."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from netboot.cluster import NODE_LEASES, NodeChange, NodeLease, NodeObject
from netboot.cluster.calls import Calls, epoch, rfc3339
from netboot.cluster.connection import Json
from netboot.errors import ClusterRefused
from netboot.model.settings import Taint

NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_NOTHING: Mapping[str, str | None] = {}


class NodeCalls(Calls):
    """See `cluster.NodesApi`."""

    async def node(self, name: str) -> NodeObject | None:
        """The Node object of that name."""
        body = await self._connection.get_or_none(f"{NODES}/{name}")
        return node_of(body) if body is not None else None

    async def node_lease(self, name: str) -> NodeLease | None:
        """The Lease of that node."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NODE_LEASES}/leases/{name}"
        body = await self._connection.get_or_none(path)
        if body is None:
            return None
        metadata = body.get("metadata") or {}
        return NodeLease(str(metadata.get("uid", "")), str(metadata.get("resourceVersion", "")))

    async def mark_unknown(self, node: NodeObject, now: float) -> None:
        """Patch nodes/status; uid and resourceVersion in the patch are preconditions (409 or 422)."""
        at = rfc3339(now)
        condition = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NetbootMachineRestarted",
            "message": "The machine is booting again; nobody renews its Lease.",
            "lastHeartbeatTime": at,
            "lastTransitionTime": at,
        }
        patch = {
            "metadata": {"uid": node.uid, "resourceVersion": node.resource_version},
            "status": {"conditions": [condition]},
        }
        await self._connection.call("PATCH", f"{NODES}/{node.name}/status", patch, STRATEGIC)

    async def nodes(self) -> tuple[Sequence[NodeObject], str]:
        """Every Node object, and the version from which a watch goes on."""
        return await self._connection.every(NODES, node_of)

    async def count_nodes(self) -> int:
        """How many Node objects there are, by one object and what the API says is left."""
        body = await self._connection.call("GET", f"{NODES}?limit=1")
        metadata, items = body.get("metadata"), body.get("items")
        if not isinstance(metadata, dict) or not isinstance(items, list):
            raise self._connection.nonsense(NODES)
        left = metadata.get("remainingItemCount")
        if isinstance(left, int):
            return len(items) + left
        return len((await self.nodes())[0]) if metadata.get("continue") else len(items)

    async def watch_nodes(self, version: str) -> AsyncGenerator[NodeChange, None]:
        """What happens to Node objects from that version on."""
        async with aclosing(self._connection.watch(NODES, version)) as events:
            async for kind, body in events:
                if kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
                    yield NodeChange(kind, node_of(body))

    async def patch_node(
        self,
        node: NodeObject,
        *,
        labels: Mapping[str, str | None] = _NOTHING,
        annotations: Mapping[str, str | None] = _NOTHING,
        taints: Sequence[Taint] | None = None,
        unschedulable: bool | None = None,
    ) -> NodeObject:
        """Change a Node object, if it is still the one that was read (uid and resourceVersion)."""
        metadata: dict[str, Any] = {"uid": node.uid, "resourceVersion": node.resource_version}
        if labels:
            metadata["labels"] = dict(labels)
        if annotations:
            metadata["annotations"] = dict(annotations)
        spec: dict[str, Any] = {}
        if taints is not None:  # a merge patch takes the place of the whole list
            spec["taints"] = [_taint_body(taint, node) for taint in taints] or None
        if unschedulable is not None:
            spec["unschedulable"] = unschedulable or None
        patch = {"metadata": metadata, **({"spec": spec} if spec else {})}
        return node_of(await self._connection.call("PATCH", f"{NODES}/{node.name}", patch, MERGE))

    async def delete_node(self, node: NodeObject) -> bool:
        """Delete that very Node object; its status may have changed since it was read."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": node.uid}}
        try:
            await self._connection.call("DELETE", f"{NODES}/{node.name}", options)
        except ClusterRefused as error:
            if error.status == 404:
                return False
            raise
        return True


def node_of(body: Json) -> NodeObject:
    """What we look at in a Node object; absent parts are empty."""
    metadata, status = body.get("metadata") or {}, body.get("status") or {}
    spec: Json = body.get("spec") or {}
    info = status.get("nodeInfo") or {}
    taints = [taint for taint in spec.get("taints") or () if isinstance(taint, dict)]
    ready: Json = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    return NodeObject(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        resource_version=str(metadata.get("resourceVersion", "")),
        created=epoch(metadata.get("creationTimestamp")),
        ready=str(ready.get("status", "Unknown")),
        ready_message=str(ready.get("message", ""))[:500],
        boot_id=str(info.get("bootID", "")),
        system_uuid=str(info.get("systemUUID", "")).lower(),
        labels=_texts(metadata.get("labels")),
        annotations=_texts(metadata.get("annotations")),
        taints=tuple(_taint_of(taint) for taint in taints),
        taint_times={_taint_of(taint): str(taint["timeAdded"]) for taint in taints if taint.get("timeAdded")},
        unschedulable=bool(spec.get("unschedulable")),
        addresses=tuple(
            str(a.get("address", "")) for a in status.get("addresses") or () if isinstance(a, dict)
        ),
        kubelet_version=str(info.get("kubeletVersion", ""))[:80],
    )


def _texts(found: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _taint_of(body: Json) -> Taint:
    return Taint(str(body.get("key", "")), str(body.get("value") or ""), str(body.get("effect", "")))


def _taint_body(taint: Taint, node: NodeObject) -> Json:
    """A taint that stays as it was keeps its time: evictions count from it."""
    time = node.taint_times.get(taint, "")
    fields = {"key": taint.key, "value": taint.value, "effect": taint.effect, "timeAdded": time}
    return {key: value for key, value in fields.items() if value}
