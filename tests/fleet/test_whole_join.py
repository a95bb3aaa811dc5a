"""The whole way on loopback: credential, kubeadm and kubelet on a machine, Node object, Ready, token gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from netboot.cluster import CLIENT_SIGNER
from netboot.errors import JoinWithheld
from netboot.fleet.approving import Approving
from netboot.fleet.joining import Joining
from netboot.fleet.machines import OurMachines
from netboot.fleet.watching import NodeWatch
from netboot.join import JoinMaterial
from netboot.join.kubeadm import KubeadmJoin
from netboot.join.kubeadm_config import DISCOVERY_FILE, DISCOVERY_PATH
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory
from netboot.model.machine import Mac
from tests.join.asking import Asking, clients_of, token_of
from tests.kube.fixtures import Canaries, Kube
from tests.kube.machine import Machine


class Going:
    """Boots that are all on their way."""

    def get(self, boot_id: str) -> Boot | None:
        """By id."""
        return boot(boot_id)

    def of_node(self, node: str) -> Boot | None:
        """By name."""
        return None


@dataclass
class House:
    """Appliance, cluster and machine of one test."""

    kube: Kube
    asking: Asking
    machine: Machine
    method: KubeadmJoin
    told: dict[str, list[str]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def step(self, boot_id: str, step: str, *, detail: str = "") -> None:
        """A step of a boot."""
        self.told.setdefault(boot_id, []).append(step)

    def stop(self, boot_id: str, step: str, cause: str) -> None:
        """An end."""
        self.told.setdefault(boot_id, []).append(f"stopped at {step}: {cause}")

    def joined(self, boot_id: str) -> None:
        """A good end."""
        self.told.setdefault(boot_id, []).append("joined")

    async def configuration(self, boot_id: str) -> JoinMaterial:
        """As the node asks: again and again while it is told to wait."""
        until = time.monotonic() + 20
        while True:
            try:
                return await self.method.material(self.asking.request(boot_id, **self.settings), time.time())
            except JoinWithheld as error:
                if error.retry_after is None or time.monotonic() > until:
                    raise
                await asyncio.sleep(0.05)

    def approving(self) -> Approving:
        """Approves what kubelets ask for; no boot is over."""

        def told(kind: str, text: str, mac: Mac | None, alarm: bool) -> None:
            self.told.setdefault(kind, []).append(text)

        machines = OurMachines(lambda: Inventory({}, {}, {}, ()), self.asking.store, Going())
        return Approving(
            self.asking.clients,
            self.asking.store,
            machines,
            lambda: [("blue", CLIENT_SIGNER)],
            revoke=self.method.revoke,
            report=told,
            clock=time.time,
        )

    async def until(self, check: Callable[[], object]) -> None:
        """Wait for it."""
        await self.machine.until(check)


@pytest.fixture
async def house(kube: Kube, tmp_path: Path) -> AsyncIterator[House]:
    """Everything started, the machine switched on."""
    if kube.kubeadm is None:
        kube.api.settings.sign_delay = (0.0, 0.02)
    clients = await clients_of(kube)
    asking = Asking(kube, clients)
    for number in range(1, 10):
        await asking.claim(f"boot-{number}")
    machine = Machine(tmp_path / "m1", "m1", renew=0.2)
    machine.boot()
    made = House(kube, asking, machine, asking.method(discovery_timeout=2))
    yield made
    machine.power_off()
    await clients.close()


def boot(boot_id: str) -> Boot:
    """A boot of m1."""
    return Boot(boot_id, Mac("52:54:00:12:34:56"), "m1", "blue", started=time.time())


async def test_a_machine_joins_and_comes_back_after_a_power_cycle(house: House, canaries: Canaries) -> None:
    """Twice registered and joined, R19 between them, each boot with its own token that is gone after it."""
    joining = Joining(house.asking.clients, house.method, house, clock=time.time, interval=0.05)
    runner = asyncio.get_running_loop().create_task(joining.run())
    tokens = []
    for boot_id in ("boot-1", "boot-2"):
        house.machine.boot()
        house.asking.presence.observe("blue", "m1")
        material = await house.configuration(boot_id)
        canaries.check(house.kube, material)
        joining.follow(boot(boot_id), material)
        tokens.append(token_of(material))
        status, output = await house.machine.kubeadm(material.files["join/kubeadm.yaml"][0])
        assert status == 0, output
        assert tokens[-1] not in output
        await house.until(lambda: house.told.get(boot_id) == ["registered", "joined"])  # noqa: B023
        await house.until(lambda: not house.kube.tokens())
    assert tokens[0] != tokens[1] and not house.asking.alarms
    node = house.kube.node("m1")
    assert node is not None
    assert (node["metadata"]["labels"]["rack"], node["metadata"]["labels"]["accelerator"]) == ("1", "gpu")
    assert node["spec"]["taints"] == [{"key": "foo", "value": "bar", "effect": "NoSchedule"}]
    command = house.machine.kubelet_command()
    assert "--cgroup-driver=systemd" in command and "--register-with-taints=foo=bar:NoSchedule" in command
    runner.cancel()
    with suppress(asyncio.CancelledError):
        await runner
    assert not [t for t in tokens if t.partition(".")[2] in canaries.records.text]


async def test_steps_come_from_the_watch_and_not_from_polls(house: House) -> None:
    """With an hour between two looks: the Node object and its being Ready are told as they happen."""
    clients = house.asking.clients
    watch = NodeWatch(clients, lambda _, name: name == "m1", uniform=lambda low, high: low / 50)
    joining = Joining(clients, house.method, house, clock=time.time, watch=watch, interval=3600.0)
    watch.on_change.append(joining.changed)
    watch.update(["blue"])
    running = [asyncio.create_task(work) for work in (watch.run(), joining.run())]
    await house.until(lambda: watch.live("blue"))
    material = await house.configuration("boot-1")
    joining.follow(boot("boot-1"), material)
    status, output = await house.machine.kubeadm(material.files["join/kubeadm.yaml"][0])
    assert status == 0, output
    await house.until(lambda: house.told.get("boot-1") == ["registered", "joined"])
    await house.until(lambda: not house.kube.tokens())
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_an_impostor_of_a_living_machine_gets_nothing(house: House) -> None:
    """The living one keeps its name; the other is told why, and kubeadm would have refused it too."""
    material = await house.configuration("boot-1")
    assert (await house.machine.kubeadm(material.files["join/kubeadm.yaml"][0]))[0] == 0
    await house.until(lambda: house.kube.node("m1") and house.kube.ready("m1") == "True")
    house.asking.presence.observe("blue", "m1")
    with pytest.raises(JoinWithheld, match="impostor"):
        await house.configuration("boot-2")
    assert house.kube.ready("m1") == "True" and len(house.asking.alarms) == 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"cluster_info_ca": "wrong-for-nodes"}, "cluster CA found in cluster-info ConfigMap is invalid"),
        ({"jws": "corrupt-for-nodes"}, "failed to verify JWS signature"),
        ({"token_life": 0.0}, "could not find a JWS signature"),
        ({"down": True}, "connection refused"),
    ],
)
async def test_what_goes_wrong_after_the_credential_is_said_in_kubeadms_words(
    house: House, settings: dict[str, object], text: str
) -> None:
    """Wrong CA, wrong JWS, expired token, unreachable API, each seen by the machine alone."""
    material = await house.configuration("boot-1")
    await house.kube.api.control("settings", **settings)
    if "token_life" in settings:
        await house.until(lambda: not house.kube.tokens())
        await asyncio.sleep(0.1)
    status, output = await house.machine.kubeadm(material.files["join/kubeadm.yaml"][0])
    assert status == 1 and text in output, output


async def test_a_stale_token_is_replaced_by_asking_again(house: House) -> None:
    """The machine waits two seconds for a token that expired, asks again, and joins."""
    first = await house.configuration("boot-1")
    assert await house.kube.api.control("expire_tokens") == 1
    await house.until(lambda: not house.kube.tokens())
    await asyncio.sleep(0.1)
    status, output = await house.machine.kubeadm(first.files["join/kubeadm.yaml"][0])
    assert status == 1 and "could not find a JWS signature" in output
    second = await house.configuration("boot-1")
    status, output = await house.machine.kubeadm(second.files["join/kubeadm.yaml"][0])
    assert status == 0, output


async def test_a_machine_joins_by_a_file_with_the_authority_and_no_signature(house: House) -> None:
    """`discovery: file`: no controller signs anything, and kubeadm joins."""
    await house.kube.api.control("settings", signer=False)
    house.settings = {"discovery": "file", "bind": "cluster"}
    material = await house.configuration("boot-1")
    file = house.machine.root / DISCOVERY_PATH.removeprefix("/")
    file.parent.mkdir(parents=True)
    file.write_bytes(material.files[DISCOVERY_FILE][0])
    status, output = await house.machine.kubeadm(material.files["join/kubeadm.yaml"][0])
    assert status == 0, output
    await house.until(lambda: house.kube.node("m1") and house.kube.ready("m1") == "True")


async def test_a_machine_joins_with_a_token_that_is_bound_to_it(house: House) -> None:
    """`bind: node`, the default: nobody but the appliance approves, and it does so at once."""
    house.settings = {"bind": "node"}
    approving = house.approving()
    runner = asyncio.get_running_loop().create_task(approving.run())
    material = await house.configuration("boot-1")
    status, output = await house.machine.kubeadm(material.files["join/kubeadm.yaml"][0])
    assert status == 0, output
    await house.until(lambda: house.kube.node("m1") and house.kube.ready("m1") == "True")
    runner.cancel()
    with suppress(asyncio.CancelledError):
        await runner
