"""Findings as lines for a terminal, as JSON, and in sum. A line is a row of (text, style) spans."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from itertools import pairwise

from netboot.model.machine import Mac
from netboot.shadow.assess import Compared, Finding, who
from netboot.shadow.compare import EXPECTED, Difference, Side, Verdict

Span = tuple[str, str]
Line = tuple[Span, ...]
"""Texts with their styles: good, bad, warn, dim, strong, or empty for none."""

STYLES = {
    Verdict.AGREES: ("good", "✓", "+"),
    Verdict.DIFFERS: ("bad", "✗", "x"),
    Verdict.UNKNOWN: ("warn", "?", "?"),
    Verdict.UNANSWERED: ("dim", "·", "."),
}
"""The style of a verdict, its mark, and its mark in ASCII."""

MACHINES = 50_000
"""Machines counted; the one heard of longest ago goes for one more."""

_INDENT = " " * 10
_WHAT, _VALUE = 22, 34


class Summary:
    """What all findings come to."""

    def __init__(self) -> None:
        self.exchanges: Counter[Verdict] = Counter()
        self.topics: Counter[str] = Counter()
        self.servers: Counter[str] = Counter()
        self._machines: OrderedDict[Mac, Verdict] = OrderedDict()

    def take(self, finding: Finding) -> None:
        """Count one; a machine counts once, by the worst that was found of it."""
        self.exchanges[finding.verdict] += 1
        if finding.verdict is Verdict.DIFFERS:
            self.topics.update(d.what for d in finding.differences)
        for server in finding.servers if len(self.servers) < 100 else ():
            self.servers[server] += 1
        mac = finding.client.mac
        before = self._machines.get(mac, Verdict.AGREES)
        first = mac not in self._machines
        self._machines[mac] = (
            finding.verdict if first else max(before, finding.verdict, key=_RANK.__getitem__)
        )
        self._machines.move_to_end(mac)
        if len(self._machines) > MACHINES:
            self._machines.popitem(last=False)

    @property
    def machines(self) -> Counter[Verdict]:
        """Machines by verdict."""
        return Counter(self._machines.values())

    def lines(self, skipped: Mapping[str, int], proposed: int) -> Iterator[Line]:
        """The end of a report."""
        yield ()
        yield (("summary", "strong"),)
        machines = self.machines
        yield _counted("machines", machines, machines.total())
        yield _counted("exchanges", self.exchanges, self.exchanges.total())
        for what, counts in (("answered by", self.servers), ("differing", self.topics)):
            named = ", ".join(f"{name} ({count})" for name, count in counts.most_common(12))
            for number, part in enumerate(_wrapped(named, 84) if named else ()):
                yield ((f"  {'' if number else what:<12}", "dim"), (part, ""))
        for reason, count in sorted(skipped.items()):
            yield ((f"  {'left out':<12}", "dim"), (f"{count} {reason}", ""))
        if proposed:
            yield ((f"  {'undeclared':<12}", "dim"), (f"{proposed}, proposed as nodes", ""))
        for part in _wrapped(EXPECTED, 96):
            yield ((f"  {part}", "dim"),)

    def data(self, skipped: Mapping[str, int]) -> dict[str, object]:
        """The same for machines."""
        return {
            "machines": {v.value: self.machines[v] for v in Verdict},
            "exchanges": {v.value: self.exchanges[v] for v in Verdict},
            "servers": dict(self.servers),
            "differing": dict(self.topics),
            "left_out": dict(skipped),
        }


_RANK = {Verdict.UNANSWERED: 0, Verdict.AGREES: 1, Verdict.UNKNOWN: 2, Verdict.DIFFERS: 3}
_WORDS = {
    Verdict.AGREES: "agree",
    Verdict.DIFFERS: "differ",
    Verdict.UNKNOWN: "unknown to us",
    Verdict.UNANSWERED: "unanswered",
}


def _counted(what: str, counts: Mapping[Verdict, int], total: int) -> Line:
    spans: list[Span] = [(f"  {what:<12}", "dim"), (f"{total} seen", "")]
    for verdict, word in _WORDS.items():
        if counts.get(verdict):
            spans += [(", ", ""), (f"{counts[verdict]} {word}", STYLES[verdict][0])]
    return tuple(spans)


def lines(finding: Finding, *, fancy: bool = True) -> Iterator[Line]:
    """One finding: who, the verdict, what was said by whom, and a table of what differs."""
    style, mark, plain = STYLES[finding.verdict]
    machine = f"{finding.name or 'unknown'}, {who(finding.client)}"
    yield (
        (f"{_clock(finding.at)}  ", "dim"),
        (f"{mark if fancy else plain} ", style),
        (f"{finding.client.mac}  ", "strong"),
        (machine, ""),
        (f"  {_verdict(finding, 100 - 33 - len(machine))}", style),
    )
    for turn in finding.turns:
        yield from _turn(turn, finding, fancy)
    if finding.verdict is Verdict.DIFFERS:
        server = finding.servers[0] if finding.servers else "they"
        yield _row("", f"{server} says", "netboot would say", ("dim", "dim", "dim"))
        for difference in finding.differences:
            yield from _difference(difference)
    if why := _reason(finding):
        yield from (((_INDENT + part, "warn"),) for part in _wrapped(why, 88))


def _verdict(finding: Finding, room: int) -> str:
    if finding.verdict is Verdict.DIFFERS:
        return "differs: " + _few([d.what for d in finding.differences], room - 9)
    if finding.verdict is Verdict.UNKNOWN:
        return "unknown: we would leave it alone"
    if finding.verdict is Verdict.UNANSWERED:
        ours = any(turn.ours.packet for turn in finding.turns)
        return "nobody answers" + ("; netboot would" if ours else ", nor would netboot")
    return "agrees"


def _few(words: Sequence[str], room: int) -> str:
    """As many words as there is room for, and how many more there are."""
    each = list(dict.fromkeys(words))
    for count in range(len(each), 0, -1):
        more = f" and {len(each) - count} more" if count < len(each) else ""
        if len(text := ", ".join(each[:count]) + more) <= room or count == 1:
            return text
    return ""


def _turn(turn: Compared, finding: Finding, fancy: bool) -> Iterator[Line]:
    arrow = "→" if fancy else "->"
    times = f" x{turn.tries}" if turn.tries > 1 else ""
    said = ", ".join(_said(server, kind, address) for server, kind, address in turn.answers[:4])
    if not said:
        unheard = turn.theirs.address is not None
        said = f"not heard here; {_who(turn.theirs)} gave {turn.theirs.address}" if unheard else "no answer"
    ours = turn.ours
    mine = f"{ours.kind.name} {ours.address or ''}".strip() if ours.kind else "no answer"
    if finding.dynamic and ours.address is not None:
        mine += " (dynamic)"
    yield ((f"{_INDENT}{turn.kind.name}{times} {arrow} {said}", ""), (f"   netboot: {mine}", "dim"))


def _said(server: IPv4Address, kind: str, address: IPv4Address | None) -> str:
    return f"{kind} {address} by {server}" if address else f"{kind} by {server}"


def _who(there: Side) -> str:
    return next(iter(sorted(there.own)), "a server")


def _difference(difference: Difference) -> Iterator[Line]:
    what, theirs, ours = difference.what, difference.theirs or "-", difference.ours or "-"
    styles = ("", "bad" if difference.theirs else "dim", "good" if difference.ours else "dim")
    if len(theirs) < _VALUE and len(ours) <= _VALUE:
        yield _row(what, theirs, ours, styles)
        return
    for first, value, style in ((what, theirs, styles[1]), ("", ours, styles[2])):
        whose = "theirs " if first else "ours   "
        for number, part in enumerate(_cut(value, 100 - len(_INDENT) - _WHAT - 7)):
            head = f"{_INDENT}{first if not number else '':<{_WHAT}}"
            yield ((head, ""), (whose if not number else " " * 7, "dim"), (part, style))


def _row(what: str, theirs: str, ours: str, styles: Sequence[str]) -> Line:
    return (
        (f"{_INDENT}{what:<{_WHAT}}", styles[0]),
        (f"{theirs:<{_VALUE}}", styles[1]),
        (ours, styles[2]),
    )


def _reason(finding: Finding) -> str:
    """Why we would be silent or refuse where they do not."""
    if finding.verdict is Verdict.UNKNOWN:
        return finding.why
    silent = (turn for turn in finding.turns if any(d.what == "answer" for d in turn.differences))
    return next((turn.reason for turn in silent if turn.reason), "")


def _clock(at: float) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(at)) if at else "--:--:--"
    except (OverflowError, ValueError, OSError):  # a capture may claim any time
        return "--:--:--"


def _cut(text: str, width: int) -> list[str]:
    return [text[i : i + width] for i in range(0, len(text), width)][:8]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words."""
    ends, column = [0], 0
    words = text.split(" ")
    for number, word in enumerate(words):
        column += len(word) + 1
        if column > width + 1 and number:
            ends.append(number)
            column = len(word) + 1
    return [" ".join(words[a:b]) for a, b in pairwise([*ends, len(words)])]


def data(finding: Finding) -> dict[str, object]:
    """A finding as one JSON object."""
    client = finding.client
    return {
        "at": finding.at,
        "interface": finding.interface,
        "mac": client.mac,
        "uuid": client.uuid,
        "who": who(client),
        "vendor_class": client.vendor_class,
        "giaddr": None if client.giaddr is None else str(client.giaddr),
        "name": finding.name or None,
        "why": finding.why,
        "declared": finding.declared,
        "network": finding.network.name if finding.network else None,
        "verdict": finding.verdict.value,
        "dynamic": finding.dynamic,
        "turns": [_turn_data(turn) for turn in finding.turns],
        "differences": [_difference_data(d) for d in finding.differences],
    }


def _turn_data(turn: Compared) -> dict[str, object]:
    return {
        "request": turn.kind.name,
        "tries": turn.tries,
        "answers": [
            {"server": str(server), "kind": kind, "address": None if address is None else str(address)}
            for server, kind, address in turn.answers
        ],
        "theirs": _side_data(turn.theirs),
        "ours": _side_data(turn.ours),
        "reason": turn.reason or None,
    }


def _side_data(side: Side) -> dict[str, object]:
    return {
        "kind": side.kind.name if side.kind else None,
        "address": None if side.address is None else str(side.address),
        "boot_file": side.boot.file or None,
        "boot_server": side.boot.server or None,
    }


def _difference_data(difference: Difference) -> dict[str, object]:
    return {
        "what": difference.what,
        "code": difference.code,
        "how": difference.how.value,
        "theirs": difference.theirs or None,
        "ours": difference.ours or None,
    }
