"""The daemon that runs already: found by what it has open, and told from strangers by its sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netboot.config import holder
from netboot.store.sqlite import SqliteStore

SERVES = """
import socket, sys
lock = open(sys.argv[1], "w") if sys.argv[1] else None
tcp = socket.create_server((sys.argv[2], 0))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[2], 0))
print(tcp.getsockname()[1], udp.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def program(lock: Path | None, host: str) -> Iterator[tuple[int, int, int]]:
    """A program with a TCP and a UDP port on this address: its pid and both ports."""
    command = [sys.executable, "-c", SERVES, str(lock or ""), host]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        tcp, udp = map(int, process.stdout.readline().split())
        yield process.pid, tcp, udp
        process.communicate(timeout=10)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_daemons_ports_are_its_own_and_a_strangers_are_not(tmp_path: Path, host: str) -> None:
    """The one that has the lock of this data_dir open, on one address or on all; nobody else."""
    assert holder.daemon(tmp_path) is None
    lock = tmp_path / holder.LOCK
    with program(lock, host) as (pid, tcp, udp), program(None, host) as (_, other_tcp, other_udp):
        found = holder.daemon(tmp_path)
        assert found is not None and found.pid == pid
        assert found.has(socket.SOCK_STREAM, "127.0.0.1", tcp)
        assert found.has(socket.SOCK_DGRAM, "127.0.0.1", udp)
        assert not found.has(socket.SOCK_STREAM, "127.0.0.1", other_tcp)
        assert not found.has(socket.SOCK_DGRAM, "127.0.0.1", other_udp)
        assert found.has(socket.SOCK_STREAM, "127.0.0.2", tcp) == (host == "0.0.0.0")
    assert lock.exists() and holder.daemon(tmp_path) is None


async def test_the_lock_is_the_one_of_the_store(tmp_path: Path) -> None:
    """Its name stands here once more, for this room knows no store."""
    store = await SqliteStore.open(tmp_path / "netboot.db")
    assert (tmp_path / holder.LOCK).exists()
    await store.close()


def test_addresses_are_read_as_the_kernel_writes_them() -> None:
    """IPv4 and IPv6, each word in the machine's order."""
    assert str(holder._address("0100007F")) == "127.0.0.1"
    assert str(holder._address("00000000000000000000000001000000")) == "::1"
    assert str(holder._all("0100007F")) == "0.0.0.0"
