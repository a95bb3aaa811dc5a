"""Certificates for the boot port: read whole, and looked at before anybody is served with them."""

from __future__ import annotations

import subprocess
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.config.tls import BootHttps
from netboot.errors import StartError
from tests.support.certificates import authority

ADDRESS = IPv4Address("10.28.0.2")


def https(folder: Path, *addresses: str, days: float = 1) -> BootHttps:
    files = authority().write(folder, *(addresses or (str(ADDRESS),)), days=days)
    return BootHttps(files["certificate"], files["key"], 443, files["ca"])


def test_chain_and_key_are_one_text(tmp_path: Path) -> None:
    """As the workers take it over their channel."""
    found = https(tmp_path)
    assert found.pem().count(b"-----BEGIN") == 2
    assert found.authority().startswith("-----BEGIN CERTIFICATE-----")
    assert list(found.doubts([ADDRESS], time.time())) == []


def test_without_a_ca_nodes_are_told_none(tmp_path: Path) -> None:
    """Then they stay with HTTP."""
    found = https(tmp_path)
    assert BootHttps(found.certificate, found.key).authority() == ""


@pytest.mark.parametrize("flaw", ["missing", "no PEM", "another key", "passphrase"])
def test_files_that_cannot_be_used_are_named(tmp_path: Path, flaw: str) -> None:
    """With what to do; nobody waits at a terminal for a passphrase."""
    found = https(tmp_path)
    if flaw == "missing":
        found.key.unlink()
    elif flaw == "no PEM":
        found.certificate.write_text("certificate")
    elif flaw == "another key":
        found.key.write_bytes(authority().sign("10.0.0.1")[1])
    else:
        locked = tmp_path / "locked"
        command = ["openssl", "pkcs8", "-topk8", "-in", found.key, "-out", locked, "-passout", "pass:x"]
        subprocess.run(command, check=True)
        locked.replace(found.key)
    with pytest.raises(StartError, match=r"cannot be (used|read)"):
        found.pem()


def test_an_address_that_the_certificate_does_not_name_is_told(tmp_path: Path) -> None:
    """Nodes ask by address: a certificate for another one would be refused by each of them."""
    (doubt,) = https(tmp_path, "10.0.0.1").doubts([ADDRESS], time.time())
    assert "does not name 10.28.0.2" in doubt and "subjectAltName" in doubt


def test_an_expired_certificate_is_told(tmp_path: Path) -> None:
    """Before firmware refuses it."""
    (doubt,) = https(tmp_path, days=-1).doubts([ADDRESS], time.time())
    assert "expired" in doubt


def test_a_ca_that_is_none_is_told(tmp_path: Path) -> None:
    """It would go into every seed."""
    found = https(tmp_path)
    assert found.ca is not None
    found.ca.write_text("nothing")
    with pytest.raises(StartError, match="is no PEM certificate"):
        found.authority()
