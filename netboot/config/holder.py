"""The daemon that serves with this `data_dir` already, and which ports are its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

LOCK = "netboot.db.lock"
"""What a running daemon has open in its `data_dir`."""

_PROC = Path("/proc")
_LISTENS = "0A"  # TCP_LISTEN in /proc/net/tcp
_TABLES = {socket.SOCK_DGRAM: "udp", socket.SOCK_STREAM: "tcp"}


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon; `sockets` are those that we may see."""

    pid: int
    sockets: frozenset[str]

    def has(self, kind: socket.SocketKind, host: str, port: int) -> bool:
        """Whether what is bound to this address and port is the daemon's."""
        return not self.sockets.isdisjoint(_bound(kind, ip_address(host), port))


def daemon(data_dir: Path) -> Daemon | None:
    """Who serves with this `data_dir` now; None where nobody does, or where we may not look."""
    try:
        wanted = (data_dir / LOCK).stat()
    except OSError:
        return None
    for process in _PROC.glob("[0-9]*"):
        if process.name != str(os.getpid()) and any(
            os.path.samestat(facts, wanted) for _, facts in _descriptors(process)
        ):
            links = (link for link, _ in _descriptors(process))
            return Daemon(int(process.name), frozenset(link for link in links if link[:8] == "socket:["))
    return None


def _descriptors(process: Path) -> Iterator[tuple[str, os.stat_result]]:
    """What each descriptor of a process leads to, as far as we may see it."""
    try:
        for each in (process / "fd").iterdir():
            yield str(each.readlink()), each.stat()
    except OSError:
        return  # it ended, or is not ours to look into


def _bound(kind: socket.SocketKind, host: IPv4Address | IPv6Address, port: int) -> Iterator[str]:
    """The sockets that have this port on this address or on all."""
    for name in (_TABLES[kind], f"{_TABLES[kind]}6"):
        try:
            rows = (_PROC / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            address, _, number = fields[1].rpartition(":")
            listens = kind == socket.SOCK_DGRAM or fields[3] == _LISTENS
            if listens and int(number, 16) == port and _address(address) in (host, _all(address)):
                yield f"socket:[{fields[9]}]"


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address as /proc writes it: words of 32 bits in this machine's byte order (here: little)."""
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    return ip_address(raw)


def _all(text: str) -> IPv4Address | IPv6Address:
    return ip_address(bytes(len(text) // 2))
