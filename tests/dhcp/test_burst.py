"""Replies of one turn of the event loop leave together, and none is forgotten."""

from __future__ import annotations

import asyncio
import functools

from netboot.dhcp.burst import Burst


def failing(*_: object) -> None:
    """A send that fails."""
    raise OSError("network is down")


async def test_the_first_reply_of_a_turn_leaves_at_once() -> None:
    """A single reply never waits for others that may come."""
    sent: list[str] = []
    Burst(failing).send("eth0", functools.partial(sent.append, "offer"))
    assert sent == ["offer"]


async def test_further_replies_of_a_turn_leave_at_its_end_in_order() -> None:
    """What is decided in one turn is sent in a row, and the next turn starts anew."""
    sent: list[str] = []
    burst = Burst(failing)
    burst.hold()
    burst.hold()
    for name in ("first", "second"):
        burst.send("eth0", functools.partial(sent.append, name))
    assert sent == []
    await asyncio.sleep(0)
    assert sent == ["first", "second"]
    burst.send("eth0", functools.partial(sent.append, "third"))
    assert sent == ["first", "second", "third"]


async def test_a_reply_that_cannot_be_sent_keeps_no_other_back() -> None:
    """One interface that is down is reported by its name; the replies behind it leave."""
    told: list[str] = []
    sent: list[str] = []
    burst = Burst(lambda interface, error: told.append(f"{interface}: {error}"))
    burst.hold()
    burst.send("eth0", failing)
    burst.send("eth1", functools.partial(sent.append, "ack"))
    await asyncio.sleep(0)
    assert (told, sent) == (["eth0: network is down"], ["ack"])
