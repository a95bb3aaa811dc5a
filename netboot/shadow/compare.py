"""What a foreign server answered beside what we would have: differences that an operator can judge.

What every server has of its own (its identifier, its lease times, what it echoes) is no difference.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.dhcp.readable import name_of, text_of
from netboot.dhcp.wire import Kind, Packet
from netboot.model.inventory import Network

THEIR_OWN = frozenset({51, 54, 58, 59})
"""Server identifier and lease times: each server's own."""

ECHOES = frozenset({61, 82, 97})
"""What goes back as the client said it, or does not."""

EXPECTED = (
    "not shown as differences: server identifier (54), lease times (51, 58, 59), echoes of what the client "
    "said (61, 82, 97), message size and layout, and how the boot file is written (43, 60, 66, 67, 150, 175)"
)
"""Said once to the operator."""

_PROTOCOL = frozenset({52, 53, 57})
_BOOT = frozenset({60, 66, 67, 150, 175})
_LAYOUT = frozenset({43})
"""Boot options whose absence there is ours to decide; one that they send and we do not is shown."""


class Verdict(enum.Enum):
    """How an exchange compares, best first."""

    AGREES = "agrees"
    UNANSWERED = "unanswered"
    """No server was heard."""
    UNKNOWN = "unknown"
    """The machine is declared nowhere, and we would leave it alone."""
    DIFFERS = "differs"


class How(enum.Enum):
    """In which way something differs."""

    DIFFERENT = "different"
    MISSING = "missing"  # they send it, we would not
    EXTRA = "extra"  # we would send it, they do not


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs, both sides as text; empty for nothing said."""

    what: str
    """`answer`, `address`, `boot file`, `boot server`, or the option as `6 domain-server`."""
    theirs: str
    ours: str
    how: How
    code: int | None = None
    """The option's code."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What an answer says about booting, wherever it says it."""

    file: str
    server: str


@dataclass(frozen=True, slots=True)
class Side:
    """One side's answer to one request."""

    packet: Packet | None
    """None: silence, or an answer that was not heard (`address` may be known all the same)."""
    address: IPv4Address | None
    boot: Boot
    own: frozenset[str]
    """Addresses under which this side is known: a boot server among them is itself."""

    @property
    def kind(self) -> Kind | None:
        """OFFER, ACK or NAK."""
        return self.packet.kind if self.packet else None


NOTHING = Boot("", "")


def side(packet: Packet | None, own: Iterable[str] = ()) -> Side:
    """A side from its message."""
    if packet is None:
        return Side(None, None, NOTHING, frozenset(own))
    named = packet.u32(54)
    names = frozenset((*own, *([str(IPv4Address(named))] if named else ())))
    return Side(packet, IPv4Address(packet.yiaddr) if packet.yiaddr else None, boot_of(packet), names)


def boot_of(packet: Packet) -> Boot:
    """File and server: from the header, else from options 67, 66 and 150."""
    said = packet.options
    file = packet.file or said.get(67, b"")
    server = str(IPv4Address(packet.siaddr)) if packet.siaddr else _words(said.get(66, b""))
    if not server and len(said.get(150, b"")) >= 4:
        server = str(IPv4Address(said[150][:4]))
    return Boot(_words(file), server or _words(packet.sname)) if file.strip(b"\0") else NOTHING


def _words(raw: bytes) -> str:
    return "".join(c if c.isprintable() else "?" for c in raw.rstrip(b"\0").decode("ascii", "replace"))


def differences(theirs: Side, ours: Side, network: Network | None) -> list[Difference]:
    """What differs between two answers to one request, the gravest first.

    Two addresses out of the network's ranges do not differ: dynamic here as there. In proxy mode we would
    only say what to boot.
    """
    if network is not None and network.mode == "proxy":
        return list(_boot(theirs, ours)) if ours.packet else []
    unheard = theirs.packet is None and theirs.address is not None
    if (theirs.kind is not ours.kind and not unheard) or (unheard and ours.address is None):
        return [_difference("answer", _answer(theirs), _answer(ours))]
    return [
        *_address(theirs.address, ours.address, network),
        *(_boot(theirs, ours) if theirs.packet else ()),
        *(_options(theirs.packet, ours.packet) if theirs.packet and ours.packet else ()),
    ]


def _answer(one: Side) -> str:
    if one.packet is None or one.kind is None:
        return f"{one.address}, not heard here" if one.address else "no answer"
    return f"{one.kind.name} {one.address}" if one.address else one.kind.name


def _difference(what: str, theirs: str, ours: str, code: int | None = None) -> Difference:
    how = How.MISSING if not ours else How.EXTRA if not theirs else How.DIFFERENT
    return Difference(what, theirs, ours, how, code)


def _address(
    theirs: IPv4Address | None, ours: IPv4Address | None, network: Network | None
) -> Iterator[Difference]:
    if theirs == ours or (network and is_dynamic(theirs, network) and is_dynamic(ours, network)):
        return
    yield _difference("address", str(theirs or ""), str(ours or ""))


def is_dynamic(address: IPv4Address | None, network: Network) -> bool:
    """Whether an address comes from the network's ranges."""
    return any(address in each for each in network.ranges)


def _boot(theirs: Side, ours: Side) -> Iterator[Difference]:
    if theirs.boot.file != ours.boot.file:
        yield _difference("boot file", theirs.boot.file, ours.boot.file)
    if not theirs.boot.file or not ours.boot.file or theirs.boot.server == ours.boot.server:
        return
    if not (theirs.boot.server in theirs.own and ours.boot.server in ours.own):
        yield _difference("boot server", theirs.boot.server, ours.boot.server)


def _options(theirs: Packet, ours: Packet) -> Iterator[Difference]:
    quiet = THEIR_OWN | ECHOES | _PROTOCOL | _BOOT
    for code in sorted({*theirs.options, *ours.options} - quiet):
        there, here = theirs.options.get(code), ours.options.get(code)
        if code in _LAYOUT and there is None:
            continue
        if _plain(code, there) != _plain(code, here):
            shown = ["" if raw is None else text_of(code, raw) for raw in (there, here)]
            yield _difference(name_of(code), shown[0], shown[1], code)


def _plain(code: int, raw: bytes | None) -> str | None:
    """A value without what does not count: a NUL at a text's end."""
    return None if raw is None else text_of(code, raw)


def verdict(found: Sequence[Difference], heard: bool, unknown: bool) -> Verdict:
    """What to say of a whole exchange; `heard`: some server answered, `unknown`: nobody declared the machine
    and we would be silent."""
    if unknown:
        return Verdict.UNKNOWN
    if not heard:
        return Verdict.UNANSWERED
    return Verdict.DIFFERS if found else Verdict.AGREES
