"""A file on a slow disk beside one in memory, in the process's own loop."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from netboot import cold
from netboot.proc import messages
from netboot.tftp import sources
from netboot.tftp.server import Server

SLOW = 0.5
"""Seconds that the disk takes for every read of the cold file."""
CONTENT = {"cold": b"cold" * 30_000, "warm": b"warm" * 150_000}
"""The cold file is read four times; the warm one has five times its blocks."""


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server in a thread; reading `cold` outside of the page cache takes `SLOW`."""
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    inode = (tmp_path / "cold").stat().st_ino
    real = os.preadv
    read: set[int] = set()

    def preadv(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if os.fstat(fd).st_ino == inode and offset not in read:
            if flags & os.RWF_NOWAIT:
                raise BlockingIOError
            time.sleep(SLOW)
            read.add(offset)
        return real(fd, buffers, offset, flags)

    for module in (sources, cold):
        monkeypatch.setattr(module.os, "preadv", preadv)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the server is no process here
    monkeypatch.setattr("signal.alarm", lambda *_: None)
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    address = listener.getsockname()
    ours, theirs = messages.pair()
    body = {"images_dir": str(tmp_path), "files_dir": str(tmp_path), "program_dirs": []}
    limits = {"max_transfers": 10, "per_client": 10, "single_port": 0}
    messages.send(ours, "configure", {**body, **limits}, fds=(os.dup(listener.fileno()),))
    listener.close()
    thread = threading.Thread(target=Server(theirs).run, daemon=True)
    thread.start()
    yield address
    ours.close()
    thread.join(10)
    theirs.close()
    assert not thread.is_alive()


def fetch(address: tuple[str, int], name: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(b"\0\1" + name.encode() + b"\0octet\0", address)
        got, expected = b"", 1
        while True:
            packet, peer = sock.recvfrom(600)
            opcode, number = struct.unpack("!HH", packet[:4])
            assert opcode == 3, packet
            if number == expected:
                got += packet[4:]
                expected += 1
            sock.sendto(struct.pack("!HH", 4, number), peer)
            if len(packet) < 516:
                return got


def test_a_slow_disk_stops_no_other_transfer(port: tuple[str, int]) -> None:
    """While the cold file waits for its disk, the warm one arrives whole; then the cold one does too."""
    ended: dict[str, float] = {}
    results: dict[str, bytes] = {}

    def one(name: str) -> None:
        results[name] = fetch(port, name)
        ended[name] = time.monotonic()

    threads = [threading.Thread(target=one, args=(name,)) for name in ("cold", "warm")]
    threads[0].start()
    time.sleep(0.1)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert results == CONTENT
    assert ended["warm"] < ended["cold"]
