"""What tests of joins without kubeadm share: requests of nodes, and requests to join."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from netboot.join import JoinMaterial, JoinRequest
from netboot.model.inventory import Cluster, JoinSettings
from netboot.model.machine import Mac
from netboot.model.settings import Taint

KEYS: Mapping[str, Any] = {
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "ec again": ec.generate_private_key(ec.SECP256R1()),
    "ec p-384": ec.generate_private_key(ec.SECP384R1()),
    "ec k1": ec.generate_private_key(ec.SECP256K1()),
    "rsa": rsa.generate_private_key(65537, 2048),
    "short rsa": rsa.generate_private_key(65537, 1024),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def csr(
    node: str = "m1",
    *,
    key: str = "ec",
    organizations: Sequence[str] = ("system:nodes",),
    common: str | None = None,
    further: Sequence[x509.NameAttribute[str]] = (),
    names: Sequence[str] = (),
    challenge: bytes = b"",
) -> str:
    """A PKCS #10 request in PEM, as the initrd makes it where nothing else is asked for."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    common = f"system:node:{node}" if common is None else common
    subject += [x509.NameAttribute(NameOID.COMMON_NAME, common), *further]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    if challenge:
        builder = builder.add_attribute(x509.ObjectIdentifier("1.2.840.113549.1.9.7"), challenge)
    algorithm = None if key == "ed25519" else hashes.SHA256()
    return builder.sign(KEYS[key], algorithm).public_bytes(Encoding.PEM).decode()


def joining(endpoint: str = "10.0.0.1:6443", **changes: Any) -> JoinRequest:
    """What one boot of m1 asks for; `join` are the cluster's join settings."""
    join = JoinSettings(**changes.pop("join", {}))
    approves = changes.pop("approves_serving", False)
    fields: dict[str, Any] = {
        "boot_id": "boot-1",
        "node": "m1",
        "mac": Mac("52:54:00:12:34:56"),
        "cluster": Cluster("blue", endpoint, join=join, approves_serving=approves),
        "uuid": "4c4c4544-0042-3510-8054-b4c04f564232",
        "address": IPv4Address("10.77.0.10"),
        "labels": {"rack": "1"},
        "taints": (Taint("foo", "bar", "NoSchedule"),),
    }
    return JoinRequest(**(fields | changes))


def laid(material: JoinMaterial | Mapping[str, tuple[bytes, int]], path: str) -> bytes:
    """The content of a file that the node lays at that path."""
    files = material.files if isinstance(material, JoinMaterial) else material
    return files[f"join/root{path}"][0]


def document(material: JoinMaterial | Mapping[str, tuple[bytes, int]], path: str) -> dict[str, Any]:
    """The JSON in such a file."""
    found: dict[str, Any] = json.loads(laid(material, path))
    return found
