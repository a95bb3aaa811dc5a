"""Fixtures of every test that needs a Kubernetes API.

`kube` is a cluster in this process, or with NETBOOT_KUBERNETES_BIN=FOLDER one of the real binaries there.
A test that makes the cluster fail asks for `faults` (or `kube.api`) and is skipped on a real one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kube import patches, real
from tests.kube.apiserver import ApiServer, running
from tests.kube.cluster import DEFAULT_GROUP, Caller, Kube, token_secret
from tests.kube.machine import Machine
from tests.kube.objects import Key
from tests.kube.real_kube import RealKube
from tests.kube.status import Json

__all__ = [
    "DEFAULT_GROUP",
    "Caller",
    "Canaries",
    "Faults",
    "Kube",
    "StandIn",
    "canaries",
    "faults",
    "kube",
    "machine",
    "opened",
    "token_secret",
]


Faults = ApiServer
"""The stand-in, as tests see it that make it fail."""


class StandIn(Kube):
    """The stand-in, in this process and loop."""

    def __init__(self, api: ApiServer, directory: Path) -> None:
        super().__init__(directory)
        self._api = api

    @property
    def server(self) -> str:
        """https://HOST:PORT."""
        return self._api.server

    @property
    def api(self) -> ApiServer:
        """The stand-in itself."""
        return self._api

    @property
    def minor(self) -> int:
        """What the stand-in says that it is."""
        return int(self._api.version.split(".")[1])

    @property
    def kubeadm(self) -> None:
        """The node stand-in's is in `machine`."""
        return None

    async def end_pods(self) -> None:
        """They do by themselves."""

    async def pass_time(self, seconds: float) -> None:
        """Set the server's clock ahead."""
        self._api.settings.clock_skew += seconds

    def find(self, resource: str, name: str, namespace: str = "") -> Json | None:
        """An object."""
        return self._api.objects.find(Key(resource, namespace, name))

    def all(self, resource: str, namespace: str = "") -> list[Json]:
        """Every object of a resource."""
        return self._api.objects.list(resource, namespace)

    def create(self, resource: str, name: str, body: Json, namespace: str = "") -> Json:
        """Put an object there, without asking anybody."""
        return self._api.objects.create(Key(resource, namespace, name), body)

    def merge(self, resource: str, name: str, patch: Json, namespace: str = "") -> Json:
        """Change an object."""
        key = Key(resource, namespace, name)
        present = self._api.objects.get(key)
        return self._api.objects.replace(key, patches.merge(present, patch, strategic=True))

    def remove(self, resource: str, name: str, namespace: str = "") -> None:
        """Take an object away."""
        self._api.objects.delete(Key(resource, namespace, name))


@asynccontextmanager
async def opened(directory: Path, name: str, **settings: Any) -> AsyncIterator[Kube]:
    """The cluster of that name, with nothing in it but what an operator applied.

    `directory` is made for its files. `settings` are the stand-in's; a real one takes the time that it takes.
    """
    directory.mkdir()
    if folder := os.environ.get(real.VARIABLE):
        started = real.shared(Path(folder), name)
        if isinstance(started, Exception):
            raise started
        cluster = RealKube(started, directory)
        cluster.clean()
        try:
            yield cluster
        finally:
            await cluster.close()
        return
    async with running(directory) as api:
        for setting, value in settings.items():
            setattr(api.settings, setting, value)
        standin = StandIn(api, directory)
        try:
            yield standin
        finally:
            await standin.close()


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[Kube]:
    """A cluster with nothing in it but what an operator applied."""
    async with opened(tmp_path / "kube", "blue") as cluster:
        yield cluster


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine, m1, that was just switched on, with the node stand-in on it."""
    made = Machine(tmp_path / "m1", "m1", renew=0.2)
    made.boot()
    yield made
    made.power_off()


@pytest.fixture
def faults(kube: Kube) -> Faults:
    """The stand-in, to be made to fail; a real API server cannot be."""
    return kube.api


@dataclass
class Canaries:
    """Everything that was logged, and the secrets that must not be in it."""

    records: pytest.LogCaptureFixture

    def check(self, kube: Kube, *shown: object) -> None:
        """No token's secret was logged, nor is it in the repr of these."""
        secrets = [data["token-secret"] for data in kube.tokens().values()]
        secrets.append(kube.token)
        text = self.records.text + "".join(repr(item) for item in shown)
        assert secrets and not [s for s in secrets if s in text]


@pytest.fixture
def canaries(caplog: pytest.LogCaptureFixture) -> Canaries:
    """Logs at their most talkative."""
    caplog.set_level(logging.DEBUG)
    return Canaries(caplog)
