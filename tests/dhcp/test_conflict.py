"""Asking who uses an address: bounded, remembered, and never in anybody else's way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import pytest

from netboot.dhcp import conflict
from netboot.dhcp.conflict import Answer, Prober
from netboot.events import Journal
from netboot.model.machine import Mac

ONE, TWO = IPv4Address("10.77.0.100"), IPv4Address("10.77.0.101")
CARD = Mac("52:54:00:00:00:aa")


class Link:
    """A socket on which the test answers; a pipe stands for it."""

    def __init__(self) -> None:
        self.asked: list[IPv4Address] = []
        self.broken = False
        self._heard: list[tuple[IPv4Address, Mac | None]] = []
        self._reader, self._writer = os.pipe()

    def fileno(self) -> int:
        """See Asker."""
        return self._reader

    def ask(self, address: IPv4Address) -> None:
        """See Asker."""
        if self.broken:
            raise OSError(100, "Network is down")
        self.asked.append(address)

    def answers(self, most: int) -> Iterator[tuple[IPv4Address, Mac | None]]:
        """See Asker."""
        os.read(self._reader, most)
        heard, self._heard = self._heard, []
        yield from heard

    def hear(self, address: IPv4Address, mac: Mac | None = CARD) -> None:
        """Somebody answers."""
        self._heard.append((address, mac))
        os.write(self._writer, b"x")

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._reader)
        os.close(self._writer)


class Probing:
    """A running prober with a link eth1 and a way through routers."""

    def __init__(self) -> None:
        self.journal = Journal(lambda: 0.0)
        self.link, self.routed = Link(), Link()
        self.prober = Prober({"eth1": self.link}, self.routed, self.journal)


@pytest.fixture
async def probing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Probing]:
    """One that waits a tenth of its time."""
    monkeypatch.setattr(conflict, "WAIT", 0.03)
    async with run() as made:
        yield made


@asynccontextmanager
async def run() -> AsyncIterator[Probing]:
    """A prober that listens."""
    made = Probing()
    task = asyncio.create_task(made.prober.run())
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made.link.close()
        made.routed.close()


async def asked(probing: Probing, address: IPv4Address = ONE, link: str | None = "eth1") -> Answer | None:
    """Ask, which must be possible, and wait for the answer."""
    future = probing.prober.ask(address, link)
    assert future is not None
    return await asyncio.wait_for(future, 10)


async def test_silence_is_an_answer_after_two_questions(probing: Probing) -> None:
    """A link may lose one."""
    assert await asked(probing) is None
    assert probing.link.asked == [ONE, ONE] and probing.routed.asked == []


async def test_whoever_answers_is_named_at_once() -> None:
    """Without waiting for the rest of the time, which here would never end."""
    async with run() as probing:
        future = probing.prober.ask(ONE, "eth1")
        assert future is not None
        probing.link.hear(TWO)  # not asked for
        probing.link.hear(ONE)
        assert await asyncio.wait_for(future, 10) == Answer(CARD)


async def test_behind_a_router_only_the_answer_is_known(probing: Probing) -> None:
    """No link: the other way is asked."""
    future = probing.prober.ask(ONE, None)
    assert future is not None
    probing.routed.hear(ONE, None)
    assert await future == Answer(None)
    assert probing.link.asked == []


async def test_a_silent_address_is_not_asked_again_for_a_while(
    probing: Probing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client that retries is answered at once; later it is asked again."""
    await asked(probing)
    assert probing.prober.ask(ONE, "eth1") is None
    assert probing.journal.counters["dhcp_probes"] == 1
    probing.prober._silent[ONE] = 0.0
    assert probing.prober.ask(ONE, "eth1") is not None


async def test_two_who_ask_for_one_address_share_the_answer(probing: Probing) -> None:
    """A client repeats its DISCOVER while we wait."""
    first, second = probing.prober.ask(ONE, "eth1"), probing.prober.ask(ONE, "eth1")
    assert first is second is not None
    assert await first is None
    assert probing.link.asked == [ONE, ONE]


async def test_too_many_questions_at_once_are_not_asked(
    probing: Probing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offer leaves without, and is counted."""
    monkeypatch.setattr(conflict, "AT_ONCE", 1)
    assert probing.prober.ask(ONE, "eth1") is not None
    assert probing.prober.ask(TWO, "eth1") is None
    assert probing.journal.counters["dhcp_offered_unasked"] == 1


async def test_routers_are_spared(probing: Probing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer questions at once go through them; a link is asked all the same."""
    monkeypatch.setattr(conflict, "ROUTED_AT_ONCE", 1)
    first = probing.prober.ask(ONE, None)
    assert first is not None
    assert probing.prober.ask(TWO, None) is None
    assert probing.prober.ask(TWO, "eth1") is not None
    assert await first is None
    assert probing.prober.ask(IPv4Address("10.77.0.102"), None) is not None


async def test_a_link_that_is_down_or_unknown_is_not_waited_for(probing: Probing) -> None:
    """Counted; what was under way ends in time."""
    waiting = probing.prober.ask(TWO, "eth1")
    probing.link.broken = True
    assert probing.prober.ask(ONE, "eth1") is None
    assert probing.prober.ask(ONE, "eth9") is None
    assert waiting is not None and await waiting is None
    assert probing.journal.counters["dhcp_offered_unasked"] >= 2


async def test_who_waits_when_it_ends_is_let_go() -> None:
    """As for silence; before and afterwards nobody is asked."""
    async with run() as probing:
        future = probing.prober.ask(ONE, "eth1")
        assert future is not None
    assert future.done() and future.result() is None
    assert probing.prober.ask(ONE, "eth1") is None
    assert Prober({}, None, Journal(lambda: 0.0)).ask(ONE, "eth1") is None


async def test_silent_addresses_are_forgotten_in_the_end(
    probing: Probing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded."""
    monkeypatch.setattr(conflict, "REMEMBERED", 1)
    await asyncio.gather(asked(probing, ONE), asked(probing, TWO))
    assert list(probing.prober._silent) == [TWO]
