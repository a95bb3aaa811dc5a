"""A node's key and certificate, made and used by the openssl program as the initrd does."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """Where the key and the certificate lie, and the certificate's text."""

    folder: Path
    pem: str

    def open(self, sealed: bytes) -> bytes:
        """What was sealed to this node; openssl fails for anybody else's."""
        (self.folder / "sealed").write_bytes(sealed)
        command = ["openssl", "cms", "-decrypt", "-inform", "DER", "-binary", "-in", "sealed"]
        command += ["-inkey", "key.pem", "-recip", "certificate.pem"]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=30).stdout


def identity(folder: Path, *, bits: int = 2048, key: tuple[str, ...] = ()) -> Identity:
    """A fresh key (RSA of `bits`, or what `key` tells openssl) with a self-signed certificate."""
    new = key or ("-newkey", f"rsa:{bits}")
    command = ["openssl", "req", "-x509", "-nodes", *new, "-subj", "/CN=m1c29", "-days", "2"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return Identity(folder, (folder / "certificate.pem").read_text())
