"""Canaries: secrets planted in a whole boot, and looked for wherever they do not belong."""

from __future__ import annotations

import base64
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netboot.boot.key import boot_key
from tests.lab.namespace import wait_until
from tests.lab.site import Site, mac_of

pytestmark = pytest.mark.lab

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
        while not self._end.wait(0.05):
            for secret in self._site.kube.control("objects", resource="secrets"):
                coded = (secret.get("data") or {}).get("token-secret")
                if coded:
                    self.secrets.add(base64.b64decode(coded).decode())

    def close(self) -> None:
        """Stop collecting."""
        self._end.set()
        self._thread.join(10)


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


def test_secrets_are_found_nowhere(site: Site, canaries: dict[str, str]) -> None:
    """Token, password hash, secret file, keys and session of a boot stand in no log, answer or database."""
    wire = site.directory / "canary.pcap"
    tokens = Tokens(site)
    try:
        with recorded(site, wire), site.machine("canary") as machine:
            boot = site.wait_joined(machine, mac_of("canary"))
            script = fetch(site, f"/ipxe?mac={mac_of('canary')}")
            command_line = machine.wait_for_text(r"(?m)(?:Kernel command line|Command line): .*", 5)[0]
    finally:
        tokens.close()
    assert tokens.secrets, "no token was seen: the test would prove nothing"
    key = boot_key((site.appliance.data_dir / "secret").read_bytes(), boot["id"])
    sealed = {
        "password hash": canaries["root_password_hash"],
        "secret file": canaries["file"],
        "the appliance's bearer": bearer_of(site.kube.directory / "appliance.kubeconfig"),
        "admin token": site.appliance.token(),
        **{f"bootstrap token {n}": secret for n, secret in enumerate(tokens.secrets)},
    }
    on_the_wire = wire.read_bytes()
    session = session_of(on_the_wire, boot["id"])
    assert key.encode() in on_the_wire, "the key was not seen in its own seed: the test would prove nothing"

    wrong = find({"the wire": on_the_wire}, sealed)
    everywhere = {**sealed, "boot key": key, "session": session}
    wrong += find({"a script asked for from elsewhere": script.encode()}, everywhere)
    wrong += find({"the kernel command line": command_line.encode()}, everywhere)
    wrong += find(places(site, boot["id"]), everywhere)
    # iPXE shows each URL that it loads, so the key, burnt by then, stands on this machine's own screen
    wrong += find({"the machine's console": machine.console.encode()}, {**sealed, "session": session})
    assert not wrong, "\n".join(wrong)


def fetch(site: Site, path: str) -> str:
    """A page of the boot port, asked for from an address that no machine was leased."""
    return site.lab.run("curl", "-sS", "--max-time", "20", f"http://10.77.0.1{path}")


def bearer_of(kubeconfig: Path) -> str:
    """The token that the appliance shows to the API."""
    found = re.search(r"token\"?: \"?([^\"\s,]+)", kubeconfig.read_text())
    assert found
    return found[1]


def session_of(wire: bytes, boot_id: str) -> str:
    """The session's secret, as the machine itself sent it (the boot port is plain HTTP)."""
    found = re.search(rb"Authorization: Bearer (" + re.escape(boot_id.encode()) + rb"\.[A-Za-z0-9_-]+)", wire)
    assert found, "no session was seen: the test would prove nothing"
    return found[1].decode()


def places(site: Site, boot_id: str) -> dict[str, bytes]:
    """Everything that tells operators something, and everything that is kept."""
    found = {f"GET {path}": site.appliance.request("GET", path)[1].encode() for path in API_PATHS}
    found["GET events"] = site.appliance.request(
        "GET", "/api/v1/events", headers={"Accept": "application/json"}
    )[1].encode()
    found["boot"] = site.appliance.request("GET", f"/api/v1/boots/{boot_id}")[1].encode()
    found["netboot boot show"] = site.appliance.netboot("boot", "show", boot_id).encode()
    found["netboot explain"] = site.appliance.netboot("explain", mac_of("canary")).encode()
    found["log"] = site.appliance.log().encode()
    for pid in site.lab.pids():
        for name in ("cmdline", "environ"):
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
