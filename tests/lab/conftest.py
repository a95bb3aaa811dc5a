"""The sites that the tests of this folder share: one per test process, each in a namespace of its own."""

from __future__ import annotations

import secrets
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import images
from tests.lab.canaries import Tokens, find, known_secrets, places
from tests.lab.site import Site, micro_config, running_site, scratch

WIDE_BYTES = 48 << 20


@pytest.fixture(scope="session")
def canaries() -> dict[str, str]:
    """Secrets of this run that must never be seen where they do not belong."""
    letters = string.ascii_letters + string.digits
    salt, digest = ("".join(secrets.choice(letters) for _ in range(n)) for n in (16, 86))
    return {"root_password_hash": f"$6${salt}${digest}", "file": f"canary-{secrets.token_hex(16)}"}


@pytest.fixture(scope="session")
def site(canaries: dict[str, str]) -> Iterator[Site]:
    """The micro site, up and ready; shared by all tests of this process."""
    with scratch() as directory:
        store = directory / "images"
        micro = images.build(store, micro=True)
        images.widen(micro, store, "micro-wide", WIDE_BYTES)
        with running_site(directory, lambda d, k: micro_config(d, k, canaries)) as made:
            yield made


@pytest.fixture(scope="module")
def key() -> Iterator[Path]:
    """The private half of an ssh key that the full image lets in."""
    with scratch() as directory:
        path = directory / "id"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        yield path


@pytest.fixture(scope="session", autouse=True)
def tokens(request: pytest.FixtureRequest) -> Iterator[Tokens | None]:
    """The bootstrap tokens of the whole run; at its end no secret stands where it does not belong."""
    if not any("site" in item.fixturenames for item in request.session.items):
        yield None
        return
    site: Site = request.getfixturevalue("site")
    planted: dict[str, str] = request.getfixturevalue("canaries")
    collected = Tokens(site)
    yield collected
    collected.close()
    assert not site.appliance.late_imports(), "imported after root was dropped"
    seen = {"consoles": "\n".join(site.consoles).encode(), **places(site)}
    leaks = find(seen, known_secrets(site, planted, collected))
    assert not leaks, "after the whole run: " + "; ".join(leaks)
