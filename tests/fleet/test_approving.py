"""Certificates of kubelets: who gets one within a moment, and what follows from a misused token (R7, R8)."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from netboot.cluster import CLIENT_SIGNER, SERVING_SIGNER, CertificateRequest, ClusterApi
from netboot.cluster.approval import Decision, Known, Verdict, known_as
from netboot.errors import ClusterRefused, JoinWithheld
from netboot.fleet.approving import Approving, Wanted, alarm_text
from netboot.model.binding import Binding
from netboot.model.machine import Mac
from tests.cluster.requests import pem
from tests.join.asking import Asking, clients_of, token_of
from tests.kube.cluster import Caller, Kube

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


@dataclass
class House:
    """The approver beside a cluster, and a machine's token."""

    kube: Kube
    asking: Asking
    wanted: set[Wanted] = field(default_factory=lambda: {("blue", CLIENT_SIGNER), ("blue", SERVING_SIGNER)})
    ended: set[str] = field(default_factory=set)
    known_names: tuple[str, ...] = ("m1", "m1.example.org", "10.0.0.1")
    told: list[tuple[str, str]] = field(default_factory=list)
    runner: asyncio.Task[None] | None = None

    def start(self) -> Approving:
        """As after a start of the appliance."""
        made = Approving(
            self.asking.clients,
            self.asking.store,
            self,
            lambda: self.wanted,
            revoke=self.asking.mint.revoke,
            report=self._report,
            clock=time.time,
            poll=0.05,
            again=0.05,
        )
        self.runner = asyncio.get_running_loop().create_task(made.run())
        return made

    async def stop(self) -> None:
        """As at its end."""
        if self.runner is not None:
            self.runner.cancel()
            with suppress(asyncio.CancelledError):
                await self.runner

    def _report(self, kind: str, text: str, mac: Mac | None, alarm: bool) -> None:
        self.told.append((kind, text))

    # What the approver asks of our machines

    def over(self, boot_id: str) -> bool:
        """Whether a boot has ended."""
        return boot_id in self.ended

    async def known(self, api: ClusterApi, cluster: str, node: str) -> Known | None:
        """m1 is ours."""
        return known_as(self.known_names, ()) if (cluster, node) == ("blue", "m1") else None

    def owner(self, text: str, node: str) -> str | None:
        """m2 is another one."""
        return {"10.0.0.2": "m2", "m2": "m2"}.get(text)

    # What a machine does

    async def token(self, boot_id: str = "boot-1", bind: str = "node") -> str:
        """What the machine is given."""
        request = self.asking.request(boot_id, bind=bind)
        return token_of(await self.asking.method().material(request, time.time()))

    async def kubelet(self, token: str) -> Caller:
        """Whoever holds that token."""
        return await self.kube.caller(bearer=token)

    async def submit(self, caller: Caller, request: bytes, signer: str = CLIENT_SIGNER) -> str:
        """The name of a new request."""
        purpose = "client auth" if signer == CLIENT_SIGNER else "server auth"
        usages = ["digital signature", "key encipherment", purpose]
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"generateName": "csr-"},
            "spec": {"request": base64.b64encode(request).decode(), "signerName": signer, "usages": usages},
        }
        status, made = await caller.call("POST", CSRS, body)
        assert status == 201, made
        return str(made["metadata"]["name"])

    async def state(self, name: str) -> set[str]:
        """Approved, Denied, Issued."""
        admin = await self.kube.admin()
        _, body = await admin.call("GET", f"{CSRS}/{name}")
        found = {c["type"] for c in body.get("status", {}).get("conditions", ())}
        return found | ({"Issued"} if body.get("status", {}).get("certificate") else set())

    async def until(self, check: Callable[[], Any], *, timeout: float = 10.0) -> None:
        """Wait for it."""
        end = time.monotonic() + timeout
        while not (await found if asyncio.iscoroutine(found := check()) else found):
            assert time.monotonic() < end, f"nothing happened in time: {self.told}"
            await asyncio.sleep(0.02)

    async def decided(self, name: str) -> set[str]:
        """Its state, once it has one."""
        found: set[str] = set()

        async def look() -> bool:
            nonlocal found
            found = await self.state(name)
            return bool(found & {"Denied", "Issued"})

        await self.until(look)
        return found


@pytest.fixture
async def house(kube: Kube) -> AsyncIterator[House]:
    """A cluster, a claimed boot, no approver yet."""
    clients = await clients_of(kube)
    made = House(kube, Asking(kube, clients))
    for number in range(1, 5):
        await made.asking.claim(f"boot-{number}")
    yield made
    await made.stop()
    await clients.close()


async def test_a_machine_gets_its_own_certificate_within_a_moment(house: House) -> None:
    """The token's first request for the node that it was made for."""
    house.start()
    kubelet = await house.kubelet(await house.token())
    assert await house.decided(await house.submit(kubelet, pem())) == {"Approved", "Issued"}
    assert not house.told


async def test_a_request_that_came_before_us_is_found_by_the_list(house: House) -> None:
    """The appliance was away when the kubelet asked."""
    name = await house.submit(await house.kubelet(await house.token()), pem())
    house.start()
    assert "Issued" in await house.decided(name)


async def test_a_token_gets_no_certificate_of_another_node_and_is_taken_back(house: House) -> None:
    """Denied, revoked, the name held, told; an operator lets it go, and the next credential is made."""
    house.start()
    kubelet = await house.kubelet(await house.token())
    assert await house.decided(await house.submit(kubelet, pem("system:node:m2"))) == {"Denied"}
    await house.until(lambda: not house.kube.tokens())
    (kind, text), *_ = house.told
    assert kind == "token_misused" and "10.77.0.10" in text and "netboot node release m1" in text
    with pytest.raises(JoinWithheld, match="the name m1 is held") as withheld:
        await house.token("boot-2")
    assert withheld.value.retry_after
    await house.asking.store.let_go("blue", "m1")
    assert await house.token("boot-2")


def test_an_alarm_tells_what_is_known_of_both_sides() -> None:
    """Machine and address that got the token; time and program of the request."""
    binding = Binding(
        "blue", "abcdef", "boot-1", "m1", Mac("52:54:00:12:34:56"), 0.0, IPv4Address("10.77.0.10")
    )
    request = CertificateRequest(
        "csr-x", "uid", "1", 1.8e9, "system:bootstrap:abcdef", (), CLIENT_SIGNER, (), b"", program="cu\nrl"
    )
    text = alarm_text(request, Verdict(Decision.DENY, "it is strange", alarm=True), binding)
    assert "52:54:00:12:34:56 at 10.77.0.10" in text
    assert "csr-x, submitted 2027-01-15 08:00:00 UTC by a program that calls itself cu?rl, is denied" in text
    bare = alarm_text(
        replace(request, program=""), Verdict(Decision.DENY, "no"), replace(binding, address=None)
    )
    assert "UTC, is denied because no. The token was handed to 52:54:00:12:34:56; from which" in bare


async def test_a_second_request_of_one_token_is_denied_after_a_restart_too(house: House) -> None:
    """Who was first stands on disk."""
    house.start()
    kubelet = await house.kubelet(await house.token())
    await house.decided(await house.submit(kubelet, pem()))
    await house.stop()
    second = await house.submit(kubelet, pem(key="rsa"))
    house.start()
    assert await house.decided(second) == {"Denied"}
    assert [kind for kind, _ in house.told] == ["token_misused"]


async def test_two_requests_at_once_give_one_certificate(house: House) -> None:
    """A thief who is as fast as the machine: one of both gets it, the other is an alarm."""
    kubelet = await house.kubelet(await house.token())
    names = [await house.submit(kubelet, pem(key=key)) for key in ("ec", "rsa")]
    house.start()
    found = [await house.decided(name) for name in names]
    assert sorted("Issued" in states for states in found) == [False, True]


async def test_a_node_that_lives_elsewhere_is_not_replaced(house: House) -> None:
    """Its name is Ready on another machine when the request comes."""
    kubelet = await house.kubelet(await house.token())
    await house.kube.living_node("m1", system_uuid="ffffffff-0042-3510-8054-b4c04f564232")
    house.start()
    assert await house.decided(await house.submit(kubelet, pem())) == {"Denied"}
    assert "Ready on another machine" in house.told[0][1]


async def test_requests_of_others_are_left_alone(house: House) -> None:
    """kubeadm's own group is the controller-manager's; a token of our group that we never made waits."""
    house.start()
    group = "system:bootstrappers:netboot"
    house.kube.mint("zzzzzz.0123456789abcdef", auth_extra_groups=group)
    foreign = await house.submit(await house.kubelet("zzzzzz.0123456789abcdef"), pem("system:node:m9"))
    ours = await house.kubelet(await house.token(bind="cluster"))
    assert await house.decided(await house.submit(ours, pem("system:node:m2"))) == {"Approved", "Issued"}
    await house.until(lambda: house.told)
    assert house.told[0][0] == "certificate_foreign" and await house.state(foreign) == set()


async def test_where_watching_is_forbidden_the_list_is_read_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slower, but it works."""
    api = house.asking.clients.api("blue")

    async def forbidden(signer: str, version: str) -> AsyncIterator[object]:
        raise ClusterRefused(403, "cannot watch")
        yield

    monkeypatch.setattr(api, "watch_certificate_requests", forbidden)
    house.start()
    kubelet = await house.kubelet(await house.token())
    await asyncio.sleep(0.1)
    assert "Issued" in await house.decided(await house.submit(kubelet, pem()))


async def test_an_api_that_comes_back_is_read_again(house: House) -> None:
    """What was asked meanwhile is approved then."""
    kubelet = await house.kubelet(await house.token())
    name = await house.submit(kubelet, pem())
    await house.kube.api.control("settings", down=True)
    approving = house.start()
    await house.until(lambda: approving.problem("blue"))
    await house.kube.api.control("settings", down=False)
    assert "Issued" in await house.decided(name)
    await house.until(lambda: approving.problem("blue") is None)


async def test_a_watch_that_is_too_old_lists_again(house: House) -> None:
    """410 Gone."""
    house.start()
    kubelet = await house.kubelet(await house.token())
    await house.kube.api.control("forget_history")
    assert "Issued" in await house.decided(await house.submit(kubelet, pem()))


async def test_a_boot_that_is_over_gets_no_certificate(house: House) -> None:
    """The bearer of its deleted token passes some seconds longer."""
    house.start()
    kubelet = await house.kubelet(await house.token())
    house.ended.add("boot-1")
    assert await house.decided(await house.submit(kubelet, pem())) == {"Denied"}
    await house.until(lambda: house.told)
    assert house.told[0][0] == "certificate_denied" and not await house.asking.store.holds()


async def node_caller(house: House, name: str) -> Caller:
    """A kubelet with its own certificate."""
    return await house.kube.kubelet(name)


async def test_a_kubelet_gets_a_serving_certificate_once_its_names_are_known(house: House) -> None:
    """It may ask before its addresses are known: the request waits."""
    house.start()
    kubelet = await node_caller(house, "m1")
    name = await house.submit(kubelet, pem(names=("m1", "10.0.0.7")), SERVING_SIGNER)
    await house.until(lambda: house.told)
    assert house.told[0][0] == "certificate_pending" and await house.state(name) == set()
    house.known_names = ("m1", "10.0.0.7")
    assert "Issued" in await house.decided(name)


async def test_a_kubelet_gets_no_certificate_for_another_machines_address(house: House) -> None:
    """Denied, and told."""
    house.start()
    kubelet = await node_caller(house, "m1")
    name = await house.submit(kubelet, pem(names=("m1", "10.0.0.2")), SERVING_SIGNER)
    assert await house.decided(name) == {"Denied"}
    await house.until(lambda: house.told)
    assert "10.0.0.2 is m2's" in house.told[0][1]


async def test_serving_requests_of_strange_nodes_and_where_it_is_not_wanted_are_left_alone(
    house: House,
) -> None:
    """Nodes that are not ours; and clusters with `serving_certificates: ignore`."""
    house.start()
    foreign = await house.submit(
        await node_caller(house, "m9"), pem("system:node:m9", names=("m9",)), SERVING_SIGNER
    )
    house.wanted.discard(("blue", SERVING_SIGNER))
    await asyncio.sleep(1.2)
    late = await house.submit(await node_caller(house, "m1"), pem(names=("m1",)), SERVING_SIGNER)
    client = await house.submit(await house.kubelet(await house.token()), pem())
    await house.decided(client)
    assert [await house.state(name) for name in (foreign, late)] == [set(), set()]


async def test_an_end_between_disk_and_approval_costs_the_machine_nothing(house: House) -> None:
    """The request that stands on disk as the first one is approved after the restart."""
    token = await house.token()
    name = await house.submit(await house.kubelet(token), pem())
    _, body = await (await house.kube.admin()).call("GET", f"{CSRS}/{name}")
    uid = body["metadata"]["uid"]
    assert await house.asking.store.first_request("blue", token.partition(".")[0], uid) == uid
    house.start()
    assert "Issued" in await house.decided(name) and not house.told


async def test_an_api_that_fails_every_second_time_is_asked_until_it_answers(house: House) -> None:
    """Approved once, without an alarm."""
    kubelet = await house.kubelet(await house.token())
    name = await house.submit(kubelet, pem())
    await house.kube.api.control("settings", half_500=True)
    house.start()

    async def approved() -> bool:
        found = house.kube.find("certificatesigningrequests", name) or {}
        return bool(found.get("status", {}).get("certificate"))

    await house.until(approved, timeout=20)
    assert "token_misused" not in [kind for kind, _ in house.told]
