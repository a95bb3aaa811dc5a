"""Tokens and certificate: read at the start, and again when they change; bad ones leave the old in force."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from netboot.config import Api
from netboot.config.tls import Certificate
from netboot.errors import ConfigError, StartError
from netboot.events import Journal
from netboot.web.api import Access, application
from netboot.web.api.guard import token_sha256
from tests.support.certificates import Authority, authority
from tests.web.api.world import TOKEN, World

ONE = f"- {{name: anna, role: operator, sha256: '{token_sha256('a' * 40)}'}}\n"
TWO = f"- {{name: bert, role: viewer, sha256: '{token_sha256('b' * 40)}'}}\n"


@pytest.fixture
def journal() -> Journal:
    """An empty one."""
    return Journal(lambda: 0.0)


def names(access: Access) -> list[str]:
    """Whose tokens are in force."""
    return [token.name for token in access.tokens()]


async def settled(access: Access) -> None:
    """Look twice: what a first look finds changed may still be written."""
    await access.look()
    await access.look()


async def test_changed_tokens_are_taken_and_bad_ones_leave_the_old(tmp_path: Path, journal: Journal) -> None:
    """Each change is told; a file that is gone or wrong takes nobody's token away, and opens to nobody."""
    file = tmp_path / "tokens.yaml"
    file.write_text(ONE)
    file.chmod(0o640)
    access = Access(Api(tokens_file=file), tmp_path, journal)
    assert names(access) == ["admin.token", "anna"]
    file.write_text(ONE + TWO)
    await settled(access)
    assert names(access) == ["admin.token", "anna", "bert"]
    file.write_text(TWO + TWO)
    await settled(access)
    assert names(access) == ["admin.token", "anna", "bert"]
    file.unlink()
    await settled(access)
    await settled(access)
    assert names(access) == ["admin.token", "anna", "bert"]
    file.write_text(TWO)
    await settled(access)
    assert names(access) == ["admin.token", "bert"]
    assert (journal.counters["api_tokens"], journal.counters["api_tokens_refused"]) == (2, 2)
    assert "line 1 too" in str(journal.events())


async def test_a_file_that_is_being_written_takes_nobodys_token(tmp_path: Path, journal: Journal) -> None:
    """An editor empties it first: only what stands there at two looks is taken; empty counts then, too."""
    file = tmp_path / "tokens.yaml"
    file.write_text(ONE)
    access = Access(Api(tokens_file=file), tmp_path, journal)
    for content in ("", TWO, "", TWO + ONE):
        file.write_text(content)
        await access.look()
        assert names(access) == ["admin.token", "anna"]
    await access.look()
    assert names(access) == ["admin.token", "bert", "anna"]
    file.write_text("")
    await settled(access)
    assert names(access) == ["admin.token"]


async def test_what_is_missing_at_the_start_ends_it(tmp_path: Path, journal: Journal) -> None:
    """With the reason, for exit status 2."""
    with pytest.raises(ConfigError, match="cannot be read"):
        Access(Api(tokens_file=tmp_path / "none"), tmp_path, journal)
    with pytest.raises(StartError, match="cannot be read"):
        Access(Api(tls=Certificate(tmp_path / "none", tmp_path / "none")), tmp_path, journal)


# HTTPS


@asynccontextmanager
async def serving(access: Access, world: World) -> AsyncIterator[int]:
    """The API on a port of the loopback, as the daemon serves it."""
    runner = web.AppRunner(application(world.sources()), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=access.context)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def ask(port: int, trusted: Authority | None, head: str, **settings: ssl.TLSVersion) -> bytes:
    """What is answered to one request, over TLS where an authority is trusted."""
    context = None
    if trusted:
        context = ssl.create_default_context(cadata=trusted.pem.decode())
        for name, value in settings.items():
            setattr(context, name, value)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode())
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def certified(tmp_path: Path, journal: Journal) -> tuple[Authority, Access]:
    """An API with a certificate, and who signed it."""
    signer = authority()
    files = signer.write(tmp_path, "127.0.0.1")
    files["key"].chmod(0o640)
    return signer, Access(Api(tls=Certificate(files["certificate"], files["key"])), tmp_path, journal)


async def test_the_api_speaks_tls_to_its_own_names_alone(tmp_path: Path, journal: Journal) -> None:
    """A token opens it; a rebound name gets 421 there too."""
    signer, access = certified(tmp_path, journal)
    async with serving(access, World(tmp_path)) as port:
        head = f"GET /api/v1/self HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nHost: "
        assert b'"role": "admin"' in await ask(port, signer, f"{head}127.0.0.1:{port}")
        assert (await ask(port, signer, f"{head}evil.example")).startswith(b"HTTP/1.1 421 ")


async def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path, journal: Journal) -> None:
    """Such clients fail in the handshake."""
    signer, access = certified(tmp_path, journal)
    assert access.context is not None and access.context.minimum_version == ssl.TLSVersion.TLSv1_2
    async with serving(access, World(tmp_path)) as port:
        assert await ask(port, signer, "GET /healthz HTTP/1.1\r\nHost: localhost",
                         maximum_version=ssl.TLSVersion.TLSv1_2)  # fmt: skip
        with pytest.warns(DeprecationWarning), pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(port, signer, "GET / HTTP/1.1", minimum_version=ssl.TLSVersion.TLSv1,
                      maximum_version=ssl.TLSVersion.TLSv1_1)  # fmt: skip


async def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path, journal: Journal) -> None:
    """From the next connection on; one that does not fit its key leaves the old one in force."""
    signer, access = certified(tmp_path, journal)
    other = authority()
    certificate, key = other.sign("127.0.0.1")
    health = "GET /healthz HTTP/1.1\r\nHost: localhost"
    async with serving(access, World(tmp_path)) as port:
        (tmp_path / "certificate.pem").write_bytes(certificate)
        await settled(access)
        assert b"200 OK" in await ask(port, signer, health)
        (tmp_path / "key.pem").write_bytes(key)
        await settled(access)
        assert b"200 OK" in await ask(port, other, health)
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, signer, health)
    assert journal.counters["api_certificate_refused"] == journal.counters["api_certificate"] == 1
    assert not journal.counters["api_certificate_doubted"]


async def test_a_renewed_certificate_that_clients_will_refuse_is_told(
    tmp_path: Path, journal: Journal
) -> None:
    """It is in force, for the operator said so; that it has expired and names nobody stands in the log."""
    signer, access = certified(tmp_path, journal)
    signer.write(tmp_path, "10.99.0.1", days=-1)
    await settled(access)
    told = [event.text for event in journal.events() if event.kind == "api_certificate_doubted"]
    assert len(told) == 2 and "does not name 127.0.0.1" in told[0] and "expired at" in told[1]
