"""Where replies go: the table of RFC 2131 section 4.1."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netboot.dhcp.route import BROADCAST, Destination, LinkLayer, Unicast, destination, reply_flags
from netboot.dhcp.wire import FLAG_BROADCAST, Kind
from netboot.model.machine import Mac
from tests.dhcp.world import message

MAC = Mac("52:54:00:00:00:01")
GIVEN = IPv4Address("10.0.0.9")


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (Kind.OFFER, {}, LinkLayer(MAC, GIVEN)),
        (Kind.ACK, {}, LinkLayer(MAC, GIVEN)),
        (Kind.OFFER, {"flags": FLAG_BROADCAST}, BROADCAST),
        (Kind.ACK, {"flags": FLAG_BROADCAST}, BROADCAST),
        (Kind.OFFER, {"ciaddr": "10.9.9.9"}, LinkLayer(MAC, GIVEN)),
        (Kind.ACK, {"ciaddr": "10.0.0.9"}, Unicast("10.0.0.9", 68)),
        (Kind.ACK, {"ciaddr": "10.0.0.9", "flags": FLAG_BROADCAST}, Unicast("10.0.0.9", 68)),
        (Kind.NAK, {}, BROADCAST),
        (Kind.NAK, {"ciaddr": "10.0.0.9"}, BROADCAST),
        (Kind.OFFER, {"giaddr": "10.1.0.1"}, Unicast("10.1.0.1", 67)),
        (Kind.ACK, {"giaddr": "10.1.0.1", "ciaddr": "10.0.0.9"}, Unicast("10.1.0.1", 67)),
        (Kind.NAK, {"giaddr": "10.1.0.1"}, Unicast("10.1.0.1", 67)),
    ],
)
def test_a_reply_goes_where_its_client_can_hear_it(
    kind: Kind, fields: dict[str, object], expected: Destination
) -> None:
    """Relay, then NAK, then ciaddr, then the broadcast flag, else a frame to the card."""
    request = message(MAC, Kind.REQUEST, **fields)  # type: ignore[arg-type]
    given = None if kind is Kind.NAK else GIVEN
    assert destination(request, kind, MAC, given) == expected


def test_a_nak_to_a_client_beyond_the_link_goes_to_its_address() -> None:
    """Where it says one; a relay agent comes first all the same."""
    far = message(MAC, Kind.REQUEST, ciaddr="10.99.0.9")
    assert destination(far, Kind.NAK, MAC, None, on_link=False) == Unicast("10.99.0.9", 68)
    nowhere = message(MAC, Kind.REQUEST)
    assert destination(nowhere, Kind.NAK, MAC, None, on_link=False) == BROADCAST
    relayed = message(MAC, Kind.REQUEST, ciaddr="10.99.0.9", giaddr="10.1.0.1")
    assert destination(relayed, Kind.NAK, MAC, None, on_link=False) == Unicast("10.1.0.1", 67)


def test_a_relayed_nak_asks_the_relay_to_broadcast() -> None:
    """Only there the flag is set though the client did not set it (section 4.3.2)."""
    relayed = message(MAC, Kind.REQUEST, giaddr="10.1.0.1")
    assert reply_flags(relayed, Kind.NAK) == FLAG_BROADCAST
    assert reply_flags(relayed, Kind.ACK) == 0
    assert reply_flags(message(MAC, Kind.REQUEST), Kind.NAK) == 0
