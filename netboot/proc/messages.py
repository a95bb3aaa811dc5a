"""Messages between control, the forker and the helpers: JSON, a blob and descriptors in one datagram.

One message is one datagram of a SOCK_SEQPACKET pair: four bytes (length of the JSON, network order), the
JSON object (its `op` names the message), then the blob. Descriptors travel as SCM_RIGHTS. Whoever reads
trusts nothing: a helper may have been taken over.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from netboot.errors import MalformedPacket

MAX_MESSAGE: Final = 96 * 1024
"""Bytes of one message; the kernel's default socket buffer (208 KiB) holds it with room to spare."""
MAX_DESCRIPTORS: Final = 64
_LENGTH = struct.Struct("!I")
_SCM_SPACE: Final = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was read. Its reader owns the descriptors and closes those it does not keep."""

    op: str
    body: Mapping[str, object]
    blob: bytes = b""
    fds: tuple[int, ...] = ()

    def text(self, key: str, *, limit: int = 4096) -> str:
        """A string of at most `limit` characters; raises MalformedPacket."""
        value = self.body.get(key)
        if not isinstance(value, str) or len(value) > limit:
            raise MalformedPacket(f"message {self.op}: {key} is no text of at most {limit} characters")
        return value

    def optional_text(self, key: str, *, limit: int = 4096) -> str | None:
        """A string or None (JSON null, or absent); raises MalformedPacket."""
        return None if self.body.get(key) is None else self.text(key, limit=limit)

    def number(self, key: str, *, highest: int = 2**53) -> int:
        """A whole number from 0 to `highest`; raises MalformedPacket."""
        value = self.body.get(key)
        if type(value) is not int or not 0 <= value <= highest:
            raise MalformedPacket(f"message {self.op}: {key} is no whole number from 0 to {highest}")
        return value

    def items(self, key: str, *, limit: int = 1024) -> list[object]:
        """A list of at most `limit` elements; raises MalformedPacket."""
        value = self.body.get(key)
        if not isinstance(value, list) or len(value) > limit:
            raise MalformedPacket(f"message {self.op}: {key} is no list of at most {limit}")
        return value

    def close(self) -> None:
        """Close every descriptor that came with it."""
        close_all(self.fds)


def pair() -> tuple[socket.socket, socket.socket]:
    """A channel: two ends, both non-blocking and closed on exec."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def encode(op: str, body: Mapping[str, object], blob: bytes = b"") -> bytes:
    """The datagram of a message; raises MalformedPacket when it is longer than `MAX_MESSAGE`."""
    text = json.dumps({"op": op, **body}, separators=(",", ":")).encode("ascii")
    datagram = _LENGTH.pack(len(text)) + text + blob
    if len(datagram) > MAX_MESSAGE:
        raise MalformedPacket(f"message {op}: {len(datagram)} bytes, more than {MAX_MESSAGE}")
    return datagram


def decode(datagram: bytes, fds: Sequence[int] = ()) -> Message:
    """The message in a datagram; raises MalformedPacket (the descriptors stay open then)."""
    if len(datagram) < _LENGTH.size:
        raise MalformedPacket("a message shorter than its length")
    (length,) = _LENGTH.unpack_from(datagram)
    text = datagram[_LENGTH.size : _LENGTH.size + length]
    if len(text) != length:
        raise MalformedPacket("a message cut short")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedPacket(f"a message that is no JSON: {error}") from None
    op = body.get("op") if isinstance(body, dict) else None
    if not isinstance(op, str):
        raise MalformedPacket("a message without op")
    return Message(op, body, datagram[_LENGTH.size + length :], tuple(fds))


def send(
    channel: socket.socket,
    op: str,
    body: Mapping[str, object] | None = None,
    *,
    blob: bytes = b"",
    fds: Sequence[int] = (),
) -> None:
    """Send one message whole; the caller keeps its own descriptors.

    Raises BlockingIOError (the reader is behind: nothing was sent), OSError (nobody reads any more) and
    MalformedPacket (too long).
    """
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([encode(op, body or {}, blob)], ancillary, socket.MSG_NOSIGNAL)


def receive(channel: socket.socket) -> Message | None:
    """Read one message, None at the end of the channel.

    Raises BlockingIOError, OSError, and MalformedPacket (its descriptors are closed).
    """
    datagram, ancillary, flags, _ = channel.recvmsg(MAX_MESSAGE, _SCM_SPACE, socket.MSG_CMSG_CLOEXEC)
    fds = _descriptors(ancillary)
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise MalformedPacket("a message longer than the limit, or with too many descriptors")
        if not datagram and not fds:
            return None
        return decode(datagram, fds)
    except MalformedPacket:
        close_all(fds)
        raise


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)
