"""UDP sockets on loopback."""

from __future__ import annotations

import socket


def udp() -> socket.socket:
    """A socket on a free port, which waits five seconds at most."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(5)
    return made
