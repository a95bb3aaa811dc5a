"""What a machine's firmware is told to load first: one row for each architecture and speaker, as data.

An architecture that we can boot is a row of `PROGRAMS`, a quirk of some firmware a row of `QUIRKS`.
Where a row comes from is told in docs/dhcp.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import MappingProxyType

from netboot.model.inventory import BootOverride
from netboot.model.machine import Arch, Client, Speaker

SCRIPT_PATH = "/boot.ipxe"
"""What every iPXE loads; constant, because iPXE reports there who it is."""

PROGRAMS: Mapping[int, str] = MappingProxyType(
    {
        Arch.BIOS: "undionly.kpxe",
        Arch.EFI_X64: "snponly.efi",
        Arch.EFI_BC: "snponly.efi",  # RFC 4578 as published swaps 7 and 9: firmware for x64 says either
        Arch.EFI_X64_HTTP: "snponly.efi",
    }
)
"""The built-in first-stage program of an architecture."""

NO_PROGRAM: Mapping[int, str] = MappingProxyType(
    {
        Arch.EFI_IA32: "its firmware is 32-bit x86 UEFI",
        Arch.EFI_X86_HTTP: "its firmware is 32-bit x86 UEFI (HTTP boot)",
        Arch.EFI_ARM32: "it is a 32-bit ARM machine",
        Arch.EFI_ARM64: "it is a 64-bit ARM machine",
        Arch.EFI_ARM64_HTTP: "it is a 64-bit ARM machine (HTTP boot)",
    }
)
"""Architectures that we know and have no program for, in an operator's words."""

QUIRKS: Mapping[str, str] = MappingProxyType(
    {
        "no-option-60": "leave out option 60: the firmware ignores the file name of a reply that has it",
        "no-option-43": "leave out option 43: the firmware ignores replies that have it",
        "no-nul": "write options 66 and 67 without a NUL at their end",
    }
)
"""What `boot.quirks` of a node may name, and what it does."""

BYPASS_DISCOVERY = bytes.fromhex("060108ff")
"""Option 43 for BIOS PXE: discovery control 8, load the file of this very reply (PXE 2.1, section 2.2.3)."""

NO_PROXY_WAIT = bytes.fromhex("b00101")
"""Option 175 for iPXE: `no-pxedhcp` = 1 saves the two seconds that it waits for a proxyDHCP server."""


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What a reply says about booting: header fields and options by code, ready for the wire."""

    program: str
    """The file name or URL as the machine will ask for it."""
    siaddr: IPv4Address
    sname: bytes
    file: bytes
    options: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class NoProgram:
    """This machine gets an address and nothing to boot, for this reason."""

    reason: str


def first_stage(
    client: Client, *, address: IPv4Address, boot_port: int, override: BootOverride
) -> FirstStage | NoProgram:
    """What this client loads next from `address`, where its network reaches us.

    iPXE always gets the script, never a program: chain-loaded iPXE sends the very bytes of iPXE in a
    ROM, so that a program for one would load itself for ever. UEFI PXE gets neither option 60 nor 43:
    EDK2 takes `PXEClient` without 43 for a boot menu's server, asks it again on port 4011, and gives up.
    """
    extra: dict[int, bytes]
    base = f"http://{address}" if boot_port == 80 else f"http://{address}:{boot_port}"
    if client.speaker is Speaker.IPXE:
        extra = {60: b"PXEClient", 175: NO_PROXY_WAIT}
        return _stage(base + SCRIPT_PATH, address, override, extra)
    if client.speaker is Speaker.SYSTEM:
        return NoProgram("a running system boots nothing")
    program = override.program or PROGRAMS.get(client.arch if client.arch is not None else Arch.BIOS)
    if program is None:
        return NoProgram(_missing(client.arch))
    if client.speaker is Speaker.HTTP:
        url = program if "://" in program else f"{base}/programs/{program}"
        return _stage(url, address, override, {60: b"HTTPClient"})
    extra = {150: address.packed}
    if client.arch in (None, Arch.BIOS):
        extra |= {60: b"PXEClient", 43: BYPASS_DISCOVERY}
    return _stage(program, address, override, extra)


def _missing(arch: int | None) -> str:
    why = NO_PROGRAM.get(arch or 0, f"it reports architecture {arch} (option 93)")
    return f"no boot program: {why}, and we have none for it; name one of your own in the node's boot.program"


def _stage(program: str, address: IPv4Address, override: BootOverride, extra: dict[int, bytes]) -> FirstStage:
    """Put the file into every field where some firmware looks for it, except for the node's quirks."""
    end = b"" if "no-nul" in override.quirks else b"\0"
    server, name = str(address).encode(), program.encode()
    options = {66: server + end, 67: name + end, **extra}
    for quirk, code in (("no-option-60", 60), ("no-option-43", 43)):
        if quirk in override.quirks:
            options.pop(code, None)
    return FirstStage(
        program=program,
        siaddr=address,
        sname=server,
        file=name if len(name) < 128 else b"",
        options=options,
    )
