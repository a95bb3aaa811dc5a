"""A helper's end of its channel to control: say things without ever waiting for control."""

from __future__ import annotations

import signal
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from netboot.errors import MalformedPacket
from netboot.proc import messages
from netboot.proc.forker import ORPHAN_LIMIT
from netboot.tree import Served

_BACKLOG: Final = 4096
REPORTS: Final = 50
"""Reports between two ticks; what strangers send must not keep control busy, so the rest is only counted."""
_LONGEST_TEXT: Final = 1000


class Line:
    """The channel of one helper. Nothing here blocks, and nothing fails because control is away."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._waiting: deque[tuple[str, Mapping[str, object]]] = deque(maxlen=_BACKLOG)
        self._reports = 0
        self.gone = False
        """Control has ended or does not speak our language: finish what runs, take nothing new."""

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._channel.fileno()

    def receive(self) -> messages.Message | None:
        """The next message; None when there is none now, or no control any more (`gone`)."""
        if self.gone:
            return None
        try:
            message = messages.receive(self._channel)
        except BlockingIOError:
            return None
        except (MalformedPacket, OSError):
            message = None
        self.gone = message is None
        return message

    def tell(
        self, op: str, body: Mapping[str, object], *, blob: bytes = b"", fds: Sequence[int] = ()
    ) -> bool:
        """Say it now or not at all; whether it was said."""
        if self.gone:
            return False
        try:
            messages.send(self._channel, op, body, blob=blob, fds=fds)
        except (OSError, MalformedPacket):
            return False
        return True

    def owe(self, op: str, body: Mapping[str, object]) -> None:
        """Say it now, or at the next `flush` where control is behind; bounded, the oldest falls out."""
        if self._waiting or not self.tell(op, body):
            self._waiting.append((op, body))

    def report(self, kind: str, text: str, source: str) -> None:
        """Say that something was refused; at most `REPORTS` of them until the next `flush`."""
        self._reports += 1
        if self._reports <= REPORTS:
            self.tell("refused", {"kind": kind, "text": text[:_LONGEST_TEXT], "source": source})

    def flush(self) -> None:
        """Once per tick: say what is owed, as far as control takes it."""
        if self._reports > REPORTS:
            text = f"{self._reports - REPORTS} more requests were refused in half a second"
            self.tell("refused", {"kind": "too_many_refused", "text": text, "source": ""})
        self._reports = 0
        while self._waiting and self.tell(*self._waiting[0]):
            self._waiting.popleft()


def served(message: messages.Message) -> Served:
    """The directories in control's `configure`; raises MalformedPacket."""
    programs = message.items("program_dirs", limit=16)
    return Served(
        message.text("images_dir"),
        message.optional_text("files_dir"),
        tuple(path for path in programs if isinstance(path, str)),
    )


def last_resort() -> None:
    """End this process even if it hangs while it finishes its work: SIGALRM after the orphan limit."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(ORPHAN_LIMIT) + 30)
