"""`netboot probe`: a simulated client against a live DHCP server: each answer, and whether it would boot."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import IPv4Address
from uuid import UUID

from netboot.cli import Subparsers
from netboot.cli.client import fancy
from netboot.cli.paint import Line, painter
from netboot.errors import StartError
from netboot.model.machine import Mac
from netboot.probe.card import Card, Relay
from netboot.probe.clients import GUISES, Machine
from netboot.probe.course import Course, Step, Wishes, run

_MARKS = {True: ("good", "✓", "+"), False: ("bad", "✗", "x"), None: ("warn", "·", ".")}
_MARGIN = 27
"""Columns before a step's text."""

_SHOWN = 16
"""Lines of a script that are shown."""


def register(verbs: Subparsers) -> None:
    """Add the verb."""
    text = "ask a live DHCP server as firmware does, load what it says, and tell whether a machine would boot"
    more = (
        ". Takes no lease: it stops after the OFFER, and with --request it gives the address back. It sends"
        " only on the interface (or from the relay address) that you name; files are loaded from this host's"
        " own address. Exit status 0: every client would boot; 1: one would not; 2: it cannot be tried."
    )
    parser = verbs.add_parser("probe", help=text, description=text + more)
    parser.add_argument("--interface", metavar="IF", help="the link that the machine would be on")
    parser.add_argument(
        "--relay", type=_ipv4, metavar="GIADDR", help="be a relay agent with this own address"
    )
    parser.add_argument("--server", type=_ipv4, metavar="IP", help="the server that the relay agent asks")
    parser.add_argument(
        "--as",
        dest="guises",
        action="append",
        choices=(*GUISES, "all"),
        help="what kind of client, several times if you like (default: all)",
    )
    parser.add_argument(
        "--mac", type=_mac, help="whose MAC to say (default: a random one, which nobody declared)"
    )
    parser.add_argument(
        "--request", action="store_true", help="take the address, too; it is given back (RELEASE)"
    )
    parser.add_argument("--timeout", type=_seconds, default=8.0, help="seconds for each step (default: 8)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.set_defaults(run=run_probe)


def run_probe(args: argparse.Namespace) -> int:
    """Every wanted client, one after another; 0 only where all would boot."""
    guises = _guises(args)
    mac = args.mac or _random_mac()
    wishes = Wishes(args.timeout, args.request, lambda: secrets.randbits(32))
    show = _Json() if args.output == "json" else _Text()
    show.opened(_opening(args, mac))
    uuid = UUID(bytes=secrets.token_bytes(16), version=4)
    courses = []
    for guise in guises:
        machine = _machine(guise, args, mac, uuid)
        with closing(_mouth(machine, args)) as mouth:
            course = run(machine, mouth, wishes)
        show.course(course)
        courses.append(course)
    show.closed(mac, courses)
    return 0 if all(course.boots for course in courses) else 1


def _guises(args: argparse.Namespace) -> list[str]:
    """The clients to try. Raises StartError where it is not said where to send."""
    if args.interface is None and args.relay is None:
        raise StartError(
            "probe is not told where to send", "Name --interface IF, or --relay GIADDR --server IP"
        )
    if (args.relay is None) != (args.server is None):
        raise StartError("--relay and --server belong together", "Name both, or neither")
    wanted = args.guises or ["all"]
    if "all" in wanted:
        wanted = [name for name in GUISES if name != "relayed" or args.relay]
    if "relayed" in wanted and args.relay is None:
        raise StartError("a relayed client needs a relay agent's address", "Add --relay GIADDR --server IP")
    return list(dict.fromkeys(wanted))


def _machine(guise: str, args: argparse.Namespace, mac: Mac, uuid: UUID) -> Machine:
    """The machine in one guise. No card is at two places: beside clients on a link the relayed is another."""
    if not _is_relayed(guise, args):
        return Machine(GUISES[guise], mac, uuid)
    if args.interface is not None:
        mac, uuid = _random_mac(), UUID(bytes=secrets.token_bytes(16), version=4)
    return Machine(GUISES[guise], mac, uuid, args.relay)


def _is_relayed(guise: str, args: argparse.Namespace) -> bool:
    return guise == "relayed" or args.interface is None


def _mouth(machine: Machine, args: argparse.Namespace) -> Card | Relay:
    return Relay(machine.giaddr, args.server) if machine.giaddr else Card(args.interface, machine.mac)


def _random_mac() -> Mac:
    """A locally administered address, of nobody's."""
    return Mac.from_bytes(b"\x02" + secrets.token_bytes(5))


def _opening(args: argparse.Namespace, mac: Mac) -> str:
    where = [f"on {args.interface}"] if args.interface else []
    where += [f"as relay agent {args.relay} of {args.server}"] if args.relay else []
    whose = "" if args.mac else " (random, nobody's; --mac asks as a machine of yours)"
    return f"probing {' and '.join(where)} as {mac}{whose}"


class _Text:
    """For people."""

    def __init__(self) -> None:
        self._paint = painter()
        self._fancy = fancy()

    def opened(self, text: str) -> None:
        """The first line."""
        self._paint(((text, "dim"),))

    def course(self, course: Course) -> None:
        """One client."""
        for line in lines(course, fancy=self._fancy):
            self._paint(line)

    def closed(self, mac: Mac, courses: list[Course]) -> None:
        """A table, where there was more than one client."""
        if len(courses) < 2:
            return
        self._paint(())
        for course in courses:
            style, mark, plain = _MARKS[course.boots]
            name = (f"{course.machine.guise.name:<11}", "strong")
            said = "would boot" if course.boots else "does not boot"
            self._paint(
                (
                    (f"{mark if self._fancy else plain} ", style),
                    name,
                    (f"{said:<15}", style),
                    (course.verdict, ""),
                )
            )


class _Json:
    """For machines: one document."""

    def opened(self, text: str) -> None:
        """Nothing to say."""

    def course(self, course: Course) -> None:
        """Kept for the end."""

    def closed(self, mac: Mac, courses: list[Course]) -> None:
        """Everything."""
        each = [_data(course) for course in courses]
        print(json.dumps({"mac": mac, "boots": all(c.boots for c in courses), "clients": each}, indent=2))


def lines(course: Course, *, fancy: bool = True) -> Iterator[Line]:
    """One client's course: its steps, then the verdict."""
    yield ()
    yield ((course.machine.guise.label, "strong"),)
    for step in course.steps:
        yield from _step(step, fancy)
    style = _MARKS[course.boots][0]
    yield (("  would boot: " if course.boots else "  does not boot: ", style), (course.verdict, ""))


def _step(step: Step, fancy: bool) -> Iterator[Line]:
    style, mark, plain = _MARKS[step.good]
    took = "" if step.took is None else _took(step.took)
    first, *more = _cut(step.text)
    yield ((f"  {mark if fancy else plain} ", style), (f"{step.name:<12}{took:>9}  ", "dim"), (first, ""))
    yield from (((f"{'':{_MARGIN}}{part}", ""),) for part in more)
    for row in _rows(step):
        yield ((f"{'':{_MARGIN}}{row}", "dim"),)


def _rows(step: Step) -> list[str]:
    """A step's details: values below each other, scripts without their comments."""
    rows = [row for row in step.details if row.strip() and not row.startswith("# ")]
    if step.name in ("offer", "ack"):
        pairs = [row.partition("  ") for row in rows]
        width = max((len(name) for name, _, _ in pairs), default=0)
        rows = [f"{name:<{width}}  {value}" for name, _, value in pairs]
    cut = [part for row in rows for part in _cut(row)]
    left_out = [f"... {len(cut) - _SHOWN} more lines"] if len(cut) > _SHOWN else []
    return cut[:_SHOWN] + left_out


def _cut(text: str) -> list[str]:
    """Lines that a terminal of a hundred columns holds."""
    width = 100 - _MARGIN
    return [text[i : i + width] for i in range(0, len(text), width)][:_SHOWN] or [""]


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _data(course: Course) -> dict[str, object]:
    return {
        "as": course.machine.guise.name,
        "boots": course.boots,
        "verdict": course.verdict,
        "steps": [
            {"step": s.name, "good": s.good, "seconds": s.took, "text": s.text, "details": list(s.details)}
            for s in course.steps
        ],
    }


def _argument(make: Callable[[str], object], what: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            return make(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {what}") from None

    return read


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 600:
        raise ValueError
    return seconds


_ipv4 = _argument(IPv4Address, "IPv4 address")
_mac = _argument(Mac, "MAC address like 52:54:00:12:34:56")
_seconds = _argument(_positive, "number of seconds from 0.1 to 600")
