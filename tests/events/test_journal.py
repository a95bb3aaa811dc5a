"""Single events: counters, rings, log lines, subscribers."""

from __future__ import annotations

import logging

import pytest

from netboot.events import Journal, line
from netboot.model.machine import Mac
from tests.support.clock import Clock

MAC = Mac("52:54:00:00:00:01")


@pytest.fixture
def clock() -> Clock:
    """The journal's clock."""
    return Clock()


@pytest.fixture
def journal(clock: Clock, caplog: pytest.LogCaptureFixture) -> Journal:
    """A journal whose log lines are caught."""
    caplog.set_level(logging.INFO, "netboot")
    return Journal(clock)


def test_an_event_is_counted_kept_and_logged(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """One line: kind, text, then key=value, quoted where a value has blanks."""
    journal.note("dhcp_no_match", "left alone", mac=MAC, address="10.0.0.1", why="no pool here", pool=None)
    assert journal.counters == {"dhcp_no_match": 1}
    assert [e.text for e in journal.events(MAC)] == ["left alone"]
    assert caplog.messages == [
        'dhcp_no_match: left alone mac=52:54:00:00:00:01 address=10.0.0.1 why="no pool here"'
    ]


def test_secrets_and_control_characters_stay_out(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """Neither text nor facts carry them, in the ring or in the log."""
    journal.note("odd", "Bearer abcdefghijk\nforged line", mac=MAC, token="abcdef.0123456789abcdef")
    kept = journal.events(MAC)[0]
    for text in (kept.text + kept.facts["token"], *caplog.messages):
        assert "abcdefghijk" not in text and "0123456789abcdef" not in text and "\n" not in text


def test_events_come_newest_first_and_are_bounded(journal: Journal) -> None:
    """A machine's ring holds its last events, whatever happens to others."""
    for number in range(Journal.RING + 5):
        journal.note("odd", str(number), mac=MAC)
    found = journal.events(MAC, limit=1000)
    assert len(found) == Journal.RING
    assert found[0].text == str(Journal.RING + 4)
    assert len(journal.events(limit=3)) == 3
    assert journal.events(Mac("52:54:00:00:00:99")) == []


def test_memory_is_bounded_whoever_talks(journal: Journal) -> None:
    """Invented machines push out the oldest, and invented sources too."""
    for number in range(Journal.MACHINES + 100):
        journal.note("odd", "x", mac=Mac.from_bytes(number.to_bytes(6, "big")))
    for number in range(Journal.SOURCES * 2):
        journal.refused("bad", "x", source=str(number))
    assert len(journal._rings) == Journal.MACHINES
    assert len(journal._sources) <= Journal.SOURCES


def test_a_refusal_tells_the_address_or_the_mac_that_it_is_about(journal: Journal) -> None:
    """Whatever else tells one cause from another is neither."""
    mac = Mac("52:54:00:00:00:01")
    for source in ("10.0.0.1", "fe80::1", mac, "eth0", ""):
        journal.refused("bad", "x", source=source)
    told = [(event.address, event.mac) for event in reversed(journal.events())]
    assert told == [("10.0.0.1", None), ("fe80::1", None), (None, mac), (None, None), (None, None)]


def test_a_refusal_is_counted_always_and_logged_once_a_minute(
    journal: Journal, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Per kind and source."""
    for _ in range(50):
        journal.refused("tftp_refused", "outside of the tree", source="10.0.0.1")
    journal.refused("tftp_refused", "outside of the tree", source="10.0.0.2")
    assert journal.counters["tftp_refused"] == 51
    assert len(caplog.messages) == 2
    clock.now += Journal.REPEAT
    journal.refused("tftp_refused", "outside of the tree", source="10.0.0.1")
    assert len(caplog.messages) == 3


def test_a_thousand_forged_sources_are_few_lines(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """All of them are counted."""
    for number in range(1000):
        journal.refused("dhcp_malformed", "no message", source=f"10.0.{number // 256}.{number % 256}")
    assert journal.counters["dhcp_malformed"] == 1000
    assert len(caplog.messages) == Journal.REFUSED_PER_KIND


def test_a_storm_of_one_kind_neither_fills_the_log_nor_silences_others(
    journal: Journal, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A burst goes through, the rest is only counted; other kinds have their own measure."""
    for _ in range(int(Journal.BURST) + 500):
        journal.note("storm", "x")
    assert len(caplog.messages) == Journal.BURST
    assert journal.counters["log_lines_left_out"] == 500
    journal.note("other", "y")
    clock.now += 1
    journal.note("storm", "x")
    assert len(caplog.messages) == Journal.BURST + 2


async def test_subscribers_get_what_happens_from_now_on(journal: Journal) -> None:
    """Until they leave; the one that does not read loses the oldest, and delays nobody."""
    journal.note("odd", "before")
    queue = journal.subscribe()
    journal.note("odd", "after")
    topic, event = queue.get_nowait()
    assert topic == "event" and event == journal.events()[0]
    for _ in range(queue.maxsize + 10):
        journal.note("odd", "flood")
    assert queue.full() and journal.counters["stream_dropped"] == 10
    journal.unsubscribe(queue)
    while not queue.empty():
        queue.get_nowait()
    journal.note("odd", "gone")
    assert queue.empty()


def test_a_line_has_no_empty_facts(journal: Journal) -> None:
    """What is not known is not said."""
    journal.note("odd", "text")
    assert line(journal.events()[0]) == "odd: text"
