"""A join through what goes wrong with a cluster: it ends right, or says why and ends right afterwards."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from netboot.cluster.client import ClusterClients
from netboot.errors import ClusterUnavailable, JoinWithheld
from netboot.join import JoinMaterial
from netboot.model.inventory import Cluster
from tests.fleet.test_whole_join import House, house
from tests.join.asking import token_of
from tests.kube import pki
from tests.kube.fixtures import Faults, Kube

__all__ = ["house"]


@pytest.fixture
def faults(kube: Kube) -> Faults:
    """The stand-in, to be made to fail."""
    return kube.api


async def joins(house: House, material: JoinMaterial) -> tuple[int, str]:
    """`kubeadm join` with it: its status and words."""
    return await house.machine.kubeadm(material.files["join/kubeadm.yaml"][0])


Refusal = JoinWithheld | ClusterUnavailable


async def asks(house: House, boot_id: str = "boot-1", now: float | None = None) -> JoinMaterial | Refusal:
    """What the machine is given that asks now, or why nothing."""
    request = house.asking.request(boot_id, **house.settings)
    try:
        return await house.method.material(request, time.time() if now is None else now)
    except (JoinWithheld, ClusterUnavailable) as error:
        return error


async def refused(house: House, now: float | None = None) -> Refusal:
    """Why the machine is given nothing now."""
    said = await asks(house, now=now)
    assert isinstance(said, JoinWithheld | ClusterUnavailable)
    return said


async def given(house: House, boot_id: str) -> JoinMaterial:
    """What the machine is given at last: it asks again while it is told to wait."""
    until = time.monotonic() + 20
    while True:
        said = await asks(house, boot_id)
        if isinstance(said, JoinMaterial):
            return said
        assert said.retry_after is not None and time.monotonic() < until, said
        await asyncio.sleep(0.05)


async def comes_in(house: House, boot_id: str = "boot-1", tries: int = 5) -> None:
    """The machine asks and joins, and asks again where its join failed, as its agent does."""
    for _ in range(tries):
        status, output = await joins(house, await given(house, boot_id))
        if status == 0:
            break
        house.machine.boot()  # nothing of the failed join stays
    assert status == 0, output
    await house.until(lambda: house.kube.node("m1") and house.kube.ready("m1") == "True")


async def test_an_api_that_is_down_for_an_hour_is_waited_for(house: House, faults: Faults) -> None:
    """Every minute the machine is told why, and to ask again; no try costs it a credential."""
    await faults.control("settings", down=True)
    for minute in range(60):
        said = await refused(house, time.time() + 60 * minute)
        assert said.retry_after is not None and "is unreachable" in said.reason
    await faults.control("settings", down=False)
    await comes_in(house)
    assert len(house.kube.tokens()) <= 1


async def test_a_join_ends_right_or_says_why_while_half_of_all_calls_fail(
    house: House, faults: Faults
) -> None:
    """500 for the appliance's, kubeadm's and the kubelet's calls: boot after boot, until one is through."""
    house.machine.discovery = 0.05
    faults.settings.flaky = True
    for number in range(1, 10):
        house.machine.boot()
        status, output = await joins(house, await given(house, f"boot-{number}"))
        if status == 0:
            break
        assert "etcdserver: request timed out" in output
    assert status == 0, output
    await house.until(lambda: house.kube.node("m1") and house.kube.ready("m1") == "True")


async def test_a_clock_that_is_an_hour_off_is_said_and_waited_for(house: House, faults: Faults) -> None:
    """Tokens would be born expired, or live too long: none is handed out until the clocks agree."""
    faults.settings.clock_skew = 3600
    said = await refused(house)
    assert said.retry_after is not None and "the clock of cluster blue" in said.reason
    faults.settings.clock_skew = 0
    await comes_in(house)


async def test_a_clock_that_is_a_minute_off_is_reported_and_borne(
    house: House, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    """R2: above 30 s the log warns; the join works."""
    faults.settings.clock_skew = 60
    await comes_in(house)
    assert [r for r in caplog.records if "s ahead of ours" in r.getMessage()]


@pytest.fixture
async def rotating(house: House, tmp_path: Path) -> AsyncIterator[Path]:
    """The cluster as a kubeconfig knows it that names a token file and a file with the authority."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "token").write_text(house.kube.token)
    (folder / "ca.crt").write_bytes(house.kube.ca)
    document = json.loads(pki.kubeconfig(house.kube.server, house.kube.ca, {"tokenFile": "token"}))
    cluster = document["clusters"][0]["cluster"]
    del cluster["certificate-authority-data"]
    cluster["certificate-authority"] = "ca.crt"
    (folder / "kubeconfig").write_text(json.dumps(document))
    await use(house.asking.clients, house, folder / "kubeconfig")
    yield folder


async def use(clients: ClusterClients, house: House, kubeconfig: Path) -> None:
    """From now on the cluster is known by this kubeconfig."""
    join = replace(house.asking.request().cluster.join, kubeconfig=kubeconfig)
    await clients.update([Cluster("blue", house.kube.endpoint, join=join)])


async def test_a_token_that_is_rotated_on_disk_counts_at_once(
    house: House, faults: Faults, rotating: Path
) -> None:
    """The old one is refused and said so; the new one in the same file works without a restart."""
    faults.service_accounts["the-new-one"] = faults.service_accounts.pop(house.kube.token)
    said = await refused(house)
    assert "does not know our account (401)" in said.reason
    (rotating / "token").write_text("the-new-one")
    await comes_in(house)


async def test_an_authority_that_is_rotated_on_disk_counts_at_once(house: House, rotating: Path) -> None:
    """A file with another authority is said to be the cause; with the right one again the join works."""
    right = (rotating / "ca.crt").read_bytes()
    (rotating / "new").write_bytes(pki.Authority().certificate)
    shutil.move(rotating / "new", rotating / "ca.crt")
    said = await refused(house)
    assert said.retry_after is not None and "not signed by the kubeconfig's authority" in said.reason
    (rotating / "new").write_bytes(right)
    shutil.move(rotating / "new", rotating / "ca.crt")
    await comes_in(house)


async def test_a_token_that_somebody_deletes_is_replaced_by_asking_again(house: House) -> None:
    """kubeadm finds no signature and gives up after its limit; the next credential is another one."""
    first = await given(house, "boot-1")
    token = token_of(first)
    house.kube.remove("secrets", f"bootstrap-token-{token[:6]}", "kube-system")
    await house.until(lambda: not house.kube.signed(token[:6]))
    status, output = await joins(house, first)
    assert status == 1 and "could not find a JWS signature" in output
    await comes_in(house)
    await house.method.revoke("boot-1")
    await house.until(lambda: not house.kube.tokens())
