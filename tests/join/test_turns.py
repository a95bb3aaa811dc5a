"""A boot asks alone, patiently and five times at most (R6). Asked by the method `kubeadm`."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest

from netboot.errors import ClusterUnavailable, JoinWithheld
from netboot.join.turns import PATIENCE
from tests.join.asking import Asking, withheld
from tests.kube.fixtures import Canaries, Kube


async def test_r6_asking_again_replaces_the_token_at_most_five_times(
    asking: Asking, kube: Kube, canaries: Canaries
) -> None:
    """The old token is deleted, never extended; the sixth question of one boot is refused for good."""
    method = asking.method()
    seen = set()
    for _ in range(5):
        material = await method.material(asking.request(), time.time())
        seen |= set(material.credentials)
        assert set(kube.tokens()) == set(material.credentials)
        canaries.check(kube, material)
    assert len(seen) == 5
    for _ in range(2):
        with pytest.raises(JoinWithheld, match="as many credentials as one boot may have") as raised:
            await method.material(asking.request(), time.time())
        assert raised.value.retry_after is None
    assert not kube.tokens()
    assert await method.material(asking.request("boot-2"), time.time()), "the next boot counts anew"


async def test_r6_two_questions_at_once_leave_one_token(asking: Asking, kube: Kube) -> None:
    """A repeated request must not leave a token that nobody knows."""
    method = asking.method()
    made = await asyncio.gather(*(method.material(asking.request(), time.time()) for _ in range(3)))
    assert set(kube.tokens()) == set(made[-1].credentials)


async def test_an_api_that_is_away_is_told_as_it_is_however_long(asking: Asking, kube: Kube) -> None:
    """Whoever called lets the machine wait in its queue: nothing is given up here."""
    await kube.api.control("settings", down=True)
    method = asking.method(patience=60.0)
    for later in (0.0, 59.0, 3500.0):
        with pytest.raises(ClusterUnavailable, match=r"API of blue at .* is unreachable"):
            await method.material(asking.request(), 1000.0 + later)


async def test_what_else_is_waited_for_is_given_up_one_day(asking: Asking, kube: Kube) -> None:
    """First a wait with the reason, after its patience the same reason for good."""
    kube.kubeconfig().unlink()
    method = asking.method(patience=60.0)
    for later in (0.0, 59.0):
        with pytest.raises(JoinWithheld, match="No such file") as raised:
            await method.material(asking.request(), 1000.0 + later)
        assert raised.value.retry_after
    with pytest.raises(JoinWithheld, match=r"given up after 61 s: cluster blue") as raised:
        await method.material(asking.request(), 1061.0)
    assert raised.value.retry_after is None


@pytest.mark.parametrize(("status", "text"), [(401, "renew the credential"), (403, "appliance.yaml")])
async def test_a_refused_account_is_told_with_its_remedy(
    asking: Asking, kube: Kube, status: int, text: str
) -> None:
    """401 and 403 are the operator's to mend, who has fifteen minutes for it."""
    if status == 401:
        kube.api.service_accounts.clear()
    else:
        kube.api.authorizer.grants = [g for g in kube.api.authorizer.grants if "secrets" not in g.resources]
    method, began = asking.method(), time.time()
    for later, again in ((0.0, 30.0), (PATIENCE, 30.0), (PATIENCE + 1, None)):
        with pytest.raises(JoinWithheld, match=text) as raised:
            await method.material(asking.request(), began + later)
        assert raised.value.retry_after == again
    assert not await asking.store.tokens()


async def test_a_cluster_without_kubeconfig_is_waited_for(asking: Asking, kube: Kube) -> None:
    """The operator may still put it there."""
    kube.kubeconfig().unlink()
    refusal = await withheld(asking)
    assert refusal.retry_after and "No such file" in refusal.reason


async def test_no_lock_is_left_behind(asking: Asking) -> None:
    """Boots come and go for years."""
    method = asking.method(secrets)
    await asyncio.gather(*(method.revoke(f"boot-{n}") for n in range(50)))
    assert not asking.turns._locks
