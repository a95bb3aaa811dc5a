"""Whose answers a simulated machine takes, and what keeps it from speaking."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netboot.dhcp.wire import Kind, encode
from netboot.errors import ProbeError, StartError
from netboot.probe.card import Card, Relay, _answer
from tests.dhcp.world import discover
from tests.shadow.talk import NODE, STRANGER, answer

SOURCE = IPv4Address("10.77.0.9")
ASKED = discover(NODE, xid=7)


def test_only_answers_to_its_own_transaction_and_card_are_taken() -> None:
    """Another machine's, another transaction's, a request and junk are not."""
    offer = answer(ASKED, Kind.OFFER, "10.77.0.20", server="10.77.0.1")
    taken = _answer(encode(offer), ASKED, SOURCE, 0.5)
    assert taken is not None and (str(taken.server), taken.source, taken.took) == ("10.77.0.1", SOURCE, 0.5)
    others = [
        encode(offer._replace(xid=8)),
        encode(offer._replace(chaddr=STRANGER.packed())),
        encode(ASKED),
        b"junk",
    ]
    assert [_answer(other, ASKED, SOURCE, 0.5) for other in others] == [None] * 4


def test_a_server_without_an_identifier_is_known_by_its_address() -> None:
    """Broken, and seen."""
    offer = answer(ASKED, Kind.OFFER, "10.77.0.20")
    options = {code: value for code, value in offer.options.items() if code != 54}
    taken = _answer(encode(offer._replace(options=options)), ASKED, SOURCE, 0.5)
    assert taken is not None and taken.server == SOURCE


def test_what_keeps_it_from_speaking_is_told_with_a_remedy() -> None:
    """An interface that is not there, a relay's address that is not ours (or may not be bound)."""
    with pytest.raises(StartError, match="there is no interface nic99"):
        Card("nic99", NODE)
    with pytest.raises(StartError, match="77:67 cannot be opened"):
        Relay(IPv4Address("192.0.2.77"), IPv4Address("192.0.2.1"))


def test_a_relay_agent_brings_no_question_to_a_boot_server() -> None:
    """PXE asks port 4011 itself."""
    relay = Relay.__new__(Relay)
    with pytest.raises(ProbeError, match="no relay agent"):
        relay.ask(ASKED, SOURCE)
