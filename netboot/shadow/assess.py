"""One exchange, held beside what we would have answered: a finding.

We are asked as though the client had chosen us: its REQUEST names our server (option 54) and takes the
address that we offered (50), and what the other server gave is on our books. The rest is its own bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Protocol

from netboot.dhcp.options import client_of
from netboot.dhcp.profile import Profile
from netboot.dhcp.wire import Kind, Packet, encode
from netboot.errors import MalformedPacket
from netboot.model.inventory import Assignment, Inventory, Network, NoMatch
from netboot.model.machine import Arch, Client, Mac, Speaker
from netboot.shadow.compare import NOTHING, Difference, Side, Verdict, differences, side, verdict
from netboot.shadow.exchange import Answer, Exchange, Turn

US = IPv4Address("192.0.2.1")
"""Stands for an address of ours that only the appliance's own host knows (RFC 5737)."""


@dataclass(frozen=True, slots=True)
class Handed:
    """An address that another server gave to a card."""

    mac: Mac
    address: IPv4Address
    seconds: float
    """Of its lease."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What our server would have sent, and what it reported about it."""

    packet: Packet | None
    reason: str = ""


class Server(Protocol):
    """Our server, which answers to nobody but us."""

    def whose(self, packet: Packet, interface: str) -> Profile | NoMatch:
        """Whose machine a request comes from. Raises MalformedPacket for a sender that is no card."""

    async def answer(self, data: bytes, request: Request) -> Ours:
        """What it would have sent."""


@dataclass(frozen=True, slots=True)
class Request:
    """Where and when a client asked, and what it has from elsewhere."""

    interface: str
    source: IPv4Address
    source_port: int
    at: float
    boot_server: bool
    handed: Handed | None


@dataclass(frozen=True, slots=True)
class Compared:
    """One request, the servers that answered it, and both answers."""

    kind: Kind
    tries: int
    answers: tuple[tuple[IPv4Address, str, IPv4Address | None], ...]
    """Server, message type and address of each answer, repeated ones once."""
    theirs: Side
    ours: Side
    reason: str
    """Why we would be silent or refuse."""
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One exchange and its verdict."""

    at: float
    interface: str
    client: Client
    name: str
    """Under which we know the machine; empty where we do not."""
    why: str
    """Whose machine it is, in the operator's words, or why we would leave it alone."""
    declared: bool
    """Whether the machine stands in the file, in whatever network."""
    network: Network | None
    verdict: Verdict
    turns: tuple[Compared, ...]
    handed: IPv4Address | None
    given_name: str
    """The host name that the other server gave it."""
    dynamic: bool
    """Whether its address comes from a range, here as there."""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What differs in any turn, each once."""
        each = (d for turn in self.turns for d in turn.differences)
        return tuple({(d.what, d.theirs, d.ours): d for d in each}.values())

    @property
    def servers(self) -> tuple[str, ...]:
        """Who answered."""
        return tuple(dict.fromkeys(str(s) for turn in self.turns for s, _, _ in turn.answers))


async def assess(exchange: Exchange, inventory: Inventory, server: Server) -> Finding | None:
    """The finding of an exchange that is over; None for a sender that is no Ethernet card."""
    first = exchange.turns[0].packet
    try:
        client = client_of(first)
    except MalformedPacket:
        return None
    interface = place(exchange, inventory)
    handed = handed_out(exchange, client.mac)
    turns: list[Compared] = []
    for turn in exchange.turns:
        offered = turns[0].ours.address if turns else None
        turns.append(await _turn(turn, exchange, interface, handed, server, offered))
    heard = any(turn.answers or turn.theirs.address for turn in turns)
    found = [d for turn in turns for d in turn.differences]
    profile = server.whose(first, interface)
    match = profile if isinstance(profile, NoMatch) else profile.assignment
    given = handed.address if handed else None
    return Finding(
        at=exchange.started,
        interface=exchange.interface,
        client=client,
        name="" if isinstance(match, NoMatch) else match.name,
        why=match.reason,
        declared=_is_declared(match, client.mac, inventory),
        network=_network_of(given, inventory) if isinstance(match, NoMatch) else match.network,
        verdict=verdict(found, heard, isinstance(match, NoMatch) and heard),
        turns=tuple(turns),
        handed=given,
        given_name=_given_name(exchange),
        dynamic=isinstance(match, Assignment) and match.address is None,
    )


def _is_declared(match: Assignment | NoMatch, mac: Mac, inventory: Inventory) -> bool:
    return mac in inventory.by_mac or (isinstance(match, Assignment) and match.node is not None)


async def _turn(
    turn: Turn,
    exchange: Exchange,
    interface: str,
    handed: Handed | None,
    server: Server,
    offered: IPv4Address | None,
) -> Compared:
    profile = server.whose(turn.packet, interface)
    network, own = (
        (None, None) if isinstance(profile, NoMatch) else (profile.network, profile.group.identifier)
    )
    asked = Request(
        interface, turn.request.source, turn.request.source_port, turn.at, exchange.boot_server, handed
    )
    ours = await server.answer(as_ours(turn, own, offered), asked)
    there = theirs(turn, exchange)
    here = side(ours.packet, [] if isinstance(profile, NoMatch) else [str(own), str(profile.server)])
    said = ((a.server, a.kind.name if a.kind else "?", _address(a.packet.yiaddr)) for a in turn.answers)
    answers = tuple(dict.fromkeys(said))
    silent = there.packet is None and there.address is None
    found = () if silent else tuple(map(_named, differences(there, here, network)))
    return Compared(turn.kind, turn.tries, answers, there, here, ours.reason, found)


def _named(difference: Difference) -> Difference:
    """Our address by a name, where it is not known here."""
    return replace(difference, ours=difference.ours.replace(str(US), "OUR-ADDRESS"))


def as_ours(turn: Turn, address: IPv4Address | None, offered: IPv4Address | None) -> bytes:
    """The request as it would have been sent to us: a REQUEST that takes an OFFER takes ours."""
    options = turn.packet.options
    if 54 not in options or address is None:
        return turn.request.payload
    taken = {50: offered.packed} if offered is not None and 50 in options else {}
    return encode(turn.packet._replace(options={**options, 54: address.packed, **taken}))


def theirs(turn: Turn, exchange: Exchange) -> Side:
    """The answer that counts for the client: of the server that it chose, and a boot server's file with it.

    Where the answer was not heard (unicast, on another port of the switch), the REQUEST that took it still
    tells server and address.
    """
    chosen = _chosen(exchange)
    main = next((a for a in turn.answers if a.server == chosen), None) or next(
        (a for a in turn.answers if a.packet.yiaddr), turn.answers[0] if turn.answers else None
    )
    if main is None:
        return _unheard(turn, exchange)
    there = side(main.packet, [str(main.server)])
    if there.boot != NOTHING:
        return there
    others = (side(a.packet, [str(a.server)]) for a in turn.answers if a is not main)
    proxy = next((o for o in others if o.boot != NOTHING), None)
    return Side(there.packet, there.address, proxy.boot, there.own | proxy.own) if proxy else there


def _unheard(turn: Turn, exchange: Exchange) -> Side:
    """What the client's later words tell of an answer that was not heard."""
    request = exchange.turn(Kind.REQUEST)
    chosen = _chosen(exchange)
    address = request.packet.u32(50) if request and chosen else None
    own = frozenset([str(chosen)]) if chosen else frozenset[str]()
    return Side(None, _address(address) if turn.kind is not Kind.INFORM else None, NOTHING, own)


def _chosen(exchange: Exchange) -> IPv4Address | None:
    """The server that the client named in its REQUEST."""
    request = exchange.turn(Kind.REQUEST)
    return _address(request.packet.u32(54)) if request else None


def handed_out(exchange: Exchange, mac: Mac) -> Handed | None:
    """The address that the other server gave: acknowledged, else taken, else offered."""
    for kind in (Kind.REQUEST, Kind.DISCOVER):
        turn = exchange.turn(kind)
        answer = _giving(turn, _chosen(exchange)) if turn else None
        if answer is not None:
            seconds = answer.packet.u32(51)
            return Handed(mac, IPv4Address(answer.packet.yiaddr), float(seconds or 3600))
    request = exchange.turn(Kind.REQUEST)
    taken = request.packet.u32(50) if request and _chosen(exchange) and not request.answers else None
    return Handed(mac, IPv4Address(taken), 3600.0) if taken else None


def _giving(turn: Turn, chosen: IPv4Address | None) -> Answer | None:
    gives = [a for a in turn.answers if a.packet.yiaddr]
    return next((a for a in gives if a.server == chosen), gives[0] if gives else None)


def place(exchange: Exchange, inventory: Inventory) -> str:
    """The interface of ours that stands for where an exchange was heard; empty where none does.

    A capture may come from anywhere: then the addresses in it tell the network, else the machine's own.
    """
    named = {n.interface for n in inventory.networks.values() if n.interface}
    if exchange.interface in named:
        return exchange.interface
    for address in _addresses(exchange):
        found = _network_of(address, inventory)
        if found is not None and found.interface:
            return found.interface
    node = inventory.by_mac.get(Mac.from_bytes(exchange.turns[0].packet.chaddr))
    home = inventory.networks[inventory.pools[node.pool].network].interface if node else None
    return home or (named.pop() if len(named) == 1 else "")


def _addresses(exchange: Exchange) -> Iterator[IPv4Address]:
    """The addresses in an exchange that tell its network, the surest first."""
    for turn in exchange.turns:
        for answer in turn.answers:
            yield from (a for a in (_address(answer.packet.yiaddr), answer.server) if a)
        said = turn.packet
        yield from (a for a in map(_address, (said.ciaddr, said.u32(50), said.u32(54))) if a)


def _network_of(address: IPv4Address | None, inventory: Inventory) -> Network | None:
    inside = (n for n in inventory.networks.values() if address is not None and address in n.subnet)
    return next(inside, None)


def _address(number: int | None) -> IPv4Address | None:
    return IPv4Address(number) if number else None


def _given_name(exchange: Exchange) -> str:
    names = (a.packet.options.get(12, b"") for turn in exchange.turns for a in turn.answers)
    return next((n.rstrip(b"\0").decode("ascii", "replace") for n in names if n), "")


_ARCHES = {
    Arch.BIOS: "BIOS",
    Arch.EFI_IA32: "UEFI IA32",
    Arch.EFI_X64: "UEFI x64",
    Arch.EFI_BC: "UEFI x64",
    Arch.EFI_ARM32: "UEFI ARM32",
    Arch.EFI_ARM64: "UEFI ARM64",
    Arch.EFI_X86_HTTP: "UEFI IA32",
    Arch.EFI_X64_HTTP: "UEFI x64",
    Arch.EFI_ARM64_HTTP: "UEFI ARM64",
}
_SPEAKERS = {Speaker.PXE: "PXE", Speaker.HTTP: "HTTP boot", Speaker.IPXE: "iPXE"}


def who(client: Client) -> str:
    """What a machine's firmware or system is, in a few words."""
    if client.speaker is Speaker.SYSTEM:
        return f"system ({client.vendor_class[:24]})" if client.vendor_class else "system"
    arch = client.arch if client.arch is not None else Arch.BIOS
    return f"{_ARCHES.get(arch, f'architecture {arch}')} {_SPEAKERS[client.speaker]}"  # type: ignore[call-overload]
