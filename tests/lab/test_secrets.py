"""Canaries: secrets planted in a whole boot, and looked for wherever they do not belong."""

from __future__ import annotations

import re

import pytest

from netboot.boot.key import boot_key
from tests.lab.canaries import Tokens, find, known_secrets, places, recorded
from tests.lab.site import Site, mac_of

pytestmark = pytest.mark.lab


def test_secrets_are_found_nowhere(site: Site, canaries: dict[str, str], tokens: Tokens) -> None:
    """Token, password hash, secret file, keys and session of a boot stand in no log, answer or database."""
    wire = site.directory / "canary.pcap"
    with recorded(site, wire), site.machine("canary") as machine:
        boot = site.wait_joined(machine, mac_of("canary"))
        script = fetch(site, f"/ipxe?mac={mac_of('canary')}")
        command_line = machine.wait_for_text(r"(?m)(?:Kernel command line|Command line): .*", 5)[0]
    assert tokens.secrets, "no token was seen: the test would prove nothing"
    key = boot_key((site.appliance.data_dir / "secret").read_bytes(), boot["id"])
    sealed = known_secrets(site, canaries, tokens)
    on_the_wire = wire.read_bytes()
    session = session_of(on_the_wire, boot["id"])
    assert key.encode() in on_the_wire, "the key was not seen in its own seed: the test would prove nothing"

    wrong = find({"the wire": on_the_wire}, sealed)
    everywhere = {**sealed, "boot key": key, "session": session}
    wrong += find({"a script asked for from elsewhere": script.encode()}, everywhere)
    wrong += find({"the kernel command line": command_line.encode()}, everywhere)
    wrong += find(places(site), everywhere)
    # iPXE shows each URL that it loads, so the key, burnt by then, stands on this machine's own screen
    wrong += find({"the machine's console": machine.console.encode()}, {**sealed, "session": session})
    assert not wrong, "\n".join(wrong)


def fetch(site: Site, path: str) -> str:
    """A page of the boot port, asked for from an address that no machine was leased."""
    return site.lab.run("curl", "-sS", "--max-time", "20", f"http://10.77.0.1{path}")


def session_of(wire: bytes, boot_id: str) -> str:
    """The session's secret, as the machine itself sent it (the boot port is plain HTTP)."""
    found = re.search(rb"Authorization: Bearer (" + re.escape(boot_id.encode()) + rb"\.[A-Za-z0-9_-]+)", wire)
    assert found, "no session was seen: the test would prove nothing"
    return found[1].decode()
