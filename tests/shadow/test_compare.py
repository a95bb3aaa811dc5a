"""What is a difference, and what is each server's own."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netboot.dhcp.wire import Kind, Packet
from netboot.shadow.compare import Boot, Difference, How, Verdict, boot_of, differences, side, verdict
from tests.dhcp.world import discover, network
from tests.shadow.talk import AS_OURS, NODE, answer

ASKS = discover(NODE)


def offer(address: str = "10.77.0.20", server: str = "10.77.0.1", **said: object) -> Packet:
    """An OFFER."""
    return answer(ASKS, Kind.OFFER, address, server=server, **said)


def between(theirs: Packet | None, ours: Packet | None) -> list[Difference]:
    """What differs."""
    return differences(side(theirs), side(ours), network())


def test_servers_that_say_the_same_do_not_differ() -> None:
    """Identifier, lease times, echoes and a NUL at a text's end are each server's own."""
    own = {51: bytes(4), 58: bytes(4), 61: b"\1abc", 82: b"\1\1x", 97: bytes(17), 15: b"lab.test\0"}
    assert not between(offer(server="10.77.0.2", options={**AS_OURS, **own}), offer(options=AS_OURS))


def test_options_are_missing_extra_or_different() -> None:
    """Each is told by number, name and both values."""
    theirs = offer(options={3: IPv4Address("10.77.0.9").packed, 42: IPv4Address("10.77.0.8").packed})
    ours = offer(options={3: IPv4Address("10.77.0.254").packed, 26: (9000).to_bytes(2, "big")})
    assert between(theirs, ours) == [
        Difference("3 router", "10.77.0.9", "10.77.0.254", How.DIFFERENT, 3),
        Difference("26 mtu-interface", "", "9000", How.EXTRA, 26),
        Difference("42 ntp-servers", "10.77.0.8", "", How.MISSING, 42),
    ]


def test_addresses_differ_unless_both_are_dynamic() -> None:
    """A range's addresses are as good as each other; a reservation is not."""
    assert not between(offer("10.77.0.150"), offer("10.77.0.199"))
    (found,) = between(offer("10.77.0.20"), offer("10.77.0.150"))
    assert (found.what, found.theirs, found.ours) == ("address", "10.77.0.20", "10.77.0.150")


def test_a_boot_file_is_found_wherever_it_is_written() -> None:
    """Header or option 67; server in siaddr, 66, 150 or sname."""
    written = [
        offer(file=b"a.efi", siaddr="10.77.0.5"),
        offer(options={67: b"a.efi\0", 66: b"10.77.0.5"}),
        offer(options={67: b"a.efi", 150: IPv4Address("10.77.0.5").packed}),
        offer(file=b"a.efi")._replace(sname=b"10.77.0.5"),
    ]
    assert {boot_of(packet) for packet in written} == {Boot("a.efi", "10.77.0.5")}
    assert boot_of(offer(siaddr="10.77.0.5")) == Boot("", "")


def test_each_server_naming_itself_is_no_difference_and_a_third_one_is() -> None:
    """The boot server is who answers, on either side; another one is shown."""
    ours = offer(file=b"a.efi", siaddr="10.77.0.1")
    assert not between(offer(server="10.77.0.2", file=b"a.efi", siaddr="10.77.0.2"), ours)
    (found,) = between(offer(server="10.77.0.2", file=b"a.efi", siaddr="10.77.0.7"), ours)
    assert (found.what, found.theirs) == ("boot server", "10.77.0.7")
    (found,) = between(offer(server="10.77.0.2", file=b"b.efi", siaddr="10.77.0.2"), ours)
    assert (found.what, found.theirs, found.ours) == ("boot file", "b.efi", "a.efi")


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        (offer(), None, ("OFFER 10.77.0.20", "no answer")),
        (None, offer(), ("no answer", "OFFER 10.77.0.20")),
        (answer(ASKS, Kind.NAK, "0.0.0.0"), answer(ASKS, Kind.ACK, "10.77.0.20"), ("NAK", "ACK 10.77.0.20")),
    ],
)
def test_another_kind_of_answer_is_all_there_is_to_say(
    theirs: Packet | None, ours: Packet | None, said: tuple[str, str]
) -> None:
    """Silence, OFFER, ACK, NAK."""
    (found,) = between(theirs, ours)
    assert (found.what, found.theirs, found.ours) == ("answer", *said)


def test_the_verdict_of_an_exchange() -> None:
    """Nobody heard, a machine that we leave alone, differences, or none."""
    some = [Difference("address", "a", "b", How.DIFFERENT)]
    assert verdict([], True, False) is Verdict.AGREES
    assert verdict(some, True, False) is Verdict.DIFFERS
    assert verdict(some, True, True) is Verdict.UNKNOWN
    assert verdict([], False, False) is Verdict.UNANSWERED
