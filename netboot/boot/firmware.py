"""What a machine's firmware is told to load first: one row for each architecture and speaker, as data.

An architecture that we can boot is a row of `PROGRAMS`, one whose program an operator can bring a row of
`YOURS`; what some firmware needs beside that is a row of `quirks`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import MappingProxyType

from netboot.boot.quirks import Effect, Resolved, resolve
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
        Arch.EFI_BC_HTTP: "snponly.efi",
    }
)
"""The built-in first-stage program of an architecture: what Debian's package ipxe ships."""

YOURS: Mapping[int, str] = MappingProxyType(
    {
        Arch.EFI_IA32: "snponly-ia32.efi",
        Arch.EFI_X86_HTTP: "snponly-ia32.efi",
        Arch.EFI_ARM32: "snponly-arm32.efi",
        Arch.EFI_ARM32_HTTP: "snponly-arm32.efi",
        Arch.EFI_ARM64: "snponly-arm64.efi",
        Arch.EFI_ARM64_HTTP: "snponly-arm64.efi",
        Arch.EFI_RISCV64: "snponly-riscv64.efi",
        Arch.EFI_RISCV64_HTTP: "snponly-riscv64.efi",
        Arch.EFI_LOONGARCH64: "snponly-loong64.efi",
        Arch.EFI_LOONGARCH64_HTTP: "snponly-loong64.efi",
        Arch.UBOOT_ARM32: "snponly-arm32.efi",
        Arch.UBOOT_ARM32_HTTP: "snponly-arm32.efi",
        Arch.UBOOT_ARM64: "snponly-arm64.efi",
        Arch.UBOOT_ARM64_HTTP: "snponly-arm64.efi",
    }
)
"""The program of an architecture that is told where the operator has put it into `files_dir`."""

NO_PROGRAM: Mapping[int, str] = MappingProxyType(
    {
        Arch.EFI_IA32: "its firmware is 32-bit x86 UEFI",
        Arch.EFI_X86_HTTP: "its firmware is 32-bit x86 UEFI (HTTP boot)",
        Arch.EFI_ARM32: "it is a 32-bit ARM machine",
        Arch.EFI_ARM32_HTTP: "it is a 32-bit ARM machine (HTTP boot)",
        Arch.EFI_ARM64: "it is a 64-bit ARM machine",
        Arch.EFI_ARM64_HTTP: "it is a 64-bit ARM machine (HTTP boot)",
        Arch.EFI_RISCV64: "it is a 64-bit RISC-V machine",
        Arch.EFI_RISCV64_HTTP: "it is a 64-bit RISC-V machine (HTTP boot)",
        Arch.EFI_LOONGARCH64: "it is a 64-bit LoongArch machine",
        Arch.EFI_LOONGARCH64_HTTP: "it is a 64-bit LoongArch machine (HTTP boot)",
        Arch.UBOOT_ARM32: "it is a 32-bit ARM machine with U-Boot",
        Arch.UBOOT_ARM32_HTTP: "it is a 32-bit ARM machine with U-Boot (HTTP boot)",
        Arch.UBOOT_ARM64: "it is a 64-bit ARM machine with U-Boot",
        Arch.UBOOT_ARM64_HTTP: "it is a 64-bit ARM machine with U-Boot (HTTP boot)",
    }
)
"""Architectures that we know and have no program for, in an operator's words."""


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What a reply says about booting: header fields and options by code, ready for the wire."""

    program: str
    """The file name or URL as the machine will ask for it; empty where it asks for files of its own."""
    siaddr: IPv4Address
    sname: bytes
    file: bytes
    options: Mapping[int, bytes]
    quirks: Resolved
    """What made it so; `quirks.own` is stronger than the node's own options."""

    @property
    def words(self) -> str:
        """The program, or what the firmware asks for by itself."""
        return self.program or f"no file: it asks for {self.quirks.effect.asks}"


@dataclass(frozen=True, slots=True)
class NoProgram:
    """This machine gets an address and nothing to boot, for this reason."""

    reason: str


def first_stage(
    client: Client,
    *,
    address: IPv4Address,
    boot_port: int,
    override: BootOverride,
    provided: Container[str] = (),
) -> FirstStage | NoProgram:
    """What this client loads next from `address`, where its network reaches us.

    iPXE gets the script and no program: chain-loaded iPXE sends the very bytes of iPXE in a ROM, so that a
    program for one would load itself for ever. The exceptions are iPXE that is certainly not ours (a quirk's
    `chain`). `provided`: the programs of `YOURS` that are in `files_dir`.
    """
    quirks = resolve(client, override.quirks)
    if client.speaker is Speaker.SYSTEM:
        return NoProgram("a running system boots nothing")
    base = f"http://{address}" if boot_port == 80 else f"http://{address}:{boot_port}"
    found: str | None
    if client.speaker is Speaker.IPXE and not quirks.effect.chain:
        found = base + SCRIPT_PATH
    elif client.speaker is Speaker.IPXE:
        found = PROGRAMS.get(client.arch or 0)
    else:
        found = _for_firmware(client.arch, override, quirks, provided)
    if found is None:
        return NoProgram(_missing(client.arch))
    if client.speaker is Speaker.HTTP and found and "://" not in found:
        found = f"{base}/{'files' if '/' in found else 'programs'}/{found.lstrip('/')}"
    return _stage(client, found, address, quirks)


def _for_firmware(
    arch: int | None, override: BootOverride, quirks: Resolved, provided: Container[str]
) -> str | None:
    """The program, empty where the firmware asks for files of its own, None where there is none."""
    if quirks.own.asks:
        return ""
    if override.program:
        return override.program
    yours = YOURS.get(arch or 0)
    if yours in provided:
        return yours
    return "" if quirks.effect.asks else PROGRAMS.get(arch or 0)


def _missing(arch: int | None) -> str:
    why = NO_PROGRAM.get(arch or 0, f"it reports architecture {arch} (option 93)")
    yours = YOURS.get(arch or 0)
    bring = f"put {yours} into files_dir and reload, or " if yours else ""
    remedy = f"{bring}name one of your own in the node's boot.program"
    return f"no boot program: {why}, and we have none for it; {remedy}"


def _stage(client: Client, program: str, address: IPv4Address, quirks: Resolved) -> FirstStage:
    """Put server and file into every field where some firmware looks for it, then follow the quirks."""
    effect = quirks.effect
    end = b"" if effect.nul is False else b"\0"
    server, name = str(address).encode(), program.encode()
    options: dict[int, bytes | None] = {66: server + end}
    if name:
        options[67] = name + end
    if client.speaker is Speaker.PXE or effect.chain:
        options[150] = address.packed
    return FirstStage(
        program=program,
        siaddr=address,
        sname=server,
        file=name if len(name) < 128 else b"",
        options=_following(options, effect),
        quirks=quirks,
    )


def _following(options: dict[int, bytes | None], effect: Effect) -> dict[int, bytes]:
    changed = {**options, **effect.options}
    return {code: value for code, value in changed.items() if value is not None}
