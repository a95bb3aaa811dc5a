"""Tokens, the cluster itself and our rights, against the API stand-in."""

from __future__ import annotations

import pytest

from netboot.cluster import Access
from netboot.cluster.client import KubernetesApi
from netboot.cluster.tokens import authority_of
from netboot.errors import ClusterRefused
from tests.cluster.talking import SECRET, token
from tests.kube.cluster import until
from tests.kube.fixtures import DEFAULT_GROUP, Canaries, Faults, Kube


async def test_a_token_is_created_signed_and_deleted(
    kube: Kube, api: KubernetesApi, canaries: Canaries
) -> None:
    """Every field arrives; a taken id is 409; deleting one that is gone is no error."""
    made = token()
    await api.create_token(made)
    assert kube.tokens()["abcdef"] == {
        "token-id": "abcdef",
        "token-secret": SECRET,
        "expiration": made.expiration,
        "auth-extra-groups": DEFAULT_GROUP,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "description": "for a test",
    }
    with pytest.raises(ClusterRefused) as raised:
        await api.create_token(token())
    assert raised.value.status == 409
    await until(lambda: kube.signed("abcdef"))
    info = await api.cluster_info()
    assert info.ca == kube.ca == await api.authority()
    assert set(info.signatures) == {"abcdef"}
    canaries.check(kube, made, info)
    assert await api.delete_token("abcdef") is True
    assert await api.delete_token("abcdef") is False


async def test_the_server_tells_its_version(kube: Kube, faults: Faults, api: KubernetesApi) -> None:
    """Providers write a minor version like 31+."""
    assert (await api.version()) >= (await api.version())
    faults.version = "v1.31+.7-eks"
    version = await api.version()
    assert (version.major, version.minor) == (1, 31)


async def test_our_rights_can_be_asked(api: KubernetesApi) -> None:
    """SelfSubjectAccessReview, by the roles of config/kubernetes."""
    assert await api.may(Access("create", "secrets", namespace="kube-system"))
    assert await api.may(Access("patch", "nodes", subresource="status"))
    assert not await api.may(Access("list", "secrets", namespace="kube-system"))
    assert str(Access("get", "secrets", namespace="kube-system")) == "get secrets in kube-system"


@pytest.mark.parametrize(
    "text", ["", "a: [", "clusters: []", "clusters: [{cluster: {}}]", "[1, 2]", "x" * 400_000]
)
def test_a_strange_cluster_info_has_no_authority(text: str) -> None:
    """Nothing but a kubeconfig with an authority gives one."""
    assert authority_of(text) == b""
