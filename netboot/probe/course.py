"""The course of a simulated boot: steps in firmware's order, each with its time, and a verdict at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from netboot.dhcp.readable import name_of, text_of
from netboot.dhcp.wire import Kind, Packet
from netboot.errors import ProbeError
from netboot.model.machine import Speaker
from netboot.probe import clients, loads, script
from netboot.probe.card import Mouth
from netboot.probe.clients import Machine
from netboot.probe.offers import BootServer, File, Nothing, Offer, chosen, file_of, plan

RESEND = (0.0, 2.0, 4.0, 8.0)
"""Seconds at which a DISCOVER is sent again while nobody answers."""

LINGER = 1.0
"""Seconds that are left to other servers after the first OFFER: a second server must not stay hidden."""

HOPS = 5
"""Scripts followed."""

LEASED_ONLY = "is not the address that is leased to"
"""What our own script for another address says (`web.boot`)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried."""

    name: str
    good: bool | None
    """None: it could not be tried here."""
    took: float | None
    text: str
    details: tuple[str, ...] = ()


@dataclass(slots=True)
class Course:
    """Everything that one simulated machine went through."""

    machine: Machine
    steps: list[Step] = field(default_factory=list)
    boots: bool = False
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator wants of a probe."""

    timeout: float = 8.0
    """Seconds for each step."""
    request: bool = False
    """Whether the address is taken, too (and given back)."""
    xid: Callable[[], int] = lambda: 0
    """A random transaction id."""


def run(machine: Machine, mouth: Mouth, wishes: Wishes) -> Course:
    """Boot as far as a probe can. Raises StartError for what keeps this host from trying."""
    course = Course(machine)
    try:
        _course(course, mouth, wishes)
    except ProbeError as error:
        course.verdict = str(error)
    return course


def _course(course: Course, mouth: Mouth, wishes: Wishes) -> None:
    xid = wishes.xid()
    offers = _discover(course, mouth, wishes, xid)
    main = chosen(offers)
    if main is None or main.address is None:
        raise ProbeError("no server offers it an address")
    if wishes.request:
        ack = _request(course, mouth, wishes, xid, main)
        offers = [ack if offer is main else offer for offer in offers]
    try:
        _load(course, mouth, wishes, xid, offers)
    finally:
        if wishes.request:
            _release(course, mouth, xid, main)


def _discover(course: Course, mouth: Mouth, wishes: Wishes, xid: int) -> list[Offer]:
    """DISCOVER, again while nobody answers; the OFFERs of every server."""
    began = time.monotonic()
    end = began + wishes.timeout
    offers: dict[IPv4Address, Offer] = {}
    times = [began + at for at in RESEND if at < wishes.timeout]
    for at, until in zip(times, [*times[1:], end], strict=True):
        packet = clients.discover(course.machine, xid, secs=int(at - began))
        mouth.say(packet)
        while time.monotonic() < until:
            offer = next(_offers(mouth, packet, until), None)
            if offer is None:
                break
            offers.setdefault(offer.server, offer)
            until = min(until, time.monotonic() + LINGER)
        if offers:
            break
    tell = course.steps.append
    if not offers:
        tell(Step("discover", False, None, f"no OFFER within {wishes.timeout:g} s, sent {len(times)} times"))
    for offer in offers.values():
        tell(Step("offer", True, offer.took, _offered(offer), _details(offer)))
    return list(offers.values())


def _offers(mouth: Mouth, packet: Packet, until: float) -> Iterator[Offer]:
    return (o for o in mouth.hear(packet, until) if o.packet.kind is Kind.OFFER)


def _offered(offer: Offer) -> str:
    if offer.address is None:
        return f"{offer.server} gives no address (proxyDHCP)"
    seconds = offer.packet.u32(51)
    lease = f" for {_duration(seconds)}" if seconds else ""
    return f"{offer.server} gives {offer.address}{lease}"


def _duration(seconds: int) -> str:
    if seconds == 0xFFFFFFFF:
        return "ever"
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {word}"
    return f"{seconds} s"


def _details(offer: Offer) -> tuple[str, ...]:
    """What an operator wants to see of an answer: boot file first, then options."""
    found = file_of(offer.packet, offer.server)
    rows = (
        [f"boot file  {found.name}" + ("" if "://" in found.name else f" from {found.server}")]
        if found
        else []
    )
    shown = (1, 3, 6, 12, 15, 26, 43, 60, 121)
    rows += [
        f"{name_of(c)}  {text_of(c, offer.packet.options[c])}" for c in shown if c in offer.packet.options
    ]
    return tuple(rows)


def _request(course: Course, mouth: Mouth, wishes: Wishes, xid: int, offer: Offer) -> Offer:
    assert offer.address is not None
    packet = clients.request(course.machine, xid, offer.address, offer.server)
    for _ in range(3):
        mouth.say(packet)
        for answer in mouth.hear(packet, time.monotonic() + wishes.timeout / 3):
            if answer.packet.kind is Kind.NAK and answer.server == offer.server:
                why = text_of(56, answer.packet.options.get(56, b""))
                course.steps.append(
                    Step("request", False, answer.took, f"{answer.server} refuses (NAK): {why}")
                )
                raise ProbeError(f"{answer.server} refuses the address that it offered: {why}")
            if answer.packet.kind is Kind.ACK:
                course.steps.append(Step("ack", True, answer.took, _offered(answer)))
                return answer
    course.steps.append(Step("request", False, None, f"no ACK within {wishes.timeout:g} s"))
    raise ProbeError(f"{offer.server} offers an address and does not acknowledge it")


def _release(course: Course, mouth: Mouth, xid: int, offer: Offer) -> None:
    assert offer.address is not None
    mouth.say(clients.release(course.machine, xid, offer.address, offer.server))
    course.steps.append(Step("release", True, None, f"{offer.address} is given back"))


def _load(course: Course, mouth: Mouth, wishes: Wishes, xid: int, offers: Sequence[Offer]) -> None:
    """What comes after the address."""
    if course.machine.guise.speaker is Speaker.SYSTEM:
        course.boots, course.verdict = True, "it gets its address"
        return
    what = plan(course.machine.guise, offers)
    if isinstance(what, BootServer):
        what = _boot_server(course, mouth, wishes, what)
    if isinstance(what, Nothing):
        raise ProbeError(what.reason)
    _follow(course, wishes, what)


def _boot_server(course: Course, mouth: Mouth, wishes: Wishes, asked: BootServer) -> File:
    """Ask port 4011 as firmware does."""
    packet = clients.ask_boot_server(course.machine, wishes.xid())
    for _ in range(2):
        mouth.ask(packet, asked.server)
        for answer in mouth.hear(packet, time.monotonic() + wishes.timeout / 2):
            found = file_of(answer.packet, answer.server)
            if answer.packet.kind is Kind.ACK and found is not None:
                text = f"{answer.server}:4011 names {found.name}"
                course.steps.append(Step("boot server", True, answer.took, text))
                return found
    text = f"no boot file from {asked.server}:4011 within {wishes.timeout:g} s"
    course.steps.append(Step("boot server", False, None, text, (asked.why,)))
    raise ProbeError(f"firmware asks {asked.server} on port 4011, which names no file: {asked.why}")


def _follow(course: Course, wishes: Wishes, file: File) -> None:
    """Load the file; where it is a script, go where it leads."""
    loaded = _fetch(course, "program", loads.url_of(file), wishes, name=file.name)
    if loaded is None:
        return
    if course.machine.guise.speaker is not Speaker.IPXE:
        _program(course, loaded)
        return
    if not script.is_script(loaded.data):
        course.boots, course.verdict = True, f"it starts {loaded.url}"
        return
    _scripts(course, wishes, loaded)


def _fetch(
    course: Course, step: str, url: str, wishes: Wishes, name: str | None = None
) -> loads.Loaded | None:
    """Load one file; None where this host cannot try, which is no failure of the server's."""
    try:
        loaded = loads.load(url, wishes.timeout, name=name)
    except loads.NotTried as error:
        course.steps.append(Step(step, None, None, str(error)))
        course.boots, course.verdict = True, f"it is told to load {url}, which was not tried"
        return None
    except ProbeError as error:
        course.steps.append(Step(step, False, None, str(error)))
        raise ProbeError(f"it cannot load {url}") from None
    course.steps.append(Step(step, True, loaded.took, f"{url}, {_size(loaded.size)}"))
    return loaded


def _program(course: Course, loaded: loads.Loaded) -> None:
    """A boot program in a form that this firmware starts."""
    uefi = course.machine.guise.name != "bios"
    if not loaded.data:
        raise ProbeError(f"{loaded.url} is empty")
    if uefi and not loaded.data.startswith(b"MZ"):
        raise ProbeError(f"{loaded.url} is no UEFI program (it does not begin with MZ)")
    course.boots, course.verdict = True, f"it starts {loaded.url.rpartition('/')[2]}"


def _scripts(course: Course, wishes: Wishes, loaded: loads.Loaded) -> None:
    machine = course.machine
    values = script.variables(machine.mac, str(machine.uuid), "efi")
    seen = {loaded.url}
    for _ in range(HOPS):
        said = script.read(loaded.data.decode("utf-8", "replace"), loaded.url, values)
        course.steps.append(Step("script", True, None, f"{len(said.lines)} lines", said.lines))
        if said.loads and said.starts:
            _check_loads(course, wishes, said)
            return
        if said.exits:
            raise ProbeError(f"the script goes on to the local boot: {said.says}")
        if said.leads_to is None or said.leads_to in seen:
            _ends(course, said)
            return
        seen.add(said.leads_to)
        found = _fetch(course, "chain", said.leads_to, wishes)
        if found is None:
            return
        if not script.is_script(found.data):
            course.boots, course.verdict = True, f"it starts {found.url}"
            return
        loaded = found
    raise ProbeError(f"scripts lead on and on: {HOPS} were followed")


def _ends(course: Course, said: script.Script) -> None:
    """A script that starts nothing: ours for a machine that is not where the probe is, or a dead end."""
    if LEASED_ONLY in " ".join(said.lines):
        course.boots = True
        course.verdict = "it reaches its script (only the leased address is given it)"
        return
    raise ProbeError(f"the script boots nothing: {said.says or 'it starts no kernel'}")


def _check_loads(course: Course, wishes: Wishes, said: script.Script) -> None:
    """Whether everything that the script loads is there."""
    for url in said.loads[:8]:
        if not url.startswith(("http://", "https://")):
            course.steps.append(Step("file", None, None, f"{url} is not tried"))
            continue
        began = time.monotonic()
        try:
            size = loads.head(url, wishes.timeout)
        except loads.NotTried as error:
            course.steps.append(Step("file", None, None, str(error)))
            continue
        except ProbeError as error:
            course.steps.append(Step("file", False, None, str(error)))
            raise ProbeError(f"the script loads {url}, which cannot be had") from None
        text = url if size is None else f"{url}, {_size(size)}"
        course.steps.append(Step("file", True, time.monotonic() - began, text))
    course.boots, course.verdict = True, f"it starts {said.loads[0]}"


def _size(octets: int) -> str:
    if octets < 1 << 10:
        return f"{octets} B"
    return f"{octets / 1024:.1f} KiB" if octets < 1 << 20 else f"{octets / (1 << 20):.1f} MiB"
