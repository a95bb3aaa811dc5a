"""Pins of authorities (R14)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from netboot.join.pins import pins_of
from tests.kube.pki import Authority


def test_r14_a_pin_is_what_openssl_computes(tmp_path: Path) -> None:
    """SHA-256 of the SubjectPublicKeyInfo in DER, one for each certificate."""
    authorities = [Authority(), Authority()]
    expected = []
    for authority in authorities:
        (tmp_path / "ca.crt").write_bytes(authority.certificate)
        key = f"openssl x509 -in {tmp_path}/ca.crt -pubkey -noout"
        command = f"{key} | openssl pkey -pubin -outform DER | sha256sum"
        done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
        expected.append(f"sha256:{done.stdout.split()[0]}")
    both = authorities[0].certificate + authorities[1].certificate
    assert list(pins_of(both)) == expected
    assert pins_of(both + both) == pins_of(both)


@pytest.mark.parametrize(
    "pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_no_certificate_gives_no_pin(pem: bytes) -> None:
    """The caller has to refuse then."""
    assert pins_of(pem) == ()
