"""Who is answered first when too many ask."""

from __future__ import annotations

import pytest

from netboot.dhcp.crowd import Crowd

DECLARED = range(5)


def declared(machine: int) -> bool:
    """The operator's machines."""
    return machine in DECLARED


def test_a_few_are_answered_as_they_come() -> None:
    """Nobody is told apart while there is no crowd."""
    crowd: Crowd[int] = Crowd()
    arrived = [100, 1, 101]
    assert crowd.first(arrived, declared, 0.0) is arrived and not len(crowd)


def test_in_a_crowd_declared_machines_go_first_and_others_in_their_order() -> None:
    """Also those that arrive while others still wait."""
    crowd: Crowd[int] = Crowd()
    assert crowd.first([*range(100, 120), 1, 2], declared, 0.0) == [1, 2]
    assert list(crowd.next(0.0)) == list(range(100, 108))
    assert crowd.first([200, 3], declared, 0.1) == [3]
    assert list(crowd.next(0.1)) == list(range(108, 116))
    assert list(crowd.next(0.2)) == [*range(116, 120), 200]
    assert crowd.first([300], declared, 0.2) == [300], "the crowd is over"


def test_without_declared_machines_a_crowd_is_answered_as_fast_as_may_be() -> None:
    """Who waits gives way only while some are about that would have to wait."""
    crowd: Crowd[int] = Crowd()
    crowd.first([*range(100, 200), 1], declared, 0.0)
    assert crowd.gives_way(0.9) and not crowd.gives_way(1.0)
    assert len(list(crowd.next(1.0))) == 64


def test_the_longest_waiting_is_dropped_for_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, and who asked last is most likely to listen still."""
    monkeypatch.setattr(Crowd, "MOST", 20)
    crowd: Crowd[int] = Crowd()
    crowd.first(list(range(100, 150)), declared, 0.0)
    assert (len(crowd), crowd.dropped) == (20, 30)
    assert next(crowd.next(0.0)) == 130
