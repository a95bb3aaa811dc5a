"""Boot storms: seats, the queue, and that nobody starves."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from netboot.boot import storm
from netboot.boot.storm import Storm, Wait

IMAGE = "/images/debian/aa/"


def a_storm(most: float = 2, rate: float = math.inf) -> Storm:
    return Storm(most, rate, random.Random(1).uniform)


def finish(it: Storm, client: str, now: float, size: int = 1000) -> None:
    it.progress(client, IMAGE + "root.squashfs", size, size, True, now)


def test_a_machine_with_a_seat_goes_on_and_the_next_one_waits() -> None:
    """Up to the number of downloads; the others are told how many come first and when to ask again."""
    it = a_storm()
    assert [it.enter(c, 0) for c in "ab"] == [None, None]
    first, second = it.enter("c", 0), it.enter("d", 0)
    assert isinstance(first, Wait) and isinstance(second, Wait)
    assert (first.before, second.before) == (0, 1)
    assert str(second) == "waiting for its turn to download, 1 machine before it"
    assert storm.SHORTEST <= first.seconds <= 1.5 * storm.LONGEST
    assert it.enter("a", 1) is None
    assert (it.downloading, it.waiting) == (2, 2)


def test_a_free_seat_waits_for_the_machine_in_front() -> None:
    """Whoever asks in between, however often, does not overtake."""
    it = a_storm(1)
    it.enter("a", 0)
    assert it.enter("b", 0) and it.enter("c", 0)
    finish(it, "a", 1)
    assert all(it.enter("c", 1 + n / 10) for n in range(10))
    assert it.enter("b", 2) is None
    assert it.enter("c", 2)


def test_a_machine_that_was_switched_off_in_the_queue_loses_its_place() -> None:
    """Its seat is not kept for ever: those behind it move up."""
    it = a_storm(1)
    it.enter("a", 0)
    wait = it.enter("b", 0)
    it.enter("c", 0)
    assert wait is not None
    finish(it, "a", 1)
    assert it.enter("c", 2)
    now = wait.seconds + storm.LATE + 1.0
    it.enter("c", now - 2)
    assert it.enter("c", now) is None


def test_a_download_that_stands_still_loses_its_seat() -> None:
    """A machine that lost power in the middle blocks its seat for some seconds only."""
    it = a_storm(1)
    it.enter("a", 0)
    it.progress("a", IMAGE + "vmlinuz", 10, 100, False, 1)
    for now in range(2, 12):
        it.progress("a", IMAGE + "vmlinuz", 10, 100, False, now)
        assert it.enter("b", now)
    assert it.enter("b", 1 + storm.BEGIN + 1) is None


def test_a_seat_is_kept_between_the_files_of_one_boot() -> None:
    """Kernel, initrd, squashfs are three downloads of one turn; the last one ends it at once."""
    it = a_storm(1)
    it.enter("a", 0)
    it.progress("a", IMAGE + "vmlinuz", 100, 100, True, 1)
    assert it.enter("b", 1 + storm.BETWEEN - 1)
    it.progress("a", IMAGE + "initrd.img", 100, 100, True, 1 + storm.BETWEEN - 1)
    it.progress("a", IMAGE + "root.squashfs", 50, 100, False, 7)
    assert it.enter("b", 8)
    finish(it, "a", 9)
    assert it.enter("b", 9) is None


def test_asking_alone_does_not_keep_a_seat() -> None:
    """A machine that fetches its script again and again, but no byte of an image, gives its seat up."""
    it = a_storm(1)
    for now in range(0, int(storm.PATIENCE + storm.BEGIN) + 1, 5):
        it.enter("loop", now)
    assert it.enter("b", storm.PATIENCE + storm.BEGIN + 1) is None


def test_no_new_machine_while_the_bandwidth_is_used_up() -> None:
    """But one at least: a limit that is lower than one machine's speed does not stop everybody."""
    it = a_storm(100, rate=8000.0)
    assert it.enter("a", 0) is None
    it.progress("a", IMAGE + "root.squashfs", 4000, 10_000, False, 1)
    assert it.enter("b", 1)
    finish(it, "a", 1.5, 10_000)
    assert it.enter("b", 1.5) is None


def test_a_machine_that_downloads_already_is_seated() -> None:
    """After a restart of the appliance running downloads count without having asked."""
    it = a_storm(1)
    it.progress("a", IMAGE + "root.squashfs", 10, 100, False, 0)
    assert it.enter("b", 1)


def test_the_queue_is_bounded(monkeypatch) -> None:
    """Invented addresses fill no memory: those over the bound wait without a place."""
    monkeypatch.setattr(storm, "MOST", 3)
    it = a_storm(1)
    assert [it.enter(str(n), 0) is None for n in range(10)] == [True] + [False] * 9
    assert it.waiting == 3


def test_a_rack_of_two_hundred_is_served_in_order_and_without_pauses() -> None:
    """Everybody who does what the answer says gets a turn; the seats are hardly ever empty."""
    it, took, seats = a_storm(20), 3.0, 20
    asks = sorted((random.Random(2).uniform(0, 5), f"m{n}") for n in range(200))
    ends: list[tuple[float, str]] = []
    entered: dict[str, float] = {}
    first_asked = {client: now for now, client in asks}
    while asks or ends:
        if ends and (not asks or ends[0][0] <= asks[0][0]):
            now, client = ends.pop(0)
            finish(it, client, now)
            continue
        now, client = asks.pop(0)
        wait = it.enter(client, now)
        assert it.downloading <= seats
        if wait is None:
            entered[client] = now
            ends = sorted([*ends, (now + took, client)])
        else:
            asks = sorted([*asks, (now + wait.seconds, client)])
    ideal = 200 / seats * took
    assert len(entered) == 200
    assert max(entered.values()) < 2 * ideal + 5
    order = sorted(entered, key=entered.__getitem__)
    drift = max(
        abs(order.index(c) - n) for n, c in enumerate(sorted(first_asked, key=first_asked.__getitem__))
    )
    assert drift <= 3 * seats


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 20), st.booleans()), max_size=60),
    st.integers(1, 3),
)
@settings(max_examples=200)
def test_there_are_never_more_machines_than_seats(events: list[tuple[str, float, bool]], most: int) -> None:
    """Whoever asks and ends in whatever order."""
    it, now = a_storm(most), 0.0
    seated: set[str] = set()
    for client, later, ends in events:
        now += later
        if ends and client in seated:
            finish(it, client, now)
        elif it.enter(client, now) is None:
            seated.add(client)
        assert it.downloading <= most
