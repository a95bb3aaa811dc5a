"""Certificate signing requests as kubelets, and others, make them."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from netboot.cluster import CLIENT_SIGNER, SERVING_SIGNER, CertificateRequest
from netboot.cluster.approval import NODE_BOUND

EC = ec.generate_private_key(ec.SECP256R1())
KEYS: dict[str, Any] = {
    "ec": EC,
    "rsa": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "short rsa": rsa.generate_private_key(65537, 1024),
    "dsa": dsa.generate_private_key(2048),
}


def pem(
    common: str = "system:node:m1",
    organizations: Sequence[str] = ("system:nodes",),
    *,
    names: Sequence[str] | None = None,
    key: str = "ec",
    further: Sequence[x509.NameAttribute[str]] = (),
    extensions: Sequence[x509.ExtensionType] = (),
) -> bytes:
    """A PKCS #10 request; `names` are DNS names and addresses."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    subject += [x509.NameAttribute(NameOID.COMMON_NAME, common), *further]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), False)
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    private = KEYS[key]
    algorithm = None if key == "ed25519" else hashes.SHA256()
    return builder.sign(private, algorithm).public_bytes(Encoding.PEM)


def _general(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def client(**changes: Any) -> CertificateRequest:
    """What the kubelet of m1 asks for with its token abcde1."""
    fields: dict[str, Any] = {
        "name": "csr-1",
        "uid": "uid-1",
        "resource_version": "7",
        "created": 1_700_000_000.0,
        "username": "system:bootstrap:abcde1",
        "groups": ("system:bootstrappers", NODE_BOUND, "system:authenticated"),
        "signer": CLIENT_SIGNER,
        "usages": ("digital signature", "client auth"),
    }
    return CertificateRequest(**(fields | {"pem": changes.pop("pem", None) or pem()} | changes))


def serving(**changes: Any) -> CertificateRequest:
    """What the kubelet of m1 asks for with its own certificate."""
    changes.setdefault("pem", pem(names=("m1", "10.0.0.1")))
    return client(
        **{
            "username": "system:node:m1",
            "groups": ("system:nodes", "system:authenticated"),
            "signer": SERVING_SIGNER,
            "usages": ("digital signature", "server auth"),
            **changes,
        }
    )
