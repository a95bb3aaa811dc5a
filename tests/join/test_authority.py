"""The operator's authority: what it signs, and which files it is refused for."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from netboot.errors import ConfigError
from netboot.join.authority import LARGEST, SERVER, Authority, Wanted, authority, pair, trusted
from tests.join.requests import KEYS

NOW = time.time()
NODE = Wanted("system:node:m1", "system:nodes")
SERVING = Wanted(
    "system:node:m1",
    "system:nodes",
    SERVER,
    ("m1", "m1.example.test"),
    (ip_address("10.0.0.1"), ip_address("fd00::1")),
)
Key = rsa.RSAPrivateKey


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def pem(key: Key) -> bytes:
    """A private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def self_signed(key: Key, *, ca: bool = True, days: tuple[float, float] = (-10, 10)) -> bytes:
    """The certificate of an authority, with a subject key identifier as `openssl req -x509` writes it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "by hand")])
    begins, ends = (datetime.fromtimestamp(NOW, UTC) + timedelta(days=day) for day in days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """An RSA authority of the operator, ca.crt and ca.key."""
    (tmp_path / "ca.crt").write_bytes(self_signed(KEYS["rsa"]))
    (tmp_path / "ca.key").write_bytes(pem(KEYS["rsa"]))
    return tmp_path / "ca.crt", tmp_path / "ca.key"


@pytest.fixture
def signer(files: tuple[Path, Path]) -> Authority:
    """Read from its files."""
    return authority(*files, NOW)


@pytest.mark.parametrize(
    ("wanted", "purpose", "other"), [(NODE, "sslclient", "sslserver"), (SERVING, "sslserver", "sslclient")]
)
def test_openssl_takes_what_is_signed_for_its_purpose_alone(
    signer: Authority, tmp_path: Path, wanted: Wanted, purpose: str, other: str
) -> None:
    """`openssl verify -purpose`, chain and extended usages."""
    (tmp_path / "made.crt").write_bytes(signer.issue(wanted, NOW).certificate)

    def verified(what: str) -> bool:
        command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", "-purpose", what, "made.crt"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0

    assert verified(purpose) and not verified(other)


def test_names_addresses_and_subject_are_as_wanted(signer: Authority) -> None:
    """And an EC key of its own, different each time, with a serial that nobody guesses."""
    made = [signer.issue(SERVING, NOW) for _ in range(2)]
    certificates = [x509.load_pem_x509_certificate(one.certificate) for one in made]
    assert certificates[0].subject.rfc4514_string() == "CN=system:node:m1,O=system:nodes"
    names = certificates[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["m1", "m1.example.test"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.1", "fd00::1"]
    usage = certificates[0].extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    assert len({one.serial_number for one in certificates}) == 2 == len({one.key for one in made})
    assert all(one.serial_number.bit_length() > 64 for one in certificates)
    key = load_pem_private_key(made[0].key, None)
    assert key.public_key() == certificates[0].public_key()
    assert "PRIVATE" not in repr(made[0]) and "PRIVATE" not in repr(signer)


def test_life_is_short_backdated_and_never_longer_than_the_authoritys(
    signer: Authority, files: tuple[Path, Path]
) -> None:
    """An hour for clocks that differ; the authority here has ten days left."""
    short = x509.load_pem_x509_certificate(signer.issue(NODE, NOW, life=3600.0).certificate)
    assert abs(short.not_valid_before_utc.timestamp() - (NOW - 3600)) < 2
    assert abs(short.not_valid_after_utc.timestamp() - (NOW + 3600)) < 2
    usual = x509.load_pem_x509_certificate(signer.issue(NODE, NOW).certificate)
    assert usual.not_valid_after_utc == signer.certificate.not_valid_after_utc
    files[0].write_bytes(self_signed(KEYS["rsa"], days=(-0.001, 100)))
    young = x509.load_pem_x509_certificate(authority(*files, NOW).issue(NODE, NOW).certificate)
    assert abs(young.not_valid_before_utc.timestamp() - (NOW - 86.4)) < 2
    assert young.not_valid_after_utc - young.not_valid_before_utc < timedelta(days=31)


def test_the_bundle_is_certificates_alone(files: tuple[Path, Path]) -> None:
    """Whatever else an operator keeps in that file: a key in it never leaves."""
    second = self_signed(KEYS["rsa"])
    files[0].write_bytes(b"a note\n" + files[0].read_bytes() + files[1].read_bytes() + second)
    bundle = authority(*files, NOW).bundle
    assert bundle.count(b"BEGIN CERTIFICATE") == 2 and b"PRIVATE" not in bundle and b"note" not in bundle
    assert trusted(files[0]) == bundle


NO_CA = self_signed(KEYS["rsa"], ca=False)
EXPIRED = self_signed(KEYS["rsa"], days=(-9, -1))
EARLY = self_signed(KEYS["rsa"], days=(1, 9))


def other_key(folder: Path) -> None:
    (folder / "ca.key").write_bytes(pem(rsa.generate_private_key(65537, 2048)))


def locked(folder: Path) -> None:
    encryption = BestAvailableEncryption(b"hunter2")
    (folder / "ca.key").write_bytes(KEYS["rsa"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def odd_key(folder: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    (folder / "ca.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (other_key, "ca.key is not the key of the first certificate in"),
        (locked, "ca.key is locked by a passphrase"),
        (odd_key, "ca.key is neither an RSA nor an EC key"),
        (lambda d: (d / "ca.key").unlink(), "ca.key cannot be read: No such file"),
        (lambda d: (d / "ca.key").write_text("hunter2"), "ca.key holds no private key"),
        (lambda d: (d / "ca.key").write_bytes(b"x" * (LARGEST + 1)), "larger than 256 KiB"),
        (lambda d: (d / "ca.crt").write_text("hunter2"), "ca.crt holds no certificate"),
        (lambda d: (d / "ca.crt").write_bytes(NO_CA), "not the certificate of an authority"),
        (lambda d: (d / "ca.crt").write_bytes(EXPIRED), "ca.crt expired at"),
        (lambda d: (d / "ca.crt").write_bytes(EARLY), "ca.crt is not valid before"),
    ],
)  # fmt: skip
def test_an_authority_that_cannot_sign_is_refused(files: tuple[Path, Path], change: object, why: str) -> None:
    """With the file and the reason, and nothing of what is in it."""
    assert callable(change)
    change(files[0].parent)
    with pytest.raises(ConfigError, match=why) as raised:
        authority(*files, NOW)
    assert "hunter2" not in str(raised.value) and "BEGIN" not in str(raised.value)


@pytest.fixture
def made(signer: Authority, tmp_path: Path) -> tuple[Path, Path]:
    """m1.crt and m1.key, as an operator makes them."""
    issued = signer.issue(NODE, NOW)
    (tmp_path / "m1.crt").write_bytes(issued.certificate)
    (tmp_path / "m1.key").write_bytes(issued.key)
    return tmp_path / "m1.crt", tmp_path / "m1.key"


def test_a_pair_of_the_operator_is_taken_as_it_is(made: tuple[Path, Path]) -> None:
    """Certificate and key belong together and are for this node."""
    found = pair(*made, NODE, NOW)
    assert found.certificate == made[0].read_bytes() and found.key == made[1].read_bytes()


def test_a_pair_for_something_else_is_refused(made: tuple[Path, Path]) -> None:
    """Another node, another purpose, another time: all of it in one report."""
    with pytest.raises(ConfigError) as raised:
        pair(*made, replace(NODE, common="system:node:m2"), NOW + 40 * 86400)
    assert len(raised.value.problems) == 2
    assert "has to be CN=system:node:m2,O=system:nodes" in str(raised.value) and "expired" in str(
        raised.value
    )
    with pytest.raises(ConfigError, match=r"not for servers \(serverAuth\)"):
        pair(*made, SERVING, NOW)
    made[1].write_bytes(pem(KEYS["rsa"]))
    with pytest.raises(ConfigError, match="is not the key of"):
        pair(*made, NODE, NOW)
