"""The API beyond the loopback: `serve` with a certificate and a tokens file, as root and after it."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netboot.web.api.guard import token_sha256
from tests.interop.test_serve import content, serve
from tests.lab.appliance import Appliance
from tests.lab.namespace import Lab, wait_until
from tests.lab.site import scratch, write_yaml
from tests.support.certificates import Authority, authority

pytestmark = pytest.mark.root

LISTEN = ("10.77.0.1", 8443)
OPERATOR, VIEWER = "o" * 43, "v" * 43


class Secured(Appliance):
    """The daemon whose API speaks TLS on the lab's own address."""

    signer: Authority

    def ask(self, path: str, token: str = "", host: str = LISTEN[0], method: str = "GET") -> int:
        """The status of one request, from a client that believes the signer alone."""
        context = ssl.create_default_context(cadata=self.signer.pem.decode())
        connection = http.client.HTTPSConnection(*LISTEN, timeout=15)
        connection.sock = context.wrap_socket(self.lab.connect(*LISTEN), server_hostname=LISTEN[0])
        try:
            headers = {"Host": host, **({"Authorization": f"Bearer {token}"} if token else {})}
            connection.request(method, path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def _ready(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise RuntimeError(f"netboot serve ended with status {self._process.returncode}")
        try:
            return self.ask("/readyz") == 200
        except OSError:
            return False


def tokens(folder: Path, **named: tuple[str, str]) -> None:
    """Write the tokens file, readable by the appliance's account."""
    entries = [{"name": n, "role": r, "sha256": token_sha256(t)} for n, (r, t) in named.items()]
    ours(folder / "fresh.yaml", json.dumps(entries).encode())
    (folder / "fresh.yaml").replace(folder / "tokens.yaml")


def ours(file: Path, data: bytes) -> None:
    """A file that root and the appliance's group may read, and nobody else."""
    file.write_bytes(data)
    file.chmod(0o640)
    os.chown(file, 0, pwd.getpwnam("nobody").pw_gid)


def certify(folder: Path, signer: Authority) -> None:
    """Put a certificate for the lab's address in its place."""
    for name, data in zip(("tls.crt", "tls.key"), signer.sign(LISTEN[0]), strict=True):
        ours(folder / name, data)
    (folder / "ca.pem").write_bytes(signer.pem)


def operators_file(folder: Path) -> dict[str, Any]:
    """The small file with an API for the whole lab."""
    said = content(folder)
    said["server"]["user"] = "nobody"
    said["server"]["api"] = {
        "listen": f"{LISTEN[0]}:{LISTEN[1]}",
        "tls": {"certificate": str(folder / "tls.crt"), "key": str(folder / "tls.key")},
        "tokens_file": str(folder / "tokens.yaml"),
    }
    return said


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder with all the files, which the appliance's account may enter."""
    with scratch() as made:
        (made / "images").mkdir()
        yield made


def test_operators_come_over_tls_and_files_are_renewed_without_a_restart(lab: Lab, directory: Path) -> None:
    """By name, address and role; the account that control runs as reads tokens and certificate again."""
    signer = Secured.signer = authority()
    certify(directory, signer)
    tokens(directory, olga=("operator", OPERATOR), vera=("viewer", VIEWER))
    config = write_yaml(directory / "netboot.yaml", operators_file(directory))
    with Secured(lab, [config], directory, directory / "data") as api:
        assert api.ask("/api/v1/boots", VIEWER) == 200
        assert api.ask("/api/v1/boots") == 401
        assert api.ask("/api/v1/boots", VIEWER, host="evil.example") == 421
        assert api.ask("/api/v1/leases/10.77.0.100", VIEWER, method="DELETE") == 403
        assert api.ask("/api/v1/leases/10.77.0.100", OPERATOR, method="DELETE") == 404
        assert "admin" in api.netboot("token", "show")
        audit = api.netboot("audit", "list")
        newest, refused = audit.splitlines()[1:3]
        assert newest.endswith(" 404") and refused.endswith("403 refused: its role is too weak")
        elsewhere = ("--server", "https://10.77.0.1:8443", "--ca", str(directory / "ca.pem"))
        assert "admin" in api.netboot("token", "show", *elsewhere)
        assert "--ca FILE" in api.netboot("token", "show", *elsewhere[:2], check=False)

        tokens(directory, vera=("viewer", VIEWER))
        wait_until("the operator is out", lambda: api.ask("/api/v1/boots", OPERATOR) == 401, 15)
        ours(directory / "tokens.yaml", b"- nonsense")
        wait_until("it is refused", lambda: "api_tokens_refused" in api.log(), 15)
        assert api.ask("/api/v1/boots", VIEWER) == 200

        Secured.signer = authority()
        certify(directory, Secured.signer)
        wait_until("the new certificate is shown", api._ready, 15)
        assert not api.late_imports()
        assert api.stop() == 0


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("tls.crt", "server.api.tls"),
        ("tokens.yaml", "server.api.tokens_file"),
        ("tls", "is not the loopback"),
    ],
)
def test_without_its_files_it_does_not_start(lab: Lab, directory: Path, missing: str, words: str) -> None:
    """Exit status 2 with the reason; no API without a certificate beyond the loopback, ever."""
    certify(directory, authority())
    tokens(directory, vera=("viewer", VIEWER))
    said = operators_file(directory)
    if missing == "tls":
        del said["server"]["api"]["tls"]
    else:
        (directory / missing).unlink()
    status, text = serve(lab, write_yaml(directory / "netboot.yaml", said))
    assert status == 2 and words in text
