"""A small control process for tests: an accept point on loopback and a real Supervisor with its helpers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from netboot.proc import Progress, Transfer, is_bulk_path
from netboot.proc.forking import start_forker
from netboot.proc.privileges import Account
from netboot.proc.supervisor import Https, Supervisor, TftpLimits
from netboot.tree import Served
from netboot.web.http1 import parse_head, response_head

ENTRIES = {
    "bulk": "netboot.web.bulk:main",
    "tftp": "netboot.tftp.server:main",
    "https": "netboot.web.https:main",
}


@dataclass
class House:
    """What the test looks at."""

    supervisor: Supervisor
    served: Served
    http: tuple[str, int] = ("127.0.0.1", 0)
    tftp: tuple[str, int] | None = None
    https: tuple[str, int] | None = None
    progress: list[Progress] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    returned: list[bytes] = field(default_factory=list)
    relayed: list[tuple[str, str]] = field(default_factory=list)
    virtual: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://{self.http[0]}:{self.http[1]}{path}"

    def pids(self, kind: str = "bulk") -> list[int]:
        return [info.pid for info in self.supervisor.processes() if info.kind == kind and info.pid]

    def ready(self, kind: str = "bulk") -> list[int]:
        return [p.pid for p in self.supervisor.processes() if p.kind == kind and p.pid and p.state == "ready"]


def make_image(images: Path, files: dict[str, bytes], name: str = "demo") -> str:
    """Lay one generation into `images` as the store has it; its id."""
    entries = {f: {"size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for f, c in files.items()}
    manifest = json.dumps({"version": 1, "name": name, "files": entries}).encode()
    generation = hashlib.sha256(manifest).hexdigest()
    folder = images / name / generation
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    (images / name / "latest").symlink_to(generation)
    return generation


def make_served(root: Path) -> Served:
    """Empty directories in the shape that is served."""
    for name in ("images", "files", "programs"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return Served(str(root / "images"), str(root / "files"), (str(root / "programs"),))


def udp_socket(address: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    return sock


@asynccontextmanager
async def house(
    served: Served,
    *,
    workers: int = 1,
    tftp: bool = False,
    limits: TftpLimits | None = None,
    own: Account | None = None,
    helper: Account | None = None,
    grace: float = 5.0,
    requests: float = 1e6,
    connections: float = math.inf,
    max_rate: float = math.inf,
    https: bytes | None = None,
) -> AsyncIterator[House]:
    """Run helpers and an accept point for the length of a test; everything ends with it."""
    sockets = [udp_socket()] if tftp else []
    secure = socket.create_server(("127.0.0.1", 0)) if https is not None else None
    kinds = ["bulk", *(["tftp"] if tftp else []), *(["https"] if https is not None else [])]
    forker = start_forker({kind: ENTRIES[kind] for kind in kinds}, own=own, helper=helper)
    supervisor = Supervisor(
        forker,
        served,
        workers=workers,
        tftp_sockets=sockets,
        tftp_limits=limits,
        grace=grace,
        requests=requests,
        connections=connections,
        max_rate=max_rate,
        https=Https((secure,), https) if secure and https else None,
    )
    made = House(supervisor, served, tftp=sockets[0].getsockname() if sockets else None)
    made.https = secure.getsockname() if secure else None
    supervisor.on_progress = made.progress.append
    supervisor.on_transfer = made.transfers.append
    supervisor.on_refused = lambda *facts: made.refused.append(facts)

    async def virtual(name: str, client: str) -> bytes | None:
        made.asked.append((name, client))
        return made.virtual.get(name)

    supervisor.virtual = virtual
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    made.http = listener.getsockname()
    supervisor.on_relay = lambda fd, client, local: _relayed(made, tasks, fd, client, local)
    supervisor.on_return = lambda fd, head, client: _returned(made, tasks, fd, head, client)
    tasks: set[asyncio.Task[None]] = set()
    running = asyncio.create_task(supervisor.run())
    accepting = asyncio.create_task(_accept(made, listener, tasks))
    try:
        async with asyncio.timeout(15):
            await supervisor.ready.wait()
        # a helper's own "ready" may overtake the forker's "started", which tells its pid
        await until(lambda: all(info.pid for info in supervisor.processes()))
        yield made
    finally:
        accepting.cancel()
        for task in list(tasks):
            task.cancel()
        supervisor.stop()
        try:
            async with asyncio.timeout(grace + 10):
                await running
        finally:
            listener.close()
            for sock in [*sockets, *([secure] if secure else [])]:
                sock.close()
            assert forker.process.poll() is not None, "the forker ends with its control"


async def _accept(made: House, listener: socket.socket, tasks: set[asyncio.Task[None]]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        sock, (address, _) = await loop.sock_accept(listener)
        _spawn(tasks, _serve(made, sock, b"", address))


def _spawn(tasks: set[asyncio.Task[None]], work) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _returned(made: House, tasks: set[asyncio.Task[None]], fd: int, head: bytes, client: str) -> None:
    made.returned.append(head)
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    _spawn(tasks, _serve(made, sock, head, client))


def _relayed(made: House, tasks: set[asyncio.Task[None]], fd: int, client: str, local: str) -> None:
    made.relayed.append((client, local))
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    _spawn(tasks, _serve(made, sock, b"", client))


async def _serve(made: House, sock: socket.socket, buffer: bytes, client: str) -> None:
    """One connection of the accept point: bulk paths are handed over, others are answered `control`."""
    loop = asyncio.get_running_loop()
    with sock:
        while True:
            while (head := parse_head(buffer)) is None:
                data = await loop.sock_recv(sock, 8192)
                if not data:
                    return
                buffer += data
            if is_bulk_path(head.path):
                boot = head.headers.get("x-boot")
                if not made.supervisor.hand_over(sock.fileno(), buffer, boot_id=boot, client=client):
                    await loop.sock_sendall(sock, response_head(503, 0, keep_alive=False))
                return
            buffer = buffer[head.size :]
            await loop.sock_sendall(sock, response_head(200, 7, keep_alive=True) + b"control")


async def until(condition, seconds: float = 10.0) -> None:
    """Wait for something that will come true; the test fails with a TimeoutError when it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process still runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def end(pid: int, number: int) -> None:
    os.kill(pid, number)
