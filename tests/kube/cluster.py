"""A cluster as tests hold it, whatever runs it: this process (`fixtures`) or real binaries (`real_kube`)."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import ssl
import string
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import pytest

from tests.kube import pki
from tests.kube.bootstrap import SECRET_TYPE
from tests.kube.objects import stamp
from tests.kube.status import Json

if TYPE_CHECKING:
    from tests.kube.apiserver import ApiServer

DEFAULT_GROUP = "system:bootstrappers:kubeadm:default-node-token"


@dataclass
class Caller:
    """Somebody who asks the API: with a bearer, a certificate, or anonymously."""

    server: str
    session: aiohttp.ClientSession
    bearer: str = ""

    async def call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Json]:
        """Status and JSON of one request."""
        headers = {
            "Content-Type": kind,
            **({"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}),
        }
        data = json.dumps(body) if body is not None else None
        async with self.session.request(method, self.server + path, data=data, headers=headers) as response:
            return response.status, await response.json(content_type=None)


class Kube(ABC):
    """A cluster of this test, with what tests ask of it; everything here works on a real one, too.

    `directory` holds ca.crt, ca.key, admin.kubeconfig, appliance.kubeconfig and appliance.token.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stack = AsyncExitStack()
        self._living: dict[str, asyncio.Task[None]] = {}

    # What the kind of cluster decides

    @property
    @abstractmethod
    def server(self) -> str:
        """https://HOST:PORT."""

    @property
    @abstractmethod
    def api(self) -> ApiServer:
        """The stand-in itself, to make it fail or look inside; a test that asks is skipped on a real one."""

    @abstractmethod
    def find(self, resource: str, name: str, namespace: str = "") -> Json | None:
        """An object, None where there is none."""

    @abstractmethod
    def all(self, resource: str, namespace: str = "") -> list[Json]:
        """Every object of a resource."""

    @abstractmethod
    def create(self, resource: str, name: str, body: Json, namespace: str = "") -> Json:
        """Put an object there, with its status, by the administrator's rights."""

    @abstractmethod
    def merge(self, resource: str, name: str, patch: Json, namespace: str = "") -> Json:
        """Change an object, its status too, by a strategic merge patch."""

    @abstractmethod
    def remove(self, resource: str, name: str, namespace: str = "") -> None:
        """Take an object away, at once."""

    patience = 1.0
    """How many times as long as for the stand-in a test has to wait before it gives this cluster up."""

    @property
    @abstractmethod
    def minor(self) -> int:
        """The minor version of its Kubernetes."""

    @property
    @abstractmethod
    def kubeadm(self) -> Path | None:
        """The real kubeadm, None for the stand-in."""

    @abstractmethod
    async def end_pods(self) -> None:
        """From here on a pod that shall end does, as if its node had a kubelet."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let time go by for the API server: by its clock where that can be set, else by waiting."""

    # The same for all

    def needs(self, minor: int, what: str) -> None:
        """Skip the test on a real cluster that is older than what it is about."""
        if self.minor < minor:
            pytest.skip(f"{what} came with Kubernetes 1.{minor}, this is 1.{self.minor}")

    async def close(self) -> None:
        """Nobody lives or calls any more."""
        for task in self._living.values():
            task.cancel()
        await asyncio.gather(*self._living.values(), return_exceptions=True)
        await self.stack.aclose()

    @property
    def endpoint(self) -> str:
        """host:port, as the operator's file has it."""
        return self.server.removeprefix("https://")

    @property
    def ca(self) -> bytes:
        """The cluster's authority in PEM."""
        return (self.directory / "ca.crt").read_bytes()

    @property
    def token(self) -> str:
        """The bearer of the appliance's account."""
        return (self.directory / "appliance.token").read_text().strip()

    def kubeconfig(self) -> Path:
        """The appliance's kubeconfig."""
        return self.directory / "appliance.kubeconfig"

    def certificate_of(self, user: str, *groups: str) -> tuple[bytes, bytes]:
        """A client certificate by the cluster's authority, and its key."""
        return pki.authority_in(self.directory).client(user, groups)

    async def caller(self, bearer: str = "", certificate: tuple[bytes, bytes] | None = None) -> Caller:
        """Somebody to ask as; nobody without a bearer and a certificate."""
        context = ssl.create_default_context(cadata=self.ca.decode())
        if certificate:
            file = self.directory / f"client-{id(certificate)}.pem"
            file.write_bytes(certificate[0] + certificate[1])
            context.load_cert_chain(file)
        connector = aiohttp.TCPConnector(ssl=context, force_close=True)
        session = await self.stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        return Caller(self.server, session, bearer)

    async def admin(self) -> Caller:
        """The cluster's administrator."""
        return await self.caller(certificate=self.certificate_of("admin", "system:masters"))

    async def appliance(self) -> Caller:
        """The appliance's account."""
        return await self.caller(bearer=self.token)

    async def kubelet(self, name: str) -> Caller:
        """A kubelet with its certificate."""
        return await self.caller(certificate=self.certificate_of(f"system:node:{name}", "system:nodes"))

    def mint(self, token: str, life: float = 900, **fields: str) -> Json:
        """Put a bootstrap token there."""
        identity = token.partition(".")[0]
        secret = token_secret(token, life, **fields)
        return self.create("secrets", f"bootstrap-token-{identity}", secret, "kube-system")

    def node(self, name: str) -> Json | None:
        """A Node object."""
        return self.find("nodes", name)

    def ready(self, name: str) -> str:
        """The Ready condition of a Node object."""
        node = self.node(name)
        assert node is not None, f"there is no Node {name}"
        return next(str(c["status"]) for c in node["status"]["conditions"] if c["type"] == "Ready")

    def tokens(self) -> dict[str, Json]:
        """The data of each bootstrap token's Secret, decoded, by id."""
        found = {}
        for secret in self.all("secrets", "kube-system"):
            if secret["type"] == SECRET_TYPE:
                data = {k: base64.b64decode(v).decode() for k, v in secret["data"].items()}
                found[data["token-id"]] = data
        return found

    def signed(self, token_id: str) -> bool:
        """Whether cluster-info carries a signature of this token."""
        info = self.find("configmaps", "cluster-info", "kube-public") or {}
        return f"jws-kubeconfig-{token_id}" in (info.get("data") or {})

    async def living_node(
        self, name: str, every: float = 10.0, system_uuid: str = "", boot_id: str = "b", **labels: str
    ) -> Json:
        """A Node that is Ready and whose Lease somebody renews: another machine under that name."""
        made = self.create("nodes", name, node_body(name, system_uuid, boot_id, labels))
        self.create("leases", name, _lease(name), "kube-node-lease")
        self._living[name] = asyncio.get_running_loop().create_task(self._renew(name, every))
        return made

    async def _renew(self, name: str, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self.merge("leases", name, {"spec": {"renewTime": _micro()}}, "kube-node-lease")

    async def dead_node(self, name: str) -> None:
        """Nobody renews that Lease any more; the Node object stays as it is."""
        self._living.pop(name).cancel()

    def pod(self, name: str, node: str, namespace: str = "default", **metadata: Any) -> Json:
        """A pod that runs on a node and is Ready."""
        return self.create("pods", name, pod_body(name, node, metadata), namespace)

    def budget(self, name: str, least: int, namespace: str = "default", **labels: str) -> Json:
        """A PodDisruptionBudget: so many pods with these labels shall be Ready."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {"minAvailable": least, "selector": {"matchLabels": labels}},
        }
        return self.create("poddisruptionbudgets", name, body, namespace)


T = TypeVar("T")


async def until(check: Callable[[], T], timeout: float = 20.0) -> T:
    """The first result of `check` that is true."""
    end = time.monotonic() + timeout
    while not (found := check()):
        assert time.monotonic() < end, "nothing happened in time"
        await asyncio.sleep(0.005)
    return found


def fresh_token() -> str:
    """A bootstrap token that nobody has used before."""
    drawn = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(22))
    return f"{drawn[:6]}.{drawn[6:]}"


def token_secret(token: str, life: float = 900, **fields: str) -> Json:
    """The Secret of a bootstrap token; `fields` replace those of its data (underscores for dashes)."""
    identity, _, secret = token.partition(".")
    data = {
        "token-id": identity,
        "token-secret": secret,
        "expiration": stamp(time.time() + life),
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": DEFAULT_GROUP,
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{identity}"},
        "type": SECRET_TYPE,
        "data": {name: pki.b64(value.encode()) for name, value in data.items()},
    }


def node_body(name: str, system_uuid: str, boot_id: str, labels: dict[str, str]) -> Json:
    """A Node object that is Ready."""
    at = stamp(time.time())
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "",
        "lastHeartbeatTime": at,
        "lastTransitionTime": at,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"conditions": [condition], "nodeInfo": {"bootID": boot_id, "systemUUID": system_uuid}},
    }


def pod_body(name: str, node: str, metadata: Json) -> Json:
    """A pod that runs."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example.test/none:1"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _lease(name: str) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _micro()},
    }


def _micro() -> str:
    now = time.time()
    return stamp(now).removesuffix("Z") + f".{int(now % 1 * 1e6):06d}Z"
