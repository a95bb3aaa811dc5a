"""Who is let in, and how often: `admit` and `limits` as pure decisions."""

from __future__ import annotations

import pytest

from netboot.dhcp import admission
from netboot.dhcp.admission import Limiter, refusal
from netboot.model.machine import Client, Mac
from netboot.model.manners import Admit, Limits, Rate

CARD = Mac("94:57:a5:d3:ec:f2")


def card(i: int) -> Mac:
    """One of many."""
    return Mac.from_bytes(b"\x02\x99" + i.to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("admit", "answered"),
    [
        (Admit(macs=frozenset({CARD})), True),
        (Admit(macs=frozenset({"94:57:a5"})), True),
        (Admit(macs=frozenset({"94:57:a6", card(1)})), False),
        (Admit(vendors=("PXEClient",)), True),
        (Admit(vendors=("HTTPClient", "udhcp")), False),
        (Admit(macs=frozenset({CARD}), vendors=("HTTPClient",)), True),
        (Admit(macs=frozenset({card(1)}), vendors=("PXEClient",)), True),
    ],
)
def test_a_machine_is_answered_that_is_in_either_list(admit: Admit, answered: bool) -> None:
    """By its MAC, its maker, or the beginning of its vendor class."""
    why = refusal(admit, Client(CARD, vendor_class="PXEClient:Arch:00000:UNDI:002001"))
    assert (why == "") == answered


def test_the_reason_names_the_lists_and_the_class() -> None:
    """So that an operator knows what to add where."""
    both = Admit(macs=frozenset({card(1)}), vendors=("PXEClient",))
    assert refusal(both, Client(CARD, vendor_class="MSFT 5.0")) == (
        "it is in neither admit.macs nor admit.vendors (it says vendor class 'MSFT 5.0')"
    )
    assert refusal(Admit(macs=frozenset({card(1)})), Client(CARD)) == (
        "it is not in admit.macs (it says no vendor class)"
    )


def test_one_client_is_answered_so_often_and_no_more() -> None:
    """So many at once, then at the rate; others do not pay for it."""
    limiter = Limiter(Limits(per_client=Rate(20, 1.0)), 0.0)
    assert [limiter.allows(CARD, 0.0) for _ in range(25)].count(True) == 20
    assert limiter.allows(card(1), 0.0)
    assert [limiter.allows(CARD, 0.5) for _ in range(25)].count(True) == 10
    assert not limiter.allows(CARD, -1000.0), "a clock that goes back brings nothing"


def test_a_new_mac_counts_once_and_then_stays() -> None:
    """Its whole exchange and boot are one; the next ones wait for their turn."""
    limiter = Limiter(Limits(new_macs=Rate(10, 1.0)), 0.0)
    assert [limiter.lets_in(card(i), 0.0) for i in range(20)].count(True) == 10
    assert all(limiter.lets_in(card(i), 30.0) for i in range(10))
    assert [limiter.lets_in(card(100 + i), 31.0) for i in range(20)].count(True) == 10


def test_the_counts_are_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of invented MACs makes no memory grow."""
    monkeypatch.setattr(admission, "KNOWN_CLIENTS", 100)
    monkeypatch.setattr(admission, "GUESTS", 100)
    limiter = Limiter(Limits(per_client=Rate(20, 1.0), new_macs=Rate(10**6, 1.0)), 0.0)
    for i in range(1000):
        assert limiter.allows(card(i), 0.0) and limiter.lets_in(card(i), 0.0)
    assert len(limiter._clients) == len(limiter._guests) == 100
