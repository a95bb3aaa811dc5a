"""Replies of one turn of the event loop leave together, and none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address

from netboot.dhcp.burst import Burst
from netboot.dhcp.engine import Reply
from netboot.dhcp.route import BROADCAST, Destination, LinkLayer, Unicast
from netboot.dhcp.wire import Kind
from netboot.model.machine import Mac

OURS = IPv4Address("10.77.0.1")
CARD = LinkLayer(Mac("52:54:00:00:00:01"), IPv4Address("10.77.0.9"))


class Link:
    """Keeps what is sent, in order; a datagram to 192.0.2.1 and a broadcast fail where it is `down`."""

    def __init__(self, down: bool = False) -> None:
        self.name, self.down = "eth0", down
        self.sent: list[object] = []

    def unicast(self, payload: bytes, host: str, port: int, source: IPv4Address) -> None:
        """One."""
        self.sent.append(payload)

    def unicasts(self, datagrams: Sequence[tuple[bytes, str, int]], source: IPv4Address) -> list[OSError]:
        """Many."""
        lost = [each for each in datagrams if self.down and each[1] == "192.0.2.1"]
        self.sent.append([payload for payload, *_ in datagrams if (payload, *_) not in lost])
        return [OSError("no route")] * len(lost)

    def frame(self, payload: bytes, mac: Mac, to: IPv4Address, source: IPv4Address) -> None:
        """A frame."""
        self.sent.append((mac, payload))

    def broadcast(self, payload: bytes, source: IPv4Address) -> None:
        """To all."""
        if self.down:
            raise OSError("network is down")
        self.sent.append(("all", payload))


def reply(payload: bytes, where: Destination | None = None) -> Reply:
    """A reply, to a relay agent where nothing else is said."""
    to = where or Unicast("10.77.0.2", 67)
    return Reply(Kind.OFFER, payload, to, IPv4Address("10.77.0.9"), None, "")


def never(interface: str, error: OSError) -> None:
    """Nothing may fail."""
    raise AssertionError(f"{interface}: {error}")


async def test_the_first_reply_of_a_turn_leaves_at_once() -> None:
    """A single reply never waits for others that may come."""
    link = Link()
    Burst(never).send(reply(b"offer"), OURS, link)
    assert link.sent == [b"offer"]


async def test_further_replies_of_a_turn_leave_at_its_end_together() -> None:
    """What is decided in one turn is sent in a row, datagrams by one call; the next turn starts anew."""
    link, burst = Link(), Burst(never)
    burst.hold()
    burst.hold()
    for each in (reply(b"1"), reply(b"2", CARD), reply(b"3"), reply(b"4", BROADCAST)):
        burst.send(each, OURS, link)
    assert link.sent == []
    await asyncio.sleep(0)
    assert link.sent == [(CARD.mac, b"2"), ("all", b"4"), [b"1", b"3"]]
    burst.send(reply(b"5"), OURS, link)
    assert link.sent[-1] == b"5"


async def test_a_reply_that_cannot_be_sent_keeps_no_other_back() -> None:
    """What is lost is reported by the interface's name; the replies beside it leave."""
    told: list[str] = []
    link, burst = Link(down=True), Burst(lambda interface, error: told.append(f"{interface}: {error}"))
    burst.hold()
    for each in (
        reply(b"1", BROADCAST),
        reply(b"2", Unicast("192.0.2.1", 67)),
        reply(b"3"),
        reply(b"4", CARD),
    ):
        burst.send(each, OURS, link)
    await asyncio.sleep(0)
    assert told == ["eth0: network is down", "eth0: no route"]
    assert link.sent == [(CARD.mac, b"4"), [b"3"]]
