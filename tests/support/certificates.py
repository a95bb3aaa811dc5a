"""Certificates for tests: a CA, and what it signs for an address."""

from __future__ import annotations

import datetime
import struct
import uuid
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Authority:
    """A CA of one test."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, *addresses: str, days: float = 1) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) of a server at these addresses."""
        key = _key(isinstance(self.key, rsa.RSAPrivateKey))
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(a)) for a in addresses])
        signed = (
            _builder("appliance", self.certificate.subject, key, days)
            .add_extension(names, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return signed.public_bytes(serialization.Encoding.PEM), _private(key)

    def write(self, folder: Path, *addresses: str, days: float = 1) -> dict[str, Path]:
        """The three files of `server.boot_https`."""
        certificate, key = self.sign(*addresses, days=days)
        files = {"certificate": certificate, "key": key, "ca": self.pem}
        for name, content in files.items():
            (folder / f"{name}.pem").write_bytes(content)
        return {name: folder / f"{name}.pem" for name in files}


def signature_list(pem: bytes) -> bytes:
    """A certificate as an EFI signature list (UEFI 2.10 section 32.4.1), which firmware keeps its CAs in."""
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    kind, owner = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072"), uuid.UUID(int=0)
    signature = owner.bytes_le + der
    return kind.bytes_le + struct.pack("<III", 28 + len(signature), 0, len(signature)) + signature


def authority(*, old: bool = False) -> Authority:
    """A new CA; `old`: with keys of RSA, as firmware that knows no elliptic curves needs them."""
    key = _key(old)
    name = _name("test CA")
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    builder = _builder("test CA", name, key, 2).add_extension(constraints, critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _key(old: bool) -> Key:
    return rsa.generate_private_key(65537, 2048) if old else ec.generate_private_key(ec.SECP256R1())


def _builder(name: str, issuer: x509.Name, key: Key, days: float) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=30))
        .not_valid_after(NOW + datetime.timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: Key) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
