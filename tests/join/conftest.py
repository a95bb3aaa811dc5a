"""A cluster, and the join method on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.join.asking import Asking, clients_of
from tests.kube.fixtures import Kube, canaries, faults, kube, machine

__all__ = ["asking", "canaries", "faults", "kube", "machine"]


@pytest.fixture
async def asking(kube: Kube) -> AsyncIterator[Asking]:
    """The join method's surroundings."""
    clients = await clients_of(kube)
    made = Asking(kube, clients)
    for number in range(1, 10):
        await made.claim(f"boot-{number}")
    yield made
    await clients.close()
