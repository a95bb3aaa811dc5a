"""The leases in memory, and compare-and-set over them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netboot.store.table import Changes, LeaseTable
from tests.store.values import NOW, lease


def test_nothing_of_a_batch_shows_before_it_is_applied() -> None:
    """Readers see the table as it is on disk."""
    table = LeaseTable([lease(1)])
    changes = Changes(table)
    assert changes.claim(lease(1, address=5), lease(1), None)
    assert table.lease_of("n1", "compute") == lease(1)
    changes.apply()
    assert table.lease_of("n1", "compute") == lease(1, address=5)
    assert table.lease_at(lease(1).address) is None


def test_two_claims_of_one_address_in_one_batch_have_one_winner() -> None:
    """The second claim is decided against the first, though neither is on disk yet."""
    changes = Changes(LeaseTable())
    assert changes.claim(lease(1, address=9), None, None)
    assert not changes.claim(lease(2, address=9), None, None)


def test_a_second_claim_of_one_holder_must_have_seen_the_first() -> None:
    """Compare-and-set holds within a batch too."""
    changes = Changes(LeaseTable())
    assert changes.claim(lease(1), None, None)
    assert not changes.claim(lease(1, seen=NOW + 1), None, None)
    assert changes.claim(lease(1, seen=NOW + 1), lease(1), None)


def test_holders_may_swap_addresses_in_one_batch() -> None:
    """What is left in one claim can be taken by the next."""
    table = LeaseTable([lease(1, address=1), lease(2, address=2)])
    changes = Changes(table)
    assert changes.claim(lease(1, address=3), lease(1, address=1), None)
    assert changes.claim(lease(2, address=1), lease(2, address=2), None)
    assert changes.claim(lease(1, address=2), lease(1, address=3), None)
    changes.apply()
    assert {n: int(table.by_key["compute", f"n{n}"].address) & 0xFF for n in (1, 2)} == {1: 2, 2: 1}
    assert sorted(table.by_address) == [int(lease(1).address), int(lease(2).address)]


Moves = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), st.booleans(), st.booleans()), max_size=40)


@given(Moves)
def test_holders_and_addresses_agree_after_any_history(moves: list[tuple[int, int, bool, bool]]) -> None:
    """Whatever is claimed in whatever batches: one address, one holder, and both ways of asking agree."""
    table = LeaseTable()
    changes = Changes(table)
    for holder, address, displacing, applying in moves:
        seen = changes.of.get(("compute", f"n{holder}"), table.lease_of(f"n{holder}", "compute"))
        wanted = lease(holder, address)
        there = changes.at.get(int(wanted.address), table.lease_at(wanted.address))
        changes.claim(wanted, seen, there if displacing else None)
        if applying:
            changes.apply()
            changes = Changes(table)
    changes.apply()
    assert {int(x.address): x for x in table.by_key.values()} == table.by_address
