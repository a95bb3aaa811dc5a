"""What the admission policy of config/kubernetes/policy.yaml lets the appliance's account do with Secrets."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from netboot.cluster import BootstrapToken
from netboot.cluster.approval import CONTROL_PLANE, NODE_BOUND
from netboot.cluster.calls import rfc3339
from netboot.cluster.tokens import TOKENS, secret_of
from netboot.join.token import NODE_GROUP
from tests.kube.cluster import Kube


def token(*groups: str, **changes: Any) -> dict[str, Any]:
    """The Secret of a token of ours, with changes to its data."""
    made = secret_of(
        BootstrapToken("abcdef", "0123456789abcdef", rfc3339(time.time() + 60), groups or (NODE_BOUND,), "d")
    )
    made["stringData"].update({name.replace("_", "-"): value for name, value in changes.items()})
    made["stringData"] = {name: value for name, value in made["stringData"].items() if value is not None}
    return made


@pytest.mark.parametrize("groups", [(NODE_BOUND,), (NODE_BOUND, CONTROL_PLANE), (NODE_GROUP,)])
async def test_tokens_as_we_make_them_are_let_in(kube: Kube, groups: tuple[str, ...]) -> None:
    """Each group that a setting gives; and we delete them again."""
    appliance = await kube.appliance()
    status, answer = await appliance.call("POST", TOKENS, token(*groups))
    assert status == 201, answer
    assert (await appliance.call("DELETE", f"{TOKENS}/bootstrap-token-abcdef"))[0] == 200


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (token() | {"type": "Opaque"}, "bootstrap tokens alone"),
        (token() | {"type": "kubernetes.io/service-account-token"}, "bootstrap tokens alone"),
        (token() | {"metadata": {"name": "bootstrap-token-abcde.x"}}, "another name"),
        (token(expiration=None), "has to expire"),
        (token(expiration=""), "has to expire"),
        (token("system:bootstrappers:others"), "belongs to a node's group"),
        (token("system:masters"), "belongs to a node's group"),
        (token(auth_extra_groups=None), "belongs to a node's group"),
    ],
)
async def test_anything_else_is_refused(kube: Kube, secret: dict[str, Any], text: str) -> None:
    """What plain RBAC would let this account create."""
    kube.needs(30, "ValidatingAdmissionPolicy")
    status, answer = await (await kube.appliance()).call("POST", TOKENS, secret)
    assert status in (403, 422) and text in answer["message"], answer


async def test_other_peoples_secrets_cannot_be_deleted(kube: Kube) -> None:
    """RBAC's `delete` has no names; an administrator is not limited."""
    kube.needs(30, "ValidatingAdmissionPolicy")
    admin = await kube.admin()
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "precious"},
        "data": {"a": base64.b64encode(b"b").decode()},
    }
    assert (await admin.call("POST", TOKENS, body))[0] == 201
    status, answer = await (await kube.appliance()).call("DELETE", f"{TOKENS}/precious")
    assert status in (403, 422) and "bootstrap tokens alone" in answer["message"]
    assert (await admin.call("DELETE", f"{TOKENS}/precious"))[0] == 200
