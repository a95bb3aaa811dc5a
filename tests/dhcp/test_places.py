"""Where a card is, of the places where it was heard."""

from __future__ import annotations

from netboot.dhcp.places import AT_ONCE, Place, Places, Whereabouts
from netboot.model.machine import Mac

LINK, ONE, OTHER = Place("eth1", 0, "lab"), Place("eth1", 5, "lab"), Place("eth1", 6, "lab")


def test_a_card_is_where_it_was_heard_and_not_elsewhere_at_once() -> None:
    """Until it has been silent there for a minute."""
    card = Whereabouts(ONE, 1, 100.0, 100.0)
    assert card.heard(ONE, 2, 110.0) is None
    assert card.heard(OTHER, 3, 120.0) == ONE
    assert card.heard(OTHER, 4, 109.9 + AT_ONCE) == ONE
    assert card.heard(OTHER, 5, 110.0 + AT_ONCE) is None
    assert card.heard(ONE, 6, 111.0 + AT_ONCE) == OTHER, "it lives at its new place now"


def test_one_broadcast_over_two_relays_is_one_place() -> None:
    """The same transaction id in the same moment; then also the next ones, whichever comes first."""
    card = Whereabouts(ONE, 1, 100.0, 100.0)
    assert card.heard(OTHER, 1, 100.001) is None
    assert card.heard(OTHER, 2, 105.0) is None
    assert card.heard(ONE, 2, 105.001) is None
    assert card.heard(LINK, 3, 106.0) == ONE, "a third place that nobody has linked to them"


def test_an_old_transaction_id_links_nothing() -> None:
    """Somebody who guesses one has ten seconds to be believed."""
    card = Whereabouts(ONE, 1, 100.0, 100.0)
    assert card.heard(OTHER, 1, 111.0) == ONE


def test_places_and_cards_are_bounded() -> None:
    """A flood of forged relay agents costs a little memory, once."""
    card = Whereabouts(ONE, 1, 100.0, 100.0)
    for i in range(1000):
        card.heard(Place("eth1", i, "lab"), i + 2, 100.0)
    assert len(card._heard) <= 8
    places = Places()
    for i in range(5000):
        places.follow(Mac.from_bytes(b"\x02\0\0\0" + i.to_bytes(2, "big")), ONE, i, 0.0, 0.0)
    assert len(places._cards) == 4096
