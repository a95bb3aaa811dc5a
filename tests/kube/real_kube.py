"""A cluster of real binaries as a test holds it: its objects over HTTP, clean at the start of each test."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import NoReturn

import aiohttp
import pytest

from tests.kube.bootstrap import SECRET_TYPE
from tests.kube.cluster import Caller, Kube
from tests.kube.kinds import KINDS, Kind
from tests.kube.real import RealCluster
from tests.kube.status import Json

RESOURCES = {k.resource: k for k in KINDS.values()}
OLDER = {"poddisruptionbudgets": (21, "v1beta1")}
"""Resources whose version came with a minor version of Kubernetes, and the version before it."""
STRATEGIC = "application/strategic-merge-patch+json"
CLEANED = ("nodes", "pods", "poddisruptionbudgets", "daemonsets", "certificatesigningrequests")
AT_ONCE: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
"""Ends a pod without waiting for its kubelet."""
HANDED = ("ca.crt", "ca.key", "admin.kubeconfig", "appliance.kubeconfig", "appliance.token")


class RealKube(Kube):
    """The cluster of real binaries, as a test holds it."""

    patience = 10.0

    def __init__(self, cluster: RealCluster, directory: Path) -> None:
        """`directory` gets a copy of the files that a test may read, change and remove."""
        super().__init__(directory)
        self._cluster = cluster
        for name in HANDED:
            shutil.copy2(cluster.directory / name, directory)

    async def close(self) -> None:
        """Nobody lives or calls any more; TLS connections take a moment to end."""
        await super().close()
        await asyncio.sleep(0.25)

    @property
    def server(self) -> str:
        """https://HOST:PORT."""
        return self._cluster.server

    @property
    def api(self) -> NoReturn:
        """A real cluster cannot be made to fail: the test is skipped."""
        pytest.skip("only the stand-in can be looked into and made to fail")

    @property
    def minor(self) -> int:
        """What the API server says."""
        return self._cluster.minor

    @property
    def kubeadm(self) -> Path:
        """The real one."""
        return self._cluster.programs["kubeadm"]

    async def pass_time(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def end_pods(self) -> None:
        """See Kube: by a task that watches all of them."""
        admin = await self.admin()
        changes = await self.stack.enter_async_context(
            admin.session.get(f"{self.server}/api/v1/pods?watch=true")
        )
        self._living["pods"] = asyncio.get_running_loop().create_task(self._end_pods(admin, changes.content))

    async def _end_pods(self, admin: Caller, changes: aiohttp.StreamReader) -> None:
        async for line in changes:
            change = json.loads(line)
            metadata = change["object"]["metadata"]
            if change["type"] != "DELETED" and metadata.get("deletionTimestamp"):
                path = path_of(self._kind("pods"), metadata["namespace"], metadata["name"])
                await admin.call("DELETE", path, {**AT_ONCE, "preconditions": {"uid": metadata["uid"]}})

    def _kind(self, resource: str) -> Kind:
        return served(resource, self._cluster.minor)

    def find(self, resource: str, name: str, namespace: str = "") -> Json | None:
        """An object."""
        status, answer = self._cluster.ask("GET", path_of(self._kind(resource), namespace, name))
        if status == 404:
            return None
        assert status == 200, answer
        return answer

    def all(self, resource: str, namespace: str = "") -> list[Json]:
        """Every object of a resource."""
        found = self._cluster.need("GET", path_of(self._kind(resource), namespace, ""))
        return list(found["items"] or ())

    def create(self, resource: str, name: str, body: Json, namespace: str = "") -> Json:
        """Put an object there, then its status; a budget is waited for until its controller has seen it."""
        kind = self._kind(resource)
        wanted = {**body, "apiVersion": kind.api_version, "kind": kind.kind}
        wanted["metadata"] = {**wanted.get("metadata", {}), "name": name}
        made = self._cluster.need("POST", path_of(kind, namespace, ""), wanted)
        if "status" in body and "status" in kind.subresources:
            made = self.merge(resource, name, {"status": body["status"]}, namespace)
        if resource == "poddisruptionbudgets":
            self._await_budget(name, namespace)
        return made

    def _await_budget(self, name: str, namespace: str) -> None:
        end = time.monotonic() + 20
        while True:
            budget = self.find("poddisruptionbudgets", name, namespace) or {}
            state = budget.get("status") or {}
            if state.get("observedGeneration") == budget["metadata"].get("generation"):
                return
            assert time.monotonic() < end, "the disruption controller did not look at the budget"
            time.sleep(0.05)

    def merge(self, resource: str, name: str, patch: Json, namespace: str = "") -> Json:
        """Change an object; its status goes to its own subresource."""
        kind = self._kind(resource)
        path = path_of(kind, namespace, name)
        rest = {k: v for k, v in patch.items() if k != "status"}
        answer: Json = {}
        if rest:
            answer = self._cluster.need("PATCH", path, rest, STRATEGIC)
        if "status" in patch:
            answer = self._cluster.need("PATCH", f"{path}/status", {"status": patch["status"]}, STRATEGIC)
        return answer

    def remove(self, resource: str, name: str, namespace: str = "") -> None:
        """Take an object away, at once."""
        self._cluster.need("DELETE", path_of(self._kind(resource), namespace, name), AT_ONCE)

    def clean(self) -> None:
        """Nothing of the last test is left."""
        leftovers = [(r, o) for r in CLEANED for o in self.all(r)]
        leftovers += [("leases", o) for o in self.all("leases", "kube-node-lease")]
        leftovers += [("secrets", o) for o in self.all("secrets", "kube-system") if o["type"] == SECRET_TYPE]
        for resource, body in leftovers:
            metadata = body["metadata"]
            path = path_of(self._kind(resource), metadata.get("namespace", ""), metadata["name"])
            status, answer = self._cluster.ask("DELETE", path, AT_ONCE)
            assert status in (200, 202, 404), answer


def served(resource: str, minor: int) -> Kind:
    """A resource, in the version that a server of that minor version has."""
    kind = RESOURCES[resource]
    since, before = OLDER.get(resource, (0, ""))
    return kind if minor >= since else dataclasses.replace(kind, version=before)


def path_of(kind: Kind, namespace: str, name: str) -> str:
    """The URL path of a resource."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{root}{inside}/{kind.resource}" + (f"/{name}" if name else "")
