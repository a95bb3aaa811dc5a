"""The part of `explain` for machines whose first program is GRUB (behind shim, too) or pxelinux."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address

from netboot.boot import loaders
from netboot.boot.loaders import Loader
from netboot.boot.plan import BootPlan, NoBoot
from netboot.model.machine import Mac

TOLD: tuple[Loader, ...] = ("grub", "pxelinux")
"""The loaders whose script is shown: those that ask by TFTP for a file of a machine's own."""

_BY_NAME: tuple[tuple[Loader, re.Pattern[str]], ...] = (
    ("grub", re.compile(r"(?:.*/)?(?:shim|grub|core\.(?:0|efi)|bootnetx)[^/]*", re.IGNORECASE)),
    ("pxelinux", re.compile(r"(?:.*/)?(?:[gl]?pxelinux|syslinux)[^/]*", re.IGNORECASE)),
)
_NAMES = {"grub": "grub.cfg-01-{mac}", "pxelinux": "pxelinux.cfg/01-{mac}"}


def loader_of(program: str) -> Loader | None:
    """Which loader a first-stage program is or starts, as far as its name tells; None: iPXE, or unknown.

    Firmware that is given no program but asks for files of its own (U-Boot) asks as pxelinux does. What is
    loaded over HTTP asks for nothing by TFTP.
    """
    if not program:
        return "pxelinux"
    if "://" in program:
        return None
    return next((loader for loader, pattern in _BY_NAME if pattern.fullmatch(program)), None)


def script(
    loader: Loader,
    decision: BootPlan | NoBoot,
    *,
    base: str,
    server: IPv4Address,
    mac: Mac,
    address: IPv4Address,
) -> Iterator[tuple[str, str]]:
    """What the loader would be answered: rows of a word and a text, the script's lines as they are."""
    name = _NAMES[loader].format(mac=mac.dashed)
    yield loader, f"{name} by TFTP from {server}: this script, and no key, for everybody can read it;"
    yield "", "its initrd claims without one, once per boot, from the leased address alone"
    decision = loaders.passable(decision)
    if isinstance(decision, NoBoot):
        text = loaders.no_boot_script(loader, decision, server=server, mac=mac)
    else:
        text = loaders.machine_script(loader, decision, base=base, server=server, mac=mac, address=address)
    yield from (("", f"| {line}".rstrip()) for line in text.splitlines())
