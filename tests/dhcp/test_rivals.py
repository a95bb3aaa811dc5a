"""Which other servers should not be there, decided from what was seen."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netboot.dhcp import rivals
from netboot.dhcp.rivals import REPORT_AGAIN, Rivals, Sighting
from netboot.dhcp.wire import Kind
from netboot.model.inventory import Network
from netboot.model.machine import Mac
from tests.dhcp.world import STRANGER, address, network

FOREIGN = Sighting(
    "eth1", address("10.77.0.3"), Mac("52:54:00:77:fe:03"), Kind.OFFER, STRANGER, address("10.77.0.50")
)
OURS = (network(),)
PROXIED = (replace(network(), mode="proxy"),)


def seen(number: int, **fields: object) -> Sighting:
    """A reply of another server."""
    return replace(FOREIGN, server=IPv4Address(f"10.77.0.{number}"), **fields)  # type: ignore[arg-type]


def test_a_foreign_server_is_told_with_what_it_did_and_what_to_do() -> None:
    """Address, card, interface, what it gave to whom, and both remedies."""
    text = Rivals().note(FOREIGN, OURS, 0.0)
    for word in ("10.77.0.3", "52:54:00:77:fe:03", "eth1", "10.77.0.50", STRANGER, "stop it", "mode: proxy"):
        assert word in text
    assert "(network lab)" in text


def test_it_is_told_once_an_hour() -> None:
    """However often it answers."""
    known = Rivals()
    told = [known.note(FOREIGN, OURS, now) for now in (0.0, 1.0, 3599.0, REPORT_AGAIN, REPORT_AGAIN + 1)]
    assert [bool(text) for text in told] == [True, False, False, True, False]
    (server,) = known.servers
    assert (server.seen, server.since, server.at) == (5, 0.0, REPORT_AGAIN + 1)


def test_a_clients_word_is_enough_and_keeps_the_card_that_was_heard() -> None:
    """Replies by unicast do not pass by; the client's broadcast REQUEST names the server all the same."""
    known = Rivals()
    assert "takes 10.77.0.50 from it" in known.note(seen(3, card=None, kind=Kind.REQUEST), OURS, 0.0)
    known.note(FOREIGN, OURS, 1.0)
    known.note(seen(3, card=None, kind=Kind.REQUEST), OURS, 2.0)
    assert known.servers[0].card == FOREIGN.card


def test_in_mode_proxy_one_server_is_expected_and_a_second_is_not() -> None:
    """The first that is seen gives the addresses."""
    known = Rivals()
    assert known.note(seen(3), PROXIED, 0.0) == ""
    text = known.note(seen(4), PROXIED, 1.0)
    assert "two DHCP servers" in text and "10.77.0.3" in text and "10.77.0.4" in text
    assert known.note(seen(3), PROXIED, 2.0) == ""
    assert [server.expected for server in known.servers] == [False, True]


def test_the_expected_server_may_be_replaced() -> None:
    """When it was not heard of for an hour, the one that answers now is it."""
    known = Rivals()
    known.note(seen(3), PROXIED, 0.0)
    assert known.note(seen(4), PROXIED, REPORT_AGAIN + 1) == ""


def test_a_second_boot_server_is_told_in_either_mode() -> None:
    """It gives no address, as we do in mode proxy; firmware takes whichever it likes."""
    for networks in (OURS, PROXIED):
        assert "another boot server" in Rivals().note(seen(4, address=None), networks, 0.0)


@pytest.mark.parametrize(("given", "told"), [("10.78.0.9", False), ("10.77.0.9", True), ("10.99.0.9", True)])
def test_on_an_interface_of_both_modes_the_address_decides(given: str, told: bool) -> None:
    """What lies in the subnet of the network in mode proxy is the other server's affair."""
    office = replace(network(subnet="10.78.0.0/24"), name="office", mode="proxy")
    networks: tuple[Network, ...] = (*OURS, office)
    assert bool(Rivals().note(seen(3, address=address(given)), networks, 0.0)) == told


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented servers push out the one unseen for longest."""
    monkeypatch.setattr(rivals, "MOST", 10)
    known = Rivals()
    for number in range(200):
        known.note(seen(number), OURS, float(number))
    assert len(known.servers) == 10
