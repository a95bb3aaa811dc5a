"""Which certificate signing requests are approved (R7, R8)."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from netboot.cluster import CLIENT_SIGNER, SERVING_SIGNER, CertificateRequest, NodeObject
from netboot.cluster.approval import (
    NODE_BOUND,
    Decision,
    Verdict,
    client_verdict,
    known_as,
    node_of_serving,
    serving_verdict,
    token_id_of,
)
from netboot.model.binding import SUPERSEDED
from tests.cluster.requests import client, pem, serving
from tests.store.values import binding

BOUND = replace(binding(1), node="m1", uuid="4c4c4544-0042-3510-8054-b4c04f564232")
READY = NodeObject("m1", "u", "1", 0.0, "True", system_uuid="ffffffff-0042-3510-8054-b4c04f564232")
KNOWN = known_as(("m1", "m1.example.org"), ("10.0.0.1", "fd00::1"))


def decide(request: CertificateRequest, **facts: Any) -> Verdict:
    """With facts as they should be, but for those given."""
    return client_verdict(request, BOUND, **{"first": "uid-1", "over": False, "node": None, **facts})


@pytest.mark.parametrize("key", ["ec", "rsa", "ed25519"])
def test_the_first_request_for_the_tokens_own_node_is_approved(key: str) -> None:
    """Whatever kind of key the kubelet makes."""
    assert decide(client(pem=pem(key=key))).decision is Decision.APPROVE


def test_key_encipherment_may_be_asked_for_or_not() -> None:
    """Kubelets with RSA keys ask for it."""
    usages = ("digital signature", "key encipherment", "client auth")
    assert decide(client(usages=usages)).decision is Decision.APPROVE


COUNTRY = x509.NameAttribute(NameOID.COUNTRY_NAME, "CZ")
SECOND_NAME = x509.NameAttribute(NameOID.COMMON_NAME, "system:node:m2")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pem": pem("system:node:m2")}, "its subject is"),
        ({"pem": pem("system:node:m1x")}, "its subject is"),
        ({"pem": pem("system:node:M1")}, "its subject is"),
        ({"pem": pem("m1")}, "its subject is"),
        ({"pem": pem(organizations=())}, "its subject is"),
        ({"pem": pem(organizations=("system:masters",))}, "its subject is"),
        ({"pem": pem(organizations=("system:nodes", "system:masters"))}, "its subject is"),
        ({"pem": pem(organizations=("system:nodes", "system:nodes"))}, "its subject is"),
        ({"pem": pem(further=(COUNTRY,))}, "its subject is"),
        ({"pem": pem(further=(SECOND_NAME,))}, "its subject is"),
        ({"pem": pem(names=("m1",))}, "alternative names"),
        ({"pem": pem(names=())}, "alternative names"),
        ({"pem": pem(key="short rsa")}, "its key"),
        ({"pem": pem(key="dsa")}, "its key"),
        ({"pem": b"junk"}, "cannot be read"),
        ({"pem": b"x" * 20_000}, "cannot be read"),
        ({"usages": ()}, "usages nothing"),
        ({"usages": ("client auth",)}, "usages"),
        ({"usages": ("digital signature",)}, "usages"),
        ({"usages": ("digital signature", "client auth", "server auth")}, "usages"),
        ({"usages": ("any",)}, "usages"),
    ],
)
def test_anything_else_than_the_nodes_own_client_certificate_is_an_alarm(
    changes: dict[str, Any], why: str
) -> None:
    """Another node's name, further groups, alternative names, usages, keys: denied."""
    verdict = decide(client(**changes))
    assert (verdict.decision, verdict.alarm) == (Decision.DENY, True) and why in verdict.reason


def test_a_request_that_another_key_signed_is_denied() -> None:
    """Who submits it has to hold the key."""
    good = x509.load_pem_x509_csr(pem()).public_bytes(Encoding.DER)
    broken = good[:-1] + bytes([good[-1] ^ 1])
    text = base64.encodebytes(broken).decode()
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"
    verdict = decide(client(pem=text.encode()))
    assert verdict.decision is Decision.DENY and ("signed" in verdict.reason or "read" in verdict.reason)


def test_a_second_request_of_one_token_is_an_alarm() -> None:
    """However right it looks: one of the two is a thief's."""
    first = replace(READY, ready="False", addresses=("10.0.0.9",))
    verdict = decide(client(uid="uid-2"), node=first)
    assert (verdict.decision, verdict.alarm) == (Decision.DENY, True)
    assert "not the first" in verdict.reason and "Node m1 is at 10.0.0.9" in verdict.reason


def test_a_ready_node_of_that_name_on_another_machine_is_an_alarm() -> None:
    """Two machines must not live under one name."""
    verdict = decide(client(), node=replace(READY, addresses=("10.0.0.9", "m1")))
    assert verdict.alarm and verdict.reason.endswith("another machine (Node m1 is at 10.0.0.9, m1)")
    assert decide(client(), node=replace(READY, system_uuid="")).alarm


@pytest.mark.parametrize("uuid", [BOUND.uuid, "44454c4c-4200-1035-8054-b4c04f564232"])
def test_a_ready_node_on_the_same_machine_or_a_lost_one_is_no_obstacle(uuid: str) -> None:
    """The UUID counts in either byte order."""
    assert decide(client(), node=replace(READY, system_uuid=uuid)).decision is Decision.APPROVE
    assert decide(client(), node=replace(READY, ready="Unknown")).decision is Decision.APPROVE


@pytest.mark.parametrize(("facts", "why"), [({"over": True}, "over"), ({"first": SUPERSEDED}, "another")])
def test_a_token_that_came_too_late_is_denied_without_alarm(facts: dict[str, Any], why: str) -> None:
    """The bearer of a deleted token passes for ten seconds more: the machine itself may be that slow."""
    verdict = decide(client(), **facts)
    assert (verdict.decision, verdict.alarm) == (Decision.DENY, False) and why in verdict.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": ("system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token")},
        {"username": "system:node:m1"},
        {"username": "system:bootstrap:"},
        {"username": "somebody"},
        {"signer": SERVING_SIGNER},
        {"signer": "kubernetes.io/kube-apiserver-client"},
    ],
)
def test_requests_of_others_are_left_alone(changes: dict[str, Any]) -> None:
    """kubeadm's own tokens, renewals, administrators."""
    assert token_id_of(client(**changes)) is None


def test_a_token_of_our_group_is_known_by_its_user_name() -> None:
    """As the API server writes it."""
    assert token_id_of(client()) == "abcde1" and NODE_BOUND.startswith("system:bootstrappers:")


def nobody(name: str) -> None:
    """No other machine is called so."""


@pytest.mark.parametrize(
    "names",
    [("m1",), ("M1", "10.0.0.1"), ("m1.example.org", "fd00:0::1"), ("10.0.0.1",), ("m1", "::ffff:10.0.0.1")],
)
def test_a_serving_certificate_for_the_nodes_own_names_is_approved(names: tuple[str, ...]) -> None:
    """Any of the names and addresses that it is known by."""
    request = serving(pem=pem(names=names))
    assert node_of_serving(request) == "m1"
    assert serving_verdict(request, KNOWN, nobody).decision is Decision.APPROVE


@pytest.mark.parametrize("name", ["m1.elsewhere.org", "10.0.0.7", "kubernetes", "*.example.org", "localhost"])
def test_a_name_that_nobody_knows_keeps_the_request_pending(name: str) -> None:
    """It may become known: the kubelet posts its addresses after it has asked."""
    verdict = serving_verdict(serving(pem=pem(names=("m1", name))), KNOWN, nobody)
    assert verdict.decision is Decision.WAIT and name in verdict.reason


def test_another_machines_name_or_address_is_denied() -> None:
    """Who asks for that wants to be taken for the other one."""
    verdict = serving_verdict(serving(pem=pem(names=("m1", "10.0.0.2"))), KNOWN, {"10.0.0.2": "m2"}.get)
    assert (verdict.decision, verdict.reason) == (Decision.DENY, "10.0.0.2 is m2's")


@pytest.mark.parametrize(
    "changes",
    [
        {"pem": pem("system:node:m2", names=("m1",))},
        {"pem": pem("system:node:m1", ("system:masters",), names=("m1",))},
        {"pem": pem(names=("m1", "https://m1"))},
        {"pem": pem()},
        {"usages": ("digital signature", "client auth")},
        {"usages": ("digital signature", "server auth", "client auth")},
        {"pem": b"junk"},
    ],
)
def test_a_serving_certificate_of_another_kind_is_denied(changes: dict[str, Any]) -> None:
    """Another common name, no names at all, other usages."""
    assert serving_verdict(serving(**changes), KNOWN, nobody).decision is Decision.DENY


@pytest.mark.parametrize(
    "changes",
    [
        {"username": "m1"},
        {"username": "system:bootstrap:abcde1"},
        {"groups": ("system:authenticated",)},
        {"signer": CLIENT_SIGNER},
    ],
)
def test_only_nodes_ask_for_serving_certificates(changes: dict[str, Any]) -> None:
    """Whatever else it is, it is none of ours."""
    assert node_of_serving(serving(**changes)) is None
