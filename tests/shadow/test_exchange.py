"""Datagrams become exchanges: by transaction and card, with bounded memory."""

from __future__ import annotations

from ipaddress import IPv4Address

from netboot.dhcp.wire import Kind, Packet
from netboot.shadow import exchange
from netboot.shadow.exchange import Exchange, Exchanges
from tests.dhcp.world import discover, message
from tests.shadow.talk import FOREIGN, NODE, STRANGER, answer, datagram, datagrams, four


def over(*packets: Packet, interface: str = "eth1") -> list[Exchange]:
    """All exchanges of these packets."""
    exchanges = Exchanges()
    found = [e for d in datagrams(packets, interface=interface) for e in exchanges.hear(d)]
    return [*found, *exchanges.end()]


def test_four_messages_are_one_exchange_of_two_turns() -> None:
    """DISCOVER with its OFFER, REQUEST with its ACK."""
    (found,) = over(*four(NODE, "10.77.0.20"))
    assert [(t.kind, [a.kind for a in t.answers]) for t in found.turns] == [
        (Kind.DISCOVER, [Kind.OFFER]),
        (Kind.REQUEST, [Kind.ACK]),
    ]
    assert found.turns[0].answers[0].server == IPv4Address(FOREIGN) and found.settled


def test_each_server_that_answers_is_kept() -> None:
    """Two OFFERs, and a NAK that contradicts an ACK."""
    asks, offer, takes, ack = four(NODE, "10.77.0.20")
    second = answer(asks, Kind.OFFER, "10.77.0.30", server="10.77.0.3")
    nak = answer(takes, Kind.NAK, "0.0.0.0", server="10.77.0.3")
    (found,) = over(asks, offer, second, takes, ack, nak)
    assert [str(a.server) for a in found.turns[0].answers] == [FOREIGN, "10.77.0.3"]
    assert [a.kind for a in found.turns[1].answers] == [Kind.ACK, Kind.NAK]


def test_two_machines_and_two_relay_agents_are_kept_apart() -> None:
    """The same transaction id of different cards, and of one card through different relays."""
    talks = [
        four(NODE, "10.77.0.20"),
        four(STRANGER, "10.77.0.21"),
        four(NODE, "10.88.0.20", giaddr="10.88.0.1", xid=8),
    ]
    mixed = [talk[i] for i in range(4) for talk in talks]
    assert sorted(len(e.turns) for e in over(*mixed)) == [2, 2, 2]


def test_what_a_relay_agent_hands_on_is_one_exchange_and_not_two() -> None:
    """A capture on the relay agent has the client's own messages, too: they are copies."""
    own, handed_on = four(NODE, "10.88.0.20"), four(NODE, "10.88.0.20", giaddr="10.88.0.1")
    exchanges = Exchanges()
    talk = [each for pair in zip(own, handed_on, strict=True) for each in pair]
    found = [e for d in datagrams(talk) for e in exchanges.hear(d)] + list(exchanges.end())
    assert [e.turns[0].packet.giaddr for e in found] == [int(IPv4Address("10.88.0.1"))]
    assert exchanges.skipped.total() == 1


def test_a_retry_is_the_same_request() -> None:
    """Counted, not doubled; after the answer was taken the same words begin anew."""
    asks, offer, takes, ack = four(NODE, "10.77.0.20")
    (found,) = over(asks, asks, offer, asks, takes, takes, ack)
    assert [t.tries for t in found.turns] == [3, 2]
    assert len(over(asks, offer, takes, ack, takes, ack)) == 2


def test_an_exchange_is_over_soon_after_its_ack_and_late_without_one() -> None:
    """The time is that of the datagrams."""
    exchanges = Exchanges()
    for each in datagrams(four(NODE, "10.77.0.20"), at=100.0):
        assert not list(exchanges.hear(each))
    assert not list(exchanges.hear(datagram(discover(STRANGER), 100.5)))
    assert len(list(exchanges.over(101.2))) == 1
    assert not list(exchanges.over(105.0)) and len(list(exchanges.over(111.0))) == 1


def test_a_talk_with_a_boot_server_stands_for_itself() -> None:
    """Port 4011 has a REQUEST and an ACK of its own, with the transaction id of the others."""
    asks, offer, takes, ack = four(NODE, "10.77.0.20")
    boot = datagram(takes)._replace(port=4011)
    exchanges = Exchanges()
    for each in (*datagrams([asks, offer, takes, ack]), boot):
        list(exchanges.hear(each))
    assert [e.boot_server for e in exchanges.end()] == [False, True]


def test_what_is_no_dhcp_or_comes_unasked_is_counted() -> None:
    """Junk, BOOTP, answers whose request nobody heard."""
    exchanges = Exchanges()
    list(exchanges.hear(datagram(discover(NODE))._replace(payload=b"junk")))
    list(exchanges.hear(datagram(message(NODE, Kind.DISCOVER)._replace(options={}))))
    list(exchanges.hear(datagram(four(NODE, "10.77.0.20")[1])))
    assert exchanges.skipped.total() == 3 and not list(exchanges.end())


def test_memory_is_bounded_whatever_is_heard(monkeypatch: object) -> None:
    """A flood of clients closes the oldest, a storm of answers is cut."""
    exchanges = Exchanges()
    closed = 0
    for i in range(exchange.MOST + 50):
        closed += len(list(exchanges.hear(datagram(discover(NODE, xid=i), 100.0))))
    assert closed == 50
    asks, offer, *_ = four(NODE, "10.77.0.20")
    (found,) = over(asks, *[offer] * 100)
    assert len(found.turns[0].answers) == exchange.MOST_ANSWERS
