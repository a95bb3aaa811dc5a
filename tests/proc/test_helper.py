"""A helper's end of its channel: it never waits for control, and never fails because of it."""

from __future__ import annotations

import socket

import pytest

from netboot.errors import MalformedPacket
from netboot.proc import messages
from netboot.proc.helper import REPORTS, Line, served
from netboot.tree import Served


@pytest.fixture
def ends():
    control, own = messages.pair()
    with control, own:
        yield control, own


def fill(line: Line) -> int:
    """Speak until control is behind; how many words were said."""
    said = 0
    while line.tell("x", {"n": said}, blob=bytes(1000)):
        said += 1
    return said


def test_what_is_told_while_control_is_behind_falls_away_and_what_is_owed_does_not(ends) -> None:
    """Running values are only of use now; the end of a download is told later."""
    line = Line(ends[1])
    said = fill(line)
    line.owe("end", {"n": 1})
    line.owe("end", {"n": 2})
    heard = []
    while True:
        try:
            message = messages.receive(ends[0])
        except BlockingIOError:
            if len(heard) >= said + 2:
                break
            line.flush()
            continue
        assert message is not None
        heard.append((message.op, message.number("n")))
    assert heard[-2:] == [("end", 1), ("end", 2)]
    assert len(heard) == said + 2


def test_the_order_of_what_is_owed_is_kept(ends) -> None:
    """Later words do not overtake earlier ones that wait."""
    line = Line(ends[1])
    fill(line)
    line.owe("a", {"n": 1})
    while True:
        try:
            messages.receive(ends[0])
        except BlockingIOError:
            break
    line.owe("b", {"n": 2})
    line.flush()
    first, second = messages.receive(ends[0]), messages.receive(ends[0])
    assert first is not None
    assert second is not None
    assert (first.op, second.op) == ("a", "b")


def test_a_control_that_is_gone_is_noticed_and_nothing_is_raised(ends) -> None:
    """End of the channel: `gone`, and every word from then on falls away."""
    line = Line(ends[1])
    ends[0].close()
    assert line.receive() is None
    assert line.gone
    assert line.tell("x", {}) is False
    line.owe("x", {})
    line.flush()


def test_a_control_that_speaks_another_language_counts_as_gone(ends) -> None:
    """A helper takes no orders that it does not understand."""
    line = Line(ends[1])
    ends[0].send(b"garbage")
    assert line.receive() is None
    assert line.gone


def test_a_word_that_is_too_long_is_not_said(ends) -> None:
    """The line stays open."""
    line = Line(ends[1])
    assert line.tell("x", {"text": "a" * messages.MAX_MESSAGE}) is False
    assert line.tell("x", {}) is True


def test_the_directories_are_read_from_the_configuration() -> None:
    """Paths as control names them; no files_dir is possible."""
    body = {"images_dir": "/i", "files_dir": None, "program_dirs": ["/p"]}
    assert served(messages.Message("configure", body)) == Served("/i", None, ("/p",))
    with pytest.raises(MalformedPacket):
        served(messages.Message("configure", {"files_dir": "/f"}))


def test_a_channel_given_to_a_line_does_not_block() -> None:
    """Even where whoever made it had left it blocking."""
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, two:
        assert Line(two).receive() is None


def test_a_flood_of_reports_is_counted_and_told_in_one(ends) -> None:
    """Strangers decide how many requests are refused, not how much control hears of it."""
    line = Line(ends[1])
    for _ in range(REPORTS + 30):
        line.report("bad", "x" * 5000, "192.0.2.1")
    line.flush()
    heard = []
    while True:
        try:
            heard.append(messages.receive(ends[0]))
        except BlockingIOError:
            break
    assert len(heard) == REPORTS + 1
    assert heard[-1].text("text").startswith("30 more")
    assert len(heard[0].text("text")) <= 1000
