"""Pins of authorities: the SHA-256 of their public keys (R14). Pure."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def pins_of(authority: bytes) -> tuple[str, ...]:
    """`sha256:HEX` of the public key (SPKI in DER) of each certificate in PEM; empty for no PEM."""
    try:
        certificates = x509.load_pem_x509_certificates(authority)
    except ValueError:
        return ()
    keys = (
        c.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for c in certificates
    )
    return tuple(dict.fromkeys(f"sha256:{hashlib.sha256(key).hexdigest()}" for key in keys))
