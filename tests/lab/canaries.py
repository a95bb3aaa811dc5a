"""Canaries: secrets planted in a site, and every place where an answer, a log or a disk might show one."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.namespace import wait_until
from tests.lab.site import Site, mac_of

SHOWN = 3
"""Boots of which the command line is asked too: it takes a second each."""

API_PATHS = (
    "/api/v1/boots", "/api/v1/nodes", "/api/v1/nodes/canary", "/api/v1/leases", "/api/v1/pools",
    "/api/v1/clusters", "/api/v1/images", "/api/openapi.json", "/metrics", "/healthz", "/readyz", "/",
)  # fmt: skip
OWN_SECRETS = ("secret", "admin.token")
"""Files of data_dir that are there to hold a secret."""


class Tokens:
    """Collects the secret halves of the bootstrap tokens while they live at the API stand-in."""

    def __init__(self, site: Site) -> None:
        self.secrets: set[str] = set()
        self._site = site
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(0.2):
            for secret in self._site.kube.control("objects", resource="secrets"):
                coded = (secret.get("data") or {}).get("token-secret")
                if coded:
                    self.secrets.add(base64.b64decode(coded).decode())

    def close(self) -> None:
        """Stop collecting."""
        self._end.set()
        self._thread.join(10)


def known_secrets(site: Site, planted: dict[str, str], tokens: Tokens) -> dict[str, str]:
    """What must be found nowhere, by the name of each."""
    return {
        "password hash": planted["root_password_hash"],
        "secret file": planted["file"],
        "the appliance's bearer": bearer_of(site.kube.directory / "appliance.kubeconfig"),
        "admin token": site.appliance.token(),
        "the cluster's authority": middle_of(site.kube.directory / "ca.key"),
        "a private key": "PRIVATE KEY-----",
        **{f"bootstrap token {n}": secret for n, secret in enumerate(tokens.secrets)},
    }


def bearer_of(kubeconfig: Path) -> str:
    """The token that the appliance shows to the API."""
    found = re.search(r"token\"?: \"?([^\"\s,]+)", kubeconfig.read_text())
    assert found
    return found[1]


@contextmanager
def recorded(site: Site, path: Path) -> Iterator[None]:
    """Everything that goes over the bridge."""
    command = ["tcpdump", "-i", "br0", "-s", "0", "-U", "-w", str(path), "-Z", "root"]
    process = site.lab.start(command, stdout=subprocess.DEVNULL)
    try:
        wait_until("the recording", path.exists, 20)
        yield
    finally:
        process.terminate()
        process.wait(20)


def middle_of(key: Path) -> str:
    """A line out of the middle of a private key in PEM."""
    return key.read_text().splitlines()[2]


def places(site: Site) -> dict[str, bytes]:
    """Everything that tells operators something, and everything that is kept."""
    found = {f"GET {path}": site.appliance.request("GET", path)[1].encode() for path in API_PATHS}
    found["GET events"] = site.appliance.request(
        "GET", "/api/v1/events", headers={"Accept": "application/json"}
    )[1].encode()
    for number, boot in enumerate(site.appliance.boots()):
        found[f"boot {boot['id']}"] = json.dumps(site.appliance.get(f"/api/v1/boots/{boot['id']}")).encode()
        if number < SHOWN:
            found[f"netboot boot show {boot['id']}"] = site.appliance.netboot(
                "boot", "show", boot["id"]
            ).encode()
    found["netboot explain"] = site.appliance.netboot("explain", mac_of("canary")).encode()
    found["log"] = site.appliance.log().encode()
    for pid in site.lab.pids():
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                found[f"/proc/{pid}/{name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    for path in site.appliance.data_dir.rglob("*"):
        if path.is_file() and path.name not in OWN_SECRETS:
            found[f"data_dir/{path.name}"] = path.read_bytes()
    return found


def find(texts: dict[str, bytes], secrets: dict[str, str]) -> list[str]:
    """Which secret stands where."""
    return [
        f"{name} stands in {where}"
        for where, text in texts.items()
        for name, secret in secrets.items()
        if secret.encode() in text or base64.b64encode(secret.encode()).rstrip(b"=") in text
    ]
