"""The HTTPS worker: files over TLS, everything else relayed to control with the client's address."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from netboot.proc import Place
from netboot.web import https
from netboot.web.peers import Limits
from tests.proc.house import House, house, make_image, make_served, until
from tests.support.certificates import Authority, authority
from tests.web.front import front
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
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    assert found and not any(".pem" in name for name in found)


def test_the_framing_of_our_own_answers_is_understood() -> None:
    """Length and keep-alive as `response_head` writes them."""
    assert https._framing(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n") == (
        200,
        12,
        False,
    )
    assert https._framing(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n") == (204, 0, True)
    assert https._framing(b"HTTP/1.1 100 Continue\r\n\r\n") == (100, 0, True)


async def silent(made: House, count: int, source: str = "127.0.0.1") -> list[Client]:
    """Connections through TLS that ask nothing; those that were cut off are among them."""
    assert made.https is not None
    talking = [
        Client(
            *await asyncio.open_connection(
                *made.https, ssl=trusting(CA), server_hostname="127.0.0.1", local_addr=(source, 0)
            )
        )
        for _ in range(count)
    ]
    await asyncio.sleep(0.3)
    return talking


def standing(clients: list[Client]) -> int:
    return sum(not client.reader.at_eof() and client.reader.exception() is None for client in clients)


async def hang_up(*clients: Client) -> None:
    for client in clients:
        client.writer.transport.abort()
    await asyncio.sleep(0.05)


async def test_one_address_holds_its_share_of_connections_over_all_workers_and_both_schemes(
    tmp_path: Path,
) -> None:
    """Five are allowed: of seven over TLS five stay, HTTP has none left, and another address is served."""
    served = make_served(tmp_path)
    (tmp_path / "files" / "a").write_bytes(b"0123456789")
    pem = b"".join(CA.sign("127.0.0.1"))
    async with (
        house(served, workers=2, https=pem, connections=5) as made,
        front(made, Limits(connections=5, requests=math.inf)) as ours,
    ):
        held = await silent(made, 5)
        assert standing(held) == 5
        for _ in range(2):
            with contextlib.suppress(OSError):  # cut off in its handshake, or right after it
                held += await silent(made, 1)
        await until(lambda: standing(held) == 5)
        plain = Client(*await asyncio.open_connection(*ours.address))
        assert await asyncio.wait_for(plain.reader.read(), 5) == b""
        (other,) = await silent(made, 1, "127.0.0.2")
        assert (await other.ask("/files/a"))[2] == b"0123456789"
        assert (await other.ask("/boot.ipxe"))[2] == b"control"
        assert ours.journal.counters["http_too_many_connections"] >= 3
        await hang_up(*held, plain)
        await until(lambda: made.supervisor.held("127.0.0.1") == 0)
        (again,) = await silent(made, 1)
        assert (await again.ask("/boot.ipxe"))[2] == b"control"
        await hang_up(again, other)


async def test_half_a_handshake_counts_as_a_connection(tmp_path: Path) -> None:
    """Who begins no TLS holds his own share only, and is forgotten with his end."""
    pem = b"".join(CA.sign("127.0.0.1"))
    async with house(make_served(tmp_path), https=pem, connections=3) as made:
        assert made.https is not None
        half = [await asyncio.open_connection(*made.https) for _ in range(3)]
        await until(lambda: made.supervisor.held("127.0.0.1") == 3)
        with pytest.raises(OSError):
            await silent(made, 1)
        for _, writer in half:
            writer.transport.abort()
        await until(lambda: made.supervisor.held("127.0.0.1") == 0)
        await hang_up(*await silent(made, 1))


async def test_slow_readers_keep_neither_memory_nor_others(made: House, tmp_path: Path) -> None:
    """Forty that read nothing of a big file: a whole download passes them, a worker keeps little of each."""
    content = os.urandom(2 << 20)
    (tmp_path / "files" / "some").write_bytes(content)
    (tmp_path / "files" / "big").write_bytes(bytes(16 << 20))
    (pid,) = made.pids("https")
    async with secure(made) as client:
        assert (await client.ask("/files/some"))[2] == content
        before = resident(pid)
        lazy = await silent(made, 40)
        try:
            for each in lazy:
                each.writer.transport.pause_reading()
                each.writer.write(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.5)
            assert (await client.ask("/files/some"))[2] == content
            assert resident(pid) - before < 40 * (512 << 10)
        finally:
            await hang_up(*lazy)


async def test_memory_of_downloads_is_given_back_when_they_have_ended(made: House, tmp_path: Path) -> None:
    """Forty that left in the midst of a big file: no more than a little of what they cost is kept."""
    (tmp_path / "files" / "big").write_bytes(bytes(16 << 20))
    (pid,) = made.pids("https")
    async with secure(made) as client:
        assert (await client.ask("/files/big", "Range: bytes=0-9"))[0] == 206
    before = resident(pid)
    lazy = await silent(made, 40)
    for each in lazy:
        each.writer.transport.pause_reading()
        each.writer.write(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: resident(pid) - before > 40 * (128 << 10))
    await hang_up(*lazy)
    await until(lambda: resident(pid) - before < 40 * (96 << 10))


def resident(pid: int) -> int:
    """Octets of memory of a process."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(row.split()[1]) for row in rows if row.startswith("VmRSS"))


async def test_a_killed_worker_is_replaced_and_its_download_resumes(made: House, tmp_path: Path) -> None:
    """SIGKILL halfway: the rest comes over a new connection, from the same listener."""
    content = os.urandom(24 << 20)
    (tmp_path / "files" / "big").write_bytes(content)
    (pid,) = made.pids("https")
    got = b""
    async with secure(made) as client:
        client.writer.write(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        got += await client.reader.readexactly(1 << 20)
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            while piece := await asyncio.wait_for(client.reader.read(1 << 20), 5):
                got += piece
    assert len(got) < len(content)
    await until(lambda: made.ready("https") and made.ready("https") != [pid])
    async with secure(made) as client:
        status, _, rest = await client.ask("/files/big", f"Range: bytes={len(got)}-")
    assert (status, got + rest == content) == (206, True)
    assert [info.restarts for info in made.supervisor.processes() if info.kind == "https"] == [1]


async def test_draining_finishes_a_slow_download_and_ends_the_idle(made: House, tmp_path: Path) -> None:
    """The last byte arrives though its reader is slow; who asks nothing is let go at once."""
    content = os.urandom(6 << 20)
    (tmp_path / "files" / "big").write_bytes(content)
    async with secure(made) as client, secure(made) as idle:
        client.writer.write(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        made.supervisor.stop()
        assert await asyncio.wait_for(idle.reader.read(), 5) == b""
        got = b""
        while piece := await asyncio.wait_for(client.reader.read(256 << 10), 5):
            got += piece
            await asyncio.sleep(0.005)
        assert (len(got), got == content) == (len(content), True)


async def test_images_over_tls_share_the_bandwidth_too(tmp_path: Path) -> None:
    """2 MiB at 1 MiB/s take their time, a file that is no image does not."""
    served = make_served(tmp_path)
    content = os.urandom(2 << 20)
    generation = make_image(tmp_path / "images", {"vmlinuz": content})
    (tmp_path / "files" / "big").write_bytes(content * 16)
    pem = b"".join(CA.sign("127.0.0.1"))
    async with house(served, https=pem, max_rate=8.0 * (2 << 20)) as made:
        await asyncio.sleep(0.5)  # each of the two workers has been told its half
        async with secure(made) as one, secure(made) as two:
            image = asyncio.create_task(one.ask(f"/images/demo/{generation}/vmlinuz"))
            assert len((await two.ask("/files/big"))[2]) == 32 << 20
            assert not image.done()
            assert (await image)[2] == content
