"""Questions to control: bounded, asked once for a repeated request, and forgotten in time."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from netboot.proc import messages
from netboot.proc.helper import Line
from netboot.proc.messages import Message
from netboot.tftp.questions import ANSWER_TIME, Questions
from netboot.tftp.wire import Opcode, Request

PEER = ("10.0.0.7", 2070)
REQUEST = Request(Opcode.RRQ, "grub.cfg", "octet", {})


@pytest.fixture
def ends() -> Iterator[tuple[Line, socket.socket]]:
    """The helper's line, and control's end of it."""
    ours, theirs = messages.pair()
    with ours, theirs:
        yield Line(theirs), ours


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where the request came in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def answer(number: int) -> Message:
    return Message("answer", {"id": number}, b"", ())


def test_an_answer_finds_its_question_once(ends: tuple[Line, socket.socket], listener: socket.socket) -> None:
    """By its number; a second answer, and one to nothing, are nobody's."""
    questions = Questions(ends[0])
    assert not questions and questions.ask(listener, REQUEST, "grub.cfg", PEER, 100.0)
    asked = messages.receive(ends[1])
    assert asked is not None and (asked.op, asked.text("name"), asked.text("client")) == (
        "ask", "grub.cfg", "10.0.0.7",
    )  # fmt: skip
    assert questions and questions.waits(REQUEST, PEER) and not questions.waits(REQUEST, ("10.0.0.8", 2070))
    found = questions.answered(answer(asked.number("id")))
    assert found is not None and found.peer == PEER
    assert questions.answered(answer(asked.number("id"))) is None and questions.answered(answer(99)) is None


def test_a_question_is_forgotten_in_time_or_with_its_listener(
    ends: tuple[Line, socket.socket], listener: socket.socket
) -> None:
    """The client's own repetition asks anew."""
    questions = Questions(ends[0])
    questions.ask(listener, REQUEST, "a", PEER, 100.0)
    questions.tick(100.0 + ANSWER_TIME - 0.1)
    assert questions.waits(REQUEST, PEER)
    questions.tick(100.0 + ANSWER_TIME)
    assert not questions
    questions.ask(listener, REQUEST, "a", PEER, 200.0)
    listener.close()
    assert questions.answered(answer(2)) is None


def test_a_flood_asks_control_a_bounded_number_of_times(
    ends: tuple[Line, socket.socket], listener: socket.socket
) -> None:
    """Per tick and in all; nobody is told that control is away."""
    questions, heard = Questions(ends[0]), 0
    ends[1].setblocking(False)
    for number in range(2000):
        assert questions.ask(listener, REQUEST, "a", ("10.0.0.7", number), 100.0)
        try:
            while messages.receive(ends[1]):
                heard += 1
        except BlockingIOError:
            pass
    assert heard == 250
    questions.tick(100.5)
    for number in range(20):
        assert questions.ask(listener, REQUEST, "a", ("10.0.0.7", 3000 + number), 100.5)
    assert sum(questions.waits(REQUEST, ("10.0.0.7", 3000 + number)) for number in range(20)) == 6


def test_a_control_that_is_away_is_said(ends: tuple[Line, socket.socket], listener: socket.socket) -> None:
    """The file of that name is then looked for."""
    ends[1].close()
    assert not Questions(ends[0]).ask(listener, REQUEST, "a", PEER, 100.0)
