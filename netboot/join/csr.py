"""The certificate request that a node sends with its claim, and the certificate that came of it. Pure.

Errors are ValueError with what is wrong, in words without anything that the node sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LONGEST = 4096
"""Characters of a request in PEM; openssl's of an RSA-4096 key has about 1700."""

NODES = "system:nodes"
NODE = "system:node:"

_PEM = re.compile(
    r"-----BEGIN CERTIFICATE REQUEST-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE REQUEST-----\n?"
)
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """A request that is for one node alone, and proves that its sender has the key."""

    pem: bytes
    key: bytes
    """The public key (SPKI in DER)."""


def checked(text: str, node: str) -> NodeRequest:
    """The request of the claim, if it asks for exactly what this node of the inventory may have.

    Subject O=system:nodes, CN=system:node:NAME; no alternative names, nor any other extension or attribute;
    EC P-256 or P-384, or RSA of 2048 to 4096 bits; signed by its own key (RFC 2986 section 4.2).
    """
    if not text.strip():
        raise ValueError(
            "the node sent no certificate request with its claim: build its image anew, with today's agent"
        )
    if len(text) > LONGEST or not _PEM.fullmatch(text):
        raise ValueError("what the node sent as certificate request is not one in PEM")
    try:
        request = x509.load_pem_x509_csr(text.encode("ascii"))
        subject = [(a.oid, a.value) for rdn in request.subject.rdns for a in rdn]
        signed, key = request.is_signature_valid, request.public_key()
        further = len(request.extensions) + len(list(request.attributes))
    except _UNREADABLE:
        raise ValueError("the node's certificate request cannot be read") from None
    if not signed:
        raise ValueError("the node's certificate request is not signed by its own key")
    if not _strong(key):
        raise ValueError(
            "the key of the node's certificate request is neither EC P-256 or P-384 nor RSA 2048 to 4096"
        )
    wanted = {(NameOID.ORGANIZATION_NAME, NODES), (NameOID.COMMON_NAME, f"{NODE}{node}")}
    if len(subject) != len(wanted) or set(subject) != wanted:
        raise ValueError(f"the node's certificate request is not for O={NODES}, CN={NODE}{node}")
    if further:
        raise ValueError("the node's certificate request asks for more than a subject: names or extensions")
    return NodeRequest(text.encode("ascii"), _spki(key))


def _strong(key: object) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return 2048 <= key.key_size <= 4096 and key.public_numbers().e >= 65537
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1")


def issued(pem: bytes, request: NodeRequest, node: str, now: float) -> bytes:
    """The certificate that the cluster signed (the chain after it stays), if it is the one asked for."""
    try:
        chain = x509.load_pem_x509_certificates(pem)
        first = chain[0]
        key = _spki(first.public_key())
        subject = {(a.oid, a.value) for rdn in first.subject.rdns for a in rdn}
        purposes = list(first.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (*_UNREADABLE, x509.ExtensionNotFound):
        raise ValueError("what the cluster signed is no certificate for clients") from None
    if key != request.key:
        raise ValueError("the certificate that the cluster signed is for another key than the node's")
    if subject != {(NameOID.ORGANIZATION_NAME, NODES), (NameOID.COMMON_NAME, f"{NODE}{node}")}:
        raise ValueError(f"the certificate that the cluster signed is not for {NODE}{node}")
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise ValueError("the certificate that the cluster signed is not for clients")
    if first.not_valid_after_utc.timestamp() <= now:
        raise ValueError("the certificate that the cluster signed has expired: compare its clock with ours")
    return b"".join(c.public_bytes(Encoding.PEM) for c in chain)


def _spki(key: object) -> bytes:
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise ValueError("neither RSA nor EC")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
