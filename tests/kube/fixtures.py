"""Fixtures of every test that needs a Kubernetes API: a cluster in this process, and callers of it."""

from __future__ import annotations

import base64
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.kube import pki
from tests.kube.apiserver import ApiServer, running
from tests.kube.bootstrap import SECRET_TYPE
from tests.kube.objects import Key, stamp
from tests.kube.status import Json

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
            return response.status, await response.json()


@dataclass
class Kube:
    """A cluster of this test, with what tests ask of it."""

    api: ApiServer
    directory: Path
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def endpoint(self) -> str:
        """host:port, as the operator's file has it."""
        return self.api.server.removeprefix("https://")

    async def caller(self, bearer: str = "", certificate: tuple[bytes, bytes] | None = None) -> Caller:
        """Somebody to ask as."""
        context = ssl.create_default_context(cadata=self.api.authority.certificate.decode())
        if certificate:
            file = self.directory / f"client-{id(certificate)}.pem"
            file.write_bytes(certificate[0] + certificate[1])
            context.load_cert_chain(file)
        connector = aiohttp.TCPConnector(ssl=context, force_close=True)
        session = await self.stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        return Caller(self.api.server, session, bearer)

    async def admin(self) -> Caller:
        """The cluster's administrator."""
        return await self.caller(certificate=self.api.authority.client("admin", ["system:masters"]))

    async def appliance(self) -> Caller:
        """The appliance's account."""
        return await self.caller(bearer=(self.directory / "appliance.token").read_text())

    def kubeconfig(self) -> Path:
        """The appliance's kubeconfig."""
        return self.directory / "appliance.kubeconfig"

    def mint(self, token: str, life: float = 900, **fields: str) -> Json:
        """Put a bootstrap token there, without asking anybody."""
        identity = token.partition(".")[0]
        name = f"bootstrap-token-{identity}"
        return self.api.objects.create(
            Key("secrets", "kube-system", name), token_secret(token, life, **fields)
        )

    def node(self, name: str) -> Json | None:
        """A Node object."""
        return self.api.objects.find(Key("nodes", "", name))

    def ready(self, name: str) -> str:
        """The Ready condition of a Node object."""
        node = self.node(name)
        assert node is not None, f"there is no Node {name}"
        return next(str(c["status"]) for c in node["status"]["conditions"] if c["type"] == "Ready")

    def tokens(self) -> dict[str, Json]:
        """The data of each bootstrap token's Secret, decoded, by id."""
        found = {}
        for secret in self.api.objects.list("secrets", "kube-system"):
            if secret["type"] == SECRET_TYPE:
                data = {k: base64.b64decode(v).decode() for k, v in secret["data"].items()}
                found[data["token-id"]] = data
        return found


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


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[Kube]:
    """A cluster of its own."""
    directory = tmp_path / "kube"
    directory.mkdir()
    async with AsyncExitStack() as stack, running(directory) as api:
        cluster = Kube(api, directory)
        await stack.enter_async_context(cluster.stack)
        yield cluster


@dataclass
class Canaries:
    """Everything that was logged, and the secrets that must not be in it."""

    records: pytest.LogCaptureFixture

    def check(self, kube: Kube, *shown: object) -> None:
        """No token's secret was logged, nor is it in the repr of these."""
        secrets = [data["token-secret"] for data in kube.tokens().values()]
        secrets.append((kube.directory / "appliance.token").read_text())
        text = self.records.text + "".join(repr(item) for item in shown)
        assert secrets and not [s for s in secrets if s in text]


@pytest.fixture
def canaries(caplog: pytest.LogCaptureFixture) -> Canaries:
    """Logs at their most talkative."""
    caplog.set_level(logging.DEBUG)
    return Canaries(caplog)
