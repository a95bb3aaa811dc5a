"""Sealing: what only the node with the right private key can read (CMS EnvelopedData, RFC 5652 section 6)."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options

from netboot.errors import Refused

MAX_CERTIFICATE = 8192
"""Characters of a certificate in PEM at most; openssl's of a 4096-bit key has about 2000."""

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A node's certificate that passed `recipient`: to whom we seal."""

    pem: str
    sha256: str
    """Of the certificate's DER, in hex."""
    certificate: x509.Certificate


def recipient(pem: str) -> Recipient:
    """Check the certificate that a node claims with; raises Refused (400) saying what is wrong with it.

    One self-signed certificate of an RSA key of 2048 to 4096 bits, its signature right: the claimant holds
    the key. Its dates are not looked at, for clocks are wrong on bare metal.
    """
    text = pem.strip()
    if len(text) > MAX_CERTIFICATE:
        raise Refused(400, f"the certificate is longer than {MAX_CERTIFICATE} characters")
    if not text.startswith(_BEGIN) or not text.endswith(_END) or text.count("-----BEGIN") != 1:
        raise Refused(400, "the certificate is not one certificate in PEM")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later release will refuse
            certificate = x509.load_pem_x509_certificate(text.encode())
            public = certificate.public_key()
            _check_key(public)
            certificate.verify_directly_issued_by(certificate)
            der = certificate.public_bytes(Encoding.DER)
    except InvalidSignature:
        raise Refused(400, "the certificate is not signed by its own key") from None
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion):
        raise Refused(400, "the certificate cannot be read") from None
    return Recipient(text + "\n", hashlib.sha256(der).hexdigest(), certificate)


def _check_key(public: object) -> None:
    if not isinstance(public, RSAPublicKey):
        raise Refused(400, "the certificate's key is not RSA")
    if not 2048 <= public.key_size <= 4096:
        raise Refused(400, f"the certificate's RSA key has {public.key_size} bits, not 2048 to 4096")
    if not 65537 <= public.public_numbers().e < 1 << 32:
        raise Refused(400, "the certificate's RSA exponent is not 65537 or a little more")


def seal(content: bytes, to: Recipient) -> bytes:
    """`content` as DER EnvelopedData (AES-256-CBC) that `openssl cms -decrypt -inform DER -binary` opens."""
    builder = PKCS7EnvelopeBuilder().set_data(content).add_recipient(to.certificate)
    return builder.set_content_encryption_algorithm(AES256).encrypt(Encoding.DER, [PKCS7Options.Binary])
