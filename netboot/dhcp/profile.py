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
from netboot.model.inventory import INFINITE, Assignment, BootOverride, Network
from netboot.model.machine import Client, Mac, Speaker

FOREVER = 0xFFFFFFFF
"""A lease time without end (RFC 2131 section 3.3)."""

_ALWAYS = (1, 3)
"""Sent though nobody asked, beside the host name: mask, router."""

_FIRMWARE = (6, 15, 208, 209, 210, 211)
"""Sent to every boot loader: some have junk in option 55, and pxelinux needs 210 without asking."""

_KEPT_TAILS = 256
"""Different ways of asking that are kept per group of machines; one boot has about four."""


class Tail(NamedTuple):
    """The part of a reply that is the same each time a client of this group asks in the same way."""

    options: bytes
    siaddr: int
    sname: bytes
    file: bytes
    boots: str
    """The first-stage program or URL, or why there is none."""


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
    skipped: tuple[str, ...] = ()
    """Why some option of the operator could not be written."""
    provided: Container[str] = ()
    """First-stage programs that the operator has put into `files_dir`."""
    _tails: dict[tuple[object, ...], Tail] = field(default_factory=dict, repr=False, compare=False)

    def quirks(self, client: Client) -> Resolved:
        """What this client's firmware needs, by the table and by its node."""
        return resolve(client, self.boot.quirks)

    def tail(self, client: Client, asked: bytes, duration: float | None, limit: int) -> Tail:
        """The reply's options (without 12, 53 and echoes, `limit` octets at most) and header fields.

        `asked` is option 55; `duration` in seconds, None for a reply that gives no lease.
        """
        quirks = self.quirks(client)
        key = (client.speaker, client.arch, asked, duration, quirks.text)
        tail = self._tails.get(key)
        if tail is None:
            if len(self._tails) >= _KEPT_TAILS:
                self._tails.clear()
            tail = self._tails[key] = _tail(self, client, asked, duration, _UNLIMITED)
        return tail if len(tail.options) <= limit else _tail(self, client, asked, duration, limit)


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

    @property
    def network(self) -> Network:
        """The network that the machine is answered in."""
        return self.group.network

    @property
    def server(self) -> IPv4Address:
        """Where the machine reaches us."""
        return self.group.server


def profile_of(assignment: Assignment, mac: Mac, pool: Addresses, group: Group) -> Profile:
    """The profile of a machine."""
    node = assignment.node
    return Profile(
        assignment=assignment,
        holder=node.name if node else str(mac),
        macs=node.macs if node else (mac,),
        pool=pool,
        reserved=int(assignment.address) if assignment.address else None,
        name=encode_option(12, assignment.name.encode()),
        group=group,
    )


def group_of(
    assignment: Assignment, server: IPv4Address, boot_port: int, provided: Container[str] = ()
) -> Group:
    """What the machines are told that share this one's options, in a network that reaches us at `server`."""
    node = assignment.node
    options, skipped = dict(_network_options(assignment.network)), []
    for code, value in assignment.options.items():
        try:
            options[code] = encoded(code, value)
        except ValueError as error:
            skipped.append(str(error))
    boot = {c: encode_value(c, v) for c, v in assignment.options.items() if c in BOOT_CODES and c in options}
    return Group(
        network=assignment.network,
        server=server,
        boot_port=boot_port,
        boot=node.boot if node else BootOverride(),
        options={code: raw for code, raw in options.items() if code not in PROTOCOL_CODES and code != 12},
        own_boot=boot,
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


def lease_options(network: Network, duration: float) -> bytes:
    """Options 51, 58 and 59 of a lease of `duration` seconds: T1 and T2 (RFC 2131 section 4.4.5)."""
    if duration == INFINITE:
        times = [(51, FOREVER), (58, FOREVER), (59, FOREVER)]
    else:
        whole = duration == network.lease
        t2 = min(network.rebind if whole and network.rebind is not None else duration * 7 / 8, duration)
        t1 = min(network.renew if whole and network.renew is not None else duration / 2, t2)
        times = [(51, int(duration)), (58, int(t1)), (59, int(t2))]
    return b"".join(encode_option(code, min(seconds, FOREVER).to_bytes(4, "big")) for code, seconds in times)


def _tail(group: Group, client: Client, asked: bytes, duration: float | None, limit: int) -> Tail:
    stage = first_stage(
        client,
        address=group.server,
        boot_port=group.boot_port,
        override=group.boot,
        provided=group.provided,
    )
    quirks = group.quirks(client)
    boot = dict(stage.options) if isinstance(stage, FirstStage) else {}
    own = {c: v for c, v in own_boot_options(group, client).items() if c not in quirks.own.options}
    parts = [encode_option(54, group.server.packed)]
    if duration is not None:
        parts.append(lease_options(group.network, duration))
    parts += [group.options[code] for code in _ALWAYS if code in group.options]
    parts += [encode_option(code, value) for code, value in {**boot, **own}.items()]
    parts += _asked_for(group, client, asked, quirks, boot)
    file, sname = own.get(67, b"").rstrip(b"\0"), own.get(66, b"").rstrip(b"\0")
    if isinstance(stage, FirstStage):
        file, sname = file or stage.file, sname or stage.sname
    return Tail(
        options=_fitting(parts, limit),
        siaddr=_server_number(own.get(66, b"")) or int(group.server),
        sname=sname if len(sname) < 64 else b"",
        file=file if len(file) < 128 else b"",
        boots=stage.words if isinstance(stage, FirstStage) else stage.reason,
    )


def own_boot_options(group: Group, client: Client) -> dict[int, bytes]:
    """Boot options that the node's own `options` name, for those who boot.

    iPXE takes a file only where it is a URL: a program given to it would load itself for ever.
    """
    if client.speaker is Speaker.SYSTEM:
        return {}
    own = dict(group.own_boot)
    if client.speaker is Speaker.IPXE and b"://" not in own.get(67, b""):
        own.pop(67, None)
        own.pop(66, None)
    return own


def _server_number(text: bytes) -> int | None:
    """An address written as option 66 as a number, None for a name."""
    try:
        return int(IPv4Address(text.rstrip(b"\0").decode("ascii")))
    except ValueError:
        return None


def _asked_for(
    group: Group, client: Client, asked: bytes, quirks: Resolved, written: Container[int]
) -> list[bytes]:
    """The other options that the client asked for, in its order; all of them where it asked for nothing.

    Without those that a quirk leaves out, and those that are `written` already: a quirk is stronger than any
    operator's option that is no boot option.
    """
    codes: Iterable[int] = dict.fromkeys(asked) if asked else group.options
    if client.speaker is not Speaker.SYSTEM:
        codes = dict.fromkeys((*_FIRMWARE, *codes))
    boot = BOOT_CODES if client.speaker is not Speaker.SYSTEM else frozenset()
    found = {
        code: group.options[code]
        for code in codes
        if code in group.options and code not in _ALWAYS and code not in boot and code not in written
    }
    if quirks.effect.text_nul and 15 in found:
        found[15] = with_nul(found[15])
    return [option for code, option in found.items() if not quirks.effect.left_out(code)]


def with_nul(option: bytes) -> bytes:
    """A whole option of text with a NUL at the end of its value, where there is room for one."""
    return option if option[1] == 255 else encode_option(option[0], option[2:] + b"\0")


def _fitting(parts: list[bytes], limit: int) -> bytes:
    """As many parts as fit into `limit` octets, important ones first; server and lease times always."""
    whole = b"".join(parts)
    if len(whole) <= limit:
        return whole
    kept = b"".join(parts[:2])
    for part in parts[2:]:
        if len(kept) + len(part) <= limit:
            kept += part
    return kept
