"""What is sealed, openssl opens with the right key, and nobody else does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from netboot.boot.sealing import MAX_CERTIFICATE, recipient, seal
from netboot.errors import Refused
from tests.boot.identity import Identity, identity


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A node's key and certificate."""
    return identity(tmp_path_factory.mktemp("node"))


@pytest.mark.parametrize("content", [b"", b"text\nwith\r\nline ends\n", bytes(range(256)) * 500])
def test_openssl_opens_what_was_sealed(node: Identity, content: bytes) -> None:
    """Every byte comes out as it went in, line ends too."""
    sealed = seal(content, recipient(node.pem))
    assert node.open(sealed) == content
    assert not content or content not in sealed


def test_another_key_opens_nothing(node: Identity, tmp_path: Path) -> None:
    """A node cannot open what was sealed to another one."""
    other = identity(tmp_path)
    sealed = seal(b"secret content of the node", recipient(node.pem))
    (tmp_path / "certificate.pem").write_text(node.pem)
    with pytest.raises(subprocess.CalledProcessError):
        other.open(sealed)


def test_the_content_is_encrypted_with_aes_256(node: Identity, tmp_path: Path) -> None:
    """openssl names the cipher of the envelope."""
    path = tmp_path / "sealed"
    path.write_bytes(seal(b"x", recipient(node.pem)))
    command = ["openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", str(path)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    assert "aes-256-cbc" in shown


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (("-newkey", "rsa:1024"), "1024 bits"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"), "not RSA"),
        (("-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:3"), "exponent"),
    ],
)
def test_weak_keys_are_refused(tmp_path: Path, key: tuple[str, ...], reason: str) -> None:
    """Only RSA of 2048 to 4096 bits with a usual exponent."""
    with pytest.raises(Refused, match=reason) as caught:
        recipient(identity(tmp_path, key=key).pem)
    assert caught.value.status == 400


def test_a_certificate_that_its_key_did_not_sign_is_refused(node: Identity) -> None:
    """A changed signature: the claimant may not hold the key."""
    lines = node.pem.strip().splitlines()
    lines[-2] = lines[-2][:4] + ("AAAA" if lines[-2][4:8] != "AAAA" else "BBBB") + lines[-2][8:]
    with pytest.raises(Refused):
        recipient("\n".join(lines))


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n\ud800\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n" + "A" * MAX_CERTIFICATE + "\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_certificate_is_refused(pem: str) -> None:
    """Nonsense is a refusal with a reason, nothing else."""
    with pytest.raises(Refused) as caught:
        recipient(pem)
    assert caught.value.status == 400


def test_two_certificates_are_refused(node: Identity) -> None:
    """One certificate and nothing beside it, above all no private key."""
    for more in (node.pem, (node.folder / "key.pem").read_text()):
        with pytest.raises(Refused):
            recipient(node.pem + more)
        with pytest.raises(Refused):
            recipient(more + node.pem)


def test_the_fingerprint_is_openssls(node: Identity) -> None:
    """SHA-256 of the DER, as `openssl x509 -fingerprint` shows it."""
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", "certificate.pem"]
    shown = subprocess.run(command, cwd=node.folder, check=True, capture_output=True, text=True, timeout=30)
    assert recipient(node.pem).sha256 == shown.stdout.partition("=")[2].strip().replace(":", "").lower()
