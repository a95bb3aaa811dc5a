"""Which certificate requests of nodes are passed on, and which certificates come back to them."""

from __future__ import annotations

import datetime
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from netboot.join.csr import LONGEST, checked, issued
from tests.join.requests import KEYS, csr
from tests.kube.pki import Authority

CLIENT = ("digital signature", "client auth")


@pytest.mark.parametrize("key", ["ec", "ec p-384", "rsa"])
def test_a_request_for_its_own_node_is_taken(key: str) -> None:
    """With each kind of key that is strong enough."""
    made = checked(csr(key=key), "m1")
    assert made.pem.decode() == csr(key=key) or key != "rsa"
    assert x509.load_pem_x509_csr(made.pem).public_key() == KEYS[key].public_key()


def test_what_openssl_in_the_initrd_makes_is_taken(tmp_path: Path) -> None:
    """The initrd has no cryptography of Python's."""
    command = [
        "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-subj", "/O=system:nodes/CN=system:node:m1.example.org", "-keyout", str(tmp_path / "key"),
    ]  # fmt: skip
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert checked(made, "m1.example.org").key


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"node": "m2"}, "not for O=system:nodes, CN=system:node:m1"),
        ({"common": "m1"}, "not for"),
        ({"common": "system:node:m1\n"}, "not for"),
        ({"organizations": ()}, "not for"),
        ({"organizations": ("system:masters",)}, "not for"),
        ({"organizations": ("system:nodes", "system:masters")}, "not for"),
        ({"organizations": ("system:nodes", "system:nodes")}, "not for"),
        ({"further": [x509.NameAttribute(NameOID.COMMON_NAME, "system:node:m2")]}, "not for"),
        ({"further": [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x")]}, "not for"),
        ({"names": ["m1"]}, "more than a subject"),
        ({"challenge": b"password"}, "more than a subject"),
        ({"key": "short rsa"}, "neither EC"),
        ({"key": "ec k1"}, "neither EC"),
        ({"key": "ed25519"}, "neither EC"),
    ],
)
def test_a_request_for_anything_else_is_refused(changes: dict[str, Any], why: str) -> None:
    """Another subject, alternative names, further attributes, a weak or odd key."""
    with pytest.raises(ValueError, match=why):
        checked(csr(**changes), "m1")


def forged() -> str:
    """A request whose signature was made over something else."""
    raw = bytearray(x509.load_pem_x509_csr(csr().encode()).public_bytes(Encoding.DER))
    raw[-1] ^= 1
    return x509.load_der_x509_csr(bytes(raw)).public_bytes(Encoding.PEM).decode()


def test_a_request_that_is_not_signed_by_its_own_key_is_refused() -> None:
    """Its sender did not prove to have the key."""
    with pytest.raises(ValueError, match="not signed by its own key"):
        checked(forged(), "m1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "nonsense",
        csr() + csr("m2"),
        "leading\n" + csr(),
        csr() + "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        csr().replace("-----END", "A" * LONGEST + "\n-----END"),
        csr().replace("CERTIFICATE REQUEST", "CERTIFICATE"),
    ],
)
def test_what_is_no_single_request_is_refused(text: str) -> None:
    """Nothing that was sent comes back in the reason."""
    with pytest.raises(ValueError, match="certificate request") as raised:
        checked(text, "m1")
    assert not text.strip() or text[:40] not in str(raised.value)


def test_a_certificate_for_the_nodes_key_is_handed_on_with_its_chain() -> None:
    """As the cluster signed it."""
    authority, request = Authority(), checked(csr(), "m1")
    pem = authority.sign(request.pem, CLIENT, 3600)
    assert issued(pem, request, "m1", time.time()) == pem
    assert issued(pem + authority.certificate, request, "m1", time.time()) == pem + authority.certificate


@pytest.mark.parametrize(
    ("other", "usages", "later", "why"),
    [
        (csr(key="ec again"), CLIENT, 0, "another key"),
        (csr("m2"), CLIENT, 0, "not for system:node:m1"),
        (csr(), ("server auth",), 0, "not for clients"),
        (csr(), CLIENT, 7200, "expired"),
    ],
)
def test_a_certificate_that_is_not_the_one_asked_for_is_refused(
    other: str, usages: tuple[str, ...], later: float, why: str
) -> None:
    """The node could not use it, or somebody mixed two requests up."""
    pem = Authority().sign(other.encode(), usages, 3600)
    with pytest.raises(ValueError, match=why):
        issued(pem, checked(csr(), "m1"), "m1", time.time() + later)


@pytest.mark.parametrize("pem", [b"", b"nonsense", Authority().certificate])
def test_what_is_no_client_certificate_is_refused(pem: bytes) -> None:
    """An API server that answers with something else."""
    with pytest.raises(ValueError, match="no certificate for clients"):
        issued(pem, checked(csr(), "m1"), "m1", datetime.datetime.now(datetime.UTC).timestamp())
