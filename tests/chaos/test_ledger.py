"""The judge of the chaos: it knows a kept promise, a lost one, and an address in two hands."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from tests.chaos.acks import Ack
from tests.chaos.ledger import Ledger, Row

ONE, TWO = "02:00:00:00:00:01", "02:00:00:00:00:02"
AT, OTHER = IPv4Address("10.97.0.9"), IPv4Address("10.97.0.10")
ACK = Ack(ONE, AT, 1000.0, 3600)
ROW = Row(ONE, AT, 4599.99)


def judged(acks: list[Ack], rows: list[Row]) -> tuple[int, int]:
    """How many promises were lost, and how many addresses were in two hands."""
    ledger = Ledger()
    ledger.saw(acks)
    ledger.compare(rows)
    return len(ledger.lost), len(ledger.twice)


def test_a_kept_promise() -> None:
    """The store's moment is a little before the machine's; a longer lease than promised is kept, too."""
    assert judged([ACK], [ROW]) == (0, 0)
    assert judged([ACK], [ROW, Row(TWO, OTHER, 9.0)]) == (0, 0)
    assert judged([ACK, replace(ACK, at=1010.0)], [replace(ROW, expires=4700.0)]) == (0, 0)


def test_a_lost_promise() -> None:
    """Nothing known, an older lease than the last one promised, or another address for the same machine."""
    assert judged([ACK], []) == (1, 0)
    assert judged([ACK, replace(ACK, at=1010.0)], [ROW]) == (1, 0)
    assert judged([ACK, replace(ACK, address=OTHER)], [Row(ONE, OTHER, 4600.0)]) == (1, 0)


def test_an_address_in_two_hands() -> None:
    """Promised to two, stored for two, or stored for somebody else."""
    assert judged([ACK, replace(ACK, mac=TWO)], [ROW])[1] >= 1
    assert judged([ACK], [ROW, replace(ROW, mac=TWO)])[1] == 1
    assert judged([ACK], [replace(ROW, mac=TWO)]) == (0, 1)


def test_the_plan_of_a_seed_never_changes() -> None:
    """The same kills at every run, within 1 to 200 ms, of both kinds."""
    from tests.chaos.leases import planned

    kills = planned(200, 7)
    assert kills == planned(200, 7) != planned(200, 8)
    assert kills[:50] == planned(50, 7)
    assert all(0.001 <= kill.delay <= 0.2 for kill in kills) and {k.whole for k in kills} == {True, False}
