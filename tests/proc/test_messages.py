"""Messages: whole, strict, and with descriptors that nobody loses."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.errors import MalformedPacket
from netboot.proc import messages


@pytest.fixture
def ends():
    ours, theirs = messages.pair()
    with ours, theirs:
        yield ours, theirs


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_message_arrives_with_its_blob_and_descriptors(ends) -> None:
    """What was sent is what is read; the descriptor is a new one for the same file and closed on exec."""
    read, write = os.pipe()
    messages.send(ends[0], "hello", {"n": 1}, blob=b"\0\1", fds=(write,))
    message = messages.receive(ends[1])
    assert message is not None
    assert (message.op, message.number("n"), message.blob) == ("hello", 1, b"\0\1")
    assert not os.get_inheritable(message.fds[0])
    os.write(message.fds[0], b"x")
    assert os.read(read, 1) == b"x"
    message.close()
    os.close(read)
    os.close(write)


def test_the_end_of_the_channel_is_none(ends) -> None:
    """The other side has closed: nothing more comes, and nothing is raised."""
    ends[0].close()
    assert messages.receive(ends[1]) is None


def test_a_reader_that_is_behind_blocks_nobody(ends) -> None:
    """A full channel raises BlockingIOError, and what was sent before is whole."""
    sent = 0
    with pytest.raises(BlockingIOError):
        for sent in range(10_000):
            messages.send(ends[0], "x", {"n": sent}, blob=bytes(1000))
    for n in range(sent):
        message = messages.receive(ends[1])
        assert message is not None
        assert message.number("n") == n


def test_a_message_that_is_too_long_is_not_sent(ends) -> None:
    """The limit holds at the sender too."""
    with pytest.raises(MalformedPacket):
        messages.send(ends[0], "x", blob=bytes(messages.MAX_MESSAGE))


@pytest.mark.parametrize(
    "datagram", [b"x", b"\0\0\0\x09{}", b"\0\0\0\2[]", b"\0\0\0\2{}", b'\0\0\0\x08{"op":1}']
)
def test_a_datagram_that_is_no_message_is_refused_and_its_descriptors_closed(ends, datagram: bytes) -> None:
    """Whatever is wrong with it, no descriptor stays open."""
    before = open_fds()
    socket.send_fds(ends[0], [datagram], [0, 1])
    with pytest.raises(MalformedPacket):
        messages.receive(ends[1])
    assert open_fds() == before


def test_too_many_descriptors_are_refused_and_closed(ends) -> None:
    """A control message that was cut leaves nothing behind."""
    before = open_fds()
    socket.send_fds(ends[0], [messages.encode("x", {})], [0] * 100)
    with pytest.raises(MalformedPacket):
        messages.receive(ends[1])
    assert open_fds() == before


@given(st.binary(max_size=300))
def test_decode_raises_nothing_but_our_error(datagram: bytes) -> None:
    """Arbitrary bytes: a message or MalformedPacket."""
    try:
        messages.decode(datagram)
    except MalformedPacket:
        pass


@pytest.mark.parametrize("value", [None, -1, True, "1", 2**60, 1.0])
def test_a_number_is_a_whole_number_in_its_bounds(value: object) -> None:
    """JSON has more kinds of number than a descriptor or a size."""
    with pytest.raises(MalformedPacket):
        messages.Message("x", {"n": value}).number("n")


def test_texts_and_lists_are_bounded() -> None:
    """A helper cannot make control hold much."""
    message = messages.Message("x", {"t": "a" * 11, "l": [1] * 11})
    with pytest.raises(MalformedPacket):
        message.text("t", limit=10)
    with pytest.raises(MalformedPacket):
        message.items("l", limit=10)
    assert message.optional_text("absent") is None
