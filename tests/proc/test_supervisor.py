"""Control and its real helper processes: hand-over, progress, death and the orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netboot.errors import NetbootError
from netboot.proc.forking import start_forker
from netboot.proc.supervisor import Supervisor
from tests.proc.house import ENTRIES, alive, house, make_image, make_served, until

HEAD = "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n"


@pytest.fixture
async def connect():
    """Connections that end with the test."""
    writers = []

    async def open_one(*address, **options):
        reader, writer = await asyncio.open_connection(*address, **options)
        writers.append(writer)
        return reader, writer

    yield open_one
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)


async def ask(reader, writer, path: str, extra: str = "") -> tuple[str, dict[str, str], bytes]:
    writer.write(HEAD.format(path, extra).encode())
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    status, *lines = head.strip().split("\r\n")
    fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    return status, fields, await asyncio.wait_for(reader.readexactly(int(fields["content-length"])), 20)


async def test_a_connection_goes_to_a_worker_and_comes_back_for_a_path_of_control(
    tmp_path: Path, connect
) -> None:
    """One kept-alive connection asks control, a worker, control and a worker again."""
    served = make_served(tmp_path)
    (tmp_path / "files" / "a").write_bytes(b"bulk")
    async with house(served) as made:
        reader, writer = await connect(*made.http)
        assert (await ask(reader, writer, "/boot.ipxe"))[2] == b"control"
        assert (await ask(reader, writer, "/files/a"))[2] == b"bulk"
        assert (await ask(reader, writer, "/files/a"))[2] == b"bulk"
        assert (await ask(reader, writer, "/boot.ipxe"))[2] == b"control"
        assert (await ask(reader, writer, "/files/a"))[2] == b"bulk"
        assert len(made.returned) == 1
        assert made.returned[0].startswith(b"GET /boot.ipxe ")
        writer.close()
        await until(lambda: made.supervisor.downloads() == 0)


async def test_pipelined_requests_reach_whom_they_belong_to(tmp_path: Path, connect) -> None:
    """Bytes that a client sends ahead travel with the socket, in both directions."""
    served = make_served(tmp_path)
    (tmp_path / "files" / "a").write_bytes(b"bulk")
    async with house(served) as made:
        reader, writer = await connect(*made.http)
        paths = ["/x", "/files/a", "/files/a", "/y", "/files/a"] * 20
        writer.write("".join(HEAD.format(path, "") for path in paths).encode())
        bodies = []
        for _ in paths:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            bodies.append(await reader.readexactly(length))
        assert bodies == [b"bulk" if path == "/files/a" else b"control" for path in paths]


async def test_progress_rises_each_second_and_ends_at_the_exact_size(tmp_path: Path, connect) -> None:
    """A download read slowly is reported with rising values under its boot, and once done."""
    served = make_served(tmp_path)
    content = os.urandom(24 << 20)
    generation = make_image(tmp_path / "images", {"root.squashfs": content})
    path = f"/images/demo/{generation}/root.squashfs"
    async with house(served) as made:
        reader, writer = await connect(*made.http, limit=1 << 16)
        writer.write(HEAD.format(path, "X-Boot: b1\r\n").encode())
        await reader.readuntil(b"\r\n\r\n")
        got = 0
        while got < len(content):
            got += len(await reader.read(1 << 20))
            await asyncio.sleep(0.05)
        await until(lambda: any(p.done for p in made.progress))
        values = [p.sent for p in made.progress]
        assert values == sorted(values)
        assert len(set(values)) >= 3
        assert values[-1] == len(content) == made.progress[-1].of
        assert {(p.boot_id, p.path, p.client) for p in made.progress} == {("b1", path, "127.0.0.1")}
        assert [p.done for p in made.progress].count(True) == 1


async def test_a_broken_download_is_done_below_its_size_and_a_resumed_one_counts_from_its_offset(
    tmp_path: Path, connect
) -> None:
    """Progress names the highest byte of the file, so a resumed Range is not counted twice."""
    served = make_served(tmp_path)
    (tmp_path / "files" / "big").write_bytes(bytes(32 << 20))
    async with house(served) as made:
        reader, writer = await connect(*made.http)
        writer.write(HEAD.format("/files/big", "").encode())
        await reader.readexactly(1 << 20)
        writer.transport.abort()
        await until(lambda: any(p.done for p in made.progress))
        assert made.progress[-1].done
        assert made.progress[-1].sent < 32 << 20
        made.progress.clear()
        reader, writer = await connect(*made.http)
        first = 30 << 20
        status, _, body = await ask(reader, writer, "/files/big", f"Range: bytes={first}-\r\n")
        assert status == "HTTP/1.1 206 Partial Content"
        assert len(body) == 2 << 20
        await until(lambda: any(p.done for p in made.progress))
        assert all(first <= p.sent <= 32 << 20 for p in made.progress)
        assert made.progress[-1].sent == 32 << 20


async def test_the_least_loaded_worker_gets_the_next_connection(tmp_path: Path, connect) -> None:
    """Four connections over two workers stand two and two."""
    served = make_served(tmp_path)
    (tmp_path / "files" / "a").write_bytes(b"x")
    async with house(served, workers=2) as made:
        writers = []
        for _ in range(4):
            reader, writer = await connect(*made.http)
            await ask(reader, writer, "/files/a")
            writers.append(writer)
        assert [info.connections for info in made.supervisor.processes()] == [2, 2]
        for writer in writers:
            writer.close()
        await until(lambda: made.supervisor.downloads() == 0)


async def test_a_killed_worker_is_replaced_and_others_serve_at_once(tmp_path: Path, connect) -> None:
    """SIGKILL of a worker breaks its own connections only; the client resumes with a Range."""
    served = make_served(tmp_path)
    content = os.urandom(32 << 20)
    (tmp_path / "files" / "big").write_bytes(content)
    async with house(served, workers=2) as made:
        reader, writer = await connect(*made.http)
        writer.write(HEAD.format("/files/big", "").encode())
        await reader.readuntil(b"\r\n\r\n")
        got = await reader.readexactly(1 << 20)
        busy = next(info.pid for info in made.supervisor.processes() if info.connections)
        os.kill(busy, signal.SIGKILL)
        try:
            while more := await asyncio.wait_for(reader.read(1 << 20), 10):
                got += more
        except ConnectionResetError:
            pass
        assert len(got) < len(content)
        reader, writer = await connect(*made.http)
        _, _, rest = await ask(reader, writer, "/files/big", f"Range: bytes={len(got)}-\r\n")
        assert got + rest == content
        await until(lambda: len(made.ready()) == 2)
        assert busy not in made.pids()
        assert sum(info.restarts for info in made.supervisor.processes()) == 1


async def test_connections_are_counted_by_their_client(tmp_path: Path, connect) -> None:
    """What an address holds at all workers together is known, and forgotten when it ends or a worker dies."""
    async with house(make_served(tmp_path), workers=2) as made:
        writers = [(await connect(*made.http))[1] for _ in range(4)]
        for writer in writers:
            writer.write(b"GET /files/none HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: made.supervisor.held("127.0.0.1") == 4)
        assert made.supervisor.held("127.0.0.2") == 0
        writers[0].close()
        await until(lambda: made.supervisor.held("127.0.0.1") == 3)
        for pid in made.pids():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: made.supervisor.held("127.0.0.1") == 0)


async def test_without_any_worker_a_hand_over_is_refused(tmp_path: Path, connect) -> None:
    """No worker up: hand_over says so, and the accept point can answer 503."""
    served = make_served(tmp_path)
    async with house(served) as made:
        for pid in made.pids():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: all(info.state != "ready" for info in made.supervisor.processes()))
        assert made.supervisor.hand_over(0, b"", boot_id=None, client="x") is False
        await until(lambda: made.ready())


async def test_a_descriptor_that_is_no_socket_harms_no_worker(tmp_path: Path) -> None:
    """The worker lets it go and counts it off."""
    async with house(make_served(tmp_path)) as made:
        with (tmp_path / "plain").open("wb") as plain:
            assert made.supervisor.hand_over(plain.fileno(), b"", boot_id=None, client="x")
        await until(lambda: made.supervisor.downloads() == 0)
        assert made.supervisor.processes()[0].restarts == 0


async def test_an_orderly_end_lets_a_running_download_finish(tmp_path: Path, connect) -> None:
    """stop() drains: the bytes keep coming while the grace lasts."""
    served = make_served(tmp_path)
    content = os.urandom(32 << 20)
    (tmp_path / "files" / "big").write_bytes(content)
    async with house(served) as made:
        reader, writer = await connect(*made.http)
        writer.write(HEAD.format("/files/big", "").encode())
        await reader.readuntil(b"\r\n\r\n")
        got = await reader.readexactly(1 << 20)
        made.supervisor.stop()
        await asyncio.sleep(0.2)
        assert got + await asyncio.wait_for(reader.read(-1), 10) == content


async def test_the_loss_of_the_forker_is_an_error_of_control(tmp_path: Path, connect) -> None:
    """Control cannot make helpers without its forker, so run() raises and names the remedy."""
    forker = start_forker({"bulk": ENTRIES["bulk"]})
    supervisor = Supervisor(forker, make_served(tmp_path), workers=1, grace=2.0)
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(15):
        await supervisor.ready.wait()
    await until(lambda: supervisor.processes()[0].pid)  # a helper may be ready before its forker has told it
    (info,) = supervisor.processes()
    forker.process.kill()
    with pytest.raises(NetbootError, match="Restart netboot"):
        await asyncio.wait_for(running, 15)
    assert info.pid
    await until(lambda: not alive(info.pid))


CONTROL = """
import asyncio, sys
from pathlib import Path
from tests.proc.house import house, make_served
async def main():
    async with house(make_served(Path(sys.argv[1])), tftp=True) as made:
        print(made.http[1], made.tftp[1], *made.pids(), *made.pids("tftp"),
              made.supervisor._forker.process.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_killed_control_lets_downloads_finish_and_frees_its_ports(tmp_path: Path, connect) -> None:
    """SIGKILL of control: the running download completes, idle ones end, all helpers end, ports are free."""
    import socket

    make_served(tmp_path)
    content = os.urandom(48 << 20)
    (tmp_path / "files" / "big").write_bytes(content)
    control = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-c", CONTROL, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert control.stdout
    http, tftp, *pids = map(int, (await asyncio.to_thread(control.stdout.readline)).split())
    idle_reader, idle = await connect("127.0.0.1", http)
    await ask(idle_reader, idle, "/files/big", "Range: bytes=0-0\r\n")
    reader, writer = await connect("127.0.0.1", http)
    writer.write(HEAD.format("/files/big", "").encode())
    await reader.readuntil(b"\r\n\r\n")
    got = await reader.readexactly(1 << 20)
    control.kill()
    await asyncio.to_thread(control.wait)
    control.stdout.close()
    assert await asyncio.wait_for(idle_reader.read(), 5) == b""
    with socket.create_server(("127.0.0.1", http)):  # a new control listens at once
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            deadline = time.monotonic() + 5
            while True:
                try:
                    again.bind(("127.0.0.1", tftp))
                    break
                except OSError:
                    assert time.monotonic() < deadline, "the old TFTP process holds its port"
                    await asyncio.sleep(0.02)
        assert got + await asyncio.wait_for(reader.readexactly(len(content) - len(got)), 20) == content
    writer.close()
    idle.close()
    await until(lambda: not any(alive(pid) for pid in pids))


async def test_helpers_hold_no_listener_and_no_stranger_descriptor(tmp_path: Path, connect) -> None:
    """A worker has its channel, epoll, an eventfd and the standard three: no listener to steal from."""
    async with house(make_served(tmp_path)) as made:
        (pid,) = made.pids()
        links = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert sorted(links) == [0, 1, 2, 3, 4, 5], links
        assert links[3].startswith("socket:")
        assert links[4] == "anon_inode:[eventpoll]"
