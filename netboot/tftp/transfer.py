"""One TFTP transfer as a pure state machine: acknowledgements and time in, blocks to send out.

Blocks are counted from 1 without end here; on the wire their numbers wrap from 65535 to 0. A window of
blocks leaves at once and is acknowledged as a whole (RFC 7440). What is sent again is decided by progress:
a repeated ACK never causes a repeated answer in lockstep (no sorcerer's apprentice), and the timer doubles
from a measured round trip while nothing moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_WINDOW: Final = 64
SHARED_MAX_WINDOW: Final = 8
"""The same on a shared port, whose number everybody knows: a forged ACK must not bring much to its victim."""
MIN_BLKSIZE: Final = 8
MAX_BLKSIZE: Final = 65464
DEFAULT_BLKSIZE: Final = 512
ETHERNET_BLKSIZE: Final = 1468
"""The biggest block that Ethernet carries whole: 1500 bytes less IP's 20, UDP's 8 and TFTP's 4."""

FIRST_TIMEOUT: Final = 0.25
SHORTEST_TIMEOUT: Final = 0.05
LONGEST_TIMEOUT: Final = 2.0
SILENCE: Final = 20.0
"""Seconds without progress after which a client is taken for gone, and"""
UNANSWERED: Final = 6.0
"""the same for one that never answered at all (its address may be forged)."""
MAX_UNANSWERED: Final = 3
"""How often the first packet is sent at most, unless it is asked again: its address may be forged."""
_UNKNOWN_TRIP: Final = 0.02
_ACK: Final = 4 << 16  # the opcode in front of the block's number
_MEASURE_EVERY: Final = 0.05
PATIENCE: Final = 60.0
PACE: Final = 2.5
MAX_TIME: Final = 3600.0
"""Seconds that a whole transfer may take: `PATIENCE`, and `PACE` for each block, at most this."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on; `answer` are the options of our OACK, empty: none is sent."""

    blksize: int = DEFAULT_BLKSIZE
    windowsize: int = 1
    timeout: int | None = None
    answer: tuple[tuple[str, int], ...] = ()


class Send(NamedTuple):
    """Send this many `blocks` beginning with block `first` (counted from 1, not wrapped)."""

    first: int
    blocks: int


@dataclass(frozen=True, slots=True)
class SendOack:
    """Send the option acknowledgement."""


@dataclass(frozen=True, slots=True)
class End:
    """The transfer is over: complete, or the reason why not."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing now."""


Action = Send | SendOack | Wait | End
SEND_OACK: Final = SendOack()
WAIT: Final = Wait()
COMPLETE: Final = End()


def negotiate(
    options: Mapping[str, str],
    *,
    size: int,
    max_blksize: int = ETHERNET_BLKSIZE,
    max_window: int = MAX_WINDOW,
) -> Negotiated:
    """Our answer to the options of a request for a file of `size` bytes.

    Unknown options and values out of range are left out of the answer (RFC 2347), so they do not count.
    """
    answer: list[tuple[str, int]] = []
    blksize, windowsize, timeout = DEFAULT_BLKSIZE, 1, None
    for name, text in options.items():
        value = _number(text)
        if name == "blksize" and MIN_BLKSIZE <= value <= 65535:
            blksize = min(value, max_blksize, MAX_BLKSIZE)
            answer.append((name, blksize))
        elif name == "tsize" and value >= 0:
            answer.append((name, size))
        elif name == "timeout" and 1 <= value <= 255:
            timeout = value
            answer.append((name, value))
        elif name == "windowsize" and 1 <= value <= 65535:
            windowsize = min(value, max_window)
            answer.append((name, windowsize))
    return Negotiated(blksize, windowsize, timeout, tuple(answer))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else -1


class Transfer:
    """The state of one transfer. Times are seconds of one steady clock; `due` is when to call `expire`."""

    __slots__ = (
        "_acked", "_back_off", "_expected", "_first_packets", "_fresh", "_gap", "_last_progress", "_limit",
        "_longest", "_measure_at", "_oack_pending", "_repeated", "_round_trip", "_sent", "_sent_at",
        "_silence", "_started", "blocks", "due", "negotiated", "size", "window",
    )  # fmt: skip

    def __init__(self, size: int, negotiated: Negotiated) -> None:
        self.size = size
        self.negotiated = negotiated
        self.blocks = size // negotiated.blksize + 1  # the last one is short, perhaps empty
        self.due = 0.0
        self._acked = 0
        self._sent = 0
        self.window = negotiated.windowsize
        self._oack_pending = bool(negotiated.answer)
        self._round_trip: float | None = None
        self._back_off = FIRST_TIMEOUT
        self._longest = float(negotiated.timeout or LONGEST_TIMEOUT)
        self._silence = max(SILENCE, min(5.0 * (negotiated.timeout or 0), 300.0))
        self._fresh = True  # what is on its way was sent once: its round trip may be measured
        self._gap = False  # the client saw a gap, and `due` is when to answer that
        self._repeated = False  # a repeated ACK was answered since the last progress
        self._started = self._last_progress = self._sent_at = 0.0
        self._first_packets = 1
        self._limit = min(MAX_TIME, PATIENCE + PACE * self.blocks)
        self._expected = -1  # the ACK that the short way takes: for all that was sent, once, without a gap
        self._measure_at = 0.0  # until then the short way is taken, which measures no round trip

    @property
    def acknowledged(self) -> int:
        """Bytes of the file that the client has."""
        return min(self._acked * self.negotiated.blksize, self.size)

    @property
    def answered(self) -> bool:
        """The client has acknowledged something."""
        return self._last_progress > self._started or self._acked > 0

    @property
    def all_sent(self) -> bool:
        """The last block is on its way."""
        return self._sent >= self.blocks

    def start(self, now: float) -> Action:
        """The first packet: an OACK, or the first block."""
        self._started = self._last_progress = now
        return self._again(now) if self._oack_pending else self._window(now)

    def advance(self, packet: int, now: float) -> int:
        """The short way of `ack` for the four bytes of an ACK: the block that a whole window begins with.

        Nearly every ACK goes this way: all that was sent arrived at the first try, and a window is left.
        0: this one does not, ask `ack`.
        """
        if packet != self._expected or now >= self._measure_at:
            return 0
        acked, count = self._sent, self.window
        if count > self.blocks - acked:
            return 0
        self._acked = acked
        sent = self._sent = acked + count
        self._expected = _ACK | sent & 0xFFFF
        self._last_progress = self._sent_at = now
        self.due = now + self._back_off
        return acked + 1

    def ack(self, number: int, now: float) -> Action | None:
        """The client acknowledges block `number` (16 bits); None: nothing is to be sent."""
        if self._oack_pending:
            return self._begin(number, now)
        step = (number - self._acked) & 0xFFFF
        if step == 0:
            return self._repeated_ack(now)
        if step > self._sent - self._acked:
            return None  # an old one that was late, or a number that we never sent
        if now - self._started > self._limit:
            return self._too_slow()
        acked = self._acked = self._acked + step
        whole = acked == self._sent
        self._progress(now, measured=whole)
        if acked >= self.blocks:
            return COMPLETE
        return self._window(now) if whole else self._once_per_round_trip(now)

    def _too_slow(self) -> End:
        return End(f"not complete after {self._limit:.0f} s")

    def _begin(self, number: int, now: float) -> Action | None:
        """The answer to our OACK is ACK 0; anything else is none."""
        if number != 0:
            return None
        self._oack_pending = False
        self._progress(now)
        return self._window(now)

    def expire(self, now: float) -> Action:
        """Nothing came until `due`: send again more slowly, or give up."""
        silent = now - self._last_progress
        if silent >= self._silence or (not self.answered and silent >= UNANSWERED):
            return End(f"no answer for {silent:.0f} s")
        if now - self._started > self._limit:
            return self._too_slow()
        if self._gap:  # no timeout: a gap whose time has come
            return self._window(now, fresh=False)
        self._back_off = min(2 * self._back_off, self._longest)
        if not self.answered and self._first_packets >= MAX_UNANSWERED:
            self.due = self._started + UNANSWERED  # from here on only a repeated request is answered
            return WAIT
        self._first_packets += 1
        return self._again(now)

    def repeat(self, now: float) -> Action | None:
        """The same request came again: its answer was lost. None once the client has answered."""
        return None if self.answered else self._again(now)

    def _repeated_ack(self, now: float) -> Action | None:
        """In lockstep a repeated ACK means nothing. With windows it says that the first block was lost:
        answered once per progress."""
        if self.window == 1 or self._repeated or self._sent == self._acked:
            return None
        self._repeated = True
        self._expected = -1
        return self._once_per_round_trip(now)

    def _once_per_round_trip(self, now: float) -> Action | None:
        """The client saw a gap: send the window behind what it has, but not while its answer to the last
        one may still be on its way. Each of many reordered blocks would else bring a whole window."""
        earliest = self._sent_at + (_UNKNOWN_TRIP if self._round_trip is None else self._round_trip)
        if now >= earliest:
            return self._window(now, fresh=False)
        self.due = earliest
        self._gap = True
        self._expected = -1
        return None

    def _progress(self, now: float, *, measured: bool = True) -> None:
        self._last_progress = now
        self._repeated = False
        if measured and self._fresh:
            trip, known = now - self._sent_at, self._round_trip
            trip = self._round_trip = trip if known is None else 0.75 * known + 0.25 * trip
            wait = 4 * trip
            self._back_off = SHORTEST_TIMEOUT if wait < SHORTEST_TIMEOUT else min(wait, self._longest)
        elif self._round_trip is not None:
            self._back_off = min(max(SHORTEST_TIMEOUT, 4 * self._round_trip), self._longest)
        else:
            self._back_off = FIRST_TIMEOUT

    def _window(self, now: float, *, fresh: bool = True) -> Send:
        acked, count = self._acked, self.window
        if count > self.blocks - acked:
            count = self.blocks - acked
        if acked + count > self._sent:
            self._sent = acked + count
        self._sent_at = now
        self._fresh = fresh
        self._gap = False
        self._expected = _ACK | self._sent & 0xFFFF if fresh else -1
        self._measure_at = now + _MEASURE_EVERY if self._round_trip is not None else 0.0
        self.due = now + self._back_off
        return Send(acked + 1, count)

    def _again(self, now: float) -> Action:
        if self._oack_pending:
            self._fresh = now == self._started  # one that was sent again measures nothing
            self._sent_at = now
            self.due = now + self._back_off
            return SEND_OACK
        return self._window(now, fresh=False)
