"""What each kind of machine says in DHCP, as captures of real ones show it (tests/captures)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from types import MappingProxyType
from uuid import UUID

from netboot.dhcp.options import sub_options
from netboot.dhcp.wire import FLAG_BROADCAST, Kind, Op, Packet
from netboot.model.machine import Mac, Speaker


@dataclass(frozen=True, slots=True)
class Guise:
    """One kind of client."""

    name: str
    label: str
    speaker: Speaker
    options: Mapping[int, bytes]
    broadcast: bool = False
    """Whether it asks for its answers by broadcast."""


_VENDOR = [97, *range(128, 136)]
_ASKED_IPXE = bytes([1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, *range(128, 136), 175, 203])
_ASKED_EDK2 = bytes(
    [
        *range(1, 7),
        12,
        13,
        15,
        17,
        18,
        22,
        23,
        28,
        *range(40, 44),
        50,
        51,
        54,
        *range(58, 61),
        66,
        67,
        *_VENDOR,
    ]
)
_ASKED_HTTP = bytes([*range(1, 7), 12, 13, 15, 17, 18, 22, 23, 28, *range(40, 44), 50, 51, 54, 58, 59, 60])
_ASKED_BIOS = bytes([1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 66, 67, *range(128, 136)])
_ASKED_SYSTEM = bytes([1, 3, 6, 12, 15, 26, 28, 33, 42, 119, 121])
_FEATURES = bytes.fromhex("b105011af41000 eb03010000 170101 240101 130101 110101 270101 290101 150101 120101")
"""Option 175 as a real iPXE for UEFI sends it: its card and what it can do."""


def _pxe(arch: int, version: str, ndi: bytes, asked: bytes, word: str = "PXEClient") -> dict[int, bytes]:
    return {
        60: f"{word}:Arch:{arch:05}:UNDI:{version}".encode(),
        93: arch.to_bytes(2, "big"),
        94: ndi,
        55: asked,
        57: (1472).to_bytes(2, "big"),
    }


_BIOS = _pxe(0, "002001", b"\1\2\1", _ASKED_BIOS)
_UEFI = _pxe(7, "003000", b"\1\3\0", _ASKED_EDK2)
_HTTP = _pxe(16, "003000", b"\1\3\0", _ASKED_HTTP + bytes([235, 67, 97]), "HTTPClient")
_IPXE = {**_pxe(7, "003010", b"\1\3\x0a", _ASKED_IPXE), 77: b"iPXE", 175: _FEATURES}
_SYSTEM = {60: b"netboot-probe", 55: _ASKED_SYSTEM, 57: (1472).to_bytes(2, "big")}

GUISES: Mapping[str, Guise] = MappingProxyType(
    {
        g.name: g
        for g in (
            Guise("bios", "BIOS PXE", Speaker.PXE, _BIOS),
            Guise("uefi", "UEFI PXE (x64)", Speaker.PXE, _UEFI, broadcast=True),
            Guise("uefi-http", "UEFI HTTP boot (x64)", Speaker.HTTP, _HTTP, broadcast=True),
            Guise("ipxe", "iPXE (x64)", Speaker.IPXE, _IPXE),
            Guise("relayed", "UEFI PXE (x64) behind a relay agent", Speaker.PXE, _UEFI, broadcast=True),
            Guise("system", "a running system", Speaker.SYSTEM, _SYSTEM),
        )
    }
)
"""The names of `--as`."""

CIRCUIT = b"netboot-probe"
"""The circuit id (option 82) that the relayed client comes through."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One simulated machine in one guise."""

    guise: Guise
    mac: Mac
    uuid: UUID
    giaddr: IPv4Address | None = None
    """The relay agent that it is behind."""


def discover(machine: Machine, xid: int, secs: int = 0) -> Packet:
    """Its DISCOVER."""
    return _message(machine, Kind.DISCOVER, xid, secs)


def request(machine: Machine, xid: int, address: IPv4Address, server: IPv4Address) -> Packet:
    """Its REQUEST, which takes an OFFER."""
    return _message(machine, Kind.REQUEST, xid, 0, {50: address.packed, 54: server.packed})


def ask_boot_server(machine: Machine, xid: int) -> Packet:
    """Its REQUEST to a boot server on port 4011 (PXE 2.1 section 2.2.4)."""
    return _message(replace(machine, giaddr=None), Kind.REQUEST, xid, 0)


def release(machine: Machine, xid: int, address: IPv4Address, server: IPv4Address) -> Packet:
    """Its RELEASE."""
    plain = replace(machine, giaddr=None)
    options = {53: bytes([Kind.RELEASE]), 54: server.packed, **_identity(plain)}
    return _message(plain, Kind.RELEASE, xid, 0)._replace(ciaddr=int(address), flags=0, options=options)


def _identity(machine: Machine) -> dict[int, bytes]:
    """Client identifier of those that send one, and the UUID of firmware."""
    found = {61: b"\1" + machine.mac.packed()} if machine.guise.speaker in _IDENTIFIED else {}
    return found if machine.guise.speaker is Speaker.SYSTEM else {**found, 97: b"\0" + machine.uuid.bytes}


_IDENTIFIED = frozenset({Speaker.IPXE, Speaker.SYSTEM})


def _message(
    machine: Machine, kind: Kind, xid: int, secs: int, extra: Mapping[int, bytes] = MappingProxyType({})
) -> Packet:
    relay = {82: bytes([1, len(CIRCUIT)]) + CIRCUIT} if machine.giaddr else {}
    return Packet(
        op=Op.REQUEST,
        htype=1,
        hlen=6,
        hops=1 if machine.giaddr else 0,
        xid=xid,
        secs=secs,
        flags=FLAG_BROADCAST if machine.guise.broadcast else 0,
        ciaddr=0,
        yiaddr=0,
        siaddr=0,
        giaddr=int(machine.giaddr) if machine.giaddr else 0,
        chaddr=machine.mac.packed(),
        sname=b"",
        file=b"",
        options={53: bytes([kind]), **extra, **machine.guise.options, **_identity(machine), **relay},
    )


def discovery_control(packet: Packet) -> int | None:
    """PXE's discovery control (43.6), None where the answer has none."""
    raw = sub_options(packet.options.get(43, b"")).get(6, b"")
    return raw[0] if len(raw) == 1 else None
