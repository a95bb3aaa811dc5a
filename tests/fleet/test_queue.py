"""Whose turn it is: by priority, then by time, so many a second, and nobody waits for a dead machine."""

from __future__ import annotations

from netboot.fleet.queue import GRACE, LONGEST, JoinQueue
from netboot.model.manners import Rate

SLOW = Rate(1, 1.0)


def turns(queue: JoinQueue, asking: dict[str, int], now: float, until: float) -> list[tuple[str, float]]:
    """Who has a turn and when, if everybody asks again just when told."""
    due = dict.fromkeys(asking, now)
    had: list[tuple[str, float]] = []
    while due and (who := min(due, key=lambda w: due[w])) and due[who] < until:
        at = due.pop(who)
        if seconds := queue.ask(who, asking[who], at):
            due[who] = at + seconds
        else:
            had.append((who, at))
    return had


def test_without_a_line_everybody_has_a_turn_at_once() -> None:
    """As many as the rate allows."""
    queue = JoinQueue(0.0, Rate(3, 1.0))
    assert [queue.ask(f"m{n}", 0, 0.0) for n in range(3)] == [0.0, 0.0, 0.0] and len(queue) == 0
    assert queue.ask("m3", 0, 0.0) >= 1.0 and len(queue) == 1


def test_after_an_outage_higher_priority_is_first_whoever_asks_first() -> None:
    """The low one asks first and waits until every higher one has had its turn."""
    queue = JoinQueue(0.0, Rate(10, 10.0))
    for number, priority in enumerate([0, 5, 10, 10, 0]):
        assert queue.wait(f"m{number}", priority, 0.0, 4.0) >= 4.0
    order = [who for who, _ in turns(queue, {"m0": 0, "m1": 5, "m2": 10, "m3": 10, "m4": 0}, 5.0, 90.0)]
    assert sorted(order[:2]) == ["m2", "m3"] and order[2] == "m1" and sorted(order[3:]) == ["m0", "m4"]


def test_the_answer_to_wait_respects_the_order() -> None:
    """Who is further back is told to come later; nobody waits longer than the bound."""
    queue = JoinQueue(0.0, SLOW)
    waits = [queue.wait(f"m{n}", 0, 0.0, 1.0) for n in range(60)]
    assert waits == sorted(waits) and waits[0] == 1.0 and waits[5] == 6.0 and waits[-1] == LONGEST
    assert queue.wait("vip", 9, 0.0, 1.0) == 1.0
    assert queue.before("m0", 0) == 1 and queue.before("vip", 9) == 0
    assert queue.wait("m5", 0, 0.5, 1.0) == 7.0, "who asks again keeps its place"


def test_the_rate_is_bounded_when_everybody_comes_at_once() -> None:
    """A hundred machines after an outage: never more than the rate in any second."""
    queue = JoinQueue(0.0, Rate(5, 1.0))
    had = turns(queue, {f"m{n}": n % 3 for n in range(100)}, 0.0, 600.0)
    assert len(had) == 100
    for _, at in had:
        assert sum(at <= other < at + 1.0 for _, other in had) <= 10


def test_a_machine_that_does_not_come_back_keeps_nobody_waiting() -> None:
    """It lost its power: its place is gone a little after it should have asked."""
    queue = JoinQueue(0.0, SLOW)
    wait = queue.wait("dead", 9, 0.0, 1.0)
    assert queue.ask("alive", 0, wait) > 0
    assert queue.ask("alive", 0, wait + GRACE + 1.0) == 0.0
    queue.wait("gone", 9, 100.0, 1.0)
    queue.leave("gone")
    assert queue.ask("alive", 0, 101.0) == 0.0 and len(queue) == 0


def test_a_changed_priority_is_a_new_place() -> None:
    """After a reload the machine stands in the other line, and only there."""
    queue = JoinQueue(0.0, SLOW)
    queue.wait("m0", 5, 0.0, 1.0)
    queue.wait("m0", 0, 1.0, 1.0)
    assert len(queue) == 1 and queue.before("m1", 0) == 1 and queue.before("m1", 3) == 0
