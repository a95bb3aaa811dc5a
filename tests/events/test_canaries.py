"""Secrets planted in everything that machines and errors say are found nowhere afterwards."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from netboot.boot.key import boot_key, session_secret
from netboot.events import LogFormatter
from netboot.model.boot import STEPS, TokenRecord
from netboot.store.sqlite import SqliteStore
from tests.web.api.world import HASH, ONE, SECRET_FILE, World, client_of

SECRET = bytes(range(32))
TOKEN = "c4nary.0123456789canary"
KEY = boot_key(SECRET, "b1")
SESSION = session_secret(SECRET, "6b010afbc360c97e", "ab" * 32)


def private_key() -> str:
    """A private key in PEM, as a node's or a server's TLS key stands in a file."""
    key = rsa.generate_private_key(65537, 2048)
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


PEM = private_key()
CANARIES = {
    "join token": TOKEN.partition(".")[2],
    "boot key": KEY,
    "session": SESSION.partition(".")[2],
    "password hash": HASH[20:],
    "private key": PEM.splitlines()[5],
    "secret file": SECRET_FILE,
}
SAYINGS = (
    f"kubeadm join 10.0.0.9:6443 --token {TOKEN} --discovery-token-ca-cert-hash sha256:{'ab' * 32}",
    f"error: token {TOKEN} is invalid",
    f'apiVersion: v1\ndiscovery: {{bootstrapToken: {{token: "{TOKEN}"}}}}\ntlsBootstrapToken: {TOKEN}',
    f"GET http://10.0.0.1/boot/{KEY}/seed.cpio failed",
    f'{{"key": "{KEY}", "session": "{SESSION}"}}',
    f"curl -H 'Authorization: Bearer {SESSION}'",
    f"session {SESSION} is dead",
    f"usermod -p '{HASH}' root",
    f"cannot parse {PEM}",
    *PEM.splitlines(),
)
"""What a node, an agent or an exception may say with a secret in it."""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, as the daemon's formatter writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def say_everything(world: World) -> None:
    """Put each saying wherever text gets in."""
    for number, saying in enumerate(SAYINGS):
        boot = world.boots.discovered(ONE, node="n1", cluster="blue", now=world.now)
        world.boots.step(boot.id, STEPS[1 + number % 14], detail=saying)
        world.journal.note("node_log", saying, mac=ONE, said=saying)
        world.journal.refused("boot_refused", saying, source=saying)
        logging.getLogger("any.library").error("failed: %s", saying)
        try:
            raise ValueError(saying)
        except ValueError:
            logging.getLogger("netboot").exception("what failed")
        world.boots.stop(boot.id, "join", saying)


async def test_planted_secrets_are_found_nowhere(tmp_path: Path, log: io.StringIO) -> None:
    """In no log line, no event, no API answer, no stream and no byte of the database."""
    store = await SqliteStore.open(tmp_path / "netboot.db")
    world = World(tmp_path / "images", store)
    stream = world.journal.subscribe()
    say_everything(world)
    await store.record_token(TokenRecord("c4nary", "b1", "blue", "cd" * 32, world.now))
    await world.boots.flush()
    found = {"log": log.getvalue(), "events": repr(world.journal.events(limit=10_000))}
    found["stream"] = "".join(repr(stream.get_nowait()) for _ in range(stream.qsize()))
    found |= await answers(world)
    found |= {file.name: file.read_bytes().decode("latin-1") for file in tmp_path.glob("netboot.db*")}
    await store.close()
    found["closed database"] = (tmp_path / "netboot.db").read_bytes().decode("latin-1")
    for name, canary in CANARIES.items():
        for where, text in found.items():
            assert canary not in text, f"the {name} stands in {where}"
    assert "c4nary.<redacted>" in found["log"], "the token's id should be told"
    assert f"/boot/{KEY[:6]}.../seed.cpio" in found["log"], "the key should be shortened"
    assert "c4nary" in found["netboot.db-wal"] + found["closed database"]


async def answers(world: World) -> dict[str, str]:
    """What the API says on every path."""
    told = {}
    async with client_of(world) as client:
        client.session.headers["Accept"] = "application/json"
        paths = (await (await client.get("/api/openapi.json")).json())["paths"]
        for path in paths:
            for name in ("b1", "n1"):
                asked = re.sub(r"{\w+}", name, path)
                told[asked] = await (await client.get(asked)).text()
    return told
