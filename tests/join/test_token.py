"""Bootstrap tokens as values (R1 to R4)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from typing import Any

import pytest

from netboot.cluster import BootstrapToken
from netboot.cluster.tokens import secret_of
from netboot.join import JoinRequest
from netboot.join import token as tokens
from netboot.model.inventory import Cluster, JoinSettings
from netboot.model.machine import Mac

NOW = 1_900_000_000.5
REQUEST = JoinRequest("boot-1", "m1", Mac("52:54:00:12:34:56"), Cluster("blue", "192.0.2.1:6443"))


def drawn() -> BootstrapToken:
    """A token as it is drawn."""
    return tokens.draw(REQUEST, random=secrets, now=NOW)


def test_r1_id_and_secret_are_drawn_from_the_whole_alphabet() -> None:
    """Six and sixteen of [a-z0-9], different each time, and the secret is in no repr."""
    many = [drawn() for _ in range(200)]
    assert len({t.token_id for t in many}) > 190 and len({t.secret for t in many}) == 200
    assert {c for t in many for c in t.secret} == set("abcdefghijklmnopqrstuvwxyz0123456789")
    assert not [t for t in many if t.secret in repr(t)]


@pytest.mark.parametrize(
    ("life", "expected"), [(900.0, "2030-03-17T18:01:40Z"), (86400.0, "2030-03-17T18:46:40Z")]
)
def test_r2_every_token_expires_in_utc_within_an_hour(life: float, expected: str) -> None:
    """With its zone, in whole seconds; a longer life is cut."""
    join = JoinSettings(token_ttl=life)
    request = replace(REQUEST, cluster=replace(REQUEST.cluster, join=join))
    assert tokens.draw(request, random=secrets, now=NOW).expiration == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"token_id": "aBcdef"},
        {"token_id": "abcde"},
        {"token_id": "abcdef\n"},
        {"secret": "short"},
        {"secret": "0123456789abcde_"},
        {"expiration": ""},
        {"expiration": "tomorrow"},
        {"expiration": "2030-03-17T18:01:40"},
        {"expiration": "2030-03-17T18:01:40+00:00"},
        {"groups": ()},
        {"groups": ("system:masters",)},
        {"groups": ("system:bootstrappers:other",)},
        {"groups": (tokens.NODE_GROUP, "system:masters")},
        {"description": ""},
        {"description": "a\nb"},
    ],
)
def test_r3_a_token_with_a_wrong_field_is_never_created(wrong: dict[str, Any]) -> None:
    """The API server would take it, and the join would fail minutes later; the error shows no secret."""
    token = replace(drawn(), **wrong)
    with pytest.raises(ValueError, match="was not created") as raised:
        tokens.checked(token)
    assert token.secret not in str(raised.value)


def test_r4_the_group_is_of_the_list_and_the_description_names_node_mac_and_boot() -> None:
    """So that an operator who finds the token knows whose it is."""
    token = drawn()
    assert token.groups == ("system:bootstrappers:netboot",)
    bound = replace(REQUEST.cluster, join=JoinSettings(bind="cluster"))
    token = tokens.draw(replace(REQUEST, cluster=bound), random=secrets, now=NOW)
    assert token.groups == ("system:bootstrappers:kubeadm:default-node-token",)
    assert tokens.groups_of(JoinSettings(role="control-plane")) == (
        "system:bootstrappers:netboot",
        "system:bootstrappers:netboot:control-plane",
    )
    assert token.description == "netboot: node m1, MAC 52:54:00:12:34:56, boot boot-1"


@pytest.mark.parametrize(
    ("method", "discovery", "signing"),
    [("kubeadm", "token", True), ("kubeadm", "file", False), ("tls-bootstrap", "token", False)],
)
def test_only_discovery_by_token_has_cluster_info_signed(method: str, discovery: str, signing: bool) -> None:
    """A token that signs nothing shows no signature to whoever reads cluster-info."""
    join = JoinSettings(method, discovery=discovery)
    request = replace(REQUEST, cluster=replace(REQUEST.cluster, join=join))
    token = tokens.draw(request, random=secrets, now=NOW)
    assert token.signing is signing
    assert ("usage-bootstrap-signing" in secret_of(token)["stringData"]) is signing


def test_r12_the_store_is_given_a_hash() -> None:
    """SHA-256 of the secret."""
    token = drawn()
    assert tokens.hash_of(token) == hashlib.sha256(token.secret.encode()).hexdigest()


@pytest.mark.parametrize("jws", ["", "a", "a.b", "a.b.c", "a..b", "..", "ä..b", "a..b.c"])
def test_a_strange_signature_is_no_signature(jws: str) -> None:
    """Whatever cluster-info holds."""
    assert not tokens.signs(jws, "content", drawn())


def test_a_signature_of_rfc_7515_is_one() -> None:
    """A detached JWS, made by hand with openssl's HMAC over header and content."""
    token = BootstrapToken("abcdef", "0123456789abcdef", "", (), "")
    jws = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..psz1NayrXM3IaFzKZGsb5n_mBl7MjtlsZ1xE8MRmF_4"
    assert tokens.signs(jws, "content", token)
    assert not tokens.signs(jws, "content ", token)
    assert not tokens.signs(jws, "content", replace(token, secret="0123456789abcdeg"))
