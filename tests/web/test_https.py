"""The HTTPS worker: files over TLS, everything else relayed to control with the client's address."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from netboot.proc import Place
from netboot.web import https
from tests.proc.house import House, house, make_image, make_served, until
from tests.support.certificates import Authority, authority
from tests.web.test_bulk import Client

CA = authority()


def trusting(ca: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca.pem.decode())


@asynccontextmanager
async def secure(made: House, ca: Authority = CA) -> AsyncIterator[Client]:
    assert made.https is not None
    client = Client(
        *await asyncio.open_connection(*made.https, ssl=trusting(ca), server_hostname="127.0.0.1")
    )
    try:
        yield client
    finally:
        client.writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[House]:
    served = make_served(tmp_path)
    (tmp_path / "files" / "a").write_bytes(b"0123456789")
    async with house(served, https=b"".join(CA.sign("127.0.0.1"))) as running:
        yield running


async def test_files_and_controls_answers_share_one_connection(made: House) -> None:
    """A file, a range, HEAD, a 404, and between them requests that control answers."""
    async with secure(made) as client:
        assert (await client.ask("/files/a"))[2] == b"0123456789"
        assert (await client.ask("/boot.ipxe"))[2] == b"control"
        assert (await client.ask("/files/a", "Range: bytes=-3"))[::2] == (206, b"789")
        assert (await client.ask("/files/a", method="HEAD"))[1]["content-length"] == "10"
        assert (await client.ask("/files/none"))[0] == 404
        assert (await client.ask("/ipxe?mac=x"))[2] == b"control"
        assert (await client.ask("/files/a", method="DELETE"))[0] == 405
    assert set(made.relayed) == {("127.0.0.1", "127.0.0.1")}


async def test_a_client_that_trusts_another_authority_turns_away(made: House) -> None:
    """The worker goes on: others are served."""
    with pytest.raises(ssl.SSLCertVerificationError):
        async with secure(made, authority()):
            pass
    async with secure(made) as client:
        assert (await client.ask("/files/a"))[0] == 200


async def test_plain_http_and_half_handshakes_cost_others_nothing(made: House) -> None:
    """Whoever speaks no TLS is cut off, whoever waits waits alone."""
    assert made.https is not None
    reader, writer = await asyncio.open_connection(*made.https)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    silent = [await asyncio.open_connection(*made.https) for _ in range(20)]
    async with secure(made) as client:
        assert (await client.ask("/files/a"))[0] == 200
    with pytest.raises(ConnectionError):
        while await asyncio.wait_for(reader.read(100), 5):
            pass
        raise ConnectionResetError
    for _, other in [*silent, (reader, writer)]:
        other.transport.abort()
    await asyncio.sleep(0)


async def test_progress_names_the_boot_that_control_knows(made: House, tmp_path: Path) -> None:
    """A download over TLS counts like any other; a resumed one from its offset."""
    content = os.urandom(3 << 20)
    generation = make_image(tmp_path / "images", {"root.squashfs": content})
    path = f"/images/demo/{generation}/root.squashfs"

    async def place(method: str, asked: str, client: str) -> Place:
        assert (method, asked, client) == ("GET", path, "127.0.0.1")
        return Place("b1")

    made.supervisor.place = place
    async with secure(made) as client:
        assert (await client.ask(path))[2] == content
        await until(lambda: made.progress and made.progress[-1].done)
        assert (made.progress[-1].boot_id, made.progress[-1].sent) == ("b1", len(content))
        made.progress.clear()
        half = len(content) // 2
        assert (await client.ask(path, f"Range: bytes={half}-"))[2] == content[half:]
        await until(lambda: made.progress and made.progress[-1].done)
        assert all(half <= each.sent <= len(content) for each in made.progress)


async def test_a_download_waits_for_its_turn(made: House) -> None:
    """503 with control's words and Retry-After, on a connection that stays."""

    async def place(method: str, path: str, client: str) -> Place:
        return Place("b1", 7, "waiting for its turn")

    made.supervisor.place = place
    async with secure(made) as client:
        status, fields, body = await client.ask("/files/a")
        assert (status, fields["retry-after"], body) == (503, "7", b"waiting for its turn\n")
        assert (await client.ask("/boot.ipxe"))[0] == 200


async def test_a_broken_request_ends_its_connection_only(made: House) -> None:
    """400 or 431 with the reason, then the end."""
    for raw, status in ((b"GET  / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, 431)):
        async with secure(made) as client:
            client.writer.write(raw)
            assert (await client.hear())[0] == status
            assert await asyncio.wait_for(client.reader.read(), 5) == b""
    assert not any(info.restarts for info in made.supervisor.processes())


async def test_a_renewed_certificate_holds_for_new_connections(made: House) -> None:
    """Without a restart; what stands goes on."""
    other = authority()
    async with secure(made) as old:
        made.supervisor.certify(b"".join(other.sign("127.0.0.1")))

        async def renewed() -> bool:
            try:
                async with secure(made, other) as client:
                    return (await client.ask("/files/a"))[0] == 200
            except ssl.SSLCertVerificationError:
                return False

        async with asyncio.timeout(5):
            while not await renewed():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await old.ask("/files/a"))[0] == 200


async def test_a_helper_reads_its_certificate_from_the_channel_alone(made: House) -> None:
    """No file of the key is open or named in the process."""
    (pid,) = made.pids("https")
    assert not any(".pem" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))


def test_the_framing_of_our_own_answers_is_understood() -> None:
    """Length and keep-alive as `response_head` writes them."""
    assert https._framing(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n") == (
        200,
        12,
        False,
    )
    assert https._framing(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n") == (204, 0, True)
    assert https._framing(b"HTTP/1.1 100 Continue\r\n\r\n") == (100, 0, True)
