"""A transfer as a state machine: no socket, no clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netboot.tftp import transfer
from netboot.tftp.transfer import COMPLETE, SEND_OACK, End, Negotiated, Send, Transfer, negotiate


def lockstep(size: int) -> Transfer:
    return Transfer(size, Negotiated())


def windowed(size: int, windowsize: int, blksize: int = 512) -> Transfer:
    return Transfer(size, Negotiated(blksize, windowsize, None, ()))


# --- options -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"blksize": "1468"}, (("blksize", 1468),)),
        ({"blksize": "65464"}, (("blksize", 1468),)),
        ({"blksize": "7"}, ()),
        ({"blksize": "-8"}, ()),
        ({"blksize": "1e3"}, ()),
        ({"tsize": "0"}, (("tsize", 5000),)),
        ({"timeout": "255"}, (("timeout", 255),)),
        ({"timeout": "0"}, ()),
        ({"timeout": "256"}, ()),
        ({"windowsize": "16"}, (("windowsize", 16),)),
        ({"windowsize": "65535"}, (("windowsize", 64),)),
        ({"windowsize": "0"}, ()),
        ({"multicast": ""}, ()),
        ({"blksize": "٣٣"}, ()),
        ({"windowsize": "9" * 400}, ()),
    ],
)
def test_options_are_agreed_within_their_bounds(options: dict[str, str], answer: object) -> None:
    """Too big is made smaller, out of range is left out (RFC 2347 to 2349, 7440)."""
    assert negotiate(options, size=5000).answer == answer


def test_loopback_and_jumbo_frames_carry_bigger_blocks() -> None:
    """The limit is what leaves unfragmented, at most the RFC's 65464."""
    assert negotiate({"blksize": "9000"}, size=1, max_blksize=8968).blksize == 8968
    assert negotiate({"blksize": "65464"}, size=1, max_blksize=65504).blksize == 65464


# --- lockstep ------------------------------------------------------------------------------------------


def test_a_lockstep_transfer_goes_block_by_block() -> None:
    """Each ACK brings the next block, the last one ends it."""
    machine = lockstep(1200)
    assert machine.start(0.0) == Send(1, 1)
    assert machine.ack(1, 0.01) == Send(2, 1)
    assert machine.acknowledged == 512
    assert machine.ack(2, 0.02) == Send(3, 1)
    assert machine.ack(3, 0.03) == COMPLETE
    assert machine.acknowledged == 1200


def test_an_oack_waits_for_ack_zero() -> None:
    """With options the first packet is the OACK; data follow ACK 0 (RFC 2347)."""
    machine = Transfer(10, Negotiated(512, 1, None, (("tsize", 10),)))
    assert machine.start(0.0) == SEND_OACK
    assert machine.ack(1, 0.01) is None
    assert machine.ack(0, 0.01) == Send(1, 1)
    assert machine.ack(1, 0.02) == COMPLETE


def test_repeated_and_late_acks_bring_nothing_in_lockstep() -> None:
    """The sorcerer's apprentice stays in bed (RFC 1123 4.2.3.1)."""
    machine = lockstep(5000)
    machine.start(0.0)
    assert machine.ack(1, 0.01) == Send(2, 1)
    assert machine.ack(1, 0.02) is None
    assert machine.ack(0, 0.02) is None
    assert machine.ack(40_000, 0.02) is None
    assert machine.ack(2, 0.03) == Send(3, 1)
    assert machine.ack(1, 0.04) is None


def test_block_numbers_wrap_and_the_count_goes_on() -> None:
    """70,000 blocks: numbers are 16 bits, positions are not."""
    machine = lockstep(512 * 70_000)
    action = machine.start(0.0)
    for block in range(1, 70_001):
        assert action == Send(block, 1)
        action = machine.ack(block & 0xFFFF, 0.0)
    assert action == Send(70_001, 1)
    assert machine.ack(70_001 & 0xFFFF, 0.0) == COMPLETE


# --- windows -------------------------------------------------------------------------------------------


def test_a_window_is_acknowledged_as_a_whole() -> None:
    """One ACK for its last block brings the next window; the last window is as short as the file."""
    machine = windowed(512 * 9, 4)
    assert machine.start(0.0) == Send(1, 4)
    assert machine.ack(4, 0.01) == Send(5, 4)
    assert machine.ack(8, 0.02) == Send(9, 2)
    assert machine.ack(10, 0.03) == COMPLETE


def test_an_ack_in_the_middle_of_a_window_begins_anew_behind_it() -> None:
    """The client saw a gap: the window slides to what it has (RFC 7440 section 4)."""
    machine = windowed(512 * 100, 8)
    machine.start(0.0)
    assert machine.ack(8, 0.010) == Send(9, 8)
    assert machine.ack(11, 0.025) == Send(12, 8)


def test_gaps_are_answered_once_per_round_trip() -> None:
    """Blocks that were only reordered bring an ACK each: not a window each."""
    machine = windowed(512 * 100, 8)
    machine.start(0.0)
    assert machine.ack(8, 0.010) == Send(9, 8)
    assert [machine.ack(n, 0.011 + n / 10_000) for n in (9, 10, 11, 12)] == [None] * 4
    assert machine.due == pytest.approx(0.020)
    assert machine.expire(0.020) == Send(13, 8)
    assert machine.due - 0.020 == pytest.approx(0.05)


def test_a_repeated_ack_tells_once_that_the_first_block_of_a_window_was_lost() -> None:
    """Once per progress: a flood of repeated ACKs is answered once."""
    machine = windowed(512 * 100, 8)
    machine.start(0.0)
    assert machine.ack(8, 0.010) == Send(9, 8)
    assert machine.ack(8, 0.011) is None
    assert machine.expire(machine.due) == Send(9, 8)
    assert [machine.ack(8, 0.03 + n / 10) for n in range(20)] == [None] * 20
    assert machine.ack(16, 3.0) == Send(17, 8)


# --- time ----------------------------------------------------------------------------------------------


def test_the_timer_doubles_while_nothing_moves_and_recovers_with_progress() -> None:
    """Back-off without progress only; the next progress returns to the measured round trip."""
    machine = lockstep(50_000)
    machine.start(0.0)
    machine.ack(1, 0.001)
    assert machine.due == pytest.approx(0.051)
    waits = []
    for _ in range(7):
        now = machine.due
        assert machine.expire(now) == Send(2, 1)
        waits.append(machine.due - now)
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    now = machine.due
    machine.ack(2, now)
    assert machine.due - now == pytest.approx(0.05)


def test_timeouts_count_since_the_last_progress_and_not_over_the_transfer() -> None:
    """A lossy link with a thousand timeouts, each followed by progress, does not end the transfer."""
    machine = lockstep(512 * 1000)
    machine.start(0.0)
    for block in range(1, 1000):
        now = machine.due
        assert machine.expire(now) == Send(block, 1)
        assert machine.ack(block, now + 0.01) == Send(block + 1, 1)


def test_a_silent_client_is_given_up() -> None:
    """After 20 s without progress; one that never answered after 6 s."""
    for acks, limit in ((1, transfer.SILENCE), (0, transfer.UNANSWERED)):
        machine = lockstep(5000)
        machine.start(0.0)
        if acks:
            machine.ack(1, 0.0)
        now, action = 0.0, None
        while not isinstance(action, End):
            now = machine.due
            action = machine.expire(now)
        assert limit <= now < limit + transfer.LONGEST_TIMEOUT + 0.1
        assert action.error


def test_no_transfer_lasts_for_ever() -> None:
    """A client that moves, but never gets there, is ended after an hour."""
    machine = lockstep(512 * 60_000)
    machine.start(0.0)
    now, block = 0.0, 0
    while True:
        now, block = now + 10, block + 1
        action = machine.ack(block, now)
        if isinstance(action, End):
            break
    assert action.error
    assert now == pytest.approx(transfer.MAX_TIME, abs=11)


def test_a_repeated_request_is_answered_until_the_client_has_answered() -> None:
    """Afterwards the same request means a new beginning."""
    machine = lockstep(5000)
    machine.start(0.0)
    assert machine.repeat(0.1) == Send(1, 1)
    machine.ack(1, 0.2)
    assert machine.repeat(0.3) is None


# --- any network ---------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40_000), st.sampled_from([1, 2, 4, 16, 64]), st.sampled_from([8, 512, 1468]),
    st.integers(0, 30), st.integers(),
)  # fmt: skip
def test_every_file_arrives_over_a_network_that_loses_doubles_and_reorders(
    size: int, windowsize: int, blksize: int, loss: int, seed: int
) -> None:
    """A client by the book behind a bad network gets every byte once, and the transfer ends complete."""
    dice = random.Random(seed)
    machine = windowed(size, windowsize, blksize)
    wire: list[tuple[float, str, int]] = []  # (arrival, direction, block)
    now, received, since_ack, done = 0.0, 0, 0, False

    def put(direction: str, block: int) -> None:
        for _ in range(2 if dice.random() < 0.05 else 1):
            if dice.randrange(100) >= loss:
                wire.append((now + dice.uniform(0.001, 0.02), direction, block))

    def act(action: object) -> None:
        nonlocal done
        if isinstance(action, End):
            assert action == COMPLETE, action
            done = True
        elif isinstance(action, Send):
            assert 1 <= action.first <= action.first + action.blocks - 1 <= machine.blocks
            for block in range(action.first, action.first + action.blocks):
                put("data", block)

    act(machine.start(now))
    for _ in range(400_000):
        if done:
            break
        wire.sort()
        if wire and wire[0][0] <= machine.due:
            now, direction, block = wire.pop(0)
            if direction == "ack":
                act(machine.ack(block & 0xFFFF, now))
            elif block == received + 1:
                received, since_ack = block, since_ack + 1
                if since_ack == windowsize or received == machine.blocks:
                    put("ack", received)
                    since_ack = 0
            else:
                put("ack", received)
                since_ack = 0
        else:
            now = machine.due
            action = machine.expire(now)
            if isinstance(action, End) and received == machine.blocks:
                return  # every last ACK was lost: the client has the file
            if action == transfer.WAIT:
                action = machine.repeat(now)  # a client asks again where nothing comes
            act(action)
    assert done
    assert received == machine.blocks
    assert machine.acknowledged == size


def test_a_forged_request_costs_its_victim_three_packets() -> None:
    """Before the first answer only the first packet leaves, thrice in all; a repeated request is answered."""
    for machine in (lockstep(5000), Transfer(90_000, Negotiated(1468, 64, None, (("windowsize", 64),)))):
        actions, now = [machine.start(0.0)], 0.0
        while not isinstance(actions[-1], End):
            now = machine.due
            actions.append(machine.expire(now))
        sent = [action for action in actions if isinstance(action, (Send, transfer.SendOack))]
        assert len(sent) == 3 and len(set(sent)) == 1
        assert sent[0] in (Send(1, 1), SEND_OACK)
        assert now == pytest.approx(transfer.UNANSWERED)


def test_a_client_that_creeps_is_ended() -> None:
    """One ACK just before each end of patience: a small file does not hold its place for an hour."""
    machine = lockstep(512 * 50)
    machine.start(0.0)
    now, block = 0.0, 0
    while not isinstance(machine.ack(block, now), End):
        now, block = now + 19, block + 1
    assert now < transfer.PATIENCE + transfer.PACE * 51 + 20


def test_the_short_way_says_what_the_long_way_says() -> None:
    """Two transfers, one asked by `advance` first: the same blocks leave at the same times."""
    for windowsize in (1, 4):
        short, long = windowed(512 * 300, windowsize), windowed(512 * 300, windowsize)
        assert short.start(0.0) == long.start(0.0)
        taken, now = 0, 0.0
        for block in range(windowsize, 301, windowsize):
            now += 0.001
            first = short.advance(4 << 16 | block, now)
            taken += bool(first)
            action = Send(first, short.window) if first else short.ack(block, now)
            assert action == long.ack(block, now)
            assert short.due == pytest.approx(long.due)
        assert taken > 300 // windowsize * 0.8
