"""What a request is answered: the decisions of a DHCP server as one pure function (RFC 2131 section 4.3).

The server gathers `Facts`, `respond` decides, and what it decided may have to be claimed in the store
before the reply leaves. An address is judged by `held_by_another` alone: whoever shows life keeps it.
"""

from __future__ import annotations

import enum
from collections.abc import Set
from ipaddress import IPv4Address
from typing import NamedTuple

from netboot.boot.quirks import Effect
from netboot.dhcp import route
from netboot.dhcp.identity import is_second
from netboot.dhcp.profile import Profile, with_nul
from netboot.dhcp.wire import FLAG_BROADCAST, HEADER_SIZE, Kind, Packet, encode_option, encode_reply
from netboot.model.boot import REOPEN_AFTER, Boot
from netboot.model.inventory import Network
from netboot.model.lease import Lease
from netboot.model.machine import Client, Speaker

UDP_AND_IP = 28
"""Octets of the headers that option 57 counts with the message (RFC 2132 section 9.10)."""

SMALLEST_LIMIT, LARGEST_LIMIT = 548, 1472
"""Octets of a message: what every client takes (RFC 2131 section 2), what fits into one Ethernet frame."""

_HEADS = (b"", *(encode_option(53, bytes([kind])) for kind in Kind))
"""Option 53, whole, by the number of the message type."""

_FIXED = HEADER_SIZE + len(_HEADS[Kind.ACK]) + 1
"""Octets that every reply has: header, option 53, END."""


class State(enum.Enum):
    """The four states in which a client sends a REQUEST (RFC 2131 section 4.3.2)."""

    SELECTING = "selecting"
    INIT_REBOOT = "init-reboot"
    RENEWING = "renewing"  # or rebinding: they differ only in how the request travels


class Facts(NamedTuple):
    """What the server knows when it decides. A tuple, because it is made for every request."""

    address: IPv4Address | None
    """The address that this exchange is about (`subject`, or a free one for a new machine)."""
    lease: Lease | None
    """The machine's own lease in this network, expired or not."""
    occupant: Lease | None
    """Who was last given `address`."""
    occupied: bool
    """`held_by_another` for that occupant, or the node's former card answers there."""
    boot: Boot | None
    """The machine's newest boot."""
    ours: Set[int]
    """Every server identifier that is ours, as numbers."""


class Claim(NamedTuple):
    """What the store has to hold before an ACK leaves."""

    lease: Lease
    seen: Lease | None
    displaced: Lease | None


class Reply(NamedTuple):
    """A message to send, after `claim` was written where there is one."""

    kind: Kind
    payload: bytes
    destination: route.Destination
    address: IPv4Address | None
    claim: Claim | None
    boots: str
    """The first-stage program, or why there is none; the reason of a NAK."""
    quirks: tuple[str, ...] = ()
    """Which quirks the message follows, each with the reason why."""
    dropped: tuple[int, ...] = ()
    """Options that did not fit into what the client takes."""


class Silence(NamedTuple):
    """Nothing is sent. `event` names the kind of event that an operator is shown, empty for none."""

    reason: str
    event: str = ""


class Released(NamedTuple):
    """The holder gave its address back."""

    lease: Lease


class Declined(NamedTuple):
    """The machine that was given an address found somebody else using it."""

    lease: Lease


Outcome = Reply | Silence | Released | Declined


def subject(request: Packet, kind: Kind, profile: Profile, lease: Lease | None) -> int | None:
    """The address that a request is about, as a number; None where the server has to find a free one.

    A declared node's own address whatever it asks for; else the address that the machine had; else,
    in a DISCOVER, the one that it would like, and in a REQUEST the one that it asks for.
    """
    if profile.reserved is not None:
        return profile.reserved
    had = int(lease.address) if lease else None
    if kind is Kind.DISCOVER and had is not None and had in profile.pool:
        return had
    wanted = asked_address(request, kind)
    if wanted is None:
        wanted = had
    return wanted if wanted in profile.pool else None


def asked_address(request: Packet, kind: Kind) -> int | None:
    """Option 50, or the address that a client says it has; ciaddr counts nothing in a DISCOVER."""
    asked = request.u32(50)
    if asked is None and kind is not Kind.DISCOVER:
        asked = request.ciaddr
    return asked or None


def held_by_another(occupant: Lease | None, profile: Profile, alive: bool, now: float) -> bool:
    """Whether `address` belongs to a machine that shows life: then nobody else gets it.

    Life is a lease that runs, a packet within the last `lease` of the network (but a RELEASE), or what
    `alive` sums up: a boot in progress, a Node object, an answer to a probe.
    """
    if occupant is None or occupant.holder == profile.holder or occupant.mac in profile.macs:
        return False
    if alive or occupant.released:
        return alive
    return occupant.live(now) or now - occupant.last_seen < profile.network.lease


def respond(request: Packet, client: Client, profile: Profile, facts: Facts, now: float) -> Outcome:
    """What this request of this machine is answered. `now` in seconds since the epoch."""
    kind = request.kind
    if kind is Kind.DISCOVER:
        return _offer(request, client, profile, facts, now)
    if kind is Kind.REQUEST:
        return _requested(request, client, profile, facts, now)
    if kind is Kind.INFORM:
        return _informed(request, client, profile, facts)
    if kind is Kind.RELEASE:
        return _released(request, profile, facts)
    if kind is Kind.DECLINE:
        return _declined(request, profile, facts)
    return Silence("a message that only servers send")


def _offer(request: Packet, client: Client, profile: Profile, facts: Facts, now: float) -> Outcome:
    if facts.address is None:
        why = f"no free address in network {profile.network.name}: widen its range, or shorten its lease"
        return Silence(why, "dhcp_pool_exhausted")
    if facts.occupied:
        return _held(profile, facts)
    duration = lease_time(client, facts.boot, profile.network, now)
    return _reply(Kind.OFFER, request, client, profile, facts.address, duration)


def _held(profile: Profile, facts: Facts) -> Silence:
    if facts.occupant is None:
        who = "somebody else"
    elif facts.occupant.holder == profile.holder:
        who = f"the card {facts.occupant.mac} that it had before"
    else:
        who = f"{facts.occupant.name} ({facts.occupant.mac})"
    return Silence(
        f"{profile.assignment.name} is to have {facts.address}, but {who} holds it and shows life",
        "dhcp_address_held",
    )


def _requested(request: Packet, client: Client, profile: Profile, facts: Facts, now: float) -> Outcome:
    if _to_another(request, profile, facts):
        return Silence("the client chose another server")
    second = profile.contested and is_second(client.mac, profile, facts.lease, facts.boot, now)
    if why := _denied(request, profile, facts, second):
        return _nak(request, client, profile, why)
    assert facts.address is not None  # `_denied` refuses a request without one
    duration = lease_time(client, facts.boot, profile.network, now)
    claim = _claim(client, profile, facts, now, duration)
    return _reply(Kind.ACK, request, client, profile, facts.address, duration, claim)


def _to_another(request: Packet, profile: Profile, facts: Facts) -> bool:
    """Whether option 54 names another server; ours are our addresses and what its relay agent calls us."""
    server = request.u32(54)
    return server is not None and server not in facts.ours and server != int(profile.identifier)


def state_of(request: Packet) -> State:
    """In which state this REQUEST was sent; one without options 50, 54 and ciaddr counts as selecting."""
    if request.u32(54) is not None:
        return State.SELECTING
    if request.ciaddr:
        return State.RENEWING
    return State.INIT_REBOOT if request.u32(50) is not None else State.SELECTING


def _denied(request: Packet, profile: Profile, facts: Facts, second: bool) -> str:
    """Why a REQUEST is refused, empty where it is granted."""
    address, asked = facts.address, asked_address(request, Kind.REQUEST)
    if address is None:
        return "the address is none that this network gives to machines"
    if asked is not None and asked != int(address):
        return f"the address of this machine is {address}"
    if facts.occupied:
        return "the address is another machine's"
    if second:
        return f"another machine is {profile.assignment.name} and lives"
    if profile.reserved is not None or _was_given(address, facts, profile):
        return ""
    return "" if state_of(request) is State.SELECTING else "no lease of this machine is known for the address"


def _was_given(address: IPv4Address, facts: Facts, profile: Profile) -> bool:
    """Whether the machine has the address: on record, perhaps under an older name of it or its network."""
    if facts.lease is not None and facts.lease.address == address:
        return True
    return facts.occupant is not None and facts.occupant.mac in profile.macs


def lease_time(client: Client, boot: Boot | None, network: Network, now: float) -> float:
    """Seconds of the lease: short for firmware and for a system whose boot nobody has claimed yet."""
    unclaimed = (
        boot is not None and boot.ended is None and not boot.claimed and now - boot.started <= REOPEN_AFTER
    )
    if client.speaker is not Speaker.SYSTEM or unclaimed:
        return min(network.boot_lease, network.lease)
    return network.lease


def _claim(client: Client, profile: Profile, facts: Facts, now: float, duration: float) -> Claim:
    assert facts.address is not None
    boot, lease, occupant = facts.boot, facts.lease, facts.occupant
    new = Lease(
        holder=profile.holder,
        mac=client.mac,
        address=facts.address,
        network=profile.network.name,
        name=profile.assignment.name,
        expires=now + duration,
        last_seen=now,
        boot_id=boot.id if boot else lease.boot_id if lease else None,
    )
    other = occupant if occupant and occupant.holder != profile.holder else None
    return Claim(new, lease, other)


def _informed(request: Packet, client: Client, profile: Profile, facts: Facts) -> Outcome:
    """Options without a lease for a machine that has its address from elsewhere (RFC 2131 4.3.5).

    The answer goes to that address, whoever has it: to a machine of this network, and not to everybody.
    """
    if not request.ciaddr:
        return Silence("INFORM without the client's address")
    address = IPv4Address(request.ciaddr)
    if not profile.network.has_host(address) or request.ciaddr in facts.ours:
        why = f"INFORM from {address}, which is no machine's address in network {profile.network.name}"
        return Silence(why, "dhcp_inform_refused")
    return _reply(Kind.ACK, request, client, profile, None, None)


def _released(request: Packet, profile: Profile, facts: Facts) -> Outcome:
    """RELEASE counts from the holder, for the address it holds, and not while that address boots a system."""
    lease, boot = facts.lease, facts.boot
    if _to_another(request, profile, facts):
        return Silence("RELEASE to another server")
    if lease is None or int(lease.address) != request.ciaddr:
        return Silence("RELEASE of an address that this machine does not hold", "dhcp_release_refused")
    if boot is not None and boot.ended is None and profile.network.name == lease.network:
        return Silence("RELEASE while the machine boots: it keeps its address")
    return Released(lease)


def _declined(request: Packet, profile: Profile, facts: Facts) -> Outcome:
    """DECLINE counts from the client that was given the address (it asks for it, then finds it in use)."""
    asked, lease = asked_address(request, Kind.DECLINE), facts.lease
    if _to_another(request, profile, facts):
        return Silence("DECLINE to another server")
    if lease is None or asked != int(lease.address):
        return Silence("DECLINE of an address that this machine was not given", "dhcp_decline_refused")
    return Declined(lease)


def _reply(
    kind: Kind,
    request: Packet,
    client: Client,
    profile: Profile,
    address: IPv4Address | None,
    duration: float | None,
    claim: Claim | None = None,
) -> Reply:
    group, quirks = profile.group, profile.group.quirks(client)
    effect = quirks.effect
    if effect.broadcast:
        request = request._replace(flags=request.flags | FLAG_BROADCAST)
    name = with_nul(profile.name) if effect.text_nul else profile.name
    echoes = _echoes(request, client, profile, effect)
    limit = effect.limit or (_limit(request.options[57]) if 57 in request.options else SMALLEST_LIMIT)
    room = limit - _FIXED - len(name) - len(echoes)
    tail = group.tail(client, quirks, request.options.get(55, b""), duration, room)
    payload = encode_reply(
        request,
        flags=request.flags,
        ciaddr=request.ciaddr if kind is Kind.ACK else 0,
        yiaddr=int(address) if address is not None else 0,
        siaddr=tail.siaddr,
        sname=tail.sname,
        file=tail.file,
        options=b"".join((_HEADS[kind], tail.before, name, tail.after, echoes)),
    )
    where = route.destination(request, kind, client.mac, address)
    return Reply(kind, payload, where, address, claim, tail.boots, quirks.texts, tail.dropped)


def _nak(request: Packet, client: Client, profile: Profile, why: str) -> Reply:
    """A refusal, from which the client starts again (RFC 2131 section 4.3.2, table 3)."""
    said, options = request.options, _HEADS[Kind.NAK]
    options += encode_option(54, profile.identifier.packed) + encode_option(56, why.encode())
    if 61 in said and not profile.group.quirks(client).effect.left_out(61):
        options += encode_option(61, said[61])
    payload = encode_reply(
        request,
        flags=route.reply_flags(request, Kind.NAK),
        ciaddr=0,
        yiaddr=0,
        siaddr=0,
        sname=b"",
        file=b"",
        options=options + _relays(request),
    )
    on_link = profile.network.interface is not None
    where = route.destination(request, Kind.NAK, client.mac, None, on_link=on_link)
    return Reply(Kind.NAK, payload, where, None, None, why)


def _echoes(request: Packet, client: Client, profile: Profile, effect: Effect) -> bytes:
    """What goes back as it came, the relay's own at last.

    Client identifier (RFC 6842), UUID (4578), and the subnet where the client's wish was followed (3011).
    """
    options, echoes = request.options, b""
    if 61 in options and not (effect.options and effect.left_out(61)):
        echoes = encode_option(61, options[61])
    if 97 in options and len(options[97]) == 17 and not effect.left_out(97):
        echoes += encode_option(97, options[97])
    if client.subnet is not None and client.subnet in profile.network.subnet:
        echoes += encode_option(118, options[118])
    return echoes + _relays(request) if request.giaddr else echoes


def _relays(request: Packet) -> bytes:
    """Option 82 as the relay agent added it, believed or not (RFC 3046 section 2.2)."""
    agent = request.options.get(82)
    return encode_option(82, agent) if agent is not None and request.giaddr else b""


def _limit(raw: bytes) -> int:
    """How long the reply may be, from option 57, which some firmware fills with junk."""
    size = int.from_bytes(raw, "big") - UDP_AND_IP if len(raw) == 2 else SMALLEST_LIMIT
    return max(SMALLEST_LIMIT, min(size, LARGEST_LIMIT))
