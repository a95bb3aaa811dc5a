"""The cluster that these tests run against."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from netboot.cluster.client import KubernetesApi
from tests.kube.fixtures import Faults, Kube, canaries, kube

__all__ = ["api", "canaries", "kube"]


@pytest.fixture
async def api(kube: Kube) -> AsyncIterator[KubernetesApi]:
    """The cluster as the appliance knows it: by its kubeconfig."""
    client = KubernetesApi("blue", kube.kubeconfig())
    yield client
    await client.close()


@pytest.fixture
def faults(kube: Kube) -> Faults:
    """The stand-in, to be made to fail; on a real cluster the test is skipped."""
    return kube.api
