"""What one address may hold and ask."""

from __future__ import annotations

from netboot.events import Journal
from netboot.web.peers import Limits, Peers


def peers(limits: Limits, now: list[float], elsewhere: int = 0) -> tuple[Peers, Journal]:
    journal = Journal(lambda: now[0])
    made = Peers(limits, elsewhere=lambda _: elsewhere, journal=journal, clock=lambda: now[0])
    return made, journal


def test_connections_at_workers_count_too() -> None:
    """The next one is one too many, until one of ours has left."""
    made, journal = peers(Limits(connections=3), [0.0], elsewhere=1)
    assert made.arrived("10.0.0.1") and made.arrived("10.0.0.1")
    assert not made.arrived("10.0.0.1")
    assert made.arrived("10.0.0.2")
    made.left("10.0.0.1")
    made.left("10.0.0.1")
    assert made.arrived("10.0.0.1")
    assert journal.counters["http_too_many_connections"] == 1


def test_the_bucket_refills_with_time_and_never_beyond_its_size() -> None:
    """Two per second, and two at once after a long silence."""
    now = [100.0]
    made, journal = peers(Limits(requests=2), now)
    assert [made.may_ask("10.0.0.1") for _ in range(3)] == [True, True, False]
    now[0] += 0.5
    assert [made.may_ask("10.0.0.1") for _ in range(2)] == [True, False]
    now[0] += 3600
    assert [made.may_ask("10.0.0.1") for _ in range(3)] == [True, True, False]
    now[0] -= 50  # a clock that is set back takes nothing away, and gives nothing
    assert not made.may_ask("10.0.0.1")
    assert made.may_ask("10.0.0.2")
    assert journal.counters["http_too_many_requests"] == 4
