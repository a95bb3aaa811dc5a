"""An authority that the operator's file names, and the certificates that it signs for nodes.

Keys are the operator's secrets: no error's text shows anything of them, and an authority's own never leaves.
Errors of all calls are ConfigError, each problem with its remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netboot.errors import ConfigError

LIFE = 30 * 86400.0
"""Seconds that a certificate of ours is valid: a node gets a new one at each boot."""

BACKDATED = 3600.0
"""Seconds by which it is valid before now: the clocks of a site are never quite the same."""

LARGEST = 1 << 18
"""Octets of a file that is read."""

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH

NODES = "system:nodes"
PROXY = "system:kube-proxy"
"""Who kube-proxy is to the API server: its name in a certificate."""

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_DNS = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both in PEM; the key is secret."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate is for: one name, one purpose."""

    common: str
    organization: str = ""
    purpose: x509.ObjectIdentifier = CLIENT
    names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that signs; `bundle` is what others trust: certificates alone, in PEM."""

    bundle: bytes
    certificate: x509.Certificate
    _key: Key = field(repr=False)

    def issue(self, wanted: Wanted, now: float, life: float = LIFE) -> Pair:
        """A new key (EC P-256) and its certificate, valid from an hour ago and no longer than we are."""
        key = ec.generate_private_key(ec.SECP256R1())
        moment = datetime.fromtimestamp(now, UTC)
        ends = min(moment + timedelta(seconds=life), self.certificate.not_valid_after_utc)
        begins = max(moment - timedelta(seconds=BACKDATED), self.certificate.not_valid_before_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(wanted))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_SIGNATURES, critical=True)
            .add_extension(x509.ExtendedKeyUsage([wanted.purpose]), critical=False)
            .add_extension(self._identifier(), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if alternatives := _alternatives(wanted):
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return Pair(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM), _pem(key))

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        try:
            own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


_SIGNATURES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
"""An EC key signs handshakes and nothing else."""


def _subject(wanted: Wanted) -> x509.Name:
    parts = [(NameOID.ORGANIZATION_NAME, wanted.organization), (NameOID.COMMON_NAME, wanted.common)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


def _alternatives(wanted: Wanted) -> list[x509.GeneralName]:
    names = [x509.DNSName(name) for name in dict.fromkeys(wanted.names) if _DNS.fullmatch(name)]
    return [*names, *(x509.IPAddress(address) for address in dict.fromkeys(wanted.addresses))]


def authority(certificate: Path, key: Path, now: float) -> Authority:
    """The authority of two files as they are now; the bundle's first certificate is the one that signs."""
    bundle = certificates(certificate)
    signing = _key_in(key)
    first = bundle[0]
    problems = [*_no_authority(certificate, first), *_out_of_time(certificate, first, now)]
    if _spki(first) != _public(signing):
        problems.append(
            f"{key} is not the key of the first certificate in {certificate}: name the pair that fits"
        )
    if problems:
        raise ConfigError(problems)
    return Authority(b"".join(c.public_bytes(Encoding.PEM) for c in bundle), first, signing)


def trusted(path: Path) -> bytes:
    """The authorities of a file, in PEM: certificates alone, whatever else lies in it."""
    return b"".join(c.public_bytes(Encoding.PEM) for c in certificates(path))


def certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError([f"{path} holds no certificate in PEM: write one there"]) from None


def pair(certificate: Path, key: Path, wanted: Wanted, now: float) -> Pair:
    """What the operator made: a certificate that is what we want, still valid, and its key."""
    first, private = certificates(certificate)[0], _key_in(key)
    problems = [*_out_of_time(certificate, first, now), *_other_subject(certificate, first, wanted)]
    if _spki(first) != _public(private):
        problems.append(f"{key} is not the key of {certificate}: put the right one there")
    if wanted.purpose not in _purposes(first):
        problems.append(
            f"{certificate} is not for {_PURPOSES[wanted.purpose]}: sign it with that extended usage"
        )
    if problems:
        raise ConfigError(problems)
    return Pair(trusted(certificate), _pem(private))


_PURPOSES = {CLIENT: "clients (clientAuth)", SERVER: "servers (serverAuth)"}


def _purposes(certificate: x509.Certificate) -> Iterable[x509.ObjectIdentifier]:
    try:
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return ()


def _other_subject(path: Path, certificate: x509.Certificate, wanted: Wanted) -> Iterable[str]:
    if wanted.purpose == CLIENT and certificate.subject.rfc4514_string() != _subject(wanted).rfc4514_string():
        need = _subject(wanted).rfc4514_string()
        yield f"{path} is made out to {certificate.subject.rfc4514_string()[:200]}: it has to be {need}"


def _no_authority(path: Path, certificate: x509.Certificate) -> Iterable[str]:
    try:
        signs = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        signs = False
    if not signs:
        yield f"{path} is not the certificate of an authority (basicConstraints CA:TRUE): name the cluster's"


def _out_of_time(path: Path, certificate: x509.Certificate, now: float) -> Iterable[str]:
    if certificate.not_valid_after_utc.timestamp() <= now:
        yield f"{path} expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it"
    if certificate.not_valid_before_utc.timestamp() > now:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
        yield f"{path} is not valid before {begins} UTC: is the clock right?"


def _key_in(path: Path) -> Key:
    try:
        key = load_pem_private_key(_read(path), None)
    except TypeError:
        raise ConfigError([f"{path} is locked by a passphrase: write it without one, mode 0600"]) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError([f"{path} holds no private key in PEM: write one there"]) from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigError([f"{path} is neither an RSA nor an EC key: make one of these"])
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from None
    if len(content) > LARGEST:
        raise ConfigError([f"{path} is larger than {LARGEST >> 10} KiB: it is no certificate and no key"])
    return content


def _pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _spki(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return b""
