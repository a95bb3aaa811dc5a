"""Single events: a counter, a ring per machine, a log line, the live stream."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from netboot.events.redact import clean
from netboot.model.boot import Boot
from netboot.model.machine import Mac

log = logging.getLogger("netboot")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; `number` grows by one with each event of this process."""

    number: int
    at: float
    kind: str
    text: str
    mac: Mac | None = None
    address: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


Topic = tuple[str, Event | Boot]
"""What the live stream carries: ("event", Event) or ("boot", Boot)."""


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Journal:
    """Counters, a rate-limited log, a ring of events per machine, and subscribers of the live stream."""

    RING = 32
    MACHINES = 2000
    RECENT = 2000
    LINES_PER_SECOND = 100.0
    BURST = 1000.0
    """Log lines of one kind: per second in the long run, and at once."""
    REPEAT = 60.0
    """Seconds until the same refusal of the same source is worth a line again."""
    SOURCES = 4096
    REFUSED_PER_KIND = 20
    """Log lines of one kind of refusal in REPEAT seconds, whatever the number of sources."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._number = 0
        self._recent: deque[Event] = deque(maxlen=self.RECENT)
        self._rings: OrderedDict[Mac, deque[Event]] = OrderedDict()
        self._sources: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._kinds: dict[str, tuple[float, int]] = {}
        self._subscribers: set[asyncio.Queue[Topic]] = set()
        self._buckets: dict[str, tuple[float, float]] = {}

    def note(
        self,
        kind: str,
        text: str,
        *,
        mac: Mac | None = None,
        address: str | None = None,
        level: int = logging.INFO,
        ring: bool = True,
        **facts: object,
    ) -> None:
        """Record one event: counted, logged as one line, published, kept in the machine's ring."""
        self.counters[kind] += 1
        self._number += 1
        shown = {name: clean(str(value), 300) for name, value in facts.items() if value is not None}
        event = Event(self._number, self._clock(), kind, clean(text), mac, address, shown)
        self._keep(event, ring)
        self.publish(("event", event))
        if self._may_log(kind, event.at):
            log.log(level, "%s", line(event))

    def refused(self, kind: str, text: str, *, source: str) -> None:
        """Count a refusal; log it once per kind and source and minute, and few of a kind in all.

        `source` is a MAC, an address, or whatever else tells one cause from another.
        """
        now = self._clock()
        if self._first_in_a_while(kind, source[:64], now):
            mac = source if isinstance(source, Mac) else None
            address = source if is_address(source) else None
            self.note(kind, text, mac=mac, address=address, level=logging.WARNING, ring=False)
        else:
            self.counters[kind] += 1

    def events(self, mac: Mac | None = None, limit: int = 100) -> list[Event]:
        """The newest events, newest first: of one machine, or of all."""
        kept = self._rings.get(mac, deque()) if mac is not None else self._recent
        return [kept[-i] for i in range(1, min(limit, len(kept)) + 1)]

    def subscribe(self) -> asyncio.Queue[Topic]:
        """A queue that gets all that is published from now on; its oldest entries go when nobody reads it."""
        queue: asyncio.Queue[Topic] = asyncio.Queue(1000)
        self._subscribers.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[Topic]) -> None:
        """End a subscription."""
        self._subscribers.discard(queue)

    def publish(self, topic: Topic) -> None:
        """Hand one entry to every subscriber; never waits."""
        for queue in self._subscribers:
            if queue.full():
                queue.get_nowait()
                self.counters["stream_dropped"] += 1
            queue.put_nowait(topic)

    def _keep(self, event: Event, in_ring: bool) -> None:
        self._recent.append(event)
        if event.mac is None or not in_ring:
            return
        ring = self._rings.setdefault(event.mac, deque(maxlen=self.RING))
        ring.append(event)
        self._rings.move_to_end(event.mac)
        if len(self._rings) > self.MACHINES:
            self._rings.popitem(last=False)

    def _first_in_a_while(self, kind: str, source: str, now: float) -> bool:
        began, lines = self._kinds.get(kind, (0.0, 0))
        if now - began >= self.REPEAT:
            began, lines = now, 0
        logged = self._sources.get((kind, source), -self.REPEAT)
        fresh = now - logged >= self.REPEAT and lines < self.REFUSED_PER_KIND
        if fresh:
            self._sources[kind, source] = now
            self._sources.move_to_end((kind, source))
            self._kinds[kind] = (began, lines + 1)
            if len(self._sources) > self.SOURCES:
                self._sources.popitem(last=False)
        return fresh

    def _may_log(self, kind: str, now: float) -> bool:
        """A token bucket per kind: a storm must neither fill the log's disk nor silence other kinds."""
        tokens, at = self._buckets.get(kind, (self.BURST, now))
        tokens = min(self.BURST, tokens + max(0.0, now - at) * self.LINES_PER_SECOND)
        allowed = tokens >= 1
        self._buckets[kind] = (tokens - 1 if allowed else tokens, now)
        if not allowed:
            self.counters["log_lines_left_out"] += 1
        return allowed


def line(event: Event) -> str:
    """An event as one log line: kind, text, then key=value."""
    facts = {"mac": event.mac, "address": event.address, **event.facts}
    return " ".join([event.kind + ":", event.text, *(f"{k}={_quoted(v)}" for k, v in facts.items() if v)])


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[\s"=]', value) else value
