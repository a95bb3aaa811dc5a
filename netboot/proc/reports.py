"""What helpers report, as values; a helper that was taken over may say anything."""

from __future__ import annotations

import signal

from netboot.errors import MalformedPacket
from netboot.proc import Progress, Transfer


def as_progress(item: object) -> Progress:
    """How far a download came. Raises MalformedPacket."""
    match item:
        case [None | str() as boot, str() as client, str() as path, int(sent), int(of), bool(done)]:
            return Progress(boot, client, path, sent, of, done)
    raise MalformedPacket("progress that is none")


def as_closed(item: object) -> tuple[str, int]:
    """A client, and how many of its connections were closed. Raises MalformedPacket."""
    match item:
        case [str() as client, int(count)] if count > 0:
            return client, count
    raise MalformedPacket("closed connections that are none")


def as_transfer(item: object) -> Transfer:
    """How far a TFTP transfer came. Raises MalformedPacket."""
    match item:
        case [str() as name, str() as client, int(sent), int(of), bool(done), None | str() as error]:
            return Transfer(name, client, sent, of, done, error)
    raise MalformedPacket("a transfer that is none")


def ending(status: int) -> str:
    """How a process ended, in words; `status` is its exit code in nine bits, a signal's number negative."""
    if not status & 0x100:
        return f"ended with status {status}"
    number = 0x200 - status
    named = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
    return f"was ended by signal {number} ({named})"
