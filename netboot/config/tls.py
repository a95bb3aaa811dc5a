"""Certificates that the operator's file names: read, and looked at before anybody is served with them."""

from __future__ import annotations

import datetime
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509

from netboot.errors import StartError


@dataclass(frozen=True, slots=True)
class BootHttps:
    """HTTPS for nodes: the files of a certificate, and the CA that nodes trust."""

    port: int
    certificate: Path
    key: Path
    ca: Path | None = None

    def pem(self) -> bytes:
        """Certificate chain and key as one text. Raises StartError where they cannot be used."""
        chain, key = _read(self.certificate), _read(self.key)
        pem = chain.rstrip() + b"\n" + key
        with tempfile.TemporaryFile() as file:  # the library takes names only
            file.write(pem)
            file.flush()
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                    f"/proc/self/fd/{file.fileno()}", password=""
                )
            except (OSError, ValueError) as error:
                raise StartError(
                    f"certificate {self.certificate} and key {self.key} cannot be used: {_reason(error)}",
                    "Write both as PEM, the certificate's chain after it, the key without a passphrase",
                ) from None
        return pem

    def authority(self) -> str:
        """The CA's certificate as PEM, empty where none is named. Raises StartError."""
        if self.ca is None:
            return ""
        text = _read(self.ca)
        try:
            x509.load_pem_x509_certificates(text)
        except ValueError as error:
            raise StartError(f"CA {self.ca} is no PEM certificate: {error}", "Write it as PEM") from None
        return text.decode("ascii", "replace")

    def doubts(self, addresses: Iterable[IPv4Address], now: float) -> Iterator[str]:
        """Why nodes would refuse the certificate: an address that it does not name, its time."""
        try:
            leaf = x509.load_pem_x509_certificates(_read(self.certificate))[0]
        except (StartError, ValueError, IndexError) as error:
            yield f"server.boot_https.certificate: {self.certificate} is no PEM certificate ({error})"
            return
        named = set(_addresses(leaf))
        for address in sorted(set(addresses) - named):
            yield (
                f"server.boot_https.certificate: {self.certificate} does not name {address}, where nodes"
                " reach us; make one with that address as a subjectAltName (IP)"
            )
        then = datetime.datetime.fromtimestamp(now, datetime.UTC)
        if leaf.not_valid_after_utc < then:
            ended = leaf.not_valid_after_utc
            yield f"server.boot_https.certificate: {self.certificate} expired at {ended}; renew it"


def _addresses(leaf: x509.Certificate) -> list[IPv4Address]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [a for a in names.get_values_for_type(x509.IPAddress) if isinstance(a, IPv4Address)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(
            f"{path} cannot be read: {error.strerror}", "Put it there, readable by server.user"
        ) from None


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
