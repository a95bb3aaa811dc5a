"""What one machine is told, made into bytes once: its options in the order of the operator's contract."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import NamedTuple

from netboot.boot.firmware import FirstStage, first_stage
from netboot.boot.quirks import Resolved, resolve
from netboot.dhcp.options import BOOT_CODES, PROTOCOL_CODES, encode_value, encoded
from netboot.dhcp.pool import Addresses
from netboot.dhcp.wire import encode_option
from netboot.model.inventory import Assignment, BootOverride, Network
from netboot.model.machine import Client, Mac, Speaker

FOREVER = 0xFFFFFFFF
"""A lease time without end (RFC 2131 section 3.3)."""

_ALWAYS = (1, 3)
"""Sent though nobody asked, beside the host name: mask, router."""

_FIRMWARE = (6, 15, 208, 209, 210, 211)
"""Sent to every boot loader: some have junk in option 55, and pxelinux needs 210 without asking."""

_ONLY_ASKED = frozenset({108})
"""Never sent to a client that did not ask: it could not know what it means (RFC 8925 section 3.3)."""

_INSTEAD_OF_ROUTES = frozenset({3, 33})
"""Left out where a system asked for classless routes (121) and gets them (RFC 3442)."""

_TIMES = (51, 58, 59)
_NAME = 12

_KEPT_TAILS = 256
"""Different ways of asking that are kept per group of machines; one boot has about four."""


class Tail(NamedTuple):
    """The part of a reply that is the same each time a client of this group asks in the same way."""

    before: bytes
    """Options that stand before the host name: a client is answered in the order in which it asks."""
    after: bytes
    siaddr: int
    sname: bytes
    file: bytes
    boots: str
    """The first-stage program or URL, or why there is none."""
    dropped: tuple[int, ...] = ()
    """Options that did not fit into the client's largest message."""


@dataclass(frozen=True, slots=True)
class Group:
    """What machines of the same pool and tags are told alike: their options as bytes."""

    network: Network
    server: IPv4Address
    boot_port: int
    boot: BootOverride
    options: Mapping[int, bytes]
    """Whole options by code, by the operator's precedence; boot options only where a node's own."""
    own_boot: Mapping[int, bytes]
    """Values of the boot options that a node's own `options` name."""
    identifier: IPv4Address
    """Option 54: `server`, or what a relay agent wants its clients to renew at (RFC 5107)."""
    forced: frozenset[int] = frozenset()
    """Options that a node's own `options` name: sent unasked (RFC 2131 section 4.3.1)."""
    skipped: tuple[str, ...] = ()
    """Why some option of the operator could not be written."""
    provided: Container[str] = ()
    """First-stage programs that the operator has put into `files_dir`."""
    _tails: dict[tuple[object, ...], Tail] = field(default_factory=dict, repr=False, compare=False)

    def quirks(self, client: Client) -> Resolved:
        """What this client's firmware needs, by the table and by its node."""
        return resolve(client, self.boot.quirks)

    def tail(
        self, client: Client, quirks: Resolved, asked: bytes, duration: float | None, limit: int
    ) -> Tail:
        """The reply's options (without 12, 53 and echoes, `limit` octets at most) and header fields.

        `quirks` are this client's, `asked` is option 55; `duration` in seconds, None where no lease is given.
        """
        key = (client.speaker, client.arch, asked, duration, quirks.texts)
        tail = self._tails.get(key) or self._made(key, client, asked, duration, _UNLIMITED)
        if len(tail.before) + len(tail.after) <= limit:
            return tail
        return self._tails.get((*key, limit)) or self._made((*key, limit), client, asked, duration, limit)

    def _made(
        self, key: tuple[object, ...], client: Client, asked: bytes, duration: float | None, limit: int
    ) -> Tail:
        if len(self._tails) >= _KEPT_TAILS:
            self._tails.clear()
        tail = self._tails[key] = _tail(self, client, asked, duration, limit)
        return tail


_UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Profile:
    """One machine in one network: who it is, which address it may have, and what its group is told."""

    assignment: Assignment
    holder: str
    """Who holds the lease: the declared node's name, else the MAC."""
    macs: tuple[Mac, ...]
    """The cards of the machine."""
    pool: Addresses
    reserved: int | None
    name: bytes
    """Option 12, whole."""
    group: Group
    network: Network
    """The network that the machine is answered in."""
    server: IPv4Address
    """Where the machine reaches us."""
    contested: bool = False
    """Whether a card that is not among `macs` may hold the lease: two machines could claim to be this one."""

    @property
    def identifier(self) -> IPv4Address:
        """What the machine is told that we are (option 54)."""
        return self.group.identifier


def profile_of(assignment: Assignment, mac: Mac, pool: Addresses, group: Group) -> Profile:
    """The profile of a machine."""
    node = assignment.node
    return Profile(
        assignment=assignment,
        holder=node.holder if node else str(mac),
        macs=node.macs if node else (mac,),
        pool=pool,
        reserved=int(assignment.address) if assignment.address else None,
        name=encode_option(_NAME, assignment.name.encode()),
        group=group,
        network=group.network,
        server=group.server,
        contested=node is not None and node.known_further,
    )


def group_of(
    assignment: Assignment,
    server: IPv4Address,
    boot_port: int,
    provided: Container[str] = (),
    identifier: IPv4Address | None = None,
) -> Group:
    """What the machines are told that share this one's options, in a network that reaches us at `server`."""
    node = assignment.node
    options, skipped = dict(_network_options(assignment.network)), []
    own = node.options if node else {}
    for code, value in assignment.options.items():
        if code in BOOT_CODES and code not in own:
            continue  # `check` refuses it there
        try:
            options[code] = encoded(code, value)
        except ValueError as error:
            skipped.append(str(error))
    boot = {c: encode_value(c, v) for c, v in own.items() if c in BOOT_CODES and c in options}
    return Group(
        network=assignment.network,
        server=server,
        boot_port=boot_port,
        boot=node.boot if node else BootOverride(),
        options={code: raw for code, raw in options.items() if code not in PROTOCOL_CODES},
        own_boot=boot,
        identifier=identifier or server,
        forced=frozenset(own) - _ONLY_ASKED - BOOT_CODES,
        skipped=tuple(skipped),
        provided=provided,
    )


def shared(assignment: Assignment) -> bool:
    """Whether other machines of the same pool and tags are told the same, but for the name."""
    node = assignment.node
    return node is None or (not node.options and node.boot == BootOverride())


def _network_options(network: Network) -> Iterable[tuple[int, bytes]]:
    yield 1, encoded(1, str(network.subnet.netmask))
    yield 28, encoded(28, str(network.subnet.broadcast_address))
    if network.gateway:
        yield 3, encoded(3, str(network.gateway))
    if network.dns:
        yield 6, encoded(6, tuple(map(str, network.dns)))
    if network.domain:
        yield 15, encoded(15, network.domain)


def lease_options(network: Network, duration: float) -> dict[int, bytes]:
    """Options 51, 58 and 59, whole, of a lease of `duration` seconds (RFC 2131 section 4.4.5).

    T1 is before T2 and T2 before the end, whatever the operator's numbers are. An infinite one has neither.
    """
    if duration >= FOREVER:
        return {51: encode_option(51, FOREVER.to_bytes(4, "big"))}  # there is nothing to renew
    whole = duration == network.lease
    t2 = network.rebind if whole and network.rebind is not None else duration
    t2 = t2 if t2 < duration else duration * 7 / 8
    t1 = network.renew if whole and network.renew is not None else duration / 2
    t1 = t1 if t1 < t2 else t2 * 4 / 7
    times = [int(duration), int(t1), int(t2)]
    return {
        code: encode_option(code, seconds.to_bytes(4, "big"))
        for code, seconds in zip(_TIMES, times, strict=True)
    }


def _tail(group: Group, client: Client, asked: bytes, duration: float | None, limit: int) -> Tail:
    stage = first_stage(
        client,
        address=group.server,
        boot_port=group.boot_port,
        override=group.boot,
        provided=group.provided,
    )
    quirks = group.quirks(client)
    boot = _planned(stage, group, quirks) if isinstance(stage, FirstStage) else {}
    own = own_boot_options(group, client)
    protocol = {54: encode_option(54, group.identifier.packed)}
    if duration is not None:
        protocol |= lease_options(group.network, duration)
    of_boot = {code: encode_option(code, value) for code, value in {**boot, **own}.items()}
    every = {**_told(group, client, asked, quirks), **of_boot, **protocol}
    kept = _fitting(every, (*_ALWAYS, *of_boot, *asked), limit)
    before, after = _in_order(kept, (*_ALWAYS, _NAME, *of_boot), asked)
    file, sname = own.get(67, b"").rstrip(b"\0"), own.get(66, b"").rstrip(b"\0")
    if isinstance(stage, FirstStage):
        file, sname = file or stage.file, sname or stage.sname
    return Tail(
        before=before,
        after=after,
        siaddr=server_number(own.get(66, b"")) or int(group.server),
        sname=sname if len(sname) < 64 else b"",
        file=file if len(file) < 128 else b"",
        boots=stage.words if isinstance(stage, FirstStage) else stage.reason,
        dropped=tuple(code for code in every if code not in kept),
    )


def _planned(stage: FirstStage, group: Group, quirks: Resolved) -> dict[int, bytes]:
    """Options of the boot plan; one beside `BOOT_CODES` gives way to a node's own, if no quirk wants it."""
    stays = BOOT_CODES | quirks.effect.options.keys()
    return {code: raw for code, raw in stage.options.items() if code in stays or code not in group.forced}


def own_boot_options(group: Group, client: Client) -> dict[int, bytes]:
    """Boot options that the node's own `options` name, for those who boot; quirks that it names go first.

    iPXE takes a file only where it is a URL: a program given to it would load itself for ever.
    """
    if client.speaker is Speaker.SYSTEM:
        return {}
    decided = group.quirks(client).own.options
    own = {code: value for code, value in group.own_boot.items() if code not in decided}
    if client.speaker is Speaker.IPXE and b"://" not in own.get(67, b""):
        own.pop(67, None)
        own.pop(66, None)
    return own


def server_number(text: bytes) -> int | None:
    """An address written as option 66 as a number, None for a name."""
    try:
        return int(IPv4Address(text.rstrip(b"\0").decode("ascii")))
    except ValueError:
        return None


def _told(group: Group, client: Client, asked: bytes, quirks: Resolved) -> dict[int, bytes]:
    """The options beside those of protocol and boot: what was asked for, and what is sent unasked.

    Without those that a quirk leaves out: it is stronger than any operator's option that is no boot option.
    """
    loader = client.speaker is not Speaker.SYSTEM
    codes: Iterable[int] = asked or [code for code in group.options if code not in _ONLY_ASKED]
    codes = dict.fromkeys((*_ALWAYS, *codes, *(_FIRMWARE if loader else ()), *group.forced))
    never = BOOT_CODES if loader else frozenset()
    if 121 in asked and 121 in group.options and not loader:
        never = never | _INSTEAD_OF_ROUTES
    never = never | {code for code in quirks.effect.options if quirks.effect.left_out(code)}
    found = {code: group.options[code] for code in codes if code in group.options and code not in never}
    if quirks.effect.text_nul and 15 in found:
        found[15] = with_nul(found[15])
    return found


def with_nul(option: bytes) -> bytes:
    """A whole option of text with a NUL at the end of its value, where there is room for one."""
    return option if option[1] == 255 else encode_option(option[0], option[2:] + b"\0")


def _fitting(every: Mapping[int, bytes], important: Iterable[int], limit: int) -> Mapping[int, bytes]:
    """As many options as fit into `limit` octets, important ones first; server and lease times always.

    Whole ones only; a smaller one further back takes the room that a larger one could not use.
    """
    if sum(map(len, every.values())) <= limit:
        return every
    kept = {code: every[code] for code in (54, *_TIMES) if code in every}
    room = limit - sum(map(len, kept.values()))
    for code in dict.fromkeys((*important, *every)):
        if code in every and code not in kept and len(every[code]) <= room:
            kept[code] = every[code]
            room -= len(every[code])
    return kept


def _in_order(kept: Mapping[int, bytes], unasked: Iterable[int], asked: bytes) -> tuple[bytes, bytes]:
    """The options as they stand in the reply, those before and those after the host name.

    What the client asked for stands in its order (RFC 2132 section 9.8), the mask before the router in any
    case (3.3); before it what the protocol needs, behind it what was not asked for.
    """
    protocol = [code for code in (54, *_TIMES) if code not in asked]
    order = list(dict.fromkeys((*protocol, *asked, *unasked, *kept)))
    if 1 in kept and 3 in kept and order.index(3) < order.index(1):
        order.remove(1)
        order.insert(order.index(3), 1)
    at = order.index(_NAME)
    parts = [kept.get(code, b"") for code in order]
    return b"".join(parts[:at]), b"".join(parts[at + 1 :])
