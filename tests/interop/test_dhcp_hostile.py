"""DHCP that no honest client sends, as frames on the daemon's link: it says why it refuses, and goes on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from scapy.all import BOOTP, DHCP, IP, UDP, Dot1Q, Ether, fragment  # type: ignore[attr-defined]

from tests.interop.dhcp_site import SERVER, DhcpSite, dhcp_site
from tests.interop.ear import Ear, Voice
from tests.lab.namespace import BRIDGE, wait_until

pytestmark = pytest.mark.root

ALL = "ff:ff:ff:ff:ff:ff"
FOE = "52:54:00:96:00:01"


@pytest.fixture(scope="module")
def site() -> Iterator[DhcpSite]:
    """The daemon and one machine that means no good."""
    with dhcp_site() as made:
        yield made


def mac_of(number: int) -> str:
    """A card of its own for each oddity, so that its answer is known by it."""
    return f"52:54:00:96:01:{number:02x}"


def dhcp(mac: str, *options: Any, **fields: Any) -> Any:
    """A DISCOVER (or what `options` make of it) as scapy writes it."""
    facts = {"op": 1, "chaddr": bytes.fromhex(mac.replace(":", "")), "xid": int(mac[-2:], 16) + 1, **fields}
    return BOOTP(**facts) / DHCP(options=[*(options or [("message-type", "discover")]), "end"])


def datagram(payload: Any, *, ip: dict[str, Any] | None = None, udp: dict[str, Any] | None = None) -> Any:
    """IP and UDP around it as a client without an address has them, with these oddities."""
    return (
        IP(**{"src": "0.0.0.0", "dst": "255.255.255.255", **(ip or {})})
        / UDP(**{"sport": 68, "dport": 67, **(udp or {})})
        / payload
    )


def frame(packet: Any) -> Any:
    """To everybody on the link."""
    return Ether(src=FOE, dst=ALL) / packet


@dataclass(frozen=True, slots=True)
class Oddity:
    """What is sent for this MAC, whether it is answered, and what the log has to say of it."""

    frames: Callable[[str], list[Any]]
    answered: bool
    said: str = ""


def one(make: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A single datagram as frames."""
    return lambda mac: [frame(datagram(make(mac)))]


def card(octets: bytes) -> Callable[[str], list[Any]]:
    """A DISCOVER whose chaddr is this."""
    return lambda mac: [frame(datagram(dhcp(mac, chaddr=octets)))]


def header(at: int, value: bytes) -> Callable[[str], list[Any]]:
    """A DISCOVER with other octets in its header."""

    def make(mac: str) -> list[Any]:
        whole = bytes(dhcp(mac))
        return [frame(datagram(whole[:at] + value + whole[at + len(value) :]))]

    return make


def long(size: int) -> Callable[[str], Any]:
    """A DISCOVER with so many octets of vendor options."""
    return lambda mac: dhcp(mac, ("message-type", "discover"), *[(43, b"x" * 250)] * (size // 250))


def fragments(size: int, keep: slice) -> Callable[[str], list[Any]]:
    """A long DISCOVER in IP fragments, of which some are sent."""
    return lambda mac: [
        frame(p) for p in fragment(datagram(long(size)(mac), ip={"id": int(mac[-2:], 16) + 1}), 600)[keep]
    ]


NO_RELAYS = ("0.0.0.1", "10.77.0.0", "10.77.0.255", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.7")
NO_CLIENTS = ("10.77.0.0", "10.77.0.255", "10.77.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.7")
"""Addresses that are no relay agent's (giaddr), and none that an INFORM may come from (ciaddr)."""


def inform(address: str) -> Callable[[str], list[Any]]:
    """An INFORM that has us answer to this address."""
    return one(lambda m: dhcp(m, ("message-type", "inform"), ciaddr=address))


def relayed(address: str) -> Callable[[str], list[Any]]:
    """A DISCOVER that has us answer to this address, port 67."""
    return one(lambda m: dhcp(m, giaddr=address, hops=1))


ODDITIES: dict[str, Oddity] = {
    "a good one": Oddity(one(dhcp), True),
    "from another port": Oddity(lambda m: [frame(datagram(dhcp(m), udp={"sport": 1024}))], True),
    "from port 0": Oddity(lambda m: [frame(datagram(dhcp(m), udp={"sport": 0}))], True),
    "no UDP checksum": Oddity(lambda m: [frame(datagram(dhcp(m), udp={"chksum": 0}))], True),
    "wrong UDP checksum": Oddity(lambda m: [frame(datagram(dhcp(m), udp={"chksum": 0x1234}))], False),
    "wrong IP checksum": Oddity(lambda m: [frame(datagram(dhcp(m), ip={"chksum": 0x1234}))], False),
    "from our own address": Oddity(lambda m: [frame(datagram(dhcp(m), ip={"src": SERVER}))], False),
    "from a group": Oddity(lambda m: [frame(datagram(dhcp(m), ip={"src": "224.0.0.1"}))], False),
    "IP options": Oddity(lambda m: [frame(datagram(dhcp(m), ip={"options": b"\1\1\1\0"}))], True),
    "fragments": Oddity(fragments(1000, slice(None)), True),
    "fragments in reverse": Oddity(fragments(1000, slice(None, None, -1)), True),
    "a fragment is missing": Oddity(fragments(1000, slice(1)), False),
    "longer than any message": Oddity(fragments(5000, slice(None)), False, "more than 4096 octets"),
    "a VLAN that is not ours": Oddity(
        lambda m: [Ether(src=FOE, dst=ALL) / Dot1Q(vlan=5) / datagram(dhcp(m))], False
    ),
    "priority tagged": Oddity(
        lambda m: [Ether(src=FOE, dst=ALL) / Dot1Q(vlan=0, prio=5) / datagram(dhcp(m))], True
    ),
    "yiaddr and siaddr of its own": Oddity(
        one(lambda m: dhcp(m, yiaddr="10.77.0.1", siaddr="10.77.0.66", sname=b"evil", file=b"evil")), True
    ),
    "ciaddr of somebody else": Oddity(one(lambda m: dhcp(m, ciaddr="10.77.0.21")), True),
    "hops 255": Oddity(one(lambda m: dhcp(m, hops=255)), True),
    "secs and flags full": Oddity(one(lambda m: dhcp(m, secs=0xFFFF, flags=0x7FFF)), True),
    "option 82 without a relay": Oddity(
        one(lambda m: dhcp(m, ("message-type", "discover"), (82, b"\1\4evil"))),
        False,
        "without a relay agent",
    ),
    "hlen 255": Oddity(header(2, b"\xff"), False, "hlen is 255"),
    "hlen 0": Oddity(header(2, b"\0"), False, "is not Ethernet"),
    "InfiniBand": Oddity(header(1, b"\x20"), False, "hardware type 32"),
    "no card": Oddity(card(bytes(6)), False, "00:00:00:00:00:00 is no card"),
    "everybody's card": Oddity(card(b"\xff" * 6), False, "ff:ff:ff:ff:ff:ff is no card"),
    "a group's card": Oddity(card(b"\x01\0\x5e\0\0\1"), False, "01:00:5e:00:00:01 is no card"),
    "a reply": Oddity(one(lambda m: dhcp(m, ("message-type", "offer"), op=2)), False, "reply"),
    "a message that servers send": Oddity(one(lambda m: dhcp(m, ("message-type", "ack"))), False),
    "BOOTP": Oddity(one(lambda m: BOOTP(op=1, chaddr=bytes.fromhex(m.replace(":", "")))), False),
    "giaddr is ours": Oddity(relayed(SERVER), False, "the relay agent's address, is our own"),
    **{f"giaddr {a}": Oddity(relayed(a), False, f"agent {a} is not answered") for a in NO_RELAYS},
    **{f"INFORM of {a}": Oddity(inform(a), False, f"INFORM from {a}, which is no") for a in NO_CLIENTS},
}


@pytest.fixture(scope="module")
def heard(site: DhcpSite) -> Iterator[dict[str, int]]:
    """All oddities sent, then a good DISCOVER answered; how many answers each of them brought on the link."""
    with (
        site.machine("foe", FOE) as foe,
        Voice(foe.name) as voice,
        Ear(site.lab.name, BRIDGE) as ear,
    ):
        for number, oddity in enumerate(ODDITIES.values()):
            voice.say(*oddity.frames(mac_of(number)))
        for number, oddity in enumerate(ODDITIES.values()):
            if oddity.answered:
                ear.wait_for("offer", mac_of(number))
        last = mac_of(0xFF)
        voice.say(frame(datagram(dhcp(last))))
        ear.wait_for("offer", last)
        answers = Counter(h.mac for h in ear.heard() if h.kind in ("offer", "ack", "nak"))
        yield {name: answers[mac_of(number)] for number, name in enumerate(ODDITIES)}


@pytest.mark.parametrize("name", list(ODDITIES))
def test_an_oddity_is_answered_once_or_refused_with_a_reason(
    site: DhcpSite, heard: dict[str, int], name: str
) -> None:
    """What a client may send is answered once, whatever else is odd about it; the rest is logged."""
    oddity = ODDITIES[name]
    sent = 1 if name in ("a reply", "a message that servers send") else 0
    assert heard[name] == sent + oddity.answered
    if oddity.said:
        assert oddity.said in site.appliance.log()


def test_none_of_it_was_an_error_of_ours(site: DhcpSite, heard: dict[str, int]) -> None:
    """No exception that is not ours, and each kind of refusal is counted."""
    log = site.appliance.log()
    assert "dhcp_internal_error" not in log and "Traceback" not in log
    assert site.counted("dhcp_malformed") >= 5 and site.counted("dhcp_internal_error") == 0


def test_our_own_replies_come_back_and_are_no_foreign_server(site: DhcpSite) -> None:
    """A switch that reflects our OFFER to everybody, port 67 included: no answer, no report of a rogue."""
    mac = "52:54:00:96:02:01"
    with (
        site.machine("mirror", "52:54:00:96:02:02") as host,
        Voice(host.name) as voice,
        Ear(site.lab.name, BRIDGE) as ear,
    ):
        voice.say(frame(datagram(dhcp(mac, flags=0x8000))))
        offer = ear.wait_for("offer", mac)
        before = len(ear.heard())
        for port in (67, 68):
            again = IP(src=SERVER, dst="255.255.255.255") / UDP(sport=67, dport=port) / bytes(offer.bootp)
            voice.say(frame(again))
        voice.say(frame(datagram(dhcp("52:54:00:96:02:03"))))
        ear.wait_for("offer", "52:54:00:96:02:03")
        assert len(ear.heard()) == before + 4
    assert not re.search(r"rogue|another DHCP server|foreign", site.appliance.log())


def test_a_flood_of_refusals_does_not_fill_the_log(site: DhcpSite) -> None:
    """Two thousand bad datagrams of one sender: all counted, a handful of lines."""
    with site.machine("flood", "52:54:00:96:03:01") as host, Voice(host.name) as voice:
        before, lines = site.counted("dhcp_malformed"), len(site.appliance.log().splitlines())
        bad = frame(datagram(bytes(dhcp("52:54:00:96:03:01"))[:200]))
        voice.say(*[bad] * 2000)
        wait_until("all are counted", lambda: site.counted("dhcp_malformed") - before >= 2000, 20)
        assert len(site.appliance.log().splitlines()) - lines < 20
