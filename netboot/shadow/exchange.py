"""Who talks with whom: datagrams become exchanges, by transaction and card (RFC 2131 section 4.1).

An exchange is one client's DISCOVER, the OFFERs of every server, its REQUEST and what that was answered;
or the REQUEST alone of a client that has its address already. Memory is bounded whatever is heard.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from netboot.dhcp.wire import Kind, Op, Packet, decode
from netboot.errors import MalformedPacket
from netboot.shadow.frame import Datagram

SETTLED = 1.0
"""Seconds after an ACK or NAK in which another server may still contradict it."""

PATIENCE = 10.0
"""Seconds of silence after which an exchange is over that got no further: firmware asks again every 4 s."""

MOST = 10_000
"""Exchanges under way at once; the oldest is closed for one more."""

BOOT_SERVER_PORT = 4011

_LOOK_EVERY = 0.25
"""Seconds between looks for what is over."""

MOST_ANSWERS = 16
"""Answers kept of one exchange: a storm of replies tells nothing new."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    at: float
    server: IPv4Address
    """Its identifier (option 54), else where the datagram came from."""
    port: int
    """The port that it came from: 4011 is a boot server's."""
    packet: Packet

    @property
    def kind(self) -> Kind | None:
        """OFFER, ACK or NAK."""
        return self.packet.kind


@dataclass(slots=True)
class Turn:
    """A request of a client and everything that was answered to it."""

    at: float
    request: Datagram
    packet: Packet
    kind: Kind
    tries: int = 1
    answers: list[Answer] = field(default_factory=list)


@dataclass(slots=True)
class Exchange:
    """What one client and its servers said in one transaction."""

    interface: str
    turns: list[Turn]
    last: float
    boot_server: bool = False
    """Whether it is a client's talk with a boot server on port 4011 (PXE 2.1 section 2.2.4)."""

    @property
    def started(self) -> float:
        """When the client began."""
        return self.turns[0].at

    @property
    def wants_no_answer(self) -> bool:
        """Whether the client only told something: RELEASE, DECLINE."""
        return self.turns[0].kind in (Kind.RELEASE, Kind.DECLINE)

    @property
    def settled(self) -> bool:
        """Whether the client knows what it has: an ACK or NAK came, or it wanted no answer."""
        answers = (answer.kind for answer in self.turns[-1].answers)
        return self.wants_no_answer or any(kind in (Kind.ACK, Kind.NAK) for kind in answers)

    def turn(self, kind: Kind) -> Turn | None:
        """The turn that this kind of request opened."""
        return next((turn for turn in self.turns if turn.kind is kind), None)


_Key = tuple[str, int, bytes, int, bool]

_ASKED_BY = {Kind.OFFER: (Kind.DISCOVER,), Kind.ACK: (Kind.REQUEST, Kind.INFORM), Kind.NAK: (Kind.REQUEST,)}
"""Which requests an answer may belong to."""


class Exchanges:
    """Datagrams in, exchanges that are over out. Time is that of the datagrams."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self._open: OrderedDict[_Key, Exchange] = OrderedDict()
        self._looked = 0.0
        self._relayed: OrderedDict[tuple[int, bytes], None] = OrderedDict()
        """Transactions that a relay agent handed on: what the client's own link shows of them is a copy."""

    def hear(self, datagram: Datagram) -> Iterator[Exchange]:
        """Take one datagram in; the exchanges that are over by then."""
        if not 0 <= datagram.at - self._looked < _LOOK_EVERY:
            self._looked = datagram.at
            yield from self.over(datagram.at)
        try:
            packet = decode(datagram.payload)
        except MalformedPacket:
            self.skipped["datagrams on DHCP's ports that are no DHCP message"] += 1
            return
        if packet.kind is None:
            self.skipped["BOOTP, and messages of unknown types"] += 1
            return
        where = "/".join((datagram.interface, *map(str, datagram.vlans)))
        boot_server = BOOT_SERVER_PORT in (datagram.port, datagram.source_port)
        key = (where, packet.xid, packet.chaddr, packet.giaddr, boot_server)
        if packet.giaddr:
            self._hand_on(packet)
        if packet.op == Op.REQUEST:
            yield from self._asked(key, datagram, packet, packet.kind)
        else:
            self._answered(key, datagram, packet, packet.kind)

    def over(self, now: float) -> Iterator[Exchange]:
        """The exchanges that nothing more belongs to; they are forgotten."""
        for key, exchange in list(self._open.items()):
            if now - exchange.last < SETTLED:
                break  # they stand in the order of their last word
            if now - exchange.last >= (SETTLED if exchange.settled else PATIENCE):
                yield from self._close(key)

    def end(self) -> Iterator[Exchange]:
        """Everything that is still under way."""
        while self._open:
            yield from self._close(next(iter(self._open)))

    def _close(self, key: _Key) -> Iterator[Exchange]:
        exchange = self._open.pop(key)
        _, xid, chaddr, giaddr, _ = key
        if not giaddr and (xid, chaddr) in self._relayed:
            self.skipped["exchanges that were heard on the client's link and from its relay agent"] += 1
        else:
            yield exchange

    def _hand_on(self, packet: Packet) -> None:
        self._relayed[packet.xid, packet.chaddr] = None
        if len(self._relayed) > MOST:
            self._relayed.popitem(last=False)

    def _asked(self, key: _Key, datagram: Datagram, packet: Packet, kind: Kind) -> Iterator[Exchange]:
        turn = Turn(datagram.at, datagram, packet, kind)
        exchange = self._open.get(key)
        if exchange is not None and exchange.turns[-1].kind is kind and not exchange.settled:
            exchange.turns[-1].tries += 1
        elif exchange is not None and kind is Kind.REQUEST and exchange.turns[-1].kind is Kind.DISCOVER:
            exchange.turns.append(turn)
        else:
            if exchange is not None:
                yield from self._close(key)
            exchange = self._open[key] = Exchange(datagram.interface, [turn], datagram.at, key[4])
        self._touch(key, exchange, datagram.at)
        if len(self._open) > MOST:
            yield from self._close(next(iter(self._open)))

    def _answered(self, key: _Key, datagram: Datagram, packet: Packet, kind: Kind) -> None:
        exchange = self._open.get(key)
        turns = exchange.turns if exchange else ()
        turn = next((t for t in reversed(turns) if t.kind in _ASKED_BY.get(kind, ())), None)
        if exchange is None or turn is None:
            self.skipped["answers to requests that were not heard"] += 1
            return
        named = packet.u32(54)
        server = IPv4Address(named) if named else datagram.source
        if len(turn.answers) < MOST_ANSWERS:
            turn.answers.append(Answer(datagram.at, server, datagram.source_port, packet))
        self._touch(key, exchange, datagram.at)

    def _touch(self, key: _Key, exchange: Exchange, at: float) -> None:
        exchange.last = max(at, exchange.last)
        self._open.move_to_end(key)
