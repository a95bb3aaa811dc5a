"""Who the API answers: Host names of ours, tokens that we know; everybody else learns nothing."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from netboot.errors import StartError
from netboot.model.access import ApiToken, Role
from netboot.web.api import ensure_admin_token, guard
from netboot.web.api.guard import GUEST, STRANGERS, WRONG_TOKENS, known, token_sha256
from tests.web.api.world import OPERATOR, TOKEN, VIEWER, World, client_of, items

CLOSED = (
    "/api/v1/boots", "/api/v1/boots/b1", "/api/v1/nodes", "/api/v1/nodes/n1", "/api/v1/leases",
    "/api/v1/pools", "/api/v1/clusters", "/api/v1/images", "/api/v1/events", "/api/openapi.json", "/metrics",
    "/nowhere",
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    return World(tmp_path)


@pytest.mark.parametrize("path", CLOSED)
async def test_nothing_is_told_without_a_token(world: World, path: str) -> None:
    """On loopback either: 401 with the remedy, for what exists and for what does not."""
    await world.machines_boot()
    async with client_of(world, token=None) as client:
        answer = await client.get(path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        body = await answer.json()
        assert "admin.token" in body["remedy"] and "n1" not in body["reason"]


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
     f"Bearer {token_sha256(TOKEN)}"],
)  # fmt: skip
async def test_only_the_whole_token_opens(world: World, header: str) -> None:
    """As a bearer, complete; its hash is no token."""
    async with client_of(world, token=None) as client:
        answer = await client.get("/api/v1/boots", headers={"Authorization": header})
        assert answer.status == 401
    assert world.journal.counters["api_unauthorized"] == 1


async def test_every_known_token_opens(world: World) -> None:
    """Any of several, with the scheme in any case."""
    async with client_of(world, token=None) as client:
        for header in (f"Bearer {TOKEN}", f"bearer {TOKEN}", "Bearer " + "x" * 40):
            answer = await client.get("/api/v1/boots", headers={"Authorization": header})
            assert answer.status == 200


def test_a_token_is_compared_with_every_known_one() -> None:
    """The first match does not end the comparison, and none is known where there are none."""
    asked = []

    class Known(list[ApiToken]):
        def __iter__(self) -> Iterator[ApiToken]:
            for name in "ab":
                asked.append(name)
                yield ApiToken(name, Role.VIEWER, token_sha256(name))

    found = known("a", Known())
    assert found is not None and found.name == "a" and asked == ["a", "b"]
    assert known("a", ()) is None
    assert known("", [ApiToken("nobody", Role.ADMIN, token_sha256(""))]) is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.5", "[::2]:8443", ""])
@pytest.mark.parametrize("path", ["/api/v1/boots", "/", "/healthz"])
async def test_a_foreign_host_gets_421(world: World, host: str, path: str) -> None:
    """With the right token too, and on the page: a rebound name must not reach us through a browser."""
    async with client_of(world) as client:
        answer = await client.get(path, headers={"Host": host})
        assert answer.status == 421
        assert "server.api.names" in (await answer.json())["remedy"]
    assert world.journal.counters["api_foreign_host"] == 1


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8443", "localhost:9000", "LOCALHOST", "[::1]:8443", "netboot.example.org",
     "netboot.example.org.", "localhost.:8443"],
)  # fmt: skip
async def test_our_own_names_are_answered(world: World, host: str) -> None:
    """With any port: a tunnel has its own."""
    async with client_of(world) as client:
        answer = await client.get("/api/v1/boots", headers={"Host": host})
        assert answer.status == 200


async def test_the_address_of_the_connection_is_ours(world: World) -> None:
    """Where the listener is bound to every address."""
    async with client_of(world, listen="0.0.0.0", names=()) as client:
        assert (await client.get("/api/v1/boots")).status == 200
        assert (await client.get("/api/v1/boots", headers={"Host": "10.9.9.9"})).status == 421


async def test_health_words_need_no_token_and_tell_nothing(world: World) -> None:
    """healthz: we answer; readyz: machines are answered."""
    async with client_of(world, token=None) as client:
        for path, text in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
            answer = await client.get(path)
            assert (answer.status, await answer.text()) == (200, text)
        world.ready = False
        answer = await client.get("/readyz")
        assert (answer.status, await answer.text()) == (503, "not ready\n")


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/favicon.svg", "/healthz", "/readyz"])
async def test_every_answer_is_guarded_by_its_headers(world: World, path: str) -> None:
    """No script but ours, no frame, no cache, no guessing of types, no version of the server."""
    async with client_of(world, token=None) as client:
        headers = (await client.get(path)).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "netboot"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(world: World, method: str) -> None:
    """405 as JSON, naming what is allowed."""
    async with client_of(world) as client:
        answer = await client.request(method, "/api/v1/boots")
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"] and "GET" in (await answer.json())["remedy"]


async def test_an_error_of_our_own_tells_a_stranger_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """500 without the exception's text; the log has it."""

    def fails() -> None:
        raise RuntimeError("inner detail")

    async with client_of(world, inventory=fails) as client:
        answer = await client.get("/api/v1/nodes")
        assert answer.status == 500
        assert "inner detail" not in await answer.text()
    assert "inner detail" in caplog.text


# The token's file


def test_the_first_start_makes_the_token(tmp_path: Path) -> None:
    """Mode 0600, random, kept by later starts; only its hash is handed out."""
    path = tmp_path / "admin.token"
    digest = ensure_admin_token(path)
    token = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 40 and digest == token_sha256(token)
    assert ensure_admin_token(path) == digest
    assert ensure_admin_token(tmp_path / "other.token") != digest


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With the command that mends it."""
    path = tmp_path / "admin.token"
    ensure_admin_token(path)
    path.chmod(0o640)
    with pytest.raises(StartError, match="chmod 600"):
        ensure_admin_token(path)


@pytest.mark.parametrize("content", ["", "short\n", "\xff\xfe"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    """An empty token must open nothing."""
    path = tmp_path / "admin.token"
    path.write_bytes(content.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(StartError):
        ensure_admin_token(path)


def test_a_data_dir_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """StartError, for exit status 2."""
    with pytest.raises(StartError, match="cannot be made"):
        ensure_admin_token(tmp_path / "nowhere" / "admin.token")


async def test_an_address_guesses_few_tokens(world: World) -> None:
    """Over its limit even the right one is not looked at, so that guessing tells nothing; later it is."""
    async with client_of(world, token=None) as client:

        async def tried(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.get("/api/v1/self", headers=headers)
            assert answer.status != 429 or int(answer.headers["Retry-After"]) >= 1
            return int(answer.status)

        assert {await tried(f"guess-{number}") for number in range(int(WRONG_TOKENS.count))} == {401}
        assert await tried("one-more") == await tried(VIEWER) == 429
        assert await tried(TOKEN) == 200  # 256 bits cannot be guessed, and nobody locks its holder out
        world.now += 60
        assert await tried(VIEWER) == 200


async def test_who_was_let_in_goes_on_while_a_neighbour_guesses(world: World) -> None:
    """Behind one address of many: a token that opened from there lately is looked at, and no other one."""
    async with client_of(world, token=None) as client:

        async def tried(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return (await client.get("/api/v1/self", headers=headers)).status

        async def guesses() -> None:
            while await tried("a-guess") != 429:
                pass

        assert await tried(VIEWER) == 200
        await guesses()
        assert (await tried(VIEWER), await tried(OPERATOR)) == (200, 429)
        world.now += GUEST
        await guesses()
        assert await tried(VIEWER) == 200
        world.now += GUEST + 1
        await guesses()
        assert await tried(VIEWER) == 429


async def test_two_tokens_are_none(world: World) -> None:
    """Whichever of them somebody before us has looked at."""
    async with client_of(world, token=None) as client:
        for said in ((TOKEN, "wrong"), ("wrong", TOKEN), (TOKEN, TOKEN)):
            headers = [("Authorization", f"Bearer {token}") for token in said]
            assert (await client.get("/api/v1/self", headers=headers)).status == 401


async def test_a_body_that_does_not_come_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408, and nothing stands in the audit: nothing was begun."""
    monkeypatch.setattr(guard, "BODY", 0.05)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async with client_of(world) as client:
        answer = await client.put("/api/v1/nodes/n1/assignment", data=slowly())
        assert answer.status == 408 and "did not come" in (await answer.json())["reason"]
        assert await items(client, "/api/v1/audit") == []


async def test_a_body_that_is_too_large_is_told_so(world: World) -> None:
    """413 with a remedy."""
    async with client_of(world) as client:
        answer = await client.put("/api/v1/nodes/n1/assignment", data=b"x" * 5000)
        assert answer.status == 413 and "that large" in (await answer.json())["remedy"]


async def test_what_is_not_there_names_what_lists_it(world: World) -> None:
    """With a verb that there is."""
    async with client_of(world) as client:
        for path, verb in (("leases/x", "netboot lease list"), ("holds/x", "netboot node holds")):
            answer = await client.delete(f"/api/v1/{path}")
            assert answer.status == 404 and f"`{verb}`" in (await answer.json())["remedy"]


async def test_asking_without_a_token_is_no_guess(world: World) -> None:
    """A page that was opened and a probe take nobody's tries away."""
    async with client_of(world, token=None) as client:
        for _ in range(int(WRONG_TOKENS.count) + 5):
            assert (await client.get("/api/v1/self")).status == 401


async def test_another_sites_page_can_do_nothing_with_a_browser(world: World) -> None:
    """No cookie is set or read, no preflight is allowed: what it does not have it cannot send."""
    async with client_of(world, token=None) as client:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE",
                   "Access-Control-Request-Headers": "authorization"}  # fmt: skip
        answer = await client.options("/api/v1/leases/x", headers=headers)
        assert answer.status == 401
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
        for cookie in (f"token={TOKEN}", f"Authorization=Bearer {TOKEN}"):
            answer = await client.delete("/api/v1/leases/x", headers={"Cookie": cookie})
            assert answer.status == 401 and "Set-Cookie" not in answer.headers


async def test_bytes_that_are_no_text_are_no_token(world: World) -> None:
    """401 like any other wrong one."""
    async with client_of(world, token=None) as client:
        answer = await client.get("/api/v1/self", headers={"Authorization": "Bearer \udcff\udcfe"})
        assert answer.status == 401


async def test_a_flood_without_a_token_is_not_answered_for_long(world: World) -> None:
    """Neither by the page's own files nor to a foreign Host; who has a token is served meanwhile."""
    async with client_of(world, token=None) as client:
        paths = ["/healthz", "/page.js", "/api/v1/boots"]
        for number in range(int(STRANGERS.count) - 1):
            assert (await client.get(paths[number % 3])).status in (200, 401)
        assert (await client.get("/", headers={"Host": "evil.example"})).status == 421
        for headers in ({}, {"Host": "evil.example"}):
            answer = await client.get("/", headers=headers)
            assert answer.status == 429 and answer.headers["Connection"] == "close"
        answer = await client.get("/api/v1/self", headers={"Authorization": f"Bearer {VIEWER}"})
        assert answer.status == 200
        world.now += 1
        assert (await client.get("/")).status == 200
