"""The stand-in's certificate authority, and the kubeconfig files that it hands out."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SECOND = datetime.timedelta(seconds=1)
DAY = datetime.timedelta(days=1)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def _name(common: str, organizations: Iterable[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)  # virtual machines start with a clock of their own
        .not_valid_after(now + life)
    )


class Authority:
    """A certificate authority: the cluster's, or a wrong one."""

    def __init__(self, common_name: str = "kubernetes", pem: tuple[bytes, bytes] | None = None) -> None:
        if pem:
            key = serialization.load_pem_private_key(pem[1], None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            self._key, self._certificate = key, x509.load_pem_x509_certificate(pem[0])
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name)
        self._certificate = (
            _builder(name, name, self._key.public_key(), 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate(self) -> bytes:
        """The certificate in PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def private_key(self) -> bytes:
        """The private key in PEM."""
        return _pem_key(self._key)

    def server(self, addresses: Iterable[str]) -> tuple[bytes, bytes]:
        """A serving certificate and its key, for these addresses and the names a cluster knows itself by."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName("kubernetes")]
        names += [_general_name(a) for a in dict.fromkeys([*addresses, "127.0.0.1"])]
        certificate = self._issue(
            _name("kube-apiserver"), key.public_key(), [ExtendedKeyUsageOID.SERVER_AUTH], 365 * DAY, names
        )
        return certificate, _pem_key(key)

    def client(self, user: str, groups: Iterable[str] = ()) -> tuple[bytes, bytes]:
        """A client certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(user, groups)
        return self._issue(subject, key.public_key(), [ExtendedKeyUsageOID.CLIENT_AUTH], 365 * DAY), _pem_key(
            key
        )

    def sign(self, request: bytes, usages: Iterable[str], seconds: float) -> bytes:
        """The certificate of a CSR (PEM), for `seconds`. Raises ValueError for a CSR with a bad signature."""
        csr = x509.load_pem_x509_csr(request)
        if not csr.is_signature_valid:
            raise ValueError("the request is not signed by its own key")
        purposes = {
            "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
            "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
        }
        key = csr.public_key()
        assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        extended = [purposes[u] for u in usages if u in purposes]
        return self._issue(csr.subject, key, extended, seconds * SECOND, _alternative_names(csr))

    def _issue(
        self,
        subject: x509.Name,
        key: PublicKey,
        purposes: Iterable[x509.ObjectIdentifier],
        life: datetime.timedelta,
        names: Iterable[x509.GeneralName] = (),
    ) -> bytes:
        builder = (
            _builder(subject, self._certificate.subject, key, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if names := list(names):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(csr: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    return [n for e in csr.extensions if isinstance(e.value, x509.SubjectAlternativeName) for n in e.value]


def is_signed(request: bytes) -> bool:
    """Whether a CSR in PEM is signed by its own key; raises ValueError for what is none."""
    return x509.load_pem_x509_csr(request).is_signature_valid


def new_request(common: str, organization: str, names: Iterable[str] = ()) -> bytes:
    """A CSR in PEM, by a key that nobody keeps."""
    return request_and_key(common, organization, names)[0]


def request_and_key(common: str, organization: str, names: Iterable[str] = ()) -> tuple[bytes, bytes]:
    """A CSR and its key, both in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(common, [organization]))
    if listed := [_general_name(name) for name in names]:
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return request, _pem_key(key)


def seconds_left(certificate: bytes) -> float:
    """How long a certificate in PEM is still good."""
    until = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return (until - datetime.datetime.now(datetime.UTC)).total_seconds()


def subject_of(request: bytes) -> tuple[str, list[str], bool]:
    """Common name, organizations and whether there are alternative names, of a CSR in PEM."""
    csr = x509.load_pem_x509_csr(request)
    common = [str(a.value) for a in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    organizations = [str(a.value) for a in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    named = any(isinstance(e.value, x509.SubjectAlternativeName) for e in csr.extensions)
    return (common or [""])[0], organizations, named


def b64(raw: bytes) -> str:
    """Standard base64 as text."""
    return base64.b64encode(raw).decode()


def kubeconfig(server: str, ca: bytes, user: dict[str, str]) -> str:
    """A kubeconfig (JSON is YAML) for one user; an empty `user` makes the one inside cluster-info."""
    cluster = {"certificate-authority-data": b64(ca), "server": server}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "user@lab", "context": {"cluster": "lab", "user": "user"}}],
            "current-context": "user@lab",
        },
        indent=2,
    )


def cluster_info_kubeconfig(server: str, ca: bytes) -> str:
    """The kubeconfig inside cluster-info, byte for byte as kubeadm writes it."""
    return (
        "apiVersion: v1\n"
        "clusters:\n"
        "- cluster:\n"
        f"    certificate-authority-data: {b64(ca)}\n"
        f"    server: {server}\n"
        '  name: ""\n'
        "contexts: null\n"
        'current-context: ""\n'
        "kind: Config\n"
        "preferences: {}\n"
        "users: null\n"
    )


def authority_in(directory: Path) -> Authority:
    """The authority of a directory, made at the first start and kept for the next."""
    certificate, key = directory / "ca.crt", directory / "ca.key"
    if certificate.exists() and key.exists():
        return Authority(pem=(certificate.read_bytes(), key.read_bytes()))
    authority = Authority()
    key.touch(mode=0o600)
    key.write_bytes(authority.private_key)
    certificate.write_bytes(authority.certificate)
    return authority
