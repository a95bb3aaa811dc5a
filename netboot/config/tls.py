"""Certificates that the operator's file names: read, and looked at before anybody is served with them."""

from __future__ import annotations

import datetime
import os
import ssl
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509

from netboot.config import plain
from netboot.errors import StartError


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate chain and of its key, both PEM."""

    certificate: Path
    key: Path

    def pem(self) -> bytes:
        """Certificate chain and key as one text. Raises StartError where they cannot be used."""
        chain, key = _read(self.certificate), _read(self.key)
        if b"ENCRYPTED" in key:
            raise StartError(
                f"{self.key} cannot be used: it has a passphrase, and nobody is there to type it",
                f"Write it without (`openssl pkey -in {self.key}`), readable by server.user alone",
            )
        pem = chain.rstrip() + b"\n" + key
        try:
            load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)
        except (OSError, ValueError) as error:
            raise StartError(
                f"certificate {self.certificate} and key {self.key} cannot be used: {_reason(error)}",
                "Write both as PEM, the certificate's chain after it, the key without a passphrase",
            ) from None
        return pem

    def context(self) -> ssl.SSLContext:
        """What a listener serves it with: TLS 1.2 and newer. Raises StartError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load(context, self.pem())
        return context

    def leaf(self) -> x509.Certificate:
        """The certificate itself. Raises StartError."""
        try:
            return x509.load_pem_x509_certificates(_read(self.certificate))[0]
        except (ValueError, IndexError) as error:
            raise StartError(
                f"{self.certificate} is no PEM certificate ({error})", "Write it as PEM"
            ) from None

    def names(self) -> frozenset[str]:
        """The host names and addresses that it is good for, names in lower case. Raises StartError."""
        try:
            said = self.leaf().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return frozenset()
        hosts = said.get_values_for_type(x509.DNSName)
        return frozenset([name.lower() for name in hosts] + [str(a) for a in _ips(said)])

    def ended(self, now: float) -> str | None:
        """Since when it is not good any more; None while it is. Raises StartError."""
        end = self.leaf().not_valid_after_utc
        return str(end) if end < datetime.datetime.fromtimestamp(now, datetime.UTC) else None

    def doubts_of(self, hosts: Iterable[str], now: float) -> Iterator[str]:
        """Why clients of these hosts, any of which they may use, would or should refuse it.

        Raises StartError.
        """
        if ended := self.ended(now):
            yield f"{self.certificate} expired at {ended}; renew it"
        wanted = set(hosts) - {"0.0.0.0", "::"}
        if not wanted & self.names():
            which = ", ".join(sorted(wanted)) or "any name in server.api.names"
            yield f"{self.certificate} does not name {which}; clients will refuse it, or need another name"
        if (mode := _mode(self.key)) & 0o007:
            yield f"{self.key} has mode {mode:04o}: others can have the private key; run chmod 640 {self.key}"


@dataclass(frozen=True, slots=True)
class BootHttps(Certificate):
    """HTTPS for nodes: the files of a certificate, and the CA that nodes trust."""

    port: int = 443
    ca: Path | None = None

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
            named, ended = self.names(), self.ended(now)
        except StartError as error:
            yield f"server.boot_https.certificate: {error}"
            return
        for address in sorted(a for a in set(addresses) if str(a) not in named):
            yield (
                f"server.boot_https.certificate: {self.certificate} does not name {address}, where nodes"
                " reach us; make one with that address as a subjectAltName (IP)"
            )
        if ended:
            yield f"server.boot_https.certificate: {self.certificate} expired at {ended}; renew it"


def load(context: ssl.SSLContext, pem: bytes) -> None:
    """Have a context use this chain and key from its next connection on. Raises OSError and ValueError."""
    handle = os.memfd_create("netboot-tls", os.MFD_CLOEXEC)  # the library takes names only
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")


def _ips(said: x509.SubjectAlternativeName) -> list[IPv4Address | IPv6Address]:
    found = said.get_values_for_type(x509.IPAddress)
    return [address for address in found if isinstance(address, IPv4Address | IPv6Address)]


def _read(path: Path) -> bytes:
    try:
        return plain.read(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> StartError:
    return StartError(
        f"{path} cannot be read: {error.strerror or error}", "Put it there, readable by server.user"
    )


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
