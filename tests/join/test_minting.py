"""Bootstrap tokens that are made and taken back, against the API stand-in (R1 to R4, R10)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest

from netboot.errors import ClusterUnavailable, JoinWithheld, StoreError
from netboot.join.minting import FORGET_AFTER, Mint
from netboot.model.boot import TokenRecord
from netboot.store.memory import MemoryStore
from tests.join.asking import Asking, Drawn, Fixed, withheld
from tests.kube.fixtures import Kube
from tests.support.clock import Clock


async def test_r1_a_taken_id_is_drawn_anew_five_times_at_most(asking: Asking, kube: Kube) -> None:
    """409 is met with another id; after five of them the node has to ask again; nothing is left behind."""
    kube.mint("aaaaaa.0123456789abcdef")
    taken = ("aaaaaa", "x" * 16)
    material = await asking.method(Drawn(*taken * 4)).material(asking.request(), time.time())
    assert material.credentials != ("aaaaaa",)
    refusal = await withheld(asking, "boot-2", random=Drawn(*taken * 5))
    assert refusal.retry_after and "5 token ids in a row were taken" in refusal.reason
    assert not await asking.store.tokens_of("boot-2")
    assert kube.tokens()["aaaaaa"]["token-secret"] == "0123456789abcdef", "a foreign token is not touched"


@pytest.mark.parametrize(("life", "expected"), [(900.0, 900), (7200.0, 3600)])
async def test_r2_the_expiration_is_always_set(
    asking: Asking, kube: Kube, life: float, expected: int
) -> None:
    """UTC with its zone, at most an hour from now."""
    now = time.time()
    await asking.method().material(asking.request(token_ttl=life), now)
    (data,) = kube.tokens().values()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", data["expiration"])
    expires = datetime.fromisoformat(data["expiration"].replace("Z", "+00:00")).astimezone(UTC).timestamp()
    assert abs(expires - now - expected) < 2


async def test_r3_a_field_that_kubeadm_would_refuse_stops_before_the_post(asking: Asking, kube: Kube) -> None:
    """For good, with the field's name."""
    request = asking.request(boot_id="boot-1\nsecond line")
    with pytest.raises(JoinWithheld, match="wrong description") as raised:
        await asking.method().material(request, time.time())
    assert raised.value.retry_after is None
    assert not [r for r in kube.api.requests if r["method"] == "POST"]


async def test_r4_only_the_group_of_the_list_is_given(asking: Asking, kube: Kube) -> None:
    """`bind: cluster` is kubeadm's default group."""
    await asking.method().material(asking.request(), time.time())
    (data,) = kube.tokens().values()
    assert data["auth-extra-groups"] == "system:bootstrappers:kubeadm:default-node-token"


async def test_r10_a_token_is_deleted_when_its_boot_is_through(asking: Asking, kube: Kube) -> None:
    """Twice is no error, nor is a token that is gone already, nor a boot that had none."""
    method = asking.method()
    await method.material(asking.request(), time.time())
    await method.revoke("boot-1")
    assert not kube.tokens() and not await asking.store.tokens()
    material = await method.material(asking.request("boot-2"), time.time())
    await kube.api.control(
        "delete",
        resource="secrets",
        namespace="kube-system",
        name=f"bootstrap-token-{material.credentials[0]}",
    )
    await method.revoke("boot-2")
    await method.revoke("boot-2")
    await method.revoke("never")
    assert not await asking.store.tokens()


async def test_r10_a_start_deletes_what_was_recorded_and_lists_nothing(asking: Asking, kube: Kube) -> None:
    """Also where the appliance died before its POST: 404 is success. A foreign token stays."""
    kube.mint("zzzzzz.0123456789abcdef")
    await asking.method().material(asking.request(), time.time())
    await asking.store.record_token(TokenRecord("nnnnnn", "boot-9", "blue", "", time.time()))
    asking.restart()
    assert await asking.mint.start() == {"boot-1", "boot-9"}
    await asking.mint.sweep()
    assert set(kube.tokens()) == {"zzzzzz"} and not await asking.store.tokens()
    asked = [r for r in kube.api.requests if "/secrets" in r["path"]]
    assert {r["method"] for r in asked} == {"POST", "DELETE"}


async def test_r10_what_cannot_be_deleted_now_is_deleted_later(asking: Asking, kube: Kube) -> None:
    """The API is away at the end of a boot: the record stays, and the next sweep does it."""
    method = asking.method()
    await method.material(asking.request(), time.time())
    await kube.api.control("settings", down=True)
    await method.revoke("boot-1")
    assert await asking.store.tokens()
    await kube.api.control("settings", down=False)
    await asking.mint.sweep()
    assert not kube.tokens() and not await asking.store.tokens()


async def test_r10_a_post_whose_answer_was_lost_is_taken_back(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id was recorded before the POST, so that its Secret is found even after a crash."""
    api = asking.clients.api("blue")
    create = api.create_token

    async def lost(token: object) -> None:
        await create(token)  # type: ignore[arg-type]
        raise ClusterUnavailable("the connection broke")

    monkeypatch.setattr(api, "create_token", lost)
    method = asking.method()
    with pytest.raises(ClusterUnavailable, match="the connection broke"):
        await method.material(asking.request(), time.time())
    assert len(kube.tokens()) == 1
    asking.restart()
    await asking.mint.start()
    await asking.mint.sweep()
    assert not kube.tokens()


async def test_a_store_that_cannot_write_withholds(
    asking: Asking, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token is made that could not be deleted after a restart."""

    async def full(token: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(asking.store, "record_token", full)
    refusal = await withheld(asking)
    assert refusal.retry_after and "disk full" in refusal.reason and not kube.tokens()


async def test_r18_an_expired_token_that_is_still_there_shows_a_missing_tokencleaner(
    asking: Asking, kube: Kube, caplog: pytest.LogCaptureFixture
) -> None:
    """Told where it is found: at the sweep after a restart."""
    await kube.api.control("settings", cleaner=False)
    await asking.method().material(asking.request(), time.time())
    asking.restart()
    asking.mint._clock = lambda: time.time() + 1000
    await asking.mint.start()
    await asking.mint.sweep()
    assert "the controller tokencleaner does not run" in caplog.text and not kube.tokens()


async def test_a_cluster_that_does_not_answer_is_asked_once_a_sweep() -> None:
    """Each try may cost five seconds, and what it would have deleted expires by itself; others go on."""
    clock = Clock()
    apis = {
        "silent": Deleting(ClusterUnavailable("no answer")),
        "busy": Deleting(ClusterUnavailable("", 5, 500)),
    }
    store = MemoryStore()
    for number in range(3):
        for cluster in apis:
            await store.record_token(TokenRecord(f"aaaaa{number}", "b", cluster, "", clock.now + 60))
    mint = Mint(Fixed(**apis), store, random=Drawn(), clock=clock)  # type: ignore[arg-type]
    await mint.start()
    await mint.sweep()
    assert {name: api.asked for name, api in apis.items()} == {"silent": 1, "busy": 3}
    assert len(await store.tokens()) == 6
    clock.now += 60 + FORGET_AFTER + 1
    for _ in range(3):
        await mint.sweep()
    assert not await store.tokens(), "a day after their end nobody asks any more"


class Deleting:
    """An API that fails to delete tokens."""

    def __init__(self, error: ClusterUnavailable) -> None:
        self.error = error
        self.asked = 0

    async def delete_token(self, token_id: str) -> bool:
        """Fails."""
        self.asked += 1
        raise self.error
