"""Names whose content only control knows: what was asked of it, and what it has not answered yet."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from netboot.proc.helper import Line
from netboot.proc.messages import Message
from netboot.tftp.ports import Peer
from netboot.tftp.wire import Request

ANSWER_TIME: Final = 5.0
"""Seconds that control may take; later the client's own repetition asks anew."""
_MAX_PENDING: Final = 256
_MAX_ASKS: Final = 250  # of control, per tick: a flood of requests must not keep it busy


@dataclass(frozen=True, slots=True)
class Question:
    """A per-machine name that control is asked for."""

    listener: socket.socket
    request: Request
    name: str
    peer: Peer
    deadline: float


class Questions:
    """What control was asked and has not answered."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._open: dict[int, Question] = {}
        self._number = 0
        self._asked = 0  # since the last tick

    def __bool__(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._open)

    def waits(self, request: Request, peer: Peer) -> bool:
        """Whether this very request waits for its answer."""
        return any(q.peer == peer and q.request == request for q in self._open.values())

    def ask(self, listener: socket.socket, request: Request, name: str, peer: Peer, now: float) -> bool:
        """Ask control; over a limit nothing is asked, for clients repeat. False where control is away."""
        self._asked += 1
        if len(self._open) >= _MAX_PENDING or self._asked > _MAX_ASKS:
            return True
        self._number += 1
        if not self._line.tell("ask", {"id": self._number, "name": name, "client": peer[0]}):
            return False
        self._open[self._number] = Question(listener, request, name, peer, now + ANSWER_TIME)
        return True

    def answered(self, message: Message) -> Question | None:
        """The question of an answer; None where it came too late, or its listener is closed."""
        asked = self._open.pop(message.number("id"), None)
        return asked if asked is not None and asked.listener.fileno() >= 0 else None

    def tick(self, now: float) -> None:
        """Forget what control has not answered in time; from here on it may be asked anew."""
        self._asked = 0
        for number in [number for number, asked in self._open.items() if asked.deadline <= now]:
            del self._open[number]

    def clear(self) -> None:
        """Nobody waits any more."""
        self._open.clear()
