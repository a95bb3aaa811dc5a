"""What tests of joining share: a request, and the join method on a cluster of the test."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import pytest

from netboot.cluster import ClusterApi
from netboot.cluster.client import ClusterClients, KubernetesApi
from netboot.errors import ClusterError, JoinWithheld
from netboot.join import JoinMaterial, JoinRequest
from netboot.join.kubeadm import KubeadmJoin
from netboot.join.minting import Mint
from netboot.join.naming import Naming
from netboot.join.presence import Presence
from netboot.join.turns import PATIENCE, Turns
from netboot.model.boot import Claim
from netboot.model.inventory import Cluster, JoinSettings
from netboot.model.machine import Mac
from netboot.model.settings import Taint
from netboot.store.memory import MemoryStore
from tests.kube.fixtures import Kube

QUIET = 0.6
"""Seconds that stand for the two renew intervals of a kubelet."""


class Fixed:
    """Clusters given by hand."""

    def __init__(self, **apis: ClusterApi) -> None:
        self.apis = apis

    def api(self, cluster: str) -> ClusterApi:
        """One of them."""
        try:
            return self.apis[cluster]
        except KeyError:
            raise ClusterError(f"no cluster {cluster}") from None


class Drawn:
    """A random that yields the characters of these words first."""

    def __init__(self, *words: str) -> None:
        self._next = list("".join(words))

    def choice(self, sequence: Sequence[str], /) -> str:
        """The next character."""
        return self._next.pop(0) if self._next else secrets.choice(sequence)


@dataclass
class Asking:
    """The join method on a cluster, with what it tells."""

    kube: Kube
    clients: ClusterClients
    store: MemoryStore = field(default_factory=MemoryStore)
    alarms: list[str] = field(default_factory=list)
    presence: Presence = field(init=False)
    mint: Mint = field(init=False)
    turns: Turns = field(init=False)
    naming: Naming = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, random: Any = secrets, patience: float = PATIENCE) -> None:
        """What join methods share, new as after a restart, with a fast idea of death."""
        self.presence = Presence(self.clients, clock=time.monotonic, quiet=QUIET, interval=0.1)
        self.mint = Mint(self.clients, self.store, random=random, clock=time.time)
        self.turns = Turns(self.store, patience=patience)
        self.naming = Naming(self.presence, self.store, alarm=lambda request, text: self.alarms.append(text))

    def method(self, random: Any = secrets, patience: Any = PATIENCE, **options: Any) -> KubeadmJoin:
        """The join method `kubeadm`, new as after a restart."""
        self.restart(random, patience)
        return KubeadmJoin(self.clients, self.turns, self.naming, self.mint, **options)

    async def claim(self, boot_id: str) -> None:
        """Burn a boot's key: without a claim no boot is given anything."""
        await self.store.burn(Claim(boot_id, IPv4Address("10.77.0.10"), boot_id, "", boot_id, time.time()))

    def request(self, boot_id: str = "boot-1", node: str = "m1", **settings: Any) -> JoinRequest:
        """What one boot of m1 asks for."""
        join = JoinSettings(
            method="kubeadm", kubeconfig=self.kube.kubeconfig(), **{"bind": "cluster", **settings}
        )
        return JoinRequest(
            boot_id=boot_id,
            node=node,
            mac=Mac("52:54:00:12:34:56"),
            cluster=Cluster("blue", self.kube.endpoint, join=join),
            uuid="4c4c4544-0042-3510-8054-b4c04f564232",
            address=IPv4Address("10.77.0.10"),
            labels={"rack": "1", "accelerator": "gpu"},
            taints=(Taint("foo", "bar", "NoSchedule"),),
            kubelet_args={"cgroup-driver": "systemd"},
        )


async def clients_of(kube: Kube) -> ClusterClients:
    """The cluster `blue`, known by the appliance's kubeconfig."""
    clients = ClusterClients()
    join = JoinSettings(method="kubeadm", kubeconfig=kube.kubeconfig())
    await clients.update([Cluster("blue", kube.endpoint, join=join)])
    assert isinstance(clients.api("blue"), KubernetesApi)
    return clients


def configuration(material: JoinMaterial) -> dict[str, Any]:
    """The JoinConfiguration in it."""
    found: dict[str, Any] = json.loads(material.files["join/kubeadm.yaml"][0])
    return found


def token_of(material: JoinMaterial) -> str:
    """The whole token in it."""
    return str(configuration(material)["discovery"]["bootstrapToken"]["token"])


async def withheld(asking: Asking, boot_id: str = "boot-1", **options: object) -> JoinWithheld:
    """The refusal that this boot meets."""
    with pytest.raises(JoinWithheld) as raised:
        await asking.method(**options).material(asking.request(boot_id), time.time())
    return raised.value
